//! The result of reading an image.

use super::claims::{BlockClaims, CheckedClaims};
use super::special::orphans::Orphans;
use super::special::specials::Specials;
use crate::tree::Tree;
use crate::units::InodeNr;

/// The tree of an image, and other results of reading it.
#[derive(Debug)]
pub struct Reading {
    /// The tree.
    pub tree: Tree,
    /// The number of each node's inode in the input, for messages and `stable_inodes`; 0 for a node that the
    /// input does not have.
    pub inodes: Vec<InodeNr>,
    /// The parts of the geometry that inodes outside the tree define.
    pub specials: Specials,
    /// Warnings about wrong redundant data and about the content.
    pub warnings: Vec<String>,
    /// The orphans.
    pub orphans: Orphans,
    /// The claims on blocks of the input. Content of regular files is claimed through the tree's runs.
    pub claims: BlockClaims,
}

impl Reading {
    /// Returns the claimed blocks of the input.
    pub fn claimed(&self) -> CheckedClaims<'_> {
        self.claims.claimed(&self.tree.runs)
    }
}
