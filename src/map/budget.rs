//! Limits the number of blocks that all file maps of an image may contain together.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Location, Result, Structure};
use crate::ondisk::features::RoCompat;
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// The maximum average number of times that a block may be shared, with `shared_blocks`. That is far more
/// than can fit into the output, where each file has its own blocks.
const SHARED_TIMES: u64 = 16;

/// The number of blocks that all maps may still contain together. The initial value is the number of blocks
/// of the image, times [`SHARED_TIMES`] with `shared_blocks`.
///
/// The budget limits the work on images whose maps contain the same blocks many times. A sparse image can
/// have any number of blocks, so in addition each block may be a node of only one map, and only once.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    nodes: Mutex<HashSet<BlockNr>>,
}

impl Budget {
    /// Creates the budget of an image.
    pub(crate) fn new(source: &Source<'_>) -> Self {
        let shared = source.features().has(RoCompat::SHARED_BLOCKS);
        let times = if shared { SHARED_TIMES } else { 1 };
        let left = AtomicU64::new(source.geometry.blocks_count * times);
        Self { left, nodes: Mutex::default() }
    }

    /// Subtracts a block that is a node of a map. Returns an error if the block is already a node, or if the
    /// budget is exhausted.
    pub(crate) fn take_node(&self, inode: InodeNr, block: BlockNr) -> Result<()> {
        self.take(inode, 1)?;
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.insert(block) {
            return Ok(());
        }
        Err(Location::of(Structure::FileMap)
            .inode(inode)
            .block(block)
            .wrong("is in this map twice, or also claimed by a different map"))
    }

    /// Subtracts blocks from the budget. Returns an error if too few are left.
    pub(crate) fn take(&self, inode: InodeNr, blocks: u64) -> Result<()> {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(blocks));
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(Location::of(Structure::FileMap).inode(inode).wrong(
                "names blocks that other files also name: all maps together name more blocks than the \
                 filesystem has",
            )),
        }
    }
}
