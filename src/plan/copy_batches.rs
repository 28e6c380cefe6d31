//! Defines the batches of copied pieces, and the totals for the report.

use crate::tree::NodeId;

/// The batches of copied pieces, and totals for the report.
#[derive(Debug, Default)]
pub struct CopyBatches {
    /// The batches, in the order of the files.
    pub(crate) batches: Vec<CopyBatch>,
    /// The number of bytes that are written. All other bytes of the output are holes.
    pub bytes_written: u64,
    /// The number of content blocks.
    pub data_blocks: u64,
    /// The number of content blocks that the input does not store at the same block number.
    pub blocks_moved: u64,
}

/// A batch of copied pieces, with about 1 MiB in total, like a part of the content to digest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyBatch {
    /// The location of the first piece in its file.
    pub start: CopyStart,
    /// The number of pieces.
    pub pieces: usize,
}

/// The location of a copied piece in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyStart {
    /// The file.
    pub node: NodeId,
    /// The index of the run that contains the piece.
    pub run: u32,
    /// The first logical block of the piece.
    pub logical: u32,
}

impl CopyBatches {
    /// Returns the number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }
}
