//! Defines the result of replaying a journal.

use crate::source::Overlay;

/// The result of replaying a journal.
#[derive(Debug, Default)]
pub(crate) struct Recovery<'a> {
    /// The replayed blocks.
    pub overlay: Overlay<'a>,
    /// Whether the superblock required recovery.
    pub needed: bool,
    /// The error code that the journal records; 0 if there is no error.
    pub error: u32,
    /// `s_state` before the replay. The kernel writes errors to the superblock directly, so the copy in the
    /// journal can be older.
    pub state_before: u16,
    /// The number of replayed transactions.
    pub transactions: u64,
    /// The number of replayed blocks.
    pub replayed: u64,
    /// The number of replayed fast-commit records.
    pub fast_commit_records: u64,
    /// The number of blocks that were skipped because they were revoked later.
    pub revoked: u64,
}
