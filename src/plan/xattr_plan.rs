//! Defines the plan for xattrs: their locations in inodes, blocks and EA inodes, and the nodes with inline
//! content.

use std::collections::HashMap;

use super::xattr_split::Split;
use crate::tree::{NodeId, QuotaUsage, Text, Tree, Xattr, XattrSetId};

/// The index of a split in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SplitId(pub(super) u32);

/// An xattr block of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrBlock {
    /// One of the splits that use the block. All of them have the same xattrs in the block.
    pub split: SplitId,
    /// The number of inodes that share the block.
    pub refcount: u32,
}

/// A value in an EA inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedEaInode {
    /// The value.
    pub text: Text,
    /// The number of entries that refer to the value. An entry in a shared block counts once.
    pub references: u64,
}

/// The locations of all xattrs, and the nodes with inline content. Inline content is also stored as an xattr.
#[derive(Debug, Default)]
pub struct XattrPlan {
    pub(super) splits: Vec<(XattrSetId, Split)>,
    /// For each node, the index of its split plus 1, or 0.
    pub(crate) split_of: Vec<u32>,
    /// For each node with inline content, the length of `system.data` plus 1; otherwise 0. Empty if no node
    /// can have inline content.
    pub(crate) inline: Vec<u32>,
    /// The blocks, in the order of their first use.
    pub blocks: Vec<XattrBlock>,
    /// For each node, the index of its block plus 1, or 0.
    pub(crate) block_of: Vec<u32>,
    /// The distinct values in EA inodes, in the order of their first use.
    pub ea_inodes: Vec<PlannedEaInode>,
    /// For each value that is stored in an EA inode, its index in `ea_inodes`. Equal values have the same
    /// index.
    pub(super) value_of: HashMap<Text, u32>,
}

impl XattrPlan {
    /// Returns the index of a node's xattr block in `blocks`.
    pub fn block_index_of(&self, node: NodeId) -> Option<usize> {
        self.block_of[node.index()].checked_sub(1).map(|index| index as usize)
    }

    /// Returns the split of a node's set.
    pub fn split_of(&self, node: NodeId) -> Option<SplitId> {
        self.split_of[node.index()].checked_sub(1).map(SplitId)
    }

    /// Returns a node's xattr block.
    pub fn block_of(&self, node: NodeId) -> Option<&XattrBlock> {
        self.block_index_of(node).map(|index| &self.blocks[index])
    }

    /// Returns the length of `system.data` in bytes if the content of a node is inline.
    pub fn inline_of(&self, node: NodeId) -> Option<usize> {
        let value = self.inline.get(node.index())?.checked_sub(1)?;
        Some(value as usize)
    }

    /// Returns the xattrs in a node's inode. If a value is in an EA inode, the xattr comes with the index of
    /// the value.
    pub fn body_part<'t>(
        &'t self,
        tree: &'t Tree,
        node: NodeId,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        self.split_of(node).into_iter().flat_map(move |split| self.part(tree, split, true))
    }

    /// Returns the xattrs of a split that are in the xattr block. If a value is in an EA inode, the xattr
    /// comes with the index of the value.
    pub fn block_part<'t>(
        &'t self,
        tree: &'t Tree,
        split: SplitId,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        self.part(tree, split, false)
    }

    fn part<'t>(
        &'t self,
        tree: &'t Tree,
        split: SplitId,
        body: bool,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        let (set, split) = &self.splits[split.0 as usize];
        split.part(tree, *set, body).map(move |(xattr, outside)| {
            (xattr, outside.then(|| self.value_of.get(&xattr.value).copied()).flatten())
        })
    }

    /// Returns the usage of a node's EA inodes. Each EA inode counts as one inode plus the clusters of its
    /// value, even if other nodes also use it. `i_blocks` and quotas include this usage.
    pub fn charge(&self, tree: &Tree, node: NodeId, cluster_bytes: u64) -> QuotaUsage {
        let mut charge = QuotaUsage::default();
        if self.ea_inodes.is_empty() {
            return charge;
        }
        let in_block = self.block_of(node).map(|block| self.block_part(tree, block.split));
        for (xattr, value) in self.body_part(tree, node).chain(in_block.into_iter().flatten()) {
            if value.is_some() {
                let bytes = tree.text(xattr.value).len() as u64;
                charge.add(QuotaUsage { inodes: 1, bytes: bytes.next_multiple_of(cluster_bytes) });
            }
        }
        charge
    }
}
