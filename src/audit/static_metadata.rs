//! Computes the blocks of superblocks and group descriptors, as the format defines them.

use std::ops::Range;

use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::plan::Plan;
use crate::units::fits;

/// A copy of descriptor blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// The first block.
    pub start: u64,
    /// The number of blocks.
    pub count: u64,
    /// The index of the first block among all descriptor blocks.
    pub index: u64,
}

/// Static metadata whose block numbers depend only on the geometry.
#[derive(Debug)]
pub(super) struct StaticMetadata {
    /// The superblocks as pairs of group and block, ascending.
    pub superblocks: Vec<(u32, u64)>,
    /// The copies of descriptor blocks, ascending.
    pub descriptors: Vec<Descriptors>,
    /// The reserved descriptor blocks of each group with a superblock, ascending.
    pub reserved: Vec<Range<u64>>,
    /// Block 0, if it belongs to group 0 and contains only the boot sector.
    pub boot: Option<u64>,
}

impl StaticMetadata {
    /// Computes the blocks of superblocks and group descriptors from the geometry of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let geometry = &plan.geometry;
        let per_block = (geometry.block_size / geometry.descriptor_size) as u64;
        let all = u64::from(geometry.groups).div_ceil(per_block);
        let meta = geometry.features.has(Incompat::META_BG);
        // The number of descriptor blocks after each copy of the superblock.
        let old_style = if meta { geometry.first_meta_bg } else { all };
        let superblocks: Vec<_> = groups_with_superblock(geometry)
            .into_iter()
            .map(|group| (group, start_of(geometry, group)))
            .collect();
        let (mut descriptors, mut reserved) = (Vec::new(), Vec::new());
        for (group, block) in &superblocks {
            // With meta_bg, groups in meta groups have at most one descriptor block, which is added later.
            if !meta || u64::from(*group) / per_block < geometry.first_meta_bg {
                descriptors.push(Descriptors { start: block + 1, count: old_style, index: 0 });
                let end = block + 1 + old_style;
                reserved.push(end..end + geometry.reserved_gdt_blocks);
            }
        }
        for meta_group in if meta { geometry.first_meta_bg..all } else { 0..0 } {
            let mut members = vec![0, 1, per_block - 1];
            members.dedup();
            members.truncate(fits(per_block, "a block has at most 2^11 descriptors"));
            for group in members.into_iter().map(|member| meta_group * per_block + member) {
                if group < geometry.groups.into() {
                    let group: u32 = fits(group, "groups have numbers of 32 bits");
                    let copy = superblocks.binary_search_by_key(&group, |(group, _)| *group).is_ok();
                    let start = start_of(geometry, group) + u64::from(copy);
                    descriptors.push(Descriptors { start, count: 1, index: meta_group });
                }
            }
        }
        descriptors.retain(|copy| copy.count > 0);
        descriptors.sort_unstable_by_key(|copy| copy.start);
        reserved.retain(|range| !range.is_empty());
        let boot = (geometry.block_size == 1024 && geometry.first_data_block == 0).then_some(0);
        Self { superblocks, descriptors, reserved, boot }
    }

    /// Returns all block ranges of static metadata, including bitmaps and inode tables.
    pub(super) fn ranges(&self, plan: &Plan) -> Vec<Range<u64>> {
        let table = table_blocks(&plan.geometry);
        let heads = self.superblocks.iter().map(|(_, block)| *block..block + 1);
        let descriptors = self.descriptors.iter().map(|copy| copy.start..copy.start + copy.count);
        let groups = plan.groups.iter().flat_map(|places| {
            [(places.block_bitmap, 1), (places.inode_bitmap, 1), (places.inode_table, table)]
        });
        heads
            .chain(descriptors)
            .chain(self.reserved.iter().cloned())
            .chain(self.boot.map(|block| block..block + 1))
            .chain(groups.map(|(start, count)| start.0..start.0 + count))
            .collect()
    }
}

/// Returns the number of blocks of an inode table.
pub(super) fn table_blocks(geometry: &Geometry) -> u64 {
    (u64::from(geometry.inodes_per_group) * geometry.inode_size as u64).div_ceil(geometry.block_bytes())
}

/// Returns the block of a group that can contain a superblock. In group 0 it is the block at byte 1024.
fn start_of(geometry: &Geometry, group: u32) -> u64 {
    if group == 0 {
        1024 / geometry.block_bytes()
    } else {
        geometry.first_data_block + u64::from(group) * geometry.blocks_per_group
    }
}

/// Returns the groups with a superblock, ascending.
fn groups_with_superblock(geometry: &Geometry) -> Vec<u32> {
    let groups = u64::from(geometry.groups);
    let mut found: Vec<u64> = if geometry.features.has(Compat::SPARSE_SUPER2) {
        geometry.backup_groups.iter().map(|group| u64::from(*group)).chain([0]).collect()
    } else if geometry.features.has(RoCompat::SPARSE_SUPER) {
        let powers = |base: u64| {
            std::iter::successors(Some(base), move |power| Some(power * base))
                .take_while(move |power| *power < groups)
        };
        [0, 1].into_iter().chain(powers(3)).chain(powers(5)).chain(powers(7)).collect()
    } else {
        (0..groups).collect()
    };
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .filter(|group| *group < groups)
        .map(|group| fits(group, "groups have numbers of 32 bits"))
        .collect()
}
