//! Stores the changes of fast commits to inodes, maps and directories. These changes take precedence over the
//! content of blocks.

use std::collections::BTreeMap;

use crate::units::{BlockNr, InodeNr};

/// The outcome of all fast commits.
#[derive(Clone, Debug, Default)]
pub struct FastCommits<'a> {
    /// Inodes that were written or deleted.
    pub inodes: BTreeMap<InodeNr, ReplayedInode>,
    /// Directories whose names or links changed.
    pub directories: BTreeMap<InodeNr, ReplayedDirectory<'a>>,
}

/// An inode that fast commits changed.
#[derive(Clone, Debug)]
pub struct ReplayedInode {
    /// All bytes of the inode, with a valid checksum. The map in these bytes does not contain `edits`.
    pub bytes: Vec<u8>,
    /// The changes to the map, in order.
    pub edits: Vec<RangeEdit>,
}

/// A change to an inode's map.
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
#[derive(Clone, Debug, Default)]
pub struct ReplayedDirectory<'a> {
    /// The parent, if a fast commit created the directory. A created directory has no blocks yet.
    pub made_in: Option<InodeNr>,
    /// The changed names: the inode and the file type byte if a name was added, `None` if it was removed.
    pub names: BTreeMap<&'a [u8], Option<(InodeNr, u8)>>,
    /// Whether subdirectories were created or removed. Fast commits do not update the directory's link count
    /// for them.
    pub relinked: bool,
}
