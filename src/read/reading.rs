//! What reading an image gives.

use super::claims::{BlockClaims, CheckedClaims};
use super::special::orphans::Orphans;
use super::special::specials::Specials;
use crate::tree::Tree;
use crate::units::InodeNr;

/// The tree of an image, and what else was read.
#[derive(Debug)]
pub struct Reading {
    /// The tree.
    pub tree: Tree,
    /// The inode that each node had in the input, for messages and `stable_inodes` alone; 0 for
    /// one that was not there.
    pub inodes: Vec<InodeNr>,
    /// What the input's inodes outside the tree say of its geometry.
    pub specials: Specials,
    /// What was wrong, but only redundant, and what is said of the content.
    pub warnings: Vec<String>,
    /// What was to be deleted or truncated.
    pub orphans: Orphans,
    /// The claims on blocks of the input; those of content are told by the first of the tree's runs.
    pub claims: BlockClaims,
}

impl Reading {
    /// Blocks of the input that its structures and files take.
    pub fn claimed(&self) -> CheckedClaims<'_> {
        self.claims.claimed(&self.tree.runs)
    }
}
