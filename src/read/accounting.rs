//! Compares bitmaps, counts and checksums with the blocks and inodes in use. The output gets recomputed
//! values, so differences are only warnings.

use std::collections::BTreeSet;
use std::ops::Range;

use rayon::prelude::*;

use super::claims::CheckedClaims;
use super::inodes::ReadInode;
use crate::bytes::is_zero;
use crate::map::DecodedInode;
use crate::ondisk::bitmap;
use crate::ondisk::features::{Compat, Incompat};
use crate::ondisk::inode::{Inode, S_IFREG};
use crate::ondisk::le32;
use crate::source::Source;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// The blocks and inodes in use, according to the inode tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct InUse<'s> {
    /// Blocks of live inodes and of static metadata.
    pub blocks: CheckedClaims<'s>,
    /// Blocks of orphans without links.
    pub orphan_blocks: CheckedClaims<'s>,
    /// Live inodes of the tree.
    pub inodes: &'s [ReadInode],
    /// The special inodes, EA inodes and orphans without links, sorted. Not all reserved inodes are among
    /// them.
    pub others: &'s [InodeNr],
    /// Inodes in bad blocks, as sorted ranges of numbers. e2fsck marks them as in use.
    pub bad: &'s [Range<u32>],
    /// The orphans without links that are directories.
    pub orphan_directories: &'s BTreeSet<InodeNr>,
}

/// The errors in the bitmaps and the descriptor of a group.
#[derive(Clone, Copy, Debug, Default)]
struct GroupErrors {
    /// Whether the block bitmap and the inode bitmap are wrong.
    bits: [bool; 2],
    /// Whether the checksums of the two bitmaps are wrong.
    checksums: [bool; 2],
    /// Whether the counts of free clusters, free inodes and directories are wrong.
    counts: [bool; 3],
    /// The correct numbers of free clusters and free inodes.
    free: [u64; 2],
}

/// Compares bitmaps, counts and checksums with the blocks and inodes in use, and returns warnings.
pub(super) fn compare(source: &Source<'_>, in_use: InUse<'_>) -> Vec<String> {
    let wrong: Vec<GroupErrors> = (0..source.geometry.groups)
        .into_par_iter()
        .map(GroupNr)
        .map(|group| {
            let (block_bits, clusters) = compare_blocks(source, in_use, group);
            let (inode_bits, inodes, directories) = compare_inodes(source, in_use, group);
            let descriptor = &source.descriptors[group.0 as usize];
            GroupErrors {
                bits: [block_bits, inode_bits],
                checksums: wrong_checksums(source, group),
                counts: [
                    count_differs(source, descriptor.free_blocks_count(), clusters),
                    count_differs(source, descriptor.free_inodes_count(), inodes),
                    directories,
                ],
                free: [clusters as u64, inodes as u64],
            }
        })
        .collect();
    // Fast commits contain neither bitmaps nor descriptors, so bitmaps and descriptors are out of date after
    // a fast commit.
    let fast = &source.fast_commits().inodes;
    let reason = if fast.is_empty() { "" } else { ", since fast commits do not update them" };
    let count =
        |is_wrong: &dyn Fn(&GroupErrors) -> bool| wrong.iter().filter(|group| is_wrong(group)).count();
    let mut warnings = Vec::new();
    for (index, what) in ["block", "inode"].into_iter().enumerate() {
        let groups = count(&|group| group.bits[index]);
        if groups > 0 {
            warnings.push(format!("the {what} bitmaps of {groups} groups were wrong{reason}; rebuilt"));
        }
        let groups = count(&|group| group.checksums[index]);
        if groups > 0 {
            warnings.push(format!(
                "the checksums of the {what} bitmaps of {groups} groups were wrong; recomputed"
            ));
        }
    }
    for (index, what) in ["free blocks", "free inodes", "directories"].into_iter().enumerate() {
        let groups = count(&|group| group.counts[index]);
        if groups > 0 {
            warnings.push(format!("the counts of {what} of {groups} groups were wrong{reason}; recomputed"));
        }
    }
    let free = |index: usize| wrong.iter().map(|group| group.free[index]).sum();
    warnings.extend(superblock_counts(source, free(0), free(1)));
    warnings.extend(resize_inode_size(source));
    warnings.extend(resize_inode_map(source));
    warnings.extend(reserved_checksums(source));
    warnings
}

/// Compares the counts of free clusters and inodes in the superblock. Kernels update them only on unmount, so
/// they are ignored if the journal needed recovery.
fn superblock_counts(source: &Source<'_>, clusters: u64, inodes: u64) -> Vec<String> {
    if source.features().has(Incompat::NEEDS_RECOVERY) {
        return Vec::new();
    }
    let superblock = &source.superblock;
    let counts = [
        ("blocks", superblock.free_blocks_count(), clusters * source.geometry.blocks_per_cluster),
        ("inodes", superblock.s_free_inodes_count.get().into(), inodes),
    ];
    let wrong = counts.into_iter().filter(|(_, stored, found)| stored != found);
    let words = wrong.map(|(what, stored, found)| {
        format!("the count of free {what} in the superblock was {stored}, expected {found}; recomputed")
    });
    words.collect()
}

