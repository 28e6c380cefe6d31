//! Where every file is stored: the result of its placement.

use super::extent::{self, Extent};
use super::free_blocks::FreeBlocks;
use crate::units::{OutputBlock, count_clusters};

/// Where a file lies: parts of the layout's lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLayout {
    /// The index of the first extent.
    pub(super) first_extent: usize,
    /// The number of extents.
    pub(super) extents: u32,
    /// The index of the first block of the map.
    pub(super) first_map_block: usize,
    /// The number of blocks of the map.
    pub(super) map_blocks: u32,
}

/// Where every file lies.
#[derive(Debug)]
pub struct Layout {
    /// The double indirect block of the resize inode.
    pub resize_block: Option<OutputBlock>,
    /// The block of multiple mount protection.
    pub mmp_block: Option<OutputBlock>,
    /// The journal.
    pub journal: Option<FileLayout>,
    /// The quota files, in the order of their types.
    pub quotas: Vec<FileLayout>,
    /// The orphan file.
    pub orphan_file: Option<FileLayout>,
    /// The block of each block of xattrs, in the order of the plan's.
    pub xattr_blocks: Vec<OutputBlock>,
    /// The file of each value of an xattr that has an inode of its own.
    pub values: Vec<FileLayout>,
    /// Each node's file, by node; empty for what has no blocks.
    pub nodes: Vec<FileLayout>,
    pub(crate) extents: Vec<Extent>,
    pub(crate) map_blocks: Vec<OutputBlock>,
    /// What is left, in whole clusters.
    pub free: FreeBlocks,
    pub(super) blocks_per_cluster: u64,
}

impl Layout {
    /// The extents of a file, in logical order.
    pub fn extents(&self, file: FileLayout) -> &[Extent] {
        &self.extents[file.first_extent..][..file.extents as usize]
    }

    /// The blocks of a file's own map: of an extent tree level by level, of a block map each
    /// before what it leads to.
    pub fn map_blocks(&self, file: FileLayout) -> &[OutputBlock] {
        &self.map_blocks[file.first_map_block..][..file.map_blocks as usize]
    }

    /// The blocks that are allocated for a file, its map included, in whole clusters.
    pub fn blocks(&self, file: FileLayout) -> u64 {
        (self.content_clusters(file) + u64::from(file.map_blocks)) * self.blocks_per_cluster
    }

    /// The clusters that a file's content lies in.
    pub fn content_clusters(&self, file: FileLayout) -> u64 {
        let extents = self.extents(file).iter();
        count_clusters(extents.map(|extent| (extent.logical, extent.count)), self.blocks_per_cluster)
    }

    /// The block of a logical block of a file.
    pub fn physical(&self, file: FileLayout, logical: u32) -> Option<OutputBlock> {
        extent::block_at(self.extents(file), logical)
    }
}
