//! Checks that each block of file content is copied to the block that the extents of the file map it to.

use super::contradiction::wrong;
use super::copy_batches::ExpectedBatches;
use crate::error::Result;
use crate::plan::{CopyStart, Extent, Piece, Plan};
use crate::survey::StoredTree;
use crate::tree::{Kind, NodeId, Run};
use crate::units::{BlockNr, fits};

/// The expected copies: the content of all regular files, in the order of the plan.
pub(super) struct ExpectedCopies<'p> {
    plan: &'p Plan,
    stored: StoredTree<'p>,
    /// The index of the node after the current one.
    next: u32,
    size: u64,
    /// Whether bytes past the end of the file are copied, because they are ciphertext or a Merkle tree.
    whole: bool,
    runs: &'p [Run],
    extents: &'p [Extent],
    /// The next logical block, counted in blocks of the view, which can be smaller than those of the output.
    logical: u64,
    batches: ExpectedBatches<'p>,
}

impl<'p> ExpectedCopies<'p> {
    /// Creates the expected copies, starting with the first file.
    pub(super) fn new(plan: &'p Plan, stored: StoredTree<'p>) -> Self {
        let batches = ExpectedBatches::new(plan);
        Self { plan, stored, next: 0, size: 0, whole: false, runs: &[], extents: &[], logical: 0, batches }
    }

    /// Returns the next run that is stored in the input and not copied yet, with the first block of the run.
    fn run(&mut self) -> Option<(Run, BlockNr)> {
        loop {
            while let Some(run) = self.runs.first() {
                match run.stored_at() {
                    Some(block) if self.logical < run.end() => return Some((*run, block)),
                    _ => self.runs = &self.runs[1..],
                }
            }
            let id = NodeId(self.next);
            let node = self.stored.tree.nodes.get(id.index())?;
            self.next += 1;
            if let Kind::Regular { size, .. } = node.kind
                && self.plan.xattrs.inline_of(id).is_none()
            {
                self.size = size;
                self.whole = node.opaque_from(self.plan.geometry.block_size).is_some();
                self.runs = self.stored.runs_of(id);
                self.extents = self.plan.layout.extents(self.plan.layout.nodes[id.index()]);
                self.logical = 0;
            }
        }
    }

    /// Checks that a piece is the next block range to copy. `from` is the first block of the piece in the
    /// input.
    pub(super) fn check(&mut self, piece: &Piece, from: BlockNr) -> Result<()> {
        let misplaced = || wrong(format!("block {from} of the input is copied to block {}", piece.start));
        let per_block = u64::from(self.stored.per_block);
        let block_size = self.plan.geometry.block_bytes();
        let unit = block_size / per_block;
        let (run, stored) = self.run().ok_or_else(misplaced)?;
        let logical = self.logical.max(run.logical.into());
        let after = self.extents.iter().position(|extent| extent.end() * per_block > logical);
        self.extents = &self.extents[after.unwrap_or(self.extents.len())..];
        let extent = self.extents.first().ok_or_else(misplaced)?;
        let blocks = piece.bytes.div_ceil(unit);
        let end = logical + blocks;
        let place = (extent.physical().0 * per_block)
            .checked_add(logical)
            .and_then(|sum| sum.checked_sub(u64::from(extent.logical) * per_block));
        let rest = self.size.saturating_sub(logical * unit);
        let bytes = if self.whole { blocks * unit } else { rest.min(blocks * unit) };
        let holds = blocks > 0
            && u64::from(extent.logical) * per_block <= logical
            && end <= (extent.end() * per_block).min(run.end())
            && place.map(|place| place * unit) == Some(piece.offset(block_size))
            && stored.0 + (logical - u64::from(run.logical)) == from.0
            && piece.bytes == bytes;
        if !holds {
            return Err(misplaced());
        }
        self.logical = end;
        let (node, rest) = (NodeId(self.next - 1), self.runs.len());
        self.batches.piece(|| CopyStart {
            node,
            run: fits(self.stored.runs_of(node).len() - rest, "a file has fewer than 2^32 runs"),
            logical: fits(logical, "a file has fewer than 2^32 blocks"),
        })
    }

    /// Checks that all content was copied.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.run() {
            None => self.batches.finish(),
            Some((_, block)) => Err(wrong(format!("block {block} of the input is not copied"))),
        }
    }
}
