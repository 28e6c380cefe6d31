//! Computes the number of extent tree nodes on each level, and the indirect blocks of block maps.

use super::extent::Extent;
use crate::geometry::Geometry;
use crate::ondisk::extent::{self, ROOT_MAX};
use crate::ondisk::indirect::DIRECT;

/// Returns the number of extent tree nodes on each level below the root, from the top.
///
/// The tree is as shallow as possible, and all nodes are full except the last node of each level.
pub(crate) fn extent_levels(extents: usize, block_size: usize) -> Vec<usize> {
    let per_block = usize::from(extent::entries_per_block(block_size));
    let mut levels = Vec::new();
    let mut entries = extents;
    while entries > usize::from(ROOT_MAX) {
        entries = entries.div_ceil(per_block);
        levels.insert(0, entries);
    }
    levels
}

/// An indirect block of a block map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndirectBlock {
    /// The first logical block that the indirect block covers.
    pub first: u64,
    /// The number of levels below this block; 0 if it points to data blocks. The order is reversed, so that
    /// parents sort before their children.
    depth_order: std::cmp::Reverse<u32>,
}

impl IndirectBlock {
    /// Returns the number of levels below this block; 0 if it points to data blocks.
    pub(crate) fn below(&self) -> u32 {
        self.depth_order.0
    }
}

/// Returns the indirect blocks of a file in logical order. Each block comes before the blocks that it points
/// to.
pub(crate) fn indirect_blocks(extents: &[Extent], pointers: u64) -> Vec<IndirectBlock> {
    let mut blocks: Vec<IndirectBlock> = Vec::new();
    for extent in extents {
        let end = extent.end();
        let mut logical = u64::from(extent.logical).max(DIRECT);
        while logical < end {
            let (root, depth) = indirect_root(logical, pointers);
            for below in (0..=depth).rev() {
                let span = pointers.pow(below + 1);
                let first = root + (logical - root) / span * span;
                let block = IndirectBlock { first, depth_order: std::cmp::Reverse(below) };
                // Indirect blocks that this extent shares with an earlier extent are among the last ones
                // added.
                let known = blocks.iter().rev().take(4).any(|known| *known == block);
                if !known && blocks.binary_search(&block).is_err() {
                    blocks.push(block);
                }
            }
            logical = root + ((logical - root) / pointers + 1) * pointers;
        }
    }
    blocks
}

/// Returns the first logical block of the indirect tree that contains a logical block, and the number of
/// levels below its root.
pub(crate) fn indirect_root(logical: u64, pointers: u64) -> (u64, u32) {
    let mut first = DIRECT;
    for below in 0..2 {
        let next = first + pointers.pow(below + 1);
        if logical < next {
            return (first, below);
        }
        first = next;
    }
    (first, 2)
}

/// Returns the number of a file's extent tree nodes or indirect blocks.
pub(super) fn map_nodes(extents: &[Extent], geometry: &Geometry, with_extents: bool) -> u64 {
    if with_extents {
        extent_levels(extents.len(), geometry.block_size).iter().sum::<usize>() as u64
    } else {
        indirect_blocks(extents, geometry.pointers_per_block()).len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::OutputBlock;

    fn one(logical: u32, count: u32) -> Extent {
        Extent::new(logical, count, OutputBlock(1000), false)
    }

    #[test]
    fn extent_trees_are_as_shallow_as_they_can_be() {
        assert_eq!(extent_levels(4, 1024), []);
        assert_eq!(extent_levels(5, 1024), [1]);
        assert_eq!(extent_levels(84 * 4, 1024), [4]);
        assert_eq!(extent_levels(84 * 4 + 1, 1024), [1, 5]);
    }

    #[test]
    fn indirect_blocks_come_before_what_they_lead_to() {
        let of = |extents: &[Extent]| {
            indirect_blocks(extents, 256).iter().map(|block| (block.first, block.below())).collect::<Vec<_>>()
        };
        assert_eq!(of(&[one(0, 12)]), []);
        assert_eq!(of(&[one(11, 2)]), [(12, 0)]);
        assert_eq!(of(&[one(0, 300)]), [(12, 0), (268, 1), (268, 0)]);
        assert_eq!(of(&[one(600, 1), one(700, 1)]), [(268, 1), (524, 0)]);
        // 12 + 256 + 65536 is the first block of the triple indirect tree.
        assert_eq!(of(&[one(65_804, 1)]), [(65_804, 2), (65_804, 1), (65_804, 0)]);
    }
}
