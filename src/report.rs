//! Defines the reports of operations: sizes, counts and warnings.

use std::fmt;

use crate::text::hexadecimal;

/// The result of canonicalizing an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The size of the output in bytes.
    pub image_bytes: u64,
    /// A report for each selected filesystem, in the order of their offsets.
    pub filesystems: Vec<FilesystemReport>,
}

/// A digest, with the warnings from reading the image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digest {
    /// The SHA-256.
    pub sha256: [u8; 32],
    /// Warnings, as text.
    pub warnings: Vec<String>,
}

impl fmt::Display for Digest {
    /// Writes the digest in hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.sha256))
    }
}

/// The result of canonicalizing a filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilesystemReport {
    /// The partition, or the offset of the filesystem on the disk; `None` if it is the whole image.
    pub name: Option<String>,
    /// The size of the filesystem's image in bytes.
    pub image_bytes: u64,
    /// Bytes in a block.
    pub block_size: u64,
    /// The UUID of the input.
    pub old_uuid: [u8; 16],
    /// The UUID of the output.
    pub new_uuid: [u8; 16],
    /// Inodes in the tree.
    pub inodes: u64,
    /// Inodes whose number changed.
    pub inodes_renumbered: u64,
    /// Inodes whose mtime was clamped or set.
    pub times_changed: u64,
    /// Inodes that were added to the tree because hard links were split; `None` without that option.
    pub inodes_split: Option<u64>,
    /// Inodes that were removed from the tree because equal files were merged; `None` without that option.
    pub inodes_merged: Option<u64>,
    /// Directories in the tree.
    pub directories: u64,
    /// Directories with an index in the output.
    pub directories_indexed: u64,
    /// Blocks of file content in the output.
    pub data_blocks: u64,
    /// The number of blocks of file content that have a different block number in the output.
    pub blocks_moved: u64,
    /// Blocks of zeros in regular files that became holes.
    pub blocks_punched: u64,
    /// Unused blocks of the input that are not zero.
    pub stale_blocks: u64,
    /// The total size in bytes of the blocks that `stale_blocks` counts.
    pub stale_bytes: u64,
    /// Transactions of the journal that were replayed.
    pub transactions: u64,
    /// Blocks that were replayed from the journal.
    pub blocks_replayed: u64,
    /// Blocks of the journal that were skipped, because they were revoked later.
    pub blocks_revoked: u64,
    /// Fast-commit records that were replayed.
    pub fast_commit_records: u64,
    /// Orphaned inodes that were dropped.
    pub orphans_dropped: u64,
    /// Orphaned inodes that were truncated to their size.
    pub orphans_truncated: u64,
    /// Bytes that were written. All other bytes of the output are holes.
    pub bytes_written: u64,
    /// Warnings, as text.
    pub warnings: Vec<String>,
    /// Warnings about changes that can prevent a boot or a mount: files that contain a changed UUID or are
    /// too large to be searched for one, and dm-verity hashes that no longer match.
    pub boot_warnings: Vec<String>,
    /// Texts in boot files that were replaced, because they name identities that change.
    pub rewritten: Vec<Rewritten>,
    /// Places that name an identity of the disk. They matter if that identity changes.
    pub(crate) mentions: Vec<Mention>,
}

impl FilesystemReport {
    /// Returns all warnings.
    pub fn all_warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().chain(&self.boot_warnings).map(String::as_str)
    }
}

/// A text in a boot file that was replaced, because it names an identity that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// The path of the file.
    pub path: String,
    /// The line; the first line is 1.
    pub line: u64,
    /// The column in bytes; the first column is 1.
    pub column: u64,
    /// The text before.
    pub old: String,
    /// The text in the output.
    pub new: String,
}

/// A place that names an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The path and the place in the file, for messages.
    pub place: String,
    /// The index of the identity.
    pub identity: usize,
    /// Whether the line is a comment.
    pub is_comment: bool,
    /// The reason why the text can't be changed, if there is one.
    pub fixed: Option<&'static str>,
}

/// A difference between an image and its canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The offset of the first byte that differs, from the start of the image.
    pub offset: u64,
    /// The structure at this offset in the canonical image, as text, for example `inode table of group 3`.
    pub what: String,
}
