//! `Plan` → bytes: renders each piece separately and in parallel, and writes each byte at most once.

mod directory;
mod group;
mod inline;
mod inode;
mod map;
mod quota;
mod renderer;
mod special;
mod superblock;
mod xattr;

use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::observe::{Observer, Stage};
use crate::ondisk::checksum::Checksums;
use crate::plan::{Identity, Piece, PieceContent, Plan};
use crate::sink::{Order, Sink};
use crate::sinks::copy;
use crate::survey::StoredView;
use crate::units::{BlockNr, fits};
use renderer::Renderer;

/// The number of bytes after which a batch is written.
const BATCH_BYTES: u64 = 1 << 20;
/// The length in bytes below which content is copied into the buffer of its batch.
const SHORT: u64 = 4096;
/// The maximum number of pieces in a batch.
const BATCH_PIECES: usize = 512;

/// Reports the used byte ranges of the filesystem to the sink.
fn report_used(plan: &Plan, sink: &dyn Sink) {
    let (size, count) = (plan.geometry.block_bytes(), plan.geometry.blocks_count);
    let mut next = 0;
    for free in plan.layout.free.ranges().iter().chain(std::iter::once(&(count..count))) {
        if next < free.start {
            sink.in_use(next * size..free.start * size);
        }
        next = free.end;
    }
}

/// Cuts the pieces into batches of about equal size.
fn batches(pieces: &[Piece]) -> Vec<&[Piece]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, piece) in pieces.iter().enumerate() {
        bytes += piece.bytes;
        if bytes >= BATCH_BYTES || index + 1 - start == BATCH_PIECES {
            batches.push(&pieces[start..=index]);
            (start, bytes) = (index + 1, 0);
        }
    }
    batches.push(&pieces[start..]);
    batches
}

/// The writer of an output to a sink.
pub(crate) struct OutputWriter<'p, 'a> {
    /// The tree with the runs that the output stores, and the input image.
    pub view: StoredView<'p, 'a>,
    /// The plan of the output.
    pub plan: &'p Plan,
    /// The destination of the bytes.
    pub sink: &'p dyn Sink,
    /// The observer of progress.
    pub observer: &'p dyn Observer,
}

impl OutputWriter<'_, '_> {
    /// Writes the output, and returns its UUID. Skips bytes outside all pieces, which are zero.
    ///
    /// Checksums depend on the UUID, and the UUID can depend on all content. Therefore content is copied
    /// first, and digested at the same time, unless the sink requires ascending offsets.
    ///
    /// # Errors
    ///
    /// `Io` with the error of the sink.
    pub(crate) fn write(&self, identity: Identity<'_, '_>) -> Result<[u8; 16]> {
        let Self { view, plan, sink, observer } = *self;
        observer.begin(Stage::Write, plan.copies.bytes_written.div_ceil(plan.geometry.block_bytes()));
        let uuid = if sink.order() == Order::Ascending {
            let uuid = identity.uuid();
            let renderer = Renderer::new(view, plan, uuid);
            self.write_in_order(&renderer)?;
            uuid
        } else {
            self.copy_and_read(&identity)?;
            let uuid = identity.uuid();
            let renderer = Renderer::new(view, plan, uuid);
            let batches = batches(&plan.rendered);
            batches.par_iter().try_for_each(|batch| self.write_pieces(batch, Some(&renderer)))?;
            uuid
        };
        // Copy the bytes past the end of the filesystem.
        copy(view.source.input(), plan.rest.clone(), sink)
            .map_err(|error| Error::io("writing the output", error))?;
        report_used(plan, sink);
        Ok(uuid)
    }

