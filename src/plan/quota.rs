//! Plans quota files as e2fsprogs writes them when it adds ids in ascending order.

use std::collections::BTreeMap;

use super::xattr_plan::XattrPlan;
use crate::ondisk::quota::{BLOCK_SIZE, DEPTH, ENTRIES_PER_BLOCK, QuotaType, slot};
use crate::read::QuotaFile;
use crate::settings::QuotaLimits;
use crate::tree::{Kind, NodeId, QuotaUsage, Tree};
use crate::units::fits;

/// A quota file of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaPlan {
    /// The type of the ids.
    pub kind: QuotaType,
    /// The grace time for blocks above the soft limit, in seconds.
    pub block_grace: u32,
    /// The grace time for inodes above the soft limit, in seconds.
    pub inode_grace: u32,
    /// The entries, sorted by id.
    pub entries: Vec<QuotaEntry>,
    /// The content of each block of 1 KiB.
    pub blocks: Vec<QuotaBlock>,
}

/// The limits and usage of an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaEntry {
    /// The id of a user, group or project.
    pub id: u32,
    /// The limits.
    pub limits: QuotaLimits,
    /// The usage.
    pub usage: QuotaUsage,
}

/// The kind of a block in a quota file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaBlock {
    /// The header and the information about the file.
    Header,
    /// A tree block: its level, and the index of the first entry below it.
    Tree(usize, usize),
    /// A data block, with the index of its first entry.
    Data(usize),
}

impl QuotaPlan {
    /// Plans a file for all ids that have limits or own files. Usage is added later.
    pub fn new(file: &QuotaFile, tree: &Tree, xattrs: &XattrPlan) -> Self {
        let mut entries: BTreeMap<u32, QuotaLimits> = file.rules.limits.iter().copied().collect();
        let mut last = None;
        for id in charged(tree, xattrs) {
            let owner = owner(tree, id, file.kind);
            // Adjacent nodes usually have the same owner.
            if last != Some(owner) {
                entries.entry(owner).or_default();
                last = Some(owner);
            }
        }
        let usage = QuotaUsage::default();
        let entries = entries.into_iter().map(|(id, limits)| QuotaEntry { id, limits, usage }).collect();
        let mut plan = Self {
            kind: file.kind,
            block_grace: file.rules.block_grace,
            inode_grace: file.rules.inode_grace,
            entries,
            blocks: Vec::new(),
        };
        plan.number_blocks();
        plan
    }

    /// Numbers the blocks in the order in which they are first needed: for each id, the new tree blocks on
    /// its path, then a data block if all existing data blocks are full.
    fn number_blocks(&mut self) {
        self.blocks = vec![QuotaBlock::Header, QuotaBlock::Tree(0, 0)];
        let mut before: Option<u32> = None;
        for (index, entry) in self.entries.iter().enumerate() {
            // The level of the last tree block on both this path and the path of the previous id.
            let fork = before.map_or(0, |before| (before ^ entry.id).leading_zeros() as usize / 8);
            self.blocks.extend((fork + 1..DEPTH).map(|level| QuotaBlock::Tree(level, index)));
            if index.is_multiple_of(ENTRIES_PER_BLOCK) {
                self.blocks.push(QuotaBlock::Data(index));
            }
            before = Some(entry.id);
        }
    }

    /// Returns the size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_SIZE as u64
    }

    /// Adds usage to an id, which must have an entry.
    pub fn charge(&mut self, id: u32, usage: QuotaUsage) {
        let index = self.entries.binary_search_by_key(&id, |entry| entry.id);
        let index = index.expect("there is an entry for the owner of each node");
        self.entries[index].usage.add(usage);
    }

    /// Returns the references in a tree block, as pairs of slot and block number.
    pub fn references(&self, level: usize, first: usize) -> Vec<(usize, u32)> {
        let above = |id: u32| u64::from(id) >> (8 * (DEPTH - level));
        let prefix = self.entries.get(first).map(|entry| above(entry.id));
        let covered = self.entries[first.min(self.entries.len())..]
            .iter()
            .take_while(|entry| Some(above(entry.id)) == prefix);
        let mut references: Vec<(usize, u32)> = Vec::new();
        for (index, entry) in (first..).zip(covered) {
            let slot = slot(entry.id, level);
            if level + 1 == DEPTH {
                let start = index / ENTRIES_PER_BLOCK * ENTRIES_PER_BLOCK;
                references.push((slot, self.number(QuotaBlock::Data(start))));
            } else if references.last().is_none_or(|(last, _)| *last != slot) {
                references.push((slot, self.number(QuotaBlock::Tree(level + 1, index))));
            }
        }
        references
    }

    /// Returns the number of a block. Blocks are sorted by their first entries. Blocks with the same first
    /// entry are in order from the root of the tree to the data block.
    fn number(&self, wanted: QuotaBlock) -> u32 {
        let key = |block: &QuotaBlock| match *block {
            QuotaBlock::Header => (0, 0),
            QuotaBlock::Tree(level, first) => (first, 1 + level),
            QuotaBlock::Data(first) => (first, 1 + DEPTH),
        };
        let place = self.blocks.binary_search_by_key(&key(&wanted), key);
        let place = place.expect("the path of each entry and each data block were numbered");
        fits(place, "a quota file has fewer than 2^32 blocks")
    }

    /// Returns the number of the data block with free entries, or 0 if there is none.
    pub fn block_with_room(&self) -> u32 {
        let rest = self.entries.len() % ENTRIES_PER_BLOCK;
        if rest == 0 {
            return 0;
        }
        self.number(QuotaBlock::Data(self.entries.len() - rest))
    }
}

