//! Renders bitmaps and group descriptors.

use rayon::prelude::*;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use crate::ondisk::bitmap;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::group_descriptor::{GroupDescriptor, WIDE_SIZE};
use crate::plan::Plan;
use crate::units::GroupNr;

impl Plan {
    /// Fills the inode bitmap of a group. `out` must be zero. Sets the bits of used inodes, and the bits
    /// after the last inode of the group.
    pub(super) fn fill_inode_bitmap(&self, group: GroupNr, out: &mut [u8]) {
        for used in self.numbering.used_in(group) {
            bitmap::set(out, used.start as usize..used.end as usize);
        }
        bitmap::set(out, self.geometry.inodes_per_group as usize..out.len() * 8);
    }
}

/// Renders all group descriptors, including the checksums of the bitmaps.
pub(super) fn descriptors(plan: &Plan, checksums: &Checksums) -> Vec<u8> {
    let size = plan.geometry.descriptor_size;
    let mut all = vec![0; size * plan.geometry.groups as usize];
    let groups = (0..plan.geometry.groups).into_par_iter().map(GroupNr);
    all.par_chunks_mut(size).zip(groups).with_min_len(16).for_each_init(
        || vec![0_u8; plan.geometry.block_size],
        |scratch, (out, group)| {
            let mut descriptor = descriptor(plan, checksums, group, scratch);
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

fn descriptor(plan: &Plan, checksums: &Checksums, group: GroupNr, scratch: &mut [u8]) -> GroupDescriptor {
    let geometry = &plan.geometry;
    let (places, counts) = (plan.groups[group.0 as usize], plan.counts[group.0 as usize]);
    let mut descriptor = GroupDescriptor::decode(&[0; WIDE_SIZE]);
    descriptor.set_places(places.block_bitmap, places.inode_bitmap, places.inode_table);
    descriptor.set_counts(counts.free_clusters, counts.free_inodes, counts.directories);
    descriptor.bg_flags = U16::new(counts.flags);
    descriptor.set_itable_unused(counts.unused_inodes);
    let (mut block_sum, mut inode_sum) = (0, 0);
    if checksums.covers_descriptors() && !counts.is_block_uninit() {
        scratch.fill(0);
        plan.fill_block_bitmap(group, scratch);
        let live = usize::try_from(geometry.clusters_per_group() / 8).expect("a bitmap has one block");
        block_sum = checksums.bitmap(&scratch[..live]).unwrap_or(0);
    }
    if checksums.covers_descriptors() && !counts.is_inode_uninit() {
        scratch.fill(0);
        plan.fill_inode_bitmap(group, scratch);
        inode_sum = checksums.bitmap(&scratch[..geometry.inodes_per_group as usize / 8]).unwrap_or(0);
    }
    descriptor.set_bitmap_csums(block_sum, inode_sum, geometry.is_64bit());
    descriptor
}
