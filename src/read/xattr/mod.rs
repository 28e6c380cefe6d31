//! Reads xattrs: lists of entries in inodes and blocks, EA inodes, and the sets that inodes share.

pub(super) mod blocks;
pub(super) mod ea_inode;
pub(super) mod ea_values;
pub(super) mod entries;
pub(super) mod set_hashes;
pub(super) mod sets;
