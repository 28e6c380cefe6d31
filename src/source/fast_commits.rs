//! The changes of fast commits to inodes, maps and directories. They take precedence over the blocks.

use std::collections::BTreeMap;

use crate::units::{BlockNr, InodeNr};

/// The outcome of all fast commits.
#[derive(Debug, Default)]
pub struct FastCommits<'a> {
    /// Inodes that were written or deleted.
    pub inodes: BTreeMap<InodeNr, ReplayedInode>,
    /// Directories whose names or links changed.
    pub directories: BTreeMap<InodeNr, ReplayedDirectory<'a>>,
}

/// An inode that fast commits changed.
#[derive(Debug)]
pub struct ReplayedInode {
    /// All bytes of the inode, with a valid checksum. The map in them is that of the image.
    pub bytes: Vec<u8>,
    /// The changes of the map, in order.
    pub edits: Vec<RangeEdit>,
}

/// A change of an inode's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeEdit {
    /// The first logical block.
    pub logical: u32,
    /// The number of blocks.
    pub count: u32,
    /// The first physical block, and whether the blocks are unwritten; `None` for a hole.
    pub mapped: Option<(BlockNr, bool)>,
}

/// A directory that fast commits changed.
#[derive(Debug, Default)]
pub struct ReplayedDirectory<'a> {
    /// The parent, if a fast commit created the directory. It has no blocks yet.
    pub made_in: Option<InodeNr>,
    /// Names that were added (with the inode and the file type byte of the entry) or removed.
    pub names: BTreeMap<&'a [u8], Option<(InodeNr, u8)>>,
    /// Whether subdirectories were created or removed. Fast commits do not update the link count for these.
    pub relinked: bool,
}
