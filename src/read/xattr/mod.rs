//! Xattrs: lists of them in inodes and blocks, large values in inodes, and which inodes have the same.

pub mod blocks;
pub mod ea_inode;
pub mod ea_values;
pub mod entries;
pub mod set_hashes;
pub mod sets;
