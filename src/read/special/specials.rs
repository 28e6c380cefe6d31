//! Defines the result of reading the inodes outside the tree.

use std::ops::Range;

use super::quota_file::QuotaFile;
use crate::map::DenseFile;
use crate::read::claims::Claim;
use crate::settings::JournalShape;
use crate::units::InodeNr;

/// The settings that inodes outside the tree define, such as the size of the journal.
#[derive(Clone, Debug, Default)]
pub struct Specials {
    /// The journal, if there is one.
    pub journal: Option<JournalShape>,
    /// The quota files of the enabled types, in the order of the types.
    pub quotas: Vec<QuotaFile>,
    /// The orphan file, if there is one.
    pub orphan_file: Option<SpecialFile>,
    /// The claims on the MMP block, and on the blocks of all inodes outside the tree.
    pub claims: Vec<Claim>,
    /// The numbers of all inodes outside the tree.
    pub numbers: Vec<InodeNr>,
    /// The number of these inodes whose `i_blocks` is wrong, except the resize inode.
    pub wrong_blocks: usize,
    /// The number of blocks in the list of bad blocks. The output has no such list.
    pub bad_blocks: u64,
    /// The numbers of the inodes in bad blocks of inode tables, as sorted ranges. None of them has links.
    pub bad_inodes: Vec<Range<u32>>,
}

/// A file outside the tree without a fixed inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialFile {
    /// The inode number in the input, which is only used with `stable_inodes`.
    pub number: InodeNr,
    /// The length in blocks.
    pub blocks: u32,
}

impl Specials {
    /// Returns a warning if the input has a list of bad blocks, which the output drops.
    pub fn warnings(&self) -> Option<String> {
        (self.bad_blocks > 0)
            .then(|| format!("a list of {} bad blocks was dropped: it describes a device", self.bad_blocks))
    }

    /// Adds the number, the blocks and the wrong `i_blocks` of a file.
    pub fn add(&mut self, file: &DenseFile) {
        self.numbers.push(file.number);
        self.claims.extend(Claim::of_map(file.number, &file.map));
        self.wrong_blocks += usize::from(file.wrong_blocks);
    }

    /// Returns whether an inode is outside the tree.
    pub fn is_special(&self, number: InodeNr) -> bool {
        self.numbers.contains(&number)
    }
}
