//! The names of a directory as the image holds them: its entries, and the index that leads to them.

mod directory_inode;
mod entries;
mod htree;

pub(crate) use directory_inode::{DirectoryInode, check_size};
pub(crate) use entries::{RawEntry, read_in_order, read_sorted};
