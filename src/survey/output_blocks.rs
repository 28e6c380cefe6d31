//! Relates the blocks of the input to larger blocks of the output.

use super::stored::StoredTree;
use crate::geometry::Geometry;
use crate::ondisk::features::Incompat;
use crate::tree::{Bytes, NodeId, Run};
use crate::units::fits;

/// The sizes of the output that decide which content it stores. They are counted in blocks of the view, which
/// are at most as large as the blocks of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputUnits {
    /// The number of blocks of the view in a block of the output.
    pub per_block: u32,
    /// The number of blocks of the view in a cluster of the output, if clusters are larger than blocks.
    pub per_cluster: Option<u64>,
    /// Whether the output can have inline data.
    pub inline_data: bool,
}

impl OutputUnits {
    /// Returns the sizes of an output, for a view with blocks of `block_size` bytes.
    pub(crate) fn new(block_size: usize, output: &Geometry) -> Self {
        let per_block = fits(output.block_size / block_size, "a block has at most 64 KiB");
        let cluster = Some(output.blocks_per_cluster * u64::from(per_block));
        Self {
            per_block,
            per_cluster: cluster.filter(|_| output.blocks_per_cluster > 1),
            inline_data: output.features.has(Incompat::INLINE_DATA),
        }
    }
}

/// The state of consecutive blocks of a file in the output: the first logical block, the number of blocks,
/// and the state (0: written, 1: zeros, 2: unwritten).
pub(crate) type BlockState = (u32, u32, u8);

/// The state of unwritten blocks.
pub(crate) const UNWRITTEN: u8 = 2;

/// An iterator over the blocks of a file in the output, in order. Its items don't overlap, but neighbours can
/// have the same state.
#[derive(Clone)]
pub(crate) struct FileBlocks<'t> {
    runs: std::slice::Iter<'t, Run>,
    per_block: u32,
    /// The last item, of which the next run can change the last block.
    open: Option<BlockState>,
}

impl<'t> StoredTree<'t> {
    /// Returns the blocks of a regular file in the output. There are none for other file types.
    ///
    /// A block of the output that consists of several smaller blocks is written if one of them has content.
    /// Otherwise it is a block of zeros if one of them is, and unwritten if one of them is.
    pub(crate) fn blocks_of(self, id: NodeId) -> FileBlocks<'t> {
        FileBlocks { runs: self.runs_of(id).iter(), per_block: self.per_block, open: None }
    }
}

impl FileBlocks<'_> {
    /// Adds the blocks of the next run. Returns an item that no later run changes.
    fn add(&mut self, (logical, count, state): BlockState) -> Option<BlockState> {
        let Some((first, length, before)) = self.open else {
            self.open = Some((logical, count, state));
            return None;
        };
        let last = first + (length - 1);
        if last < logical {
            return self.open.replace((logical, count, state));
        }
        // The run begins in the last block of the item before.
        let both = before.min(state);
        if both == state {
            self.open = Some((logical, count, state));
            return (length > 1).then_some((first, length - 1, before));
        }
        if count == 1 {
            return None;
        }
        self.open.replace((logical + 1, count - 1, state))
    }
}

impl Iterator for FileBlocks<'_> {
    type Item = BlockState;

    fn next(&mut self) -> Option<BlockState> {
        if self.per_block == 1 {
            return self.runs.next().map(|run| (run.logical, run.count, state(run)));
        }
        while let Some(run) = self.runs.next() {
            let first = run.logical / self.per_block;
            let end = run.end().div_ceil(self.per_block.into());
            let count = fits(end - u64::from(first), "there are fewer blocks than smaller blocks");
            if let Some(done) = self.add((first, count, state(run))) {
                return Some(done);
            }
        }
        self.open.take()
    }
}

/// Joins logically adjacent blocks with the same state, regardless of their location.
pub(crate) fn joined(blocks: impl Iterator<Item = BlockState>) -> impl Iterator<Item = BlockState> {
    let mut blocks = blocks.peekable();
    std::iter::from_fn(move || {
        let (logical, mut count, state) = blocks.next()?;
        let goes_on = |(next, _, next_state): &BlockState, count: u32| {
            u64::from(logical) + u64::from(count) == u64::from(*next) && *next_state == state
        };
        while let Some((_, more, _)) = blocks.next_if(|next| goes_on(next, count)) {
            count += more;
        }
        Some((logical, count, state))
    })
}

/// Returns the blocks of runs, which are counted in the same blocks.
pub(crate) fn joined_runs(runs: &[Run]) -> impl Iterator<Item = BlockState> + use<'_> {
    joined(runs.iter().map(|run| (run.logical, run.count, state(run))))
}

/// Returns the state of the blocks of a run.
fn state(run: &Run) -> u8 {
    match run.bytes() {
        Bytes::At(_) | Bytes::Tree => 0,
        Bytes::Zeros => 1,
        Bytes::Unwritten(_) => UNWRITTEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BlockNr;

    const BYTES: Bytes = Bytes::At(BlockNr(7));
    const UNUSED: Bytes = Bytes::Unwritten(BlockNr(7));

    fn blocks(per_block: u32, runs: &[(u32, u32, Bytes)]) -> Vec<BlockState> {
        let runs: Vec<_> =
            runs.iter().map(|(logical, count, bytes)| Run::new(*logical, *count, *bytes)).collect();
        joined(FileBlocks { runs: runs.iter(), per_block, open: None }).collect()
    }

    #[test]
    fn blocks_of_the_same_size_keep_their_states() {
        let runs = [(0, 2, BYTES), (2, 1, Bytes::Tree), (3, 1, Bytes::Zeros), (5, 2, UNUSED)];
        assert_eq!(blocks(1, &runs), [(0, 3, 0), (3, 1, 1), (5, 2, 2)]);
    }

    #[test]
    fn one_smaller_block_decides_the_state_of_its_block() {
        let some = [(1, 1, BYTES), (4, 1, Bytes::Zeros), (6, 1, UNUSED), (9, 1, UNUSED)];
        assert_eq!(blocks(4, &some), [(0, 1, 0), (1, 1, 1), (2, 1, 2)]);
        // The second run begins in the last block of the first run, and ends in the first block of the third.
        let over = [(0, 6, Bytes::Zeros), (6, 4, BYTES), (10, 6, UNUSED)];
        assert_eq!(blocks(4, &over), [(0, 1, 1), (1, 2, 0), (3, 1, 2)]);
        let over = [(0, 6, BYTES), (6, 4, UNUSED), (10, 6, BYTES)];
        assert_eq!(blocks(4, &over), [(0, 4, 0)]);
        let over = [(0, 6, BYTES), (6, 1, UNUSED), (7, 1, Bytes::Zeros), (8, 1, UNUSED)];
        assert_eq!(blocks(4, &over), [(0, 2, 0), (2, 1, 2)]);
        let over = [(3, 2, UNUSED), (5, 1, Bytes::Zeros), (6, 3, BYTES)];
        assert_eq!(blocks(4, &over), [(0, 1, 2), (1, 2, 0)]);
    }
}
