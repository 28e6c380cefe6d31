//! One inode by itself: its bytes and fields, where its blocks are, and the names of a directory. Recovery
//! and reading both stand on it.

mod block_map;
mod budget;
mod dense_file;
pub mod directory;
mod extent_tree;
mod file_map;
mod inode;
mod inode_fields;
mod inode_table;
mod read;

pub use block_map::read as read_block_map;
pub use budget::Budget;
pub use dense_file::{DenseFile, dense_file};
pub use file_map::FileMap;
pub use inode::{DecodedInode, InlineParts, RawInode};
pub use inode_fields::{check_fields, check_inline_flags};
pub use inode_table::{InodeTables, scan};
pub use read::read;
