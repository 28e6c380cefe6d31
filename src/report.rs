//! What was done, in numbers.

/// What canonicalization found and rewrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of the output.
    pub image_bytes: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// The UUID of the input.
    pub old_uuid: [u8; 16],
    /// The UUID of the output.
    pub new_uuid: [u8; 16],
    /// Inodes of the tree.
    pub inodes: u64,
    /// Of these, inodes that got another number.
    pub inodes_renumbered: u64,
    /// Inodes whose time was clamped or set.
    pub times_changed: u64,
    /// Directories of the tree.
    pub directories: u64,
    /// Of these, directories that are indexed now.
    pub directories_indexed: u64,
    /// Blocks of file content in the output.
    pub data_blocks: u64,
    /// Of these, blocks that lie elsewhere than in the input.
    pub blocks_moved: u64,
    /// Blocks of zeros in regular files that became holes.
    pub blocks_punched: u64,
    /// Blocks of the input with bytes that no live structure holds.
    pub stale_blocks: u64,
    /// Bytes of these blocks.
    pub stale_bytes: u64,
    /// Transactions of the journal that were replayed.
    pub transactions: u64,
    /// Blocks that were replayed from it.
    pub blocks_replayed: u64,
    /// Blocks in it that were passed over, since they were revoked later.
    pub blocks_revoked: u64,
    /// Records of fast commits that were replayed.
    pub fast_commit_records: u64,
    /// Orphaned inodes that were dropped.
    pub orphans_dropped: u64,
    /// Orphaned inodes that were cut to their size.
    pub orphans_truncated: u64,
    /// Bytes that were written; the rest of the output is holes.
    pub bytes_written: u64,
    /// What is worth telling, in words.
    pub warnings: Vec<String>,
    /// Lines of files that name what else is on the disk: warnings, if that gets another UUID.
    pub mentions: Vec<Mention>,
}

/// A line of a file that names a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The UUID that is named.
    pub uuid: [u8; 16],
    /// What it is the UUID of.
    pub owner: Owner,
    /// A warning, in words.
    pub words: String,
}

/// What a UUID belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A filesystem.
    Filesystem,
    /// A partition of a GPT.
    Partition,
}

/// A place where an image is not canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The first byte that differs, from the start of the image.
    pub offset: u64,
    /// What the canonical image has there, in words: `inode table of group 3`.
    pub what: String,
}
