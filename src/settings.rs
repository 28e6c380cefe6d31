//! Defines the settings of a filesystem: everything that affects its canonical form, apart from the tree.

use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::Superblock;

/// The settings of a filesystem: everything that affects its canonical form, apart from the tree.
///
/// They are read from an image with [`Disk::settings`](crate::Disk::settings), and become the settings of the
/// output with [`Options::like`](crate::Options::like).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The superblock. Only the fields that the canonical form keeps are used.
    pub(crate) superblock: Superblock,
    /// The journal in the filesystem, if there is one.
    pub(crate) journal: Option<JournalShape>,
    /// The length of the orphan file in blocks, if there is one.
    pub(crate) orphan_file: Option<u32>,
    /// The quota files, in the order of the types.
    pub(crate) quotas: Vec<(QuotaType, QuotaRules)>,
    /// Whether there are only as many inodes as the tree needs.
    pub(crate) least_inodes: bool,
    /// The length of the image in bytes.
    pub(crate) image_bytes: u64,
}

/// The size of a journal and of its fast-commit area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalShape {
    /// The total number of blocks.
    pub blocks: u32,
    /// The number of these blocks that are reserved for fast commits.
    pub fast_commit_blocks: u32,
}

/// The settings of one quota type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaRules {
    /// The grace time for the soft limit of blocks, in seconds.
    pub block_grace: u32,
    /// The grace time for the soft limit of inodes, in seconds.
    pub inode_grace: u32,
    /// The limits of all ids that have a limit, sorted by id.
    pub limits: Vec<(u32, QuotaLimits)>,
}

/// The limits of an id; 0 for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// The hard limit of inodes.
    pub inodes_hard: u64,
    /// The soft limit of inodes.
    pub inodes_soft: u64,
    /// The hard limit of blocks, in KiB.
    pub blocks_hard: u64,
    /// The soft limit of blocks, in KiB.
    pub blocks_soft: u64,
}
