//! Batches of copied content.

use crate::tree::NodeId;

/// The batches of copied content, and totals for the report.
#[derive(Debug, Default)]
pub struct CopyBatches {
    pub(super) batches: Vec<CopyBatch>,
    /// The number of bytes that are written. The rest of the output is holes.
    pub bytes_written: u64,
    /// The number of content blocks.
    pub data_blocks: u64,
    /// The number of content blocks at a different place than in the input.
    pub blocks_moved: u64,
}

/// Copied pieces with about as much content as a part of the content digest.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyBatch {
    /// The start of the first piece.
    pub start: CopyStart,
    /// The number of pieces.
    pub pieces: usize,
}

/// The start of a piece.
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
    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }
}
