//! Rendering bitmaps and group descriptors.

use rayon::prelude::*;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use crate::ondisk::bitmap;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::group_descriptor::{BLOCK_UNINIT, GroupDescriptor, INODE_UNINIT, INODE_ZEROED, WIDE_SIZE};
use crate::plan::Plan;
use crate::tree::Tree;
use crate::units::GroupNr;

impl Plan {
    /// Sets the bits of a group's inodes in use, and of those that no group has, in a bitmap of
    /// zeros.
    pub(super) fn fill_inode_bitmap(&self, group: GroupNr, out: &mut [u8]) {
        for used in self.numbering.used_in(group) {
            bitmap::set(out, used.start as usize..used.end as usize);
        }
        bitmap::set(out, self.geometry.inodes_per_group as usize..out.len() * 8);
    }
}

/// Renders all group descriptors, with the checksums of the bitmaps that they describe.
pub fn descriptors(plan: &Plan, tree: &Tree, checksums: &Checksums) -> Vec<u8> {
    let size = plan.geometry.descriptor_size;
    let directories = directories_per_group(plan, tree);
    let mut all = vec![0; size * plan.geometry.groups as usize];
    all.par_chunks_mut(size).enumerate().with_min_len(16).for_each_init(
        || vec![0_u8; plan.geometry.block_size],
        |scratch, (index, out)| {
            let group = GroupNr(u32::try_from(index).unwrap_or(u32::MAX));
            let mut descriptor = descriptor(plan, checksums, group, directories[index], scratch);
            let length = size.min(WIDE_SIZE);
            out[..length].copy_from_slice(&descriptor.as_bytes()[..length]);
            if let Some(checksum) = checksums.group_descriptor(group, out) {
                descriptor.bg_checksum = U16::new(checksum);
                out[..length].copy_from_slice(&descriptor.as_bytes()[..length]);
            }
        },
    );
    all
}

fn directories_per_group(plan: &Plan, tree: &Tree) -> Vec<u32> {
    let mut directories = vec![0; plan.geometry.groups as usize];
    for id in tree.ids().filter(|id| tree.node(*id).kind.is_directory()) {
        let (group, _) = plan.geometry.place_of_inode(plan.numbering.number_of(id));
        directories[group.0 as usize] += 1;
    }
    directories
}

fn descriptor(
    plan: &Plan,
    checksums: &Checksums,
    group: GroupNr,
    directories: u32,
    scratch: &mut [u8],
) -> GroupDescriptor {
    let geometry = &plan.geometry;
    let places = plan.groups[group.0 as usize];
    // The number of inodes in use, and the end of the last of them.
    let (used, end) = plan
        .numbering
        .used_in(group)
        .fold((0, 0), |(used, _), range| (used + (range.end - range.start), range.end));
    let mut descriptor = GroupDescriptor::decode(&[0; WIDE_SIZE]);
    descriptor.set_places(places.block_bitmap, places.inode_bitmap, places.inode_table);
    // A group has at most 2^19 clusters.
    let free = u32::try_from(plan.free_in_group(group)).unwrap_or(u32::MAX);
    descriptor.set_counts(free, geometry.inodes_per_group - used, directories);
    if !checksums.covers_descriptors() {
        return descriptor;
    }
    let mut flags = INODE_ZEROED;
    let (mut block_sum, mut inode_sum) = (0, 0);
    if plan.is_block_uninit(group) {
        flags |= BLOCK_UNINIT;
    } else {
        scratch.fill(0);
        plan.fill_block_bitmap(group, scratch);
        let live = usize::try_from(geometry.clusters_per_group() / 8).unwrap_or(usize::MAX);
        block_sum = checksums.bitmap(&scratch[..live]).unwrap_or(0);
    }
    if used == 0 {
        flags |= INODE_UNINIT;
    } else {
        scratch.fill(0);
        plan.fill_inode_bitmap(group, scratch);
        inode_sum = checksums.bitmap(&scratch[..geometry.inodes_per_group as usize / 8]).unwrap_or(0);
    }
    descriptor.bg_flags = U16::new(flags);
    descriptor.set_itable_unused(geometry.inodes_per_group - end);
    descriptor.set_bitmap_csums(block_sum, inode_sum, geometry.is_64bit());
    descriptor
}