/// Compares the map of the resize inode with the expected map. The double indirect block points to the
/// reserved GDT blocks, and each reserved GDT block points to its backups.
fn resize_inode_map(source: &Source<'_>) -> Option<String> {
    let geometry = &source.geometry;
    if !source.features().has(Compat::RESIZE_INODE) {
        return None;
    }
    let inode = Inode::decode(source.inode(InodeNr::RESIZE)?);
    let pointer = |bytes: &[u8], slot: u64| le32(bytes, usize::try_from(slot).ok()? * 4).map(u64::from);
    let block = |number: u64| source.block(BlockNr(number)).filter(|_| number != 0);
    let (pointers, first) = (geometry.pointers_per_block(), geometry.descriptor_blocks());
    let (start, count) = geometry.group_head(GroupNr(0)).reserved.unwrap_or((0, 0));
    let groups = (1..geometry.groups).filter(|group| geometry.has_superblock(GroupNr(*group)));
    let backups: Vec<u64> = groups.map(u64::from).collect();
    let names_backups = |reserved: u64| {
        let bytes = block(reserved)?;
        let names = (0..)
            .zip(&backups)
            .all(|(slot, group)| pointer(bytes, slot) == Some(reserved + group * geometry.blocks_per_group));
        names.then_some(())
    };
    let is_right = || {
        let double = block(pointer(&inode.i_block, 13)?)?;
        for index in 0..count {
            let named = pointer(double, (first + index) % pointers)?;
            (named == start + index).then_some(())?;
            names_backups(named)?;
        }
        (inode.format() == S_IFREG).then_some(())
    };
    is_right().is_none().then(|| "the map of the resize inode was wrong; rebuilt".to_owned())
}

/// Compares the size of the resize inode with the expected size.
fn resize_inode_size(source: &Source<'_>) -> Option<String> {
    if !source.features().has(Compat::RESIZE_INODE) {
        return None;
    }
    let size = Inode::decode(source.inode(InodeNr::RESIZE)?).size();
    let expected = source.geometry.resize_inode_size();
    (size != expected)
        .then(|| format!("the size of the resize inode was {size}, expected {expected}; recomputed"))
}

/// Compares `i_blocks` of the resize inode with the expected value, and returns a warning for all inodes outside
/// the tree. `wrong` is the number of other such inodes with a wrong `i_blocks`.
pub(super) fn blocks_outside(source: &Source<'_>, wrong: usize) -> Option<String> {
    let count = wrong + usize::from(resize_inode_blocks(source).unwrap_or(false));
    (count > 0).then(|| format!("{count} inodes outside the tree had a wrong i_blocks; rebuilt"))
}

/// Returns whether `i_blocks` of the resize inode is wrong; `None` without a resize inode.
fn resize_inode_blocks(source: &Source<'_>) -> Option<bool> {
    let geometry = &source.geometry;
    let bytes = source.features().has(Compat::RESIZE_INODE).then(|| source.inode(InodeNr::RESIZE))??;
    let (_, reserved) = geometry.group_head(GroupNr(0)).reserved.unwrap_or((0, 0));
    let groups = (0..geometry.groups).filter(|group| geometry.has_superblock(GroupNr(*group))).count();
    // As in e2fsck, each block counts as a cluster.
    let clusters = 1 + reserved * groups as u64;
    let expected = clusters * geometry.blocks_per_cluster * geometry.block_bytes() / 512;
    Some(DecodedInode::new(InodeNr::RESIZE, bytes).sectors(source) != expected)
}

/// Checks the checksums of reserved inodes that are not in use. e2fsck accepts an inode of zeros.
fn reserved_checksums(source: &Source<'_>) -> Option<String> {
    let reserved = (1..source.geometry.first_inode.0).map(InodeNr);
    let unused = reserved.filter_map(|number| Some((number, source.inode_slot(number)?)));
    let wrong = unused.filter(|(number, bytes)| {
        let inode = DecodedInode::new(*number, bytes);
        inode.fields.i_links_count.get() == 0 && !is_zero(bytes) && inode.check_checksum(source).is_err()
    });
    let count = wrong.count();
    (count > 0).then(|| format!("the checksums of {count} reserved inodes not in use were wrong; recomputed"))
}

