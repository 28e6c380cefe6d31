//! Blocks that a replayed journal puts in the place of the input's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::units::BlockNr;

/// Replayed blocks by their numbers. Most of them are parts of the mapped journal.
#[derive(Debug, Default)]
pub struct Overlay<'a>(BTreeMap<u64, Cow<'a, [u8]>>);

impl<'a> Overlay<'a> {
    /// Puts a block in the place of another.
    pub fn insert(&mut self, block: BlockNr, bytes: Cow<'a, [u8]>) {
        self.0.insert(block.0, bytes);
    }

    /// A replayed block.
    pub fn get(&self, block: BlockNr) -> Option<&[u8]> {
        self.0.get(&block.0).map(Cow::as_ref)
    }

    /// The first replayed block of a range.
    pub fn first_in(&self, blocks: Range<u64>) -> Option<BlockNr> {
        if self.0.is_empty() || blocks.is_empty() {
            return None;
        }
        self.0.range(blocks).next().map(|(block, _)| BlockNr(*block))
    }

    /// The replayed blocks of a range, each as a range of its own.
    pub fn within(&self, blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_, 'a> {
        self.0.range(blocks).map(|(block, _)| *block..block + 1)
    }

    /// The number of replayed blocks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was replayed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
