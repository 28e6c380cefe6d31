//! Computes the counts and flags of the group descriptors.

use super::layout::Layout;
use super::numbering::Numbering;
use crate::geometry::Geometry;
use crate::ondisk::features::RoCompat;
use crate::ondisk::group_descriptor::{BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED};
use crate::tree::Tree;
use crate::units::GroupNr;

/// The counts and flags in the descriptor of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// The number of free clusters.
    pub free_clusters: u32,
    /// The number of free inodes.
    pub free_inodes: u32,
    /// The number of directories.
    pub directories: u32,
    /// The number of inodes after the last used inode (`bg_itable_unused`); 0 if descriptors have no
    /// checksums.
    pub unused_inodes: u32,
    /// `bg_flags`; 0 if descriptors have no checksums.
    pub flags: u16,
}

impl GroupCounts {
    /// Returns whether the block bitmap is not initialized.
    pub fn is_block_uninit(&self) -> bool {
        self.flags & BLOCK_UNINIT != 0
    }

    /// Returns whether the inode bitmap is not initialized.
    pub fn is_inode_uninit(&self) -> bool {
        self.flags & INODE_UNINIT != 0
    }
}

/// Computes the counts and flags of all groups.
pub(super) fn counts(
    geometry: &Geometry,
    layout: &Layout,
    numbering: &Numbering,
    tree: &Tree,
) -> Vec<GroupCounts> {
    // Flags are only valid if descriptors have checksums.
    let with_flags = geometry.features.has_any(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM);
    let mut all: Vec<_> = (0..geometry.groups)
        .map(|group| of_group(geometry, layout, numbering, GroupNr(group), with_flags))
        .collect();
    for id in tree.ids().filter(|id| tree.node(*id).kind.is_directory()) {
        let (group, _) = geometry.place_of_inode(numbering.number_of(id));
        all[group.0 as usize].directories += 1;
    }
    all
}

fn of_group(
    geometry: &Geometry,
    layout: &Layout,
    numbering: &Numbering,
    group: GroupNr,
    with_flags: bool,
) -> GroupCounts {
    let free =
        layout.free.within(geometry.group_blocks(group)).map(|range| range.end - range.start).sum::<u64>()
            / geometry.blocks_per_cluster;
    // The number of used inodes, and the index after the last used inode.
    let (used, end) = numbering
        .used_in(group)
        .fold((0, 0), |(used, _), range| (used + (range.end - range.start), range.end));
    let mut counts = GroupCounts {
        free_clusters: u32::try_from(free).expect("a group has at most 2^19 clusters"),
        free_inodes: geometry.inodes_per_group - used,
        ..GroupCounts::default()
    };
    if with_flags {
        counts.unused_inodes = geometry.inodes_per_group - end;
        counts.flags = INODE_ZEROED;
        // As in e2fsck, the flag is set if the number of free clusters equals the number of blocks per group.
        // That is impossible with clusters of several blocks. The last group never gets the flag.
        if group.0 + 1 < geometry.groups && free == geometry.blocks_per_group {
            counts.flags |= BLOCK_UNINIT;
        }
        if used == 0 {
            counts.flags |= INODE_UNINIT;
        }
    }
    counts
}
