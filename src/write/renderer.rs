//! Defines the renderer of metadata. Each kind of structure has methods in a separate module.

use crate::ondisk::checksum::Checksums;
use crate::ondisk::superblock::Superblock;
use crate::plan::Plan;
use crate::survey::StoredView;

/// The renderer of metadata, with the values that all structures share.
pub(super) struct Renderer<'p, 'a> {
    /// The tree with the runs that the output stores, and the input image.
    pub view: StoredView<'p, 'a>,
    /// The plan of the output.
    pub plan: &'p Plan,
    /// The superblock of group 0.
    pub superblock: Superblock,
    /// The checksum algorithms of the output.
    pub checksums: Checksums,
    /// All group descriptors, one after the other.
    pub descriptors: Vec<u8>,
    /// The checksums of the values in EA inodes.
    pub ea_inode_hashes: Vec<u32>,
}
