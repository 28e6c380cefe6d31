//! What the rendering of metadata needs to look at. Each kind of structure adds its own part.

use crate::ondisk::checksum::Checksums;
use crate::ondisk::superblock::Superblock;
use crate::plan::Plan;
use crate::survey::StoredView;

/// What rendering needs to look at.
pub(super) struct Renderer<'p, 'a> {
    /// The tree as it is to be stored, and the image.
    pub view: StoredView<'p, 'a>,
    /// Every number of the output.
    pub plan: &'p Plan,
    /// The superblock of group 0.
    pub superblock: Superblock,
    /// The checksums of the output.
    pub checksums: Checksums,
    /// All group descriptors, one behind the other.
    pub descriptors: Vec<u8>,
    /// The checksums of values of xattrs in inodes of their own.
    pub value_hashes: Vec<u32>,
}
