//! Checks that each block in use has exactly one owner, and that all other blocks are free.

use std::ops::Range;

use rayon::prelude::*;

use super::contradiction::{ensure, wrong};
use super::file::{self, ClusterClaims, LogicalBlocks};
use super::static_metadata::{StaticMetadata, table_blocks};
use crate::error::{Error, Result};
use crate::ondisk::features::{Compat, Incompat};
use crate::plan::{FileLayout, Plan};
use crate::ranges::push_joined;
use crate::read::Specials;
use crate::survey::{StoredTree, UNWRITTEN};
use crate::tree::{Kind, NodeId, QuotaUsage, Tree};

/// The maximum number of nodes that one task checks.
const NODES: usize = 4096;

/// The clusters in use.
#[derive(Debug)]
pub(super) struct Owned {
    /// The clusters in use, as sorted ranges that are not adjacent.
    pub clusters: Vec<Range<u64>>,
    /// The number of clusters with static metadata.
    pub static_clusters: u64,
    /// The number of clusters of the journal, without its extent tree nodes or indirect blocks.
    pub journal_clusters: u64,
}

/// Checks the owners of all blocks, and the quota usage of all nodes.
pub(super) fn check(
    plan: &Plan,
    stored: StoredTree<'_>,
    specials: &Specials,
    metadata: &StaticMetadata,
) -> Result<Owned> {
    let tree = stored.tree;
    let mut claims = static_clusters(plan, metadata)?;
    let static_clusters = claims.0.iter().map(|range| range.end - range.start).sum();
    let journal_clusters = claim_specials(plan, tree, specials, &mut claims)?;
    let tasks = tree.nodes.len().div_ceil(NODES);
    let of_nodes: Vec<ClusterClaims> = (0..tasks)
        .into_par_iter()
        .map(|task| {
            let mut claims = ClusterClaims::default();
            let nodes = task * NODES..((task + 1) * NODES).min(tree.nodes.len());
            for id in tree.ids().skip(nodes.start).take(nodes.len()) {
                claim_node(plan, stored, id, &mut claims)?;
            }
            Ok(claims)
        })
        .collect::<Result<_>>()?;
    for range in of_nodes.into_iter().flat_map(|claims| claims.0) {
        claims.add(range);
    }
    claims.0.sort_unstable_by_key(|range| range.start);
    let mut clusters: Vec<Range<u64>> = Vec::new();
    for range in claims.0 {
        ensure(clusters.last().is_none_or(|last| last.end <= range.start), || {
            format!("block {} has two owners", range.start * plan.geometry.blocks_per_cluster)
        })?;
        push_joined(&mut clusters, range);
    }
    check_free(plan, &clusters)?;
    Ok(Owned { clusters, static_clusters, journal_clusters })
}

/// Checks that no block is used twice for static metadata, and claims the clusters. Several structures of
/// static metadata may share a cluster.
fn static_clusters(plan: &Plan, metadata: &StaticMetadata) -> Result<ClusterClaims> {
    let geometry = &plan.geometry;
    let mut ranges = metadata.ranges(plan);
    ranges.sort_unstable_by_key(|range| range.start);
    let overlap = ranges.windows(2).find(|pair| pair[0].end > pair[1].start);
    ensure(overlap.is_none(), || {
        format!("static metadata overlaps at block {}", overlap.map_or(0, |pair| pair[1].start))
    })?;
    let end = ranges.last().map_or(0, |range| range.end);
    ensure(end <= geometry.blocks_count, || format!("static metadata ends at block {end}"))?;
    check_own_groups(plan)?;
    let mut claims = ClusterClaims::default();
    let mut next = 0;
    for range in ranges {
        let (start, end) =
            (range.start / geometry.blocks_per_cluster, range.end.div_ceil(geometry.blocks_per_cluster));
        if start.max(next) < end {
            claims.add(start.max(next)..end);
        }
        next = next.max(end);
    }
    Ok(claims)
}

