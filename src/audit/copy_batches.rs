//! Checks that the batches of copied pieces, which the writer copies, contain exactly the pieces that were
//! checked.

use super::contradiction::ensure;
use crate::error::Result;
use crate::plan::{CopyBatch, CopyStart, Plan};

/// The batches that begin after the current piece.
pub(super) struct ExpectedBatches<'p> {
    next: std::slice::Iter<'p, CopyBatch>,
    /// The number of pieces of the current batch that are not checked yet.
    left: usize,
}

impl<'p> ExpectedBatches<'p> {
    /// Creates the expected batches, starting with the first one.
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self { next: plan.copies.batches.iter(), left: 0 }
    }

    /// Checks that the next copied piece is in a batch. `start` returns the start of the piece in its file. It
    /// is called only for the first piece of each batch.
    pub(super) fn piece(&mut self, start: impl FnOnce() -> CopyStart) -> Result<()> {
        if self.left == 0 {
            let start = start();
            let batch = self.next.next().filter(|batch| batch.start == start && batch.pieces > 0);
            ensure(batch.is_some(), || format!("no batch of copied pieces starts at {start:?}"))?;
            self.left = batch.map_or(0, |batch| batch.pieces);
        }
        self.left -= 1;
        Ok(())
    }

    /// Checks that there are no further batches.
    pub(super) fn finish(mut self) -> Result<()> {
        ensure(self.left == 0 && self.next.next().is_none(), || {
            "a batch has more copied pieces than the files".to_owned()
        })
    }
}
