//! Xattrs: lists of them in inodes and blocks, large values in inodes, and which inodes have the same.

pub(super) mod blocks;
pub(super) mod ea_inode;
pub(super) mod ea_values;
pub(super) mod entries;
pub(super) mod set_hashes;
pub(super) mod sets;
