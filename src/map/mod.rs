//! Reads a single inode: its bytes, fields and blocks, and the entries of a directory. Both recovery and
//! reading use this module.

mod block_map;
mod budget;
mod dense_file;
pub(crate) mod directory;
mod extent_tree;
mod file_map;
mod inode;
mod inode_fields;
mod inode_table;
mod read;

pub(crate) use block_map::read as read_block_map;
pub(crate) use budget::Budget;
pub(crate) use dense_file::{DenseFile, dense_file, regular_inode};
pub(crate) use file_map::FileMap;
pub(crate) use inode::{DecodedInode, InlineParts, RawInode};
pub(crate) use inode_fields::{check_fields, check_inline_flags};
pub(crate) use inode_table::{InodeTables, scan};
pub(crate) use read::read;
