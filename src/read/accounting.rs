//! Comparing what the bitmaps say with what was found: all of it is rebuilt.

use rayon::prelude::*;

use super::claims::Claimed;
use super::inode::ReadInode;
use crate::ondisk::bitmap;
use crate::source::Source;
use crate::units::{GroupNr, InodeNr};

/// What is in use, by the inodes themselves.
#[derive(Clone, Copy, Debug)]
pub struct InUse<'s> {
    /// Blocks of live inodes and of static metadata.
    pub blocks: Claimed<'s>,
    /// Blocks of orphans without links.
    pub orphan_blocks: Claimed<'s>,
    /// Live inodes that names lead to.
    pub inodes: &'s [ReadInode],
    /// All other inodes but the reserved ones, sorted.
    pub others: &'s [InodeNr],
}

/// What is wrong with the bitmaps of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Wrong {
    /// The bits of the block bitmap, and of the inode bitmap.
    bits: [bool; 2],
    /// Their checksums.
    checksums: [bool; 2],
}

/// Compares the bitmaps and their checksums with what is in use; returns warnings.
pub fn compare(source: &Source<'_>, in_use: InUse<'_>) -> Vec<String> {
    let wrong: Vec<Wrong> = (0..source.geometry.groups)
        .into_par_iter()
        .map(GroupNr)
        .map(|group| Wrong {
            bits: [block_bitmap_differs(source, in_use, group), inode_bitmap_differs(source, in_use, group)],
            checksums: wrong_checksums(source, group),
        })
        .collect();
    // Only the log itself, which fast commits follow, holds bitmaps.
    let fast = &source.fast_commits().inodes;
    let reason = if fast.is_empty() { "" } else { ", as fast commits leave them" };
    let mut warnings = Vec::new();
    for (index, what) in ["block", "inode"].into_iter().enumerate() {
        let bits = wrong.iter().filter(|group| group.bits[index]).count();
        if bits > 0 {
            warnings.push(format!("the {what} bitmaps of {bits} groups were wrong{reason}; rebuilt"));
        }
        let checksums = wrong.iter().filter(|group| group.checksums[index]).count();
        if checksums > 0 {
            warnings.push(format!(
                "the checksums of the {what} bitmaps of {checksums} groups were wrong; recomputed"
            ));
        }
    }
    warnings
}

/// Whether the checksums of the block bitmap and of the inode bitmap are wrong.
fn wrong_checksums(source: &Source<'_>, group: GroupNr) -> [bool; 2] {
    let geometry = &source.geometry;
    let descriptor = &source.descriptors[group.0 as usize];
    // Descriptors of 32 bytes have room for the low half.
    let kept = if geometry.is_64bit() { u32::MAX } else { u16::MAX.into() };
    let clusters = geometry.blocks_per_group / geometry.blocks_per_cluster;
    let differs = |block, bits: u64, stored: u32| {
        let bitmap = source.checked_block(block);
        let live = usize::try_from(bits / 8).ok().and_then(|bytes| bitmap.get(..bytes));
        let expected = live.and_then(|live| source.checksums.bitmap(live));
        expected.is_some_and(|expected| (expected ^ stored) & kept != 0)
    };
    let inodes = descriptor.inode_bitmap();
    [
        source.has_block_bitmap(group)
            && differs(descriptor.block_bitmap(), clusters, descriptor.block_bitmap_csum()),
        source.has_inode_bitmap(group)
            && differs(inodes, geometry.inodes_per_group.into(), descriptor.inode_bitmap_csum()),
    ]
}

fn block_bitmap_differs(source: &Source<'_>, in_use: InUse<'_>, group: GroupNr) -> bool {
    if !source.has_block_bitmap(group) {
        return false;
    }
    let blocks = source.geometry.group_blocks(group);
    let cluster = source.geometry.blocks_per_cluster;
    let stored = source.checked_block(source.descriptors[group.0 as usize].block_bitmap());
    let mut expected = vec![0_u8; stored.len()];
    // A bit for each cluster, which is in use where any of its blocks is.
    let bit = |block: u64| {
        usize::try_from((block - blocks.start) / cluster).expect("fits: a group has at most 2^32 blocks")
    };
    let live = in_use.blocks.within(blocks.start, blocks.end);
    for claim in live.chain(in_use.orphan_blocks.within(blocks.start, blocks.end)) {
        bitmap::set(&mut expected, bit(claim.start)..bit(claim.end - 1) + 1);
    }
    differs(stored, &expected, bit(blocks.end - 1) + 1)
}

fn inode_bitmap_differs(source: &Source<'_>, in_use: InUse<'_>, group: GroupNr) -> bool {
    if !source.has_inode_bitmap(group) {
        return false;
    }
    let InUse { inodes, others, .. } = in_use;
    let geometry = &source.geometry;
    let descriptor = &source.descriptors[group.0 as usize];
    let stored = source.checked_block(descriptor.inode_bitmap());
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
