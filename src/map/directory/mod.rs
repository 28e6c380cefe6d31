//! Reads the entries and the index of a directory, as stored.

mod directory_inode;
mod entries;
mod htree;

pub(crate) use directory_inode::{DirectoryInode, check_size};
pub(crate) use entries::{RawEntry, read_in_order, read_sorted};
