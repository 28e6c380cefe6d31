//! Finds copied pieces: the intersections of input runs with output extents. There can be as many pieces as
//! blocks, so the plan does not store them. Instead, the writer finds them from the recorded start of each
//! batch.

use super::copy_batches::{CopyBatch, CopyBatches, CopyStart};
use super::extent::Extent;
use super::finished::Plan;
use super::identity::PART_BYTES;
use super::piece::{MAX_PIECE_BYTES, Piece, PieceContent};
use crate::survey::StoredTree;
use crate::tree::{Kind, NodeId, Run};
use crate::units::fits;

/// Walks all pieces, groups the copied pieces into batches, and counts blocks and bytes.
pub(super) fn batches(plan: &Plan, stored: StoredTree<'_>) -> CopyBatches {
    let (size, mut copies) = (plan.geometry.block_bytes(), CopyBatches::default());
    let unit = size / u64::from(stored.per_block);
    let (mut total, mut counted) = (0, 0);
    let mut open: Option<CopyBatch> = None;
    for (piece, place) in plan.placed_pieces(stored) {
        copies.bytes_written += piece.bytes;
        let end = piece.start.0 + piece.blocks(size);
        // Several pieces can be in one block.
        let blocks = end - piece.start.0.max(counted);
        counted = end;
        match piece.content {
            PieceContent::Data { from } => {
                copies.data_blocks += blocks;
                // Block numbers of the input and the output have different types, but both are relative to
                // the start of the filesystem.
                copies.blocks_moved += if from.0 * unit == piece.offset(size) { 0 } else { blocks };
            }
            PieceContent::SmallData(..) => {
                copies.data_blocks += blocks;
                copies.blocks_moved += blocks;
            }
            _ => {}
        }
        if let Some(start) = place {
            open.get_or_insert(CopyBatch { start, pieces: 0 }).pieces += 1;
            total += blocks * size;
            if total / PART_BYTES > copies.batches.len() as u64 {
                copies.batches.extend(open.take());
            }
        }
    }
    copies.batches.extend(open);
    copies
}

impl Plan {
    /// Returns all pieces to write, in the order of their blocks.
    pub fn pieces<'p>(&'p self, stored: StoredTree<'p>) -> impl Iterator<Item = Piece> + use<'p> {
        self.placed_pieces(stored).map(|(piece, _)| piece)
    }

    /// Returns all pieces to write, in the order of their blocks. For a copied piece, also returns its
    /// location in the file.
    fn placed_pieces<'p>(
        &'p self,
        stored: StoredTree<'p>,
    ) -> impl Iterator<Item = (Piece, Option<CopyStart>)> + use<'p> {
        let mut rendered = self.rendered.iter().copied().peekable();
        let mut copied =
            CopiedPieces::new(self, stored, CopyStart { node: NodeId(0), run: 0, logical: 0 }).peekable();
        std::iter::from_fn(move || {
            let next = copied.peek().map(|(piece, _)| piece.start);
            match rendered.next_if(|piece| next.is_none_or(|next| piece.start <= next)) {
                Some(piece) => Some((piece, None)),
                None => copied.next().map(|(piece, place)| (piece, Some(place))),
            }
        })
    }

    /// Returns the pieces of a batch.
    pub fn copied<'p>(
        &'p self,
        stored: StoredTree<'p>,
        batch: usize,
    ) -> impl Iterator<Item = Piece> + use<'p> {
        let batch = self.copies.batches.get(batch);
        batch.into_iter().flat_map(move |batch| {
            CopiedPieces::new(self, stored, batch.start).take(batch.pieces).map(|(piece, _)| piece)
        })
    }
}

/// An iterator over copied pieces from a given start.
struct CopiedPieces<'p> {
    plan: &'p Plan,
    stored: StoredTree<'p>,
    /// The next node to copy.
    next: u32,
    file: FileRest<'p>,
}