/// Checks that bitmaps and inode tables are in their groups, unless flex_bg is set.
fn check_own_groups(plan: &Plan) -> Result<()> {
    let geometry = &plan.geometry;
    if geometry.features.has(Incompat::FLEX_BG) {
        return Ok(());
    }
    let table = table_blocks(geometry);
    for (group, places) in (0..).zip(&plan.groups) {
        let start = geometry.first_data_block + group * geometry.blocks_per_group;
        let blocks = start..(start + geometry.blocks_per_group).min(geometry.blocks_count);
        let last = places.inode_table.0 + table - 1;
        let inside = [places.block_bitmap.0, places.inode_bitmap.0, places.inode_table.0, last];
        ensure(inside.iter().all(|block| blocks.contains(block)), || {
            format!("metadata of group {group} is in a different group")
        })?;
    }
    Ok(())
}

/// Claims the clusters of the journal, the quota files, the orphan file, the EA inodes, the xattr blocks, the
/// block of the resize inode, and the MMP block. Returns the number of clusters of the journal's content.
fn claim_specials(plan: &Plan, tree: &Tree, specials: &Specials, claims: &mut ClusterClaims) -> Result<u64> {
    let (layout, cluster) = (&plan.layout, plan.geometry.blocks_per_cluster);
    let features = plan.geometry.features;
    let resize = features.has(Compat::RESIZE_INODE);
    ensure(layout.resize_block.is_some() == resize, || "the block of the resize inode".to_owned())?;
    let mmp = features.has(Incompat::MMP);
    ensure(layout.mmp_block.is_some() == mmp, || "the block of multiple mount protection".to_owned())?;
    let single = layout.resize_block.iter().chain(&layout.mmp_block).chain(&layout.xattr_blocks);
    for block in single {
        ensure(block.0.is_multiple_of(cluster) && block.0 < plan.geometry.blocks_count, || {
            format!("block {block} is outside of the filesystem or within a cluster")
        })?;
        claims.add(block.0 / cluster..block.0 / cluster + 1);
    }
    let mut dense = |file: FileLayout, blocks: u64| {
        let clusters = file::check(plan, file, LogicalBlocks::dense(blocks), claims)?;
        ensure(layout.blocks(file) == clusters * cluster, || {
            format!("i_blocks counts {} blocks, expected {}", layout.blocks(file), clusters * cluster)
        })?;
        Ok(clusters)
    };
    let shape = specials.journal.map(|journal| u64::from(journal.blocks));
    ensure(layout.journal.is_some() == shape.is_some(), || "the journal".to_owned())?;
    let mut journal_clusters = 0;
    if let (Some(file), Some(blocks)) = (layout.journal, shape) {
        journal_clusters = dense(file, blocks)? - layout.map_nodes(file).len() as u64;
    }
    ensure(layout.quotas.len() == plan.quotas.len(), || "the number of quota files".to_owned())?;
    for (file, quota) in layout.quotas.iter().zip(&plan.quotas) {
        dense(*file, (quota.blocks.len() as u64 * 1024).div_ceil(plan.geometry.block_bytes()))?;
    }
    ensure(layout.orphan_file.is_some() == specials.orphan_file.is_some(), || "the orphan file".to_owned())?;
    if let (Some(file), Some(orphan_file)) = (layout.orphan_file, specials.orphan_file) {
        dense(file, orphan_file.blocks.into())?;
    }
    ensure(layout.ea_inodes.len() == plan.xattrs.ea_inodes.len(), || "the number of EA inodes".to_owned())?;
    for (file, value) in layout.ea_inodes.iter().zip(&plan.xattrs.ea_inodes) {
        let bytes = tree.text(value.text).len() as u64;
        dense(*file, bytes.div_ceil(plan.geometry.block_bytes()))?;
    }
    Ok(journal_clusters)
}

