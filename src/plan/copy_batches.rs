//! Defines the batches of copied pieces, and the totals for the report.

use crate::tree::NodeId;

/// The batches of copied pieces, and totals for the report.
#[derive(Debug, Default)]
pub struct CopyBatches {
    pub(super) batches: Vec<CopyBatch>,
    /// The number of bytes that are written. All other bytes of the output are holes.
    pub bytes_written: u64,
    /// The number of content blocks.
    pub data_blocks: u64,
    /// The number of content blocks whose block number differs between input and output.
    pub blocks_moved: u64,
}

/// A batch of copied pieces. It has about as many bytes as a part of the content digest.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyBatch {
    /// The start of the first piece in its file.
    pub start: CopyStart,
    /// The number of pieces.
    pub pieces: usize,
}

/// The start of a copied piece in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyStart {
    /// The file.
    pub node: NodeId,
    /// The index of the run in the file.
    pub run: u32,
    /// The logical block.
    pub logical: u32,
}

impl CopyBatches {
    /// Returns the number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }
}
