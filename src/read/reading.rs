//! Defines the result of reading an image.

use super::claims::{BlockClaims, CheckedClaims};
use super::special::orphans::Orphans;
use super::special::specials::Specials;
use crate::tree::Tree;
use crate::units::InodeNr;

/// The result of reading an image: its tree, inode numbers, claims on blocks, and warnings.
#[derive(Debug)]
pub struct Reading {
    /// The tree.
    pub tree: Tree,
    /// The inode number of each node in the input, for messages and `stable_inodes`; 0 for a node that the
    /// input does not have.
    pub inodes: Vec<InodeNr>,
    /// The settings that inodes outside the tree define, such as the size of the journal.
    pub specials: Specials,
    /// Warnings about wrong redundant data and about the content.
    pub warnings: Vec<String>,
    /// The orphans.
    pub orphans: Orphans,
    /// The claims on blocks of the input. The tree's runs are the claims on content of regular files.
    pub claims: BlockClaims,
}

impl Reading {
    /// Returns the claimed blocks of the input.
    pub fn claimed(&self) -> CheckedClaims<'_> {
        self.claims.claimed(&self.tree.runs)
    }
}
