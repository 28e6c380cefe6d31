//! Checks that the extents or the block map of a file cover its content, and refer to blocks inside the
//! filesystem.

use std::ops::Range;

use super::contradiction::{ensure, wrong};
use crate::error::Result;
use crate::plan::{FileLayout, Plan};
use crate::ranges::push_joined;

/// Ranges of clusters in use. Adjacent ranges are joined, so that a dense layout has few ranges.
#[derive(Debug, Default)]
pub(super) struct ClusterClaims(pub Vec<Range<u64>>);

impl ClusterClaims {
    /// Adds clusters with a single owner.
    pub(super) fn add(&mut self, clusters: Range<u64>) {
        push_joined(&mut self.0, clusters);
    }
}

/// A range of logical blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogicalBlocks {
    /// The first logical block.
    pub start: u64,
    /// The logical block after the last one.
    pub end: u64,
    /// Whether the blocks are allocated, but unwritten.
    pub unwritten: bool,
}

impl LogicalBlocks {
    /// Returns the first `count` blocks of a file as written blocks.
    pub(super) fn dense(count: u64) -> impl Iterator<Item = Self> {
        std::iter::once(Self { start: 0, end: count, unwritten: false }).filter(|blocks| blocks.end > 0)
    }
}

/// Checks a file with the given content, and claims its clusters. Returns the number of claimed clusters.
pub(super) fn check(
    plan: &Plan,
    file: FileLayout,
    content: impl Iterator<Item = LogicalBlocks>,
    claims: &mut ClusterClaims,
) -> Result<u64> {
    let cluster = plan.geometry.blocks_per_cluster;
    covers(plan, file, content)?;
    let mut clusters = 0;
    // The last logical cluster, and the physical cluster that stores it.
    let mut last: Option<(u64, u64)> = None;
    for extent in plan.layout.extents(file) {
        let (logical, physical) = (u64::from(extent.logical), extent.physical().0);
        let end = physical + u64::from(extent.count);
        ensure(physical % cluster == logical % cluster, || {
            format!("logical block {logical} and block {physical} differ in their place in the cluster")
        })?;
        ensure(physical >= plan.geometry.first_data_block && end <= plan.geometry.blocks_count, || {
            format!("an extent of blocks {physical} to {end} is outside of the filesystem")
        })?;
        let (mut first, after) = (physical / cluster, end.div_ceil(cluster));
        match last {
            Some((before, place)) if before == logical / cluster => {
                ensure(place == first, || format!("logical cluster {before} is in two clusters"))?;
                first += 1;
            }
            _ => {}
        }
        if first < after {
            claims.add(first..after);
            clusters += after - first;
        }
        last = Some(((logical + u64::from(extent.count) - 1) / cluster, after - 1));
    }
    let blocks = plan.layout.map_nodes(file);
    let expected = if plan.has_extents() { tree_blocks(plan, file) } else { indirect_blocks(plan, file) };
    ensure(blocks.len() as u64 == expected, || {
        format!("a map of {expected} blocks was given {} blocks", blocks.len())
    })?;
    for block in blocks {
        ensure(block.0.is_multiple_of(cluster) && block.0 < plan.geometry.blocks_count, || {
            format!("a map has block {block}, outside of the filesystem or within a cluster")
        })?;
        ensure(plan.has_extents() || u32::try_from(block.0).is_ok(), || {
            format!("block {block} does not fit into a block map")
        })?;
        claims.add(block.0 / cluster..block.0 / cluster + 1);
    }
    Ok(clusters + blocks.len() as u64)
}

/// Checks that the extents cover exactly the content, in order.
fn covers(plan: &Plan, file: FileLayout, mut content: impl Iterator<Item = LogicalBlocks>) -> Result<()> {
    let differs =
        |logical: u64| wrong(format!("the map of a file differs from its content at block {logical}"));
    let limit = |unwritten| match (plan.has_extents(), unwritten) {
        (false, _) => u32::MAX,
        (true, false) => 1 << 15,
        (true, true) => (1 << 15) - 1,
    };
    let mut wanted = content.next();
    for extent in plan.layout.extents(file) {
        ensure(extent.count <= limit(extent.unwritten()), || {
            format!("an extent has {} blocks", extent.count)
        })?;
        ensure(plan.has_extents() || extent.physical().0 + u64::from(extent.count) <= 1 << 32, || {
            format!("block {} does not fit into a block map", extent.physical())
        })?;
        let (mut from, end) = (u64::from(extent.logical), extent.end());
        ensure(from < end, || format!("an empty extent at block {from}"))?;
        while from < end {
            let Some(blocks) = wanted.filter(|blocks| blocks.start == from) else {
                return Err(differs(from));
            };
            // A block map can't mark blocks as unwritten.
            ensure(blocks.unwritten == extent.unwritten(), || {
                format!("block {from} of a file is written either only in the map or only in the content")
            })?;
            from = blocks.end.min(end);
            wanted = if from == blocks.end {
                content.next()
            } else {
                Some(LogicalBlocks { start: from, ..blocks })
            };
        }
    }
    wanted.map_or(Ok(()), |blocks| Err(differs(blocks.start)))
}

/// Returns the number of extent tree nodes below the root, which holds up to four entries.
fn tree_blocks(plan: &Plan, file: FileLayout) -> u64 {
    let per_block = (plan.geometry.block_bytes() - 12) / 12;
    let (mut entries, mut blocks) = (plan.layout.extents(file).len() as u64, 0);
    while entries > 4 {
        entries = entries.div_ceil(per_block);
        blocks += entries;
    }
    blocks
}

/// Returns the number of indirect blocks. With p pointers per block, leaf k covers the logical blocks 12 + k
/// × p to 12 + (k + 1) × p − 1. Leaf 0 is the indirect block, the next p leaves are below the double indirect
/// block, and all later leaves are below the triple indirect block, in groups of p.
fn indirect_blocks(plan: &Plan, file: FileLayout) -> u64 {
    const DIRECT: u64 = 12;
    let p = plan.geometry.block_bytes() / 4;
    let (mut leaves, mut middles, mut double, mut triple) = (0, 0, false, false);
    let (mut next_leaf, mut next_middle) = (0, 0);
    for extent in plan.layout.extents(file).iter().filter(|extent| extent.end() > DIRECT) {
        let first = u64::from(extent.logical).max(DIRECT);
        let (first, last) = ((first - DIRECT) / p, (extent.end() - 1 - DIRECT) / p);
        leaves += (last + 1).saturating_sub(first.max(next_leaf));
        next_leaf = last + 1;
        double |= first <= p && last >= 1;
        if last > p {
            triple = true;
            let (first, last) = (first.saturating_sub(1 + p) / p, (last - 1 - p) / p);
            middles += (last + 1).saturating_sub(first.max(next_middle));
            next_middle = last + 1;
        }
    }
    leaves + middles + u64::from(double) + u64::from(triple)
}