/// Claims the clusters of a node's content and of its extent tree nodes or indirect blocks, and checks the
/// quota usage of the node. Xattr blocks and EA inodes can be shared, so they are claimed separately.
fn claim_node(plan: &Plan, stored: StoredTree<'_>, id: NodeId, claims: &mut ClusterClaims) -> Result<()> {
    let tree = stored.tree;
    let Some(file) = plan.layout.nodes.get(id.index()).copied() else {
        return Err(wrong("a file without a place"));
    };
    let node = tree.node(id);
    let inline = plan.xattrs.inline_of(id).is_some();
    let about = |error| match error {
        Error::Internal(words) => {
            Error::Internal(format!("{words} (inode {})", plan.numbering.number_of(id)))
        }
        other => other,
    };
    let clusters = match node.kind {
        _ if inline => file::check(plan, file, std::iter::empty(), claims),
        Kind::Directory { .. } => {
            let blocks = plan.directories.of(id).blocks;
            ensure(blocks > 0, || "a directory without blocks".to_owned()).map_err(about)?;
            file::check(plan, file, LogicalBlocks::dense(blocks.into()), claims)
        }
        Kind::Regular { .. } => {
            let runs = stored.blocks_of(id).map(|(logical, count, state)| LogicalBlocks {
                start: logical.into(),
                end: u64::from(logical) + u64::from(count),
                unwritten: state == UNWRITTEN,
            });
            file::check(plan, file, runs, claims)
        }
        Kind::Symlink(target) if tree.text(target).len() >= 60 => {
            file::check(plan, file, LogicalBlocks::dense(1), claims)
        }
        Kind::Symlink(_) | Kind::Device { .. } | Kind::Empty => {
            file::check(plan, file, std::iter::empty(), claims)
        }
    };
    let charged = charge(plan, tree, id, clusters.map_err(about)?);
    ensure(plan.usage_of(tree, id) == charged, || format!("the usage should be {charged:?}")).map_err(about)
}

/// Returns the quota usage of a node: its clusters, its xattr block, and its EA inodes.
pub(super) fn charge(plan: &Plan, tree: &Tree, id: NodeId, clusters: u64) -> QuotaUsage {
    let bytes = plan.geometry.cluster_bytes();
    let block = plan.xattrs.block_of(id);
    let mut usage = QuotaUsage { inodes: 1, bytes: (clusters + u64::from(block.is_some())) * bytes };
    if !plan.xattrs.ea_inodes.is_empty() {
        let in_block = block.into_iter().flat_map(|block| plan.xattrs.block_part(tree, block.split));
        for (xattr, _) in
            plan.xattrs.body_part(tree, id).chain(in_block).filter(|(_, outside)| outside.is_some())
        {
            usage.inodes += 1;
            usage.bytes += (tree.text(xattr.value).len() as u64).div_ceil(bytes) * bytes;
        }
    }
    usage
}

/// Checks that the free blocks in the plan are exactly the blocks without an owner.
fn check_free(plan: &Plan, owned: &[Range<u64>]) -> Result<()> {
    let cluster = plan.geometry.blocks_per_cluster;
    let mut next = plan.geometry.first_data_block;
    let mut free = plan.layout.free.ranges().iter().filter(|range| !range.is_empty());
    // Adjacent free ranges need not be joined, so they are consumed one by one.
    let mut rest = free.next().cloned();
    let count = plan.geometry.blocks_count;
    for used in owned
        .iter()
        .map(|range| range.start * cluster..range.end * cluster)
        .chain(std::iter::once(count..count))
    {
        while next < used.start {
            let Some(range) = rest.clone().filter(|range| range.start == next && range.end <= used.start)
            else {
                return Err(wrong(format!("block {next} is marked, but has no owner")));
            };
            next = range.end;
            rest = free.next().cloned();
        }
        next = used.end;
    }
    ensure(rest.is_none(), || "a block with an owner is not marked".to_owned())
}
