//! The plan of xattrs: which are in inodes, blocks and EA inodes, and which content is inline.

use std::collections::HashMap;

use super::xattr_split::Split;
use crate::tree::{NodeId, QuotaUsage, Text, Tree, Xattr, XattrSetId};

/// The index of a split in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SplitId(pub(super) u32);

/// A block of xattrs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrBlock {
    /// A split whose part for the block is what the block holds.
    pub split: SplitId,
    /// The number of inodes that use it.
    pub refcount: u32,
}

/// A value in an inode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedValue {
    /// The value.
    pub text: Text,
    /// The number of entries that refer to it, those of a block once.
    pub references: u64,
}

/// Where all xattrs go, and which content is inline: it lies in an xattr, too.
#[derive(Debug, Default)]
pub struct XattrPlan {
    pub(super) splits: Vec<(XattrSetId, Split)>,
    /// For each node, the index of its split and one more; 0 for none.
    pub(crate) split_of: Vec<u32>,
    /// For each node with inline content, the length of `system.data` and one more; 0 for the
    /// others. Empty where there is no such node at all.
    pub(crate) inline: Vec<u32>,
    /// The blocks, in the order of their first use.
    pub blocks: Vec<XattrBlock>,
    /// For each node, the index of its block and one more; 0 for none.
    pub(crate) block_of: Vec<u32>,
    /// The distinct values in inodes of their own, in the order of their first use.
    pub values: Vec<PlannedValue>,
    /// The index of each such value, by all texts that are equal to it.
    pub(super) value_of: HashMap<Text, u32>,
}

impl XattrPlan {
    /// The index in `blocks` of the block with a node's xattrs.
    pub fn block_index_of(&self, node: NodeId) -> Option<usize> {
        self.block_of[node.index()].checked_sub(1).map(|index| index as usize)
    }

    /// The split of a node's set.
    pub fn split_of(&self, node: NodeId) -> Option<SplitId> {
        self.split_of[node.index()].checked_sub(1).map(SplitId)
    }

    /// The block with a node's xattrs.
    pub fn block_of(&self, node: NodeId) -> Option<&XattrBlock> {
        self.block_index_of(node).map(|index| &self.blocks[index])
    }

    /// The length of `system.data` of a node whose content is inline.
    pub fn inline_of(&self, node: NodeId) -> Option<usize> {
        let value = self.inline.get(node.index())?.checked_sub(1)?;
        Some(value as usize)
    }

    /// The xattrs of a node that lie in its inode, each with the index of its value among `values` if
    /// it lies in an inode of its own.
    pub fn body_part<'t>(
        &'t self,
        tree: &'t Tree,
        node: NodeId,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        self.split_of(node).into_iter().flat_map(move |split| self.part(tree, split, true))
    }

    /// The xattrs of a split that lie in a block, in the same form.
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

    /// What a node is charged for its values in inodes of their own: each in whole clusters, and an
    /// inode, however many entries share it. Both `i_blocks` and quotas count it.
    pub fn charge(&self, tree: &Tree, node: NodeId, cluster_bytes: u64) -> QuotaUsage {
        let mut charge = QuotaUsage::default();
        if self.values.is_empty() {
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
