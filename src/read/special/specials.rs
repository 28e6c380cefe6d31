//! The result of reading the inodes outside the tree.

use super::quota_file::QuotaFile;
use crate::map::DenseFile;
use crate::read::claims::Claim;
use crate::units::InodeNr;

/// The parts of the geometry that inodes outside the tree define.
#[derive(Clone, Debug, Default)]
pub struct Specials {
    /// The journal, if there is one.
    pub journal: Option<JournalShape>,
    /// The quota files of the enabled types, in the order of the types.
    pub quotas: Vec<QuotaFile>,
    /// The orphan file, if there is one.
    pub orphan_file: Option<SpecialFile>,
    /// The claims on the blocks of all these inodes.
    pub claims: Vec<Claim>,
    /// The numbers of these inodes.
    pub numbers: Vec<InodeNr>,
    /// The number of blocks in the list of bad blocks, which is dropped.
    pub bad_blocks: u64,
}

/// A file outside the tree without a fixed inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialFile {
    /// The inode number in the input, which is only used with `stable_inodes`.
    pub number: InodeNr,
    /// The length in blocks.
    pub blocks: u32,
}

/// The size of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalShape {
    /// The total number of blocks.
    pub blocks: u32,
    /// The number of these blocks that are reserved for fast commits.
    pub fast_commit_blocks: u32,
}

impl Specials {
    /// Returns a warning about dropped bad blocks.
    pub fn warnings(&self) -> Option<String> {
        (self.bad_blocks > 0)
            .then(|| format!("a list of {} bad blocks was dropped: it belongs to a device", self.bad_blocks))
    }

    /// Adds the number and the blocks of a file.
    pub fn add(&mut self, file: &DenseFile) {
        self.numbers.push(file.number);
        self.claims.extend(Claim::of_map(file.number, &file.map));
    }

    /// Whether an inode is one of these inodes.
    pub fn is_special(&self, number: InodeNr) -> bool {
        self.numbers.contains(&number)
    }
}