    /// Digests and copies content. Each thread copies a part right after digesting it, while the bytes are
    /// still in the CPU cache.
    fn copy_and_read(&self, identity: &Identity<'_, '_>) -> Result<()> {
        // Parts and batches are both in the order of the files, so part n and batch n contain about the same
        // data.
        let (parts, next) = (identity.parts().max(self.plan.copies.batches()), AtomicUsize::new(0));
        let threads = 0..rayon::current_num_threads();
        threads.into_par_iter().with_max_len(1).try_for_each(|_| {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    return Ok(());
                }
                if part < identity.parts() {
                    identity.read(part);
                }
                let pieces: Vec<_> = self.plan.copied(self.view.stored, part).collect();
                self.write_pieces(&pieces, None)?;
                // Hash the digests of finished parts while other threads write.
                identity.advance();
            }
        })
    }

    /// Writes all pieces, in the order of their blocks.
    fn write_in_order(&self, renderer: &Renderer<'_, '_>) -> Result<()> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for piece in self.plan.pieces(self.view.stored) {
            batch.push(piece);
            bytes += piece.bytes;
            if bytes >= BATCH_BYTES || batch.len() == BATCH_PIECES {
                self.write_pieces(&batch, Some(renderer))?;
                batch.clear();
                bytes = 0;
            }
        }
        self.write_pieces(&batch, Some(renderer))
    }

    /// Writes pieces. Without a renderer, all pieces must be copied pieces.
    fn write_pieces(&self, pieces: &[Piece], renderer: Option<&Renderer<'_, '_>>) -> Result<()> {
        self.write_batch(pieces, renderer).map_err(|error| Error::io("writing the output", error))?;
        let size = self.plan.geometry.block_bytes();
        self.observer.advance(pieces.iter().map(|piece| piece.bytes.div_ceil(size)).sum());
        Ok(())
    }

    /// Writes pieces. Adjacent pieces are written together.
    fn write_batch(&self, pieces: &[Piece], renderer: Option<&Renderer<'_, '_>>) -> std::io::Result<()> {
        let (size, unit) = (self.plan.geometry.block_bytes(), self.view.source.geometry.block_bytes());
        let lengths = self.padded_lengths(pieces);
        let gathered = || pieces.iter().zip(&lengths).filter(|(piece, _)| is_gathered(piece));
        let mut scratch = vec![0_u8; gathered().map(|(_, length)| length).sum()];
        let mut rest = &mut scratch[..];
        for (piece, length) in gathered() {
            let (block, next) = std::mem::take(&mut rest).split_at_mut(*length);
            match (piece.content, renderer) {
                (PieceContent::Data { from }, _) => self.copy_input(from, piece.bytes, block),
                (_, Some(renderer)) => renderer.render(piece, block),
                (_, None) => unreachable!("only copied pieces are written without a renderer"),
            }
            rest = next;
        }
        let zeros = vec![0_u8; self.plan.geometry.block_size];
        let (mut rest, mut parts) = (&scratch[..], Vec::with_capacity(pieces.len() * 2));
        // The offset of the first slice in `parts`, and the offset after the last slice.
        let (mut start, mut end) = (0, 0);
        for (piece, length) in pieces.iter().zip(&lengths) {
            let offset = piece.offset(size);
            if offset != end {
                flush(self.sink, start, &mut parts)?;
                start = offset;
            }
            if let PieceContent::Data { from } = piece.content
                && !is_gathered(piece)
            {
                let taken = self.take_over(offset, from, piece.bytes);
                if taken > 0 {
                    flush(self.sink, start, &mut parts)?;
                    start = offset + taken;
                }
                self.add_input(from + taken / unit, piece.bytes - taken, &mut parts);
                let padding = *length as u64 - piece.bytes;
                parts.push(IoSlice::new(&zeros[..fits(padding, "it is less than a block")]));
            } else {
                let (block, next) = rest.split_at(*length);
                parts.push(IoSlice::new(block));
                rest = next;
            }
            end = offset + *length as u64;
        }
        flush(self.sink, start, &mut parts)
    }

    /// Returns the length in bytes of each piece, padded to the end of its last block, or to the next piece if
    /// that begins in the same block. The last piece is not padded if a later piece can begin in its block.
    fn padded_lengths(&self, pieces: &[Piece]) -> Vec<usize> {
        let size = self.plan.geometry.block_bytes();
        let next = pieces.iter().skip(1).map(|piece| Some(piece.offset(size))).chain([None]);
        let padded = |(piece, next): (&Piece, Option<u64>)| {
            let (start, end) = (piece.offset(size), (piece.start.0 + piece.blocks(size)) * size);
            let end = match next {
                Some(next) if next >= start => end.min(next),
                _ if self.view.stored.per_block > 1 => start + piece.bytes,
                _ => end,
            };
            fits(end - start, "a piece has at most 1 MiB")
        };
        pieces.iter().zip(next).map(padded).collect()
    }

    /// Offers whole blocks of the input to the sink, which can share them. Returns the number of bytes that
    /// the sink shared.
    fn take_over(&self, offset: u64, start: BlockNr, bytes: u64) -> u64 {
        let size = self.view.source.geometry.block_bytes();
        let blocks = bytes / size;
        if blocks == 0 || !self.view.source.lie_in_input(start, blocks) {
            return 0;
        }
        self.sink.take_over(offset, start.0 * size, blocks * size) / size * size
    }

    /// Copies bytes of the input, starting at a block.
    fn copy_input(&self, start: BlockNr, bytes: u64, out: &mut [u8]) {
        let (mut parts, mut done) = (Vec::with_capacity(1), 0);
        self.add_input(start, bytes, &mut parts);
        for part in &parts {
            out[done..done + part.len()].copy_from_slice(part);
            done += part.len();
        }
    }

    /// Adds slices of the input to `parts`, starting at a block.
    fn add_input<'s>(&'s self, start: BlockNr, bytes: u64, parts: &mut Vec<IoSlice<'s>>) {
        let size = self.view.source.geometry.block_bytes();
        let mut done = 0;
        while done < bytes {
            let next = start + done / size;
            let together = self.view.source.together(next, (bytes - done).div_ceil(size));
            let together = together.expect("the reader checked that the file's blocks are in the image");
            let part = together.len().min(fits(bytes - done, "a piece has at most 1 MiB"));
            assert!(part > 0, "the reader checked that the file's blocks are in the image");
            parts.push(IoSlice::new(&together[..part]));
            done += part as u64;
        }
    }
}

