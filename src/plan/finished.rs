//! Defines the finished plan: all locations, counts and sizes of the output.

use std::ops::Range;

use super::copy_batches::CopyBatches;
use super::directory::DirectoryPlans;
use super::group_counts::GroupCounts;
use super::layout::Layout;
use super::numbering::Numbering;
use super::piece::Piece;
use super::quota::{self, QuotaPlan};
use super::static_placement::GroupPlaces;
use super::xattr_plan::XattrPlan;
use crate::error::{Location, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::bitmap;
use crate::ondisk::features::{Incompat, RoCompat};
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::Superblock;
use crate::tree::{NodeId, QuotaUsage, Tree};
use crate::units::{GroupNr, fits};

/// The complete plan of the output: all locations, counts and sizes, but not the bytes to write.
#[derive(Debug)]
pub struct Plan {
    /// The features, sizes and counts of the output.
    pub geometry: Geometry,
    /// The primary superblock, without the UUID, the backup of the journal inode and the checksum.
    pub superblock: Superblock,
    /// The inode number of each node.
    pub numbering: Numbering,
    /// The locations of each group's bitmaps and inode table.
    pub groups: Vec<GroupPlaces>,
    /// The counts and flags of each group descriptor.
    pub counts: Vec<GroupCounts>,
    /// The locations of all files.
    pub layout: Layout,
    /// The blocks of each directory.
    pub directories: DirectoryPlans,
    /// The locations of xattrs, and the nodes with inline content.
    pub xattrs: XattrPlan,
    /// The quota files, in the order of their types.
    pub quotas: Vec<QuotaPlan>,
    /// The pieces to render, in the order of their blocks.
    pub rendered: Vec<Piece>,
    /// The batches of copied pieces, and the totals for the report.
    pub copies: CopyBatches,
    /// The number of journal blocks for fast commits.
    pub fast_commit_blocks: u32,
    /// The Unix time of inodes outside the tree.
    pub epoch: i64,
    /// The size of the output in bytes.
    pub image_bytes: u64,
    /// The byte range past the end of the filesystem that is copied from the input.
    pub rest: Range<u64>,
}

impl Plan {
    /// Returns the usage of a node for quotas and `i_blocks`. This includes all clusters that are allocated
    /// for its content, its extent tree or indirect blocks, and its xattr block. EA inodes are included. A
    /// shared xattr block counts in full for each inode.
    pub fn usage_of(&self, tree: &Tree, node: NodeId) -> QuotaUsage {
        let size = self.geometry.block_bytes();
        let cluster = self.geometry.blocks_per_cluster;
        let xattrs = u64::from(self.xattrs.block_of(node).is_some()) * cluster;
        let blocks = self.layout.blocks(self.layout.nodes[node.index()]) + xattrs;
        let mut usage = QuotaUsage { inodes: 1, bytes: blocks * size };
        usage.add(self.xattrs.charge(tree, node, cluster * size));
        usage
    }

    /// Checks that every `i_blocks` fits into 32 bits, unless the huge_file feature is set.
    pub(super) fn check_sizes(&self, tree: &Tree) -> Result<()> {
        if self.geometry.features.has(RoCompat::HUGE_FILE) {
            return Ok(());
        }
        match tree.ids().find(|id| self.usage_of(tree, *id).bytes / 512 > u32::MAX.into()) {
            Some(id) => Err(Location::of(Structure::Inode).inode(self.numbering.number_of(id)).unsupported(
                "a file with 2 TiB or more in blocks, without the huge_file feature",
                "set it with tune2fs -O huge_file",
            )),
            None => Ok(()),
        }
    }

    /// Adds the usage of each inode that quotas count to the entry of its owner, as e2fsck does.
    pub(super) fn charge_quotas(&mut self, tree: &Tree) {
        let mut quotas = std::mem::take(&mut self.quotas);
        for quota in &mut quotas {
            for id in quota::charged(tree, &self.xattrs) {
                quota.charge(quota::owner(tree, id, quota.kind), self.usage_of(tree, id));
            }
        }
        self.quotas = quotas;
    }

    /// Returns the quota file of a type.
    pub fn quota(&self, kind: QuotaType) -> Option<&QuotaPlan> {
        self.quotas.iter().find(|quota| quota.kind == kind)
    }

    /// Returns whether files have extent trees.
    pub fn has_extents(&self) -> bool {
        self.geometry.features.has(Incompat::EXTENTS)
    }

    /// Fills the block bitmap of a group. `bits` must be zero. Sets the bits of used clusters, and the bits
    /// past the end of the filesystem.
    pub fn fill_block_bitmap(&self, group: GroupNr, bits: &mut [u8]) {
        let blocks = self.geometry.group_blocks(group);
        let cluster = self.geometry.blocks_per_cluster;
        let bit = |block: u64| fits((block - blocks.start) / cluster, "a group has at most 2^19 clusters");
        let mut next = blocks.start;
        for free in self.layout.free.within(blocks.clone()) {
            bitmap::set(bits, bit(next)..bit(free.start));
            next = free.end;
        }
        bitmap::set(bits, bit(next)..bits.len() * 8);
    }
}
