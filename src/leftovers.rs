//! Finds stale data in an image: bytes that are not zero, and belong neither to a live structure nor to the
//! tree.

use std::ops::Range;

use rayon::prelude::*;

use crate::bytes::is_zero;
use crate::ondisk::inode::Inode;
use crate::places::ContentPlaces;
use crate::ranges::push_joined;
use crate::read::{CheckedClaims, Reading};
use crate::recover::JournalPlace;
use crate::source::Source;
use crate::tree::{Kind, NodeId, Tree};
use crate::units::{BlockNr, GroupNr, InodeNr, fits};

/// Returns the total number of blocks in the ranges.
pub(crate) fn count(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Returns the unused blocks that are not zero, in order.
pub(crate) fn free_blocks(source: &Source<'_>, claims: CheckedClaims<'_>) -> Vec<Range<u64>> {
    let geometry = &source.geometry;
    let groups: Vec<_> = (0..geometry.groups)
        .into_par_iter()
        .map(|group| {
            let blocks = geometry.group_blocks(GroupNr(group));
            let (mut stale, mut next) = (Vec::new(), blocks.start);
            for claim in claims.within(blocks.start, blocks.end) {
                add_set_blocks(source, next..claim.start, &mut stale);
                next = claim.end;
            }
            add_set_blocks(source, next..blocks.end, &mut stale);
            stale
        })
        .collect();
    groups.concat()
}

/// Adds the blocks of a range that are not zero.
fn add_set_blocks(source: &Source<'_>, blocks: Range<u64>, found: &mut Vec<Range<u64>>) {
    if blocks.is_empty() {
        // Most claims are adjacent, so an empty range between two claims is the common case.
        return;
    }
    for block in source.stored(blocks).into_iter().flatten() {
        if is_zero(source.checked_block(BlockNr(block))) {
            continue;
        }
        push_joined(found, block..block + 1);
    }
}

/// Returns the journal blocks that are not zero, except the block with the journal superblock.
pub(crate) fn journal_blocks(source: &Source<'_>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    // A journal that can't be read was refused earlier.
    let Ok(Some(JournalPlace::Inside(file))) = JournalPlace::of(source) else { return found };
    for run in &file.map.runs {
        let blocks = run.blocks();
        let start = blocks.start + u64::from(run.logical == 0);
        add_set_blocks(source, start..blocks.end, &mut found);
    }
    found
}

/// Returns the unused inodes that are not zero, except reserved inodes, in order.
pub(crate) fn unused_inodes(source: &Source<'_>) -> Vec<InodeNr> {
    let geometry = &source.geometry;
    let groups: Vec<Vec<InodeNr>> =
        (0..geometry.groups).into_par_iter().map(|group| unused_in_group(source, GroupNr(group))).collect();
    groups.concat()
}

fn unused_in_group(source: &Source<'_>, group: GroupNr) -> Vec<InodeNr> {
    let geometry = &source.geometry;
    let start = source.descriptors[group.0 as usize].inode_table().0;
    let per_block = (geometry.block_size / geometry.inode_size) as u64;
    let in_use = source.inodes_in_use(group);
    let mut found = Vec::new();
    for block in source.stored(start..start + geometry.inode_table_blocks()).into_iter().flatten() {
        let bytes = source.checked_block(BlockNr(block));
        let first = (block - start) * per_block;
        for (index, bytes) in (first..).zip(bytes.chunks_exact(geometry.inode_size)) {
            let index: u32 = fits(index, "a table has fewer than 2^32 inodes");
            let number = InodeNr(group.0 * geometry.inodes_per_group + index + 1);
            let live = index < in_use && Inode::decode(bytes).i_links_count.get() > 0;
            let ordinary = index < geometry.inodes_per_group && number >= geometry.first_inode;
            if ordinary && !live && !is_zero(bytes) {
                found.push(number);
            }
        }
    }
    found
}

/// Returns the regular files with bytes other than zero between the end of the file and the end of its last
/// block. Skips files with opaque blocks.
pub(crate) fn files_with_slack(source: &Source<'_>, tree: &Tree) -> Vec<NodeId> {
    let size = source.geometry.block_bytes();
    let has_slack = |id: &NodeId| {
        let node = tree.node(*id);
        let Kind::Regular { size: bytes, .. } = node.kind else { return false };
        if bytes % size == 0 || node.opaque_from(source.geometry.block_size).is_some() {
            return false;
        }
        let Some(run) =
            tree.runs_of(*id).last().filter(|run| !run.unwritten() && run.end() == bytes.div_ceil(size))
        else {
            return false;
        };
        let block = source.checked_block(BlockNr(run.blocks().end - 1));
        let start: usize = fits(bytes % size, "it is less than a block");
        !is_zero(&block[start..])
    };
    tree.ids().collect::<Vec<_>>().into_par_iter().with_min_len(256).filter(has_slack).collect()
}

/// Returns the symlinks whose block has bytes other than zero after the target.
pub(crate) fn symlinks_with_slack(
    source: &Source<'_>,
    reading: &Reading,
    places: &ContentPlaces,
) -> Vec<NodeId> {
    let Reading { tree, inodes, .. } = reading;
    let has_slack = |id: &NodeId| {
        let Kind::Symlink(target) = tree.node(*id).kind else { return false };
        let [extent] = places.of_inode(inodes[id.index()])[..] else { return false };
        // A target in a block is shorter than the block.
        !is_zero(&source.checked_block(BlockNr(extent.place().0))[tree.text(target).len()..])
    };
    tree.ids().collect::<Vec<_>>().into_par_iter().with_min_len(256).filter(has_slack).collect()
}
