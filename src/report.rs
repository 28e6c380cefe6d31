//! What was done, in numbers.

use std::fmt;

use crate::text::hexadecimal;

/// What canonicalization found and rewrote in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The length of the output in bytes.
    pub image_bytes: u64,
    /// A report for each filesystem that was chosen, in the order of their offsets.
    pub filesystems: Vec<FilesystemReport>,
}

/// A digest, and what reading the image for it found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digest {
    /// The SHA-256.
    pub sha256: [u8; 32],
    /// Warnings, in words.
    pub warnings: Vec<String>,
}

impl fmt::Display for Digest {
    /// Writes the digest in hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.sha256))
    }
}

/// What canonicalization found and rewrote in a filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilesystemReport {
    /// The partition, or where on the disk the filesystem begins; `None` if it is the whole image.
    pub name: Option<String>,
    /// The length of the filesystem's image in bytes.
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
    pub(crate) mentions: Vec<Mention>,
}

/// A line of a file that names a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The UUID that is named.
    pub uuid: [u8; 16],
    /// What it is the UUID of.
    pub owner: Owner,
    /// A warning, in words.
    pub words: String,
}

/// What a UUID belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A filesystem.
    Filesystem,
    /// A partition of a GPT.
    Partition,
}

/// A place where an image is not canonical.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The first byte that differs, from the start of the image.
    pub offset: u64,
    /// What the canonical image has there, in words: `inode table of group 3`.
    pub what: String,
}
