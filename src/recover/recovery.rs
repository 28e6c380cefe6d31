//! What replaying a journal gives.

use crate::source::Overlay;

/// What the journal gave.
#[derive(Debug, Default)]
pub(crate) struct Recovery<'a> {
    /// Replayed blocks.
    pub overlay: Overlay<'a>,
    /// Whether the superblock asked for recovery.
    pub needed: bool,
    /// The error that the journal recorded, 0 for none.
    pub error: u32,
    /// `s_state` as it stood before the replay: errors are written past the journal, whose copy of
    /// the superblock may be older.
    pub state_before: u16,
    /// Transactions that were replayed.
    pub transactions: u64,
    /// Copies that were replayed.
    pub replayed: u64,
    /// Records of fast commits that were replayed.
    pub fast_commit_records: u64,
    /// Copies that were passed over, since their blocks were revoked later.
    pub revoked: u64,
}
