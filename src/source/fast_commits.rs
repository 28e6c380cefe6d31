//! What fast commits make of inodes, maps and directories, over whatever the blocks hold.

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
    /// All its bytes, with the right checksum; its map is that of the image.
    pub bytes: Vec<u8>,
    /// What becomes of its map, in order.
    pub edits: Vec<RangeEdit>,
}

/// A change of an inode's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeEdit {
    /// The first logical block.
    pub logical: u32,
    /// The number of blocks.
    pub count: u32,
    /// The first block, and whether they count as unwritten; `None` for a hole.
    pub mapped: Option<(BlockNr, bool)>,
}

/// A directory that fast commits changed.
#[derive(Debug, Default)]
pub struct ReplayedDirectory<'a> {
    /// The directory that it was made in; it has no blocks yet.
    pub made_in: Option<InodeNr>,
    /// Names that were given (the inode, and the type byte of the entry) or taken away.
    pub names: BTreeMap<&'a [u8], Option<(InodeNr, u8)>>,
    /// Whether subdirectories were made or removed, which fast commits do not count.
    pub relinked: bool,
}