/// Returns whether the checksums of the block bitmap and of the inode bitmap are wrong.
fn wrong_checksums(source: &Source<'_>, group: GroupNr) -> [bool; 2] {
    let geometry = &source.geometry;
    let descriptor = &source.descriptors[group.0 as usize];
    // Descriptors of 32 bytes store only the low 16 bits.
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

/// Returns whether the block bitmap of a group is wrong, and the number of free clusters.
fn compare_blocks(source: &Source<'_>, in_use: InUse<'_>, group: GroupNr) -> (bool, usize) {
    let blocks = source.geometry.group_blocks(group);
    let cluster = source.geometry.blocks_per_cluster;
    let descriptor = &source.descriptors[group.0 as usize];
    // There is a bit for each cluster. It is set if any block of the cluster is in use.
    let bit = |block: u64| {
        usize::try_from((block - blocks.start) / cluster).expect("fits: a group has at most 2^32 blocks")
    };
    let bits = bit(blocks.end - 1) + 1;
    let live = in_use.blocks.within(blocks.start, blocks.end);
    let all = live.chain(in_use.orphan_blocks.within(blocks.start, blocks.end));
    let clusters = all.map(|claim| bit(claim.start)..bit(claim.end - 1) + 1);
    if !source.has_block_bitmap(group) {
        // There is no bitmap to compare. Claims are sorted and only neighbours share clusters, so the used
        // clusters can be counted without a bitmap.
        let (mut used, mut next) = (0, 0);
        for range in clusters {
            used += range.end.saturating_sub(range.start.max(next));
            next = next.max(range.end);
        }
        return (false, bits - used);
    }
    let stored = source.checked_block(descriptor.block_bitmap());
    let mut expected = vec![0_u8; stored.len()];
    clusters.for_each(|range| bitmap::set(&mut expected, range));
    let used: usize = expected.iter().map(|byte| byte.count_ones() as usize).sum();
    (differs(stored, &expected, bits) || !is_padded(stored, bits), bits - used)
}

/// Returns whether the inode bitmap of a group is wrong, the number of free inodes, and whether the count of
/// directories is wrong.
fn compare_inodes(source: &Source<'_>, in_use: InUse<'_>, group: GroupNr) -> (bool, usize, bool) {
    let InUse { inodes, others, bad, orphan_directories, .. } = in_use;
    let geometry = &source.geometry;
    let descriptor = &source.descriptors[group.0 as usize];
    if !source.has_inode_bitmap(group) {
        // The group has no inode in use.
        let free = geometry.inodes_per_group as usize;
        return (false, free, count_differs(source, descriptor.used_dirs_count(), 0));
    }
    let first = group.0 * geometry.inodes_per_group + 1;
    let numbers = first..first + geometry.inodes_per_group;
    let from = inodes.partition_point(|inode| inode.number.0 < first);
    let live = inodes[from..].iter().take_while(|inode| inode.number.0 < numbers.end);
    let from = others.partition_point(|number| number.0 < first);
    let others = others[from..].iter().map(|number| number.0).take_while(|number| *number < numbers.end);
    let mut expected = vec![0_u8; geometry.inodes_per_group.div_ceil(8) as usize];
    // Descriptors count a directory until it is freed.
    let mut directories = orphan_directories.range(InodeNr(numbers.start)..InodeNr(numbers.end)).count();
    let mut mark = |number: u32| {
        let bit = (number - first) as usize;
        bitmap::set(&mut expected, bit..bit + 1);
    };
    for inode in live {
        directories += usize::from(inode.is_directory());
        mark(inode.number.0);
    }
    others.for_each(&mut mark);
    let from = bad.partition_point(|range| range.start < first);
    let bad = bad[from..].iter().take_while(|range| range.start < numbers.end);
    bad.cloned().flatten().for_each(&mut mark);
    (1..geometry.first_inode.0).filter(|number| numbers.contains(number)).for_each(mark);
    let bits = geometry.inodes_per_group as usize;
    let used: usize = expected.iter().map(|byte| byte.count_ones() as usize).sum();
    let bitmap = source.checked_block(descriptor.inode_bitmap());
    let differs = differs(bitmap, &expected, bits) || !is_padded(bitmap, bits);
    (differs, bits - used, count_differs(source, descriptor.used_dirs_count(), directories))
}

/// Returns whether a count of a descriptor is wrong. Descriptors of 32 bytes store only the low 16 bits.
fn count_differs(source: &Source<'_>, stored: u32, expected: usize) -> bool {
    let kept = if source.geometry.is_64bit() { u32::MAX } else { u16::MAX.into() };
    let expected = u32::try_from(expected).expect("fits: a group has at most 2^19 clusters and inodes");
    (stored ^ expected) & kept != 0
}

/// Returns whether all bits after the first `bits` are set, as e2fsck requires.
fn is_padded(bitmap: &[u8], bits: usize) -> bool {
    let (whole, rest) = (bits / 8, bits % 8);
    let padding = &bitmap[bits.div_ceil(8)..];
    padding.iter().all(|byte| *byte == 0xFF) && (rest == 0 || bitmap[whole] >> rest == 0xFF >> rest)
}

/// Returns whether the first `bits` bits of two bitmaps differ.
fn differs(one: &[u8], other: &[u8], bits: usize) -> bool {
    let (whole, rest) = (bits / 8, bits % 8);
    one[..whole] != other[..whole] || (rest > 0 && (one[whole] ^ other[whole]) & ((1 << rest) - 1) != 0)
}
