//! Defines the result of placement: the blocks of all files.

use super::extent::{self, Extent};
use super::free_blocks::FreeBlocks;
use crate::units::{OutputBlock, count_clusters};

/// The locations of a file's blocks, as ranges of the lists in the layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLayout {
    /// The index of the first extent.
    pub(super) first_extent: usize,
    /// The number of extents.
    pub(super) extents: u32,
    /// The index of the first extent tree node or indirect block.
    pub(super) first_map_node: usize,
    /// The number of extent tree nodes or indirect blocks.
    pub(super) map_nodes: u32,
}

/// The locations of all files' blocks.
#[derive(Debug)]
pub struct Layout {
    /// The double indirect block of the resize inode.
    pub resize_block: Option<OutputBlock>,
    /// The MMP block.
    pub mmp_block: Option<OutputBlock>,
    /// The journal.
    pub journal: Option<FileLayout>,
    /// The quota files, in the order of their types.
    pub quotas: Vec<FileLayout>,
    /// The orphan file.
    pub orphan_file: Option<FileLayout>,
    /// The location of each xattr block, in the order of the xattr plan.
    pub xattr_blocks: Vec<OutputBlock>,
    /// The location of each EA inode's value.
    pub ea_inodes: Vec<FileLayout>,
    /// The location of each node's blocks; empty if a node has no blocks.
    pub nodes: Vec<FileLayout>,
    pub(crate) extents: Vec<Extent>,
    pub(crate) map_nodes: Vec<OutputBlock>,
    /// The free blocks, in whole clusters.
    pub free: FreeBlocks,
    /// The number of blocks in a cluster.
    pub(crate) blocks_per_cluster: u64,
}

impl Layout {
    /// Returns the extents of a file, in logical order.
    pub fn extents(&self, file: FileLayout) -> &[Extent] {
        &self.extents[file.first_extent..][..file.extents as usize]
    }

    /// Returns the locations of a file's extent tree nodes, level by level, or of its indirect blocks. Each
    /// indirect block comes before the blocks that it points to.
    pub fn map_nodes(&self, file: FileLayout) -> &[OutputBlock] {
        &self.map_nodes[file.first_map_node..][..file.map_nodes as usize]
    }

    /// Returns the number of blocks that are allocated for a file, in whole clusters. Extent tree nodes and
    /// indirect blocks are included.
    pub fn blocks(&self, file: FileLayout) -> u64 {
        (self.content_clusters(file) + u64::from(file.map_nodes)) * self.blocks_per_cluster
    }

    /// Returns the number of clusters of a file's content.
    pub fn content_clusters(&self, file: FileLayout) -> u64 {
        let extents = self.extents(file).iter();
        count_clusters(extents.map(|extent| (extent.logical, extent.count)), self.blocks_per_cluster)
    }

    /// Returns the block that stores a logical block of a file.
    pub fn physical(&self, file: FileLayout, logical: u32) -> Option<OutputBlock> {
        extent::block_at(self.extents(file), logical)
    }
}
