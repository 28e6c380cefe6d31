//! The finished plan: every number of the output.

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
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::Superblock;
use crate::tree::{NodeId, QuotaUsage, Tree};
use crate::units::{GroupNr, fits};

/// Everything that the output will be, but for the bytes.
#[derive(Debug)]
pub struct Plan {
    /// Sizes and counts, with the output's features.
    pub geometry: Geometry,
    /// The primary superblock, without the UUID, the journal's backup and the checksum.
    pub superblock: Superblock,
    /// Which inode each node gets.
    pub numbering: Numbering,
    /// The places of each group's metadata.
    pub groups: Vec<GroupPlaces>,
    /// What is free in each group.
    pub counts: Vec<GroupCounts>,
    /// Where every file lies.
    pub layout: Layout,
    /// The blocks of each directory.
    pub directories: DirectoryPlans,
    /// Where xattrs go, and which content lies in its inode.
    pub xattrs: XattrPlan,
    /// The quota files, in the order of their types.
    pub quotas: Vec<QuotaPlan>,
    /// What is to be rendered, in the order of the blocks.
    pub rendered: Vec<Piece>,
    /// What is to be copied, and how much that is.
    pub copies: CopyBatches,
    /// Blocks of the journal for fast commits.
    pub fast_commit_blocks: u32,
    /// The time of inodes outside the tree, in seconds since 1970.
    pub epoch: i64,
    /// Bytes of the output.
    pub image_bytes: u64,
    /// Bytes behind the input's filesystem that are copied.
    pub behind: Range<u64>,
}

impl Plan {
    /// What is charged to a node: the blocks that are allocated for it, in whole clusters (its content,
    /// its own map and its xattr block, which counts in full for each inode that shares it), and
    /// the values of its xattrs in inodes of their own. `i_blocks` tells of the bytes.
    pub fn usage_of(&self, tree: &Tree, node: NodeId) -> QuotaUsage {
        let size = self.geometry.block_bytes();
        let cluster = self.geometry.blocks_per_cluster;
        let xattrs = u64::from(self.xattrs.block_of(node).is_some()) * cluster;
        let blocks = self.layout.blocks(self.layout.nodes[node.index()]) + xattrs;
        let mut usage = QuotaUsage { inodes: 1, bytes: blocks * size };
        usage.add(self.xattrs.charge(tree, node, cluster * size));
        usage
    }

    /// Refuses a file whose `i_blocks` needs more than 32 bits, where no feature gives it more.
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

    /// Charges every inode to its owners, as e2fsck does.
    pub(super) fn charge_quotas(&mut self, tree: &Tree) {
        let mut quotas = std::mem::take(&mut self.quotas);
        for quota in &mut quotas {
            for id in quota::charged(tree, &self.xattrs) {
                quota.charge(quota::owner(tree, id, quota.kind), self.usage_of(tree, id));
            }
        }
        self.quotas = quotas;
    }

    /// The quota file of a type.
    pub fn quota(&self, kind: QuotaType) -> Option<&QuotaPlan> {
        self.quotas.iter().find(|quota| quota.kind == kind)
    }

    /// Whether files are mapped by extents.
    pub fn has_extents(&self) -> bool {
        self.geometry.features.has(Incompat::EXTENTS)
    }

    /// Whether there is a resize inode.
    pub fn has_resize_inode(&self) -> bool {
        self.geometry.features.has(Compat::RESIZE_INODE)
    }

    /// Sets the bits of a group's clusters in use, and of those that it lacks, in a bitmap of zeros.
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