impl<'p, 'a> Renderer<'p, 'a> {
    fn new(view: StoredView<'p, 'a>, plan: &'p Plan, uuid: [u8; 16]) -> Self {
        let superblock = superblock::finish(plan, uuid);
        let checksums = Checksums::of(&superblock);
        let descriptors = group::descriptors(plan, &checksums);
        let values = plan.xattrs.ea_inodes.par_iter();
        let ea_inode_hashes =
            values.map(|value| checksums.xattr_value(view.stored.tree.text(value.text))).collect();
        Self { view, plan, superblock, checksums, descriptors, ea_inode_hashes }
    }

    /// Renders a piece. `out` must be zero.
    fn render(&self, piece: &Piece, out: &mut [u8]) {
        match piece.content {
            PieceContent::Boot => self.boot_sector(&mut out[..1024]),
            PieceContent::Superblock(group) => self.superblock_block(group, out),
            PieceContent::Descriptors(index) => self.descriptor_blocks(index, out),
            PieceContent::BlockBitmap(group) => self.plan.fill_block_bitmap(group, out),
            PieceContent::InodeBitmap(group) => self.plan.fill_inode_bitmap(group, out),
            PieceContent::InodeTable(group, index) => self.inodes(group, index, out),
            PieceContent::ResizeMap => self.resize_map(out),
            PieceContent::ResizeIndirect(index) => self.resize_indirect(index, out),
            PieceContent::Mmp => self.mmp_block(out),
            PieceContent::JournalSuperblock => self.journal_superblock(out),
            PieceContent::Quota(kind, first) => self.quota_blocks(kind, first, out),
            PieceContent::OrphanFile => self.orphan_file(piece.start, out),
            PieceContent::Map(owner, place) => self.map_node(owner, place, out),
            PieceContent::Directory(node, first) => self.directory_blocks(node, first, out),
            PieceContent::Xattrs(split, refcount) => self.xattr_block(piece.start, split, refcount, out),
            PieceContent::EaInode(index, first) => self.ea_inode_blocks(index, first, out),
            PieceContent::Symlink(node) => self.symlink_block(node, out),
            PieceContent::SmallData(node, first) => self.small_data(node, first, out),
            PieceContent::Data { .. } => {}
        }
    }
}

/// Returns whether a piece is collected in the buffer of its batch. This includes rendered pieces, and short
/// content, which is faster to copy than to pass as a separate part.
fn is_gathered(piece: &Piece) -> bool {
    !matches!(piece.content, PieceContent::Data { .. }) || piece.bytes < SHORT
}

fn flush(sink: &dyn Sink, start: u64, parts: &mut Vec<IoSlice<'_>>) -> std::io::Result<()> {
    parts.retain(|part| !part.is_empty());
    if !parts.is_empty() {
        sink.write_at(start, parts)?;
        parts.clear();
    }
    Ok(())
}