/// Returns the nodes that quotas count, as in e2fsck: all except the boot loader inode and inline symlinks.
pub(super) fn charged(tree: &Tree, xattrs: &XattrPlan) -> impl Iterator<Item = NodeId> {
    tree.ids().filter(move |id| {
        let inline_symlink =
            matches!(tree.node(*id).kind, Kind::Symlink(_)) && xattrs.inline_of(*id).is_some();
        Some(*id) != tree.boot_loader && !inline_symlink
    })
}

/// Returns the id that a node's usage is added to.
pub(super) fn owner(tree: &Tree, id: NodeId, kind: QuotaType) -> u32 {
    let node = tree.node(id);
    match kind {
        QuotaType::User => node.uid,
        QuotaType::Group => node.gid,
        QuotaType::Project => node.project,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(ids: impl IntoIterator<Item = u32>) -> QuotaPlan {
        let entries = ids.into_iter().map(|id| QuotaEntry { id, ..QuotaEntry::default() }).collect();
        let mut plan =
            QuotaPlan { kind: QuotaType::User, block_grace: 1, inode_grace: 2, entries, blocks: Vec::new() };
        plan.number_blocks();
        plan
    }

    /// The expected numbers are from the file that tune2fs made for these owners.
    #[test]
    fn blocks_are_numbered_as_tune2fs_numbers_them() {
        let plan = plan([0, 1, 5, 256, 300, 70_000, 16_909_060]);
        assert_eq!((plan.blocks.len(), plan.block_with_room()), (12, 5));
        assert_eq!(plan.references(0, 0), [(0, 2), (1, 9)]);
        assert_eq!(plan.references(1, 0), [(0, 3), (1, 7)]);
        assert_eq!(plan.references(2, 0), [(0, 4), (1, 6)]);
        assert_eq!(plan.references(3, 0), [(0, 5), (1, 5), (5, 5)]);
        assert_eq!(plan.blocks[6], QuotaBlock::Tree(3, 3));
        assert_eq!(plan.references(3, 3), [(0, 5), (44, 5)]);
        assert_eq!(plan.blocks[9..], [1, 2, 3].map(|level| QuotaBlock::Tree(level, 6)));
        assert_eq!(plan.references(3, 6), [(4, 5)]);
    }

    #[test]
    fn data_blocks_are_filled_to_the_end() {
        let full = plan(0..14);
        assert_eq!((full.blocks.len(), full.block_with_room()), (6, 0));
        let more = plan(0..15);
        assert_eq!((more.blocks.len(), more.block_with_room()), (7, 6));
        assert_eq!(more.references(3, 0)[13..], [(13, 5), (14, 6)]);
        // The second data block was added before the third tree block.
        let far = plan((0..15).chain([256]));
        assert_eq!(far.blocks[6..], [QuotaBlock::Data(14), QuotaBlock::Tree(3, 15)]);
        assert_eq!(far.references(3, 15), [(0, 6)]);
    }

    #[test]
    fn a_file_without_ids_has_a_header_and_a_root() {
        let none = plan([]);
        assert_eq!((none.size(), none.block_with_room()), (2048, 0));
        assert_eq!(none.references(0, 0), []);
        let last = plan([u32::MAX]);
        assert_eq!(last.references(0, 0), [(255, 2)]);
    }
}
