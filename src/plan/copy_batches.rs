//! How the content that is copied is cut into batches.

use crate::tree::NodeId;

/// What there is to write, and how what is copied is cut.
#[derive(Debug, Default)]
pub struct CopyBatches {
    pub(super) batches: Vec<CopyBatch>,
    /// Bytes that are written; the rest is holes.
    pub bytes_written: u64,
    /// Blocks of content.
    pub data_blocks: u64,
    /// Those of them that lie elsewhere than before.
    pub blocks_moved: u64,
}

/// Pieces with about as much content as each part that the UUID's digest reads at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyBatch {
    /// Where the first piece begins.
    pub start: CopyStart,
    /// The number of pieces.
    pub pieces: usize,
}

/// Where a piece begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyStart {
    /// The file.
    pub node: NodeId,
    /// The index of the run among those of the file.
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
