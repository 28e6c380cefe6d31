//! The result of replaying a journal.

use crate::source::Overlay;

/// The result of replaying a journal.
#[derive(Debug, Default)]
pub(crate) struct Recovery<'a> {
    /// The replayed blocks.
    pub overlay: Overlay<'a>,
    /// Whether the superblock required recovery.
    pub needed: bool,
    /// The error recorded in the journal; 0 for none.
    pub error: u32,
    /// `s_state` before the replay. Errors are written without the journal, so its copy of the superblock may
    /// be older.
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
