//! Stores the replayed blocks of a journal, which replace blocks of the input.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::fast_commits::FastCommits;
use crate::units::BlockNr;

/// Replayed blocks by block number, and the changes of the fast commits that follow the log.
#[derive(Clone, Debug, Default)]
pub struct Overlay<'a> {
    blocks: BTreeMap<u64, Replayed<'a>>,
    /// The escaped copy whose remaining bytes are all zero. All such copies share it, because a log with
    /// holes can contain many of them.
    escaped_zeros: Option<Arc<[u8]>>,
    /// The changes of fast commits.
    pub fast_commits: FastCommits<'a>,
}

/// A replayed block.
#[derive(Clone, Debug)]
enum Replayed<'a> {
    /// A block of the mapped journal, unchanged.
    AsItIs(&'a [u8]),
    /// A copy of the block, with its escaped first bytes restored, or with other changes.
    Escaped(Arc<[u8]>),
}

impl<'a> Overlay<'a> {
    /// Replaces a block with a block of the mapped journal.
    pub fn insert(&mut self, block: BlockNr, bytes: &'a [u8]) {
        self.blocks.insert(block.0, Replayed::AsItIs(bytes));
    }

    /// Replaces a block with a copy of a block of the mapped journal, with different first bytes.
    pub fn insert_escaped(&mut self, block: BlockNr, bytes: &[u8], first: [u8; 4]) {
        let whole = || {
            let mut whole = bytes.to_vec();
            if let Some(start) = whole.first_chunk_mut() {
                *start = first;
            }
            Arc::from(whole)
        };
        let copy = if bytes.iter().skip(first.len()).all(|byte| *byte == 0) {
            Arc::clone(self.escaped_zeros.get_or_insert_with(whole))
        } else {
            whole()
        };
        self.blocks.insert(block.0, Replayed::Escaped(copy));
    }

    /// Replaces a block with these bytes.
    pub(crate) fn insert_changed(&mut self, block: BlockNr, bytes: Vec<u8>) {
        self.blocks.insert(block.0, Replayed::Escaped(bytes.into()));
    }

    /// Returns a replayed block.
    pub fn get(&self, block: BlockNr) -> Option<&[u8]> {
        self.blocks.get(&block.0).map(|replayed| match replayed {
            Replayed::AsItIs(bytes) => *bytes,
            Replayed::Escaped(bytes) => &**bytes,
        })
    }

    /// Returns the first replayed block of a range.
    pub fn first_in(&self, blocks: Range<u64>) -> Option<BlockNr> {
        if self.blocks.is_empty() || blocks.is_empty() {
            return None;
        }
        self.blocks.range(blocks).next().map(|(block, _)| BlockNr(*block))
    }

    /// Returns the replayed blocks of a range. Each is a separate range of one block.
    pub fn within(&self, blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_, 'a> {
        self.blocks.range(blocks).map(|(block, _)| *block..block + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_copies_of_zeros_are_kept_once() {
        let mut overlay = Overlay::default();
        for (block, bytes) in [(1, [0, 0, 0, 0, 0]), (2, [0, 0, 0, 0, 5]), (3, [9, 9, 9, 9, 0])] {
            overlay.insert_escaped(BlockNr(block), &bytes, [1, 2, 3, 4]);
        }
        let get = |block| overlay.get(BlockNr(block)).unwrap();
        assert_eq!((get(1), get(2)), (&[1, 2, 3, 4, 0][..], &[1, 2, 3, 4, 5][..]));
        assert!(std::ptr::eq(get(1), get(3)));
    }
}