/// The runs and extents of a file that are not copied yet. Runs are counted in blocks of the view, and extents
/// in blocks of the output, which can be larger.
struct FileRest<'p> {
    id: NodeId,
    size: u64,
    /// Whether whole blocks are copied, including bytes past the end of the file.
    whole: bool,
    runs: &'p [Run],
    run: usize,
    logical: u32,
    extents: &'p [Extent],
}

impl<'p> CopiedPieces<'p> {
    fn new(plan: &'p Plan, stored: StoredTree<'p>, start: CopyStart) -> Self {
        let mut file = FileRest::of(plan, stored, start.node);
        file.run = start.run as usize;
        file.logical = start.logical;
        let block = u64::from(start.logical / stored.per_block);
        let passed = file.extents.partition_point(|extent| extent.end() <= block);
        file.extents = &file.extents[passed..];
        Self { plan, stored, next: start.node.0 + 1, file }
    }
}

impl Iterator for CopiedPieces<'_> {
    type Item = (Piece, CopyStart);

    fn next(&mut self) -> Option<Self::Item> {
        let block_size = self.plan.geometry.block_bytes();
        loop {
            if let Some(found) = self.file.next(block_size, self.stored.per_block) {
                return Some(found);
            }
            if self.next as usize >= self.stored.tree.nodes.len() {
                return None;
            }
            self.file = FileRest::of(self.plan, self.stored, NodeId(self.next));
            self.next += 1;
        }
    }
}

impl<'p> FileRest<'p> {
    /// Returns the runs and extents of a node's content to copy. Both are empty if no content is copied.
    fn of(plan: &'p Plan, stored: StoredTree<'p>, id: NodeId) -> Self {
        let none = Self { id, size: 0, whole: false, runs: &[], run: 0, logical: 0, extents: &[] };
        let Some(node) = stored.tree.nodes.get(id.index()) else { return none };
        match node.kind {
            Kind::Regular { size, .. } if plan.xattrs.inline_of(id).is_none() => Self {
                size,
                whole: node.opaque_from(plan.geometry.block_size).is_some(),
                runs: stored.runs_of(id),
                extents: plan.layout.extents(plan.layout.nodes[id.index()]),
                ..none
            },
            _ => none,
        }
    }

    /// Returns the next piece. `per_block` is the number of blocks of the view in a block of the output.
    fn next(&mut self, block_size: u64, per_block: u32) -> Option<(Piece, CopyStart)> {
        let unit = block_size / u64::from(per_block);
        let per_piece = fits(MAX_PIECE_BYTES / unit, "a piece has at most 1 MiB");
        loop {
            let run = self.runs.get(self.run)?;
            let logical = self.logical.max(run.logical);
            let Some(source) = run.stored_at().filter(|_| u64::from(logical) < run.end()) else {
                self.run += 1;
                continue;
            };
            // The extents cover all runs. If they did not, the audit would report the missing content.
            let mut extent = self.extents.first()?;
            while extent.end() <= u64::from(logical / per_block) {
                self.extents = &self.extents[1..];
                extent = self.extents.first()?;
            }
            let (skipped, done) = (logical.checked_sub(extent.logical * per_block)?, logical - run.logical);
            let room = u64::from(extent.count) * u64::from(per_block) - u64::from(skipped);
            let count = u32::try_from(room).unwrap_or(u32::MAX).min(run.count - done).min(per_piece);
            let bytes = u64::from(count) * unit;
            let bytes = if self.whole { bytes } else { bytes.min(self.size - u64::from(logical) * unit) };
            self.logical = logical + count;
            let piece = Piece {
                start: extent.physical() + u64::from(skipped / per_block),
                skipped: fits(u64::from(skipped % per_block) * unit, "it is less than a block"),
                bytes,
                content: PieceContent::Data { from: source + u64::from(done) },
            };
            let run = fits(self.run, "a file has fewer than 2^32 runs");
            return Some((piece, CopyStart { node: self.id, run, logical }));
        }
    }
}
