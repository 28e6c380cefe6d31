//! What the inodes outside the tree say.

use super::quota_file::QuotaFile;
use crate::map::DenseFile;
use crate::read::claims::Claim;
use crate::units::InodeNr;

/// What the inodes outside the tree say of the geometry.
#[derive(Clone, Debug, Default)]
pub struct Specials {
    /// The journal; `None` without one.
    pub journal: Option<JournalShape>,
    /// The quota files of the types that are on, in the order of the types.
    pub quotas: Vec<QuotaFile>,
    /// The orphan file; `None` without one.
    pub orphan_file: Option<SpecialFile>,
    /// The blocks that all of them take.
    pub claims: Vec<Claim>,
    /// Their numbers.
    pub numbers: Vec<InodeNr>,
    /// Blocks of the list of bad blocks, which is dropped.
    pub bad_blocks: u64,
}

/// A file outside the tree whose number is not fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialFile {
    /// Its inode in the input, which matters only with `stable_inodes`.
    pub number: InodeNr,
    /// Its length in blocks.
    pub blocks: u32,
}

/// The length of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalShape {
    /// All its blocks.
    pub blocks: u32,
    /// Of these, blocks for fast commits.
    pub fast_commit_blocks: u32,
}

impl Specials {
    /// What was dropped.
    pub fn warnings(&self) -> Option<String> {
        (self.bad_blocks > 0)
            .then(|| format!("a list of {} bad blocks was dropped: it belongs to a device", self.bad_blocks))
    }

    /// Adds a file's number and blocks.
    pub fn add(&mut self, file: &DenseFile) {
        self.numbers.push(file.number);
        self.claims.extend(Claim::of_map(file.number, &file.map));
    }

    /// Whether an inode is one of them.
    pub fn is_special(&self, number: InodeNr) -> bool {
        self.numbers.contains(&number)
    }
}
