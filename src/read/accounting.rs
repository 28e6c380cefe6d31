//! Comparing what the bitmaps and counts say with what was found: all of it is rebuilt.

use rayon::prelude::*;

use super::claims::Claimed;
use super::inode::ReadInode;
use crate::ondisk::bitmap;
use crate::ondisk::group_descriptor::INODE_UNINIT;
use crate::source::Source;
use crate::units::{GroupNr, InodeNr};

/// What of bitmaps and counts was wrong. Besides `inodes`, the `others` are in use, which are sorted.
pub fn compare(
    source: &Source<'_>,
    claims: Claimed<'_>,
    inodes: &[ReadInode],
    others: &[InodeNr],
) -> Vec<String> {
    let groups = 0..source.geometry.groups;
    let (blocks, inode_maps): (Vec<bool>, Vec<bool>) = groups
        .into_par_iter()
        .map(GroupNr)
        .map(|group| {
            (block_bitmap_differs(source, claims, group), inode_bitmap_differs(source, inodes, others, group))
        })
        .unzip();
    let mut warnings = Vec::new();
    for (what, wrong) in [("block", blocks), ("inode", inode_maps)] {
        let count = wrong.iter().filter(|wrong| **wrong).count();
        if count > 0 {
            warnings.push(format!("the {what} bitmaps of {count} groups were wrong; rebuilt"));
        }
    }
    warnings
}

fn block_bitmap_differs(source: &Source<'_>, claims: Claimed<'_>, group: GroupNr) -> bool {
    if !source.has_block_bitmap(group) {
        return false;
    }
    let blocks = source.geometry.group_blocks(group);
    let cluster = source.geometry.blocks_per_cluster;
    let stored = source.block(source.descriptors[group.0 as usize].block_bitmap()).unwrap_or_default();
    let mut expected = vec![0_u8; stored.len()];
    // A bit for each cluster, which is in use where any of its blocks is.
    let bit = |block: u64| usize::try_from((block - blocks.start) / cluster).unwrap_or(usize::MAX);
    for claim in claims.within(blocks.start, blocks.end) {
        bitmap::set(&mut expected, bit(claim.start)..bit(claim.end - 1) + 1);
    }
    differs(stored, &expected, bit(blocks.end - 1) + 1)
}

fn inode_bitmap_differs(
    source: &Source<'_>,
    inodes: &[ReadInode],
    others: &[InodeNr],
    group: GroupNr,
) -> bool {
    let geometry = &source.geometry;
    let descriptor = &source.descriptors[group.0 as usize];
    if source.checksums.covers_descriptors() && descriptor.bg_flags.get() & INODE_UNINIT != 0 {
        return false;
    }
    let stored = source.block(descriptor.inode_bitmap()).unwrap_or_default();
    let mut expected = vec![0_u8; stored.len()];
    let first = group.0 * geometry.inodes_per_group + 1;
    let numbers = first..first + geometry.inodes_per_group;
    let from = inodes.partition_point(|inode| inode.number.0 < first);
    let live = inodes[from..].iter().map(|inode| inode.number.0).take_while(|number| *number < numbers.end);
    let from = others.partition_point(|number| number.0 < first);
    let reserved = (1..geometry.first_inode.0)
        .chain(others[from..].iter().map(|number| number.0).take_while(|number| *number < numbers.end));
    for number in live.chain(reserved.filter(|number| numbers.contains(number))) {
        let bit = (number - first) as usize;
        bitmap::set(&mut expected, bit..bit + 1);
    }
    differs(stored, &expected, geometry.inodes_per_group as usize)
}

/// Whether the first bits of two bitmaps differ.
fn differs(one: &[u8], other: &[u8], bits: usize) -> bool {
    let (whole, rest) = (bits / 8, bits % 8);
    one[..whole] != other[..whole] || (rest > 0 && (one[whole] ^ other[whole]) & ((1 << rest) - 1) != 0)
}
