//! Checks that the counts in the superblock and the group descriptors agree with the blocks and inodes in
//! use.

use super::contradiction::ensure;
use super::ownership::Owned;
use super::static_metadata::StaticMetadata;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::ondisk::features::RoCompat;
use crate::ondisk::group_descriptor::{BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED};
use crate::ondisk::quota::QuotaType;
use crate::plan::{GroupCounts, Plan};
use crate::tree::Tree;

/// Checks the counts of all groups and of the superblock.
pub(super) fn check(
    plan: &Plan,
    tree: &Tree,
    metadata: &StaticMetadata,
    owned: &Owned,
    used_inodes: &[u32],
) -> Result<()> {
    let geometry = &plan.geometry;
    let mut directories = vec![0_u32; plan.groups.len()];
    for id in tree.ids().filter(|id| tree.node(*id).kind.is_directory()) {
        directories[((plan.numbering.number_of(id).0 - 1) / geometry.inodes_per_group) as usize] += 1;
    }
    let (mut inodes, mut clusters) = (used_inodes, owned.clusters.as_slice());
    for (group, counts) in (0_u32..).zip(&plan.counts) {
        let last = (u64::from(group) + 1) * u64::from(geometry.inodes_per_group);
        let (here, rest) = inodes.split_at(inodes.partition_point(|number| u64::from(*number) <= last));
        inodes = rest;
        let start = geometry.first_data_block + u64::from(group) * geometry.blocks_per_group;
        let end = (start + geometry.blocks_per_group).min(geometry.blocks_count);
        let (start, end) = (start / geometry.blocks_per_cluster, end / geometry.blocks_per_cluster);
        clusters = &clusters[clusters.partition_point(|range| range.end <= start)..];
        let used = clusters.iter().take_while(|range| range.start < end);
        let used: u64 = used.map(|range| range.end.min(end) - range.start.max(start)).sum();
        let free = GroupCounts {
            free_clusters: u32::try_from(end - start - used).expect("a group has at most 2^19 clusters"),
            free_inodes: geometry.inodes_per_group - u32::try_from(here.len()).expect("fewer than inodes"),
            directories: directories[group as usize],
            ..GroupCounts::default()
        };
        let last_used = here.last().map_or(0, |number| (number - 1) % geometry.inodes_per_group + 1);
        let expected = with_flags(geometry, group, last_used, free);
        ensure(*counts == expected, || format!("group {group} has {counts:?}, expected {expected:?}"))?;
    }
    check_superblock(plan, metadata, owned, used_inodes.len())
}

/// If group descriptors have checksums, adds the flags and the number of unused inodes to the counts.
fn with_flags(geometry: &Geometry, group: u32, last_used: u32, mut counts: GroupCounts) -> GroupCounts {
    if geometry.features.has_any(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM) {
        counts.unused_inodes = geometry.inodes_per_group - last_used;
        counts.flags = INODE_ZEROED;
        if last_used == 0 {
            counts.flags |= INODE_UNINIT;
        }
        let is_last = group + 1 == geometry.groups;
        if !is_last && u64::from(counts.free_clusters) == geometry.blocks_per_group {
            counts.flags |= BLOCK_UNINIT;
        }
    }
    counts
}

fn check_superblock(plan: &Plan, metadata: &StaticMetadata, owned: &Owned, used_inodes: usize) -> Result<()> {
    let (sb, geometry) = (&plan.superblock, &plan.geometry);
    let read = Geometry::new(sb);
    ensure(read.as_ref().is_ok_and(|read| read == geometry), || {
        format!("the superblock has a different geometry: {read:?}, expected {geometry:?}")
    })?;
    let used: u64 = owned.clusters.iter().map(|range| range.end - range.start).sum();
    let first = geometry.first_data_block;
    let free = geometry.blocks_count - first - used * geometry.blocks_per_cluster;
    let inodes = u64::from(geometry.inodes_count()) - used_inodes as u64;
    let overhead = owned.static_clusters + owned.journal_clusters + first;
    let number = |number: Option<crate::units::InodeNr>| u64::from(number.map_or(0, |number| number.0));
    let quota = |kind| number(plan.numbering.quota_file(kind));
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    for (field, found, expected) in [
        ("s_free_blocks_count", wide(sb.s_free_blocks_count_lo.get(), sb.s_free_blocks_count_hi.get()), free),
        ("s_free_inodes_count", sb.s_free_inodes_count.get().into(), inodes),
        ("s_overhead_clusters", sb.s_overhead_clusters.get().into(), overhead & 0xFFFF_FFFF),
        ("s_journal_inum", sb.s_journal_inum.get().into(), if plan.layout.journal.is_some() { 8 } else { 0 }),
        ("s_mmp_block", sb.s_mmp_block.get(), plan.layout.mmp_block.map_or(0, |block| block.0)),
        ("s_usr_quota_inum", sb.s_usr_quota_inum.get().into(), quota(QuotaType::User)),
        ("s_grp_quota_inum", sb.s_grp_quota_inum.get().into(), quota(QuotaType::Group)),
        ("s_prj_quota_inum", sb.s_prj_quota_inum.get().into(), quota(QuotaType::Project)),
        ("s_orphan_file_inum", sb.s_orphan_file_inum.get().into(), number(plan.numbering.orphan_file())),
    ] {
        ensure(found == expected, || format!("{field} is {found}, expected {expected}"))?;
    }
    let backups = metadata.superblocks.len();
    ensure(backups > 0 && metadata.superblocks[0].0 == 0, || "no superblock in group 0".to_owned())?;
    let bytes = geometry.filesystem_bytes();
    let rest = &plan.rest;
    ensure(plan.image_bytes >= bytes && (rest.is_empty() || rest.start >= bytes), || {
        format!("{bytes} bytes of filesystem in an image of {}", plan.image_bytes)
    })?;
    let journal =
        plan.layout.journal.map_or(0, |file| plan.layout.extents(file).iter().map(|e| e.count).sum());
    ensure(plan.fast_commit_blocks < journal.max(1), || {
        format!("{} of the journal's {journal} blocks for fast commits", plan.fast_commit_blocks)
    })
}
