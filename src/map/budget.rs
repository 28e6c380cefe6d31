//! How many blocks all file maps of an image together may name.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Location, Result, Structure};
use crate::ondisk::features::RoCompat;
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// How often each block may be shared on average with `shared_blocks`: far more than fits once each
/// file has blocks of its own.
const SHARED_TIMES: u64 = 16;

/// How many blocks all maps together may still name: no more than there are. It bounds the work
/// on an image whose maps name the same blocks over and over; and since a sparse image may have any number of
/// blocks, each block is part of one map, once.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    nodes: Mutex<HashSet<BlockNr>>,
}

impl Budget {
    /// The budget of an image.
    pub(crate) fn new(source: &Source<'_>) -> Self {
        let shared = source.features().ro_compat.contains(RoCompat::SHARED_BLOCKS);
        let times = if shared { SHARED_TIMES } else { 1 };
        let left = AtomicU64::new(source.geometry.blocks_count * times);
        Self { left, nodes: Mutex::default() }
    }

    /// Takes a block of a map itself.
    pub(crate) fn take_node(&self, inode: InodeNr, block: BlockNr) -> Result<()> {
        self.take(inode, 1)?;
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.insert(block) {
            return Ok(());
        }
        Err(Location::of(Structure::FileMap)
            .inode(inode)
            .block(block)
            .wrong("is part of this map twice, or also claimed by another one"))
    }

    /// Takes blocks from the budget.
    pub(crate) fn take(&self, inode: InodeNr, blocks: u64) -> Result<()> {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(blocks));
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(Location::of(Structure::FileMap)
                .inode(inode)
                .wrong("names blocks that other files name too: all maps together name more than there are")),
        }
    }
}
