//! `Plan` → bytes: each region rendered by itself, in parallel, each byte emitted at most once.

mod directory;
mod group;
mod inline;
mod inode;
mod map;
mod quota;
pub mod sink;
mod special;
mod superblock;
mod xattr;

use std::io::IoSlice;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::observe::{Observer, Stage};
use crate::plan::{Content, Piece, Plan};
use crate::source::Source;
use crate::tree::Tree;
use crate::units::BlockNr;
use sink::Sink;

/// Bytes that a batch gathers before it is written.
const BATCH_BYTES: u64 = 1 << 20;
/// Pieces that a batch gathers before it is written.
const BATCH_PIECES: usize = 512;

/// What rendering needs to look at.
struct Renderer<'p, 'a> {
    source: &'p Source<'a>,
    tree: &'p Tree,
    plan: &'p Plan,
    /// The superblock of group 0.
    superblock: crate::ondisk::superblock::Superblock,
    /// All group descriptors, one behind the other.
    descriptors: Vec<u8>,
    /// The checksums of values of xattrs in inodes of their own.
    value_hashes: Vec<u32>,
}

/// In which order bytes reach a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In any, from many threads.
    Any,
    /// That of the offsets, from one thread.
    Ascending,
}

/// Writes the output to a sink, but for what is zero.
///
/// # Errors
///
/// `Io` with what the sink says.
pub fn write(
    source: &Source<'_>,
    tree: &Tree,
    plan: &Plan,
    order: Order,
    sink: &dyn Sink,
    observer: &dyn Observer,
) -> Result<()> {
    let renderer = Renderer::new(source, tree, plan);
    observer.begin(Stage::Write, renderer.blocks());
    let batches = batches(&plan.pieces);
    let write = |batch| renderer.write_and_tell(batch, sink, observer);
    match order {
        Order::Any => batches.into_par_iter().try_for_each(write)?,
        Order::Ascending => batches.into_iter().try_for_each(write)?,
    }
    write_behind_end(source, sink).map_err(|error| Error::io("writing the output", error))
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

/// Copies what lies behind the filesystem's end, which is not the filesystem's.
fn write_behind_end(source: &Source<'_>, sink: &dyn Sink) -> std::io::Result<()> {
    const STEP: usize = 1 << 16;
    let size = source.geometry.block_size as u64;
    let (start, end) = (source.geometry.blocks_count * size, source.input().bytes().len() as u64);
    for data in source.input().data_within(start..end) {
        let bytes = source.input().range(data.start, data.end).unwrap_or_default();
        for (offset, part) in (data.start..).step_by(STEP).zip(bytes.chunks(STEP)) {
            if !crate::survey::is_zero(part) {
                sink.write_at(offset, &[IoSlice::new(part)])?;
            }
        }
    }
    Ok(())
}

impl<'p, 'a> Renderer<'p, 'a> {
    fn new(source: &'p Source<'a>, tree: &'p Tree, plan: &'p Plan) -> Self {
        let (superblock, descriptors) = (superblock::finish(plan), group::descriptors(plan, tree));
        let values = plan.xattrs.values.par_iter();
        let value_hashes = values.map(|value| plan.checksums.xattr_value(tree.text(value.text))).collect();
        Self { source, tree, plan, superblock, descriptors, value_hashes }
    }

    /// The blocks that are to be written.
    fn blocks(&self) -> u64 {
        self.plan.bytes_written().div_ceil(self.plan.geometry.block_size as u64)
    }

    /// Writes pieces, and tells the observer of them.
    fn write_and_tell(&self, pieces: &[Piece], sink: &dyn Sink, observer: &dyn Observer) -> Result<()> {
        self.write_batch(pieces, sink).map_err(|error| Error::io("writing the output", error))?;
        let size = self.plan.geometry.block_size as u64;
        observer.advance(pieces.iter().map(|piece| piece.bytes.div_ceil(size)).sum());
        Ok(())
    }
}

impl Renderer<'_, '_> {
    /// Writes pieces; those that touch go out together.
    fn write_batch(&self, pieces: &[Piece], sink: &dyn Sink) -> std::io::Result<()> {
        let size = self.plan.geometry.block_size;
        let rendered: usize =
            pieces.iter().filter(|piece| !is_copied(piece)).map(|piece| padded(piece, size)).sum();
        let mut scratch = vec![0_u8; rendered];
        let mut rest = &mut scratch[..];
        for piece in pieces.iter().filter(|piece| !is_copied(piece)) {
            let (block, next) = std::mem::take(&mut rest).split_at_mut(padded(piece, size));
            self.render(piece, block);
            rest = next;
        }
        let zeros = vec![0_u8; size];
        let (mut rest, mut parts) = (&scratch[..], Vec::with_capacity(pieces.len() * 2));
        // Where the parts begin, and where the next one would have to follow.
        let (mut start, mut end) = (0, 0);
        for piece in pieces {
            let offset = piece.start.0 * size as u64;
            if offset != end {
                flush(sink, start, &mut parts)?;
                start = offset;
            }
            if let Content::Data(source) = piece.content {
                self.copy(source, piece.bytes, &mut parts);
                let padding = padded(piece, size) as u64 - piece.bytes;
                parts.push(IoSlice::new(&zeros[..usize::try_from(padding).unwrap_or(0)]));
            } else {
                let (block, next) = rest.split_at(padded(piece, size));
                parts.push(IoSlice::new(block));
                rest = next;
            }
            end = offset + padded(piece, size) as u64;
        }
        flush(sink, start, &mut parts)
    }

    /// Adds the input's bytes, from a block on.
    fn copy<'s>(&'s self, start: BlockNr, bytes: u64, parts: &mut Vec<IoSlice<'s>>) {
        let size = self.plan.geometry.block_size as u64;
        let mut done = 0;
        while done < bytes {
            let next = BlockNr(start.0 + done / size);
            // The piece is no longer than the blocks that the reader checked.
            let together = self.source.together(next, (bytes - done).div_ceil(size)).unwrap_or_default();
            let part = together.len().min(usize::try_from(bytes - done).unwrap_or(usize::MAX));
            if part == 0 {
                return;
            }
            parts.push(IoSlice::new(&together[..part]));
            done += part as u64;
        }
    }

    /// Fills blocks of zeros with what a piece holds.
    fn render(&self, piece: &Piece, out: &mut [u8]) {
        match piece.content {
            Content::Boot => self.boot_sector(&mut out[..1024]),
            Content::Superblock(group) => self.superblock_block(group, out),
            Content::Descriptors(index) => self.descriptor_blocks(index, out),
            Content::BlockBitmap(group) => self.plan.fill_block_bitmap(group, out),
            Content::InodeBitmap(group) => self.plan.fill_inode_bitmap(group, out),
            Content::InodeTable(group, index) => self.inodes(group, index, out),
            Content::ResizeMap => self.resize_map(out),
            Content::ResizeIndirect(index) => self.resize_indirect(index, out),
            Content::Mmp => self.mmp_block(out),
            Content::JournalSuperblock => self.journal_superblock(out),
            Content::Quota(kind, first) => self.quota_blocks(kind, first, out),
            Content::OrphanFile => self.orphan_file(piece.start, out),
            Content::Map(owner, place) => self.map_block(owner, place, out),
            Content::Directory(node, first) => self.directory_blocks(node, first, out),
            Content::Xattrs(split, refcount) => self.xattr_block(piece.start, split, refcount, out),
            Content::Value(index, first) => self.value_blocks(index, first, out),
            Content::Symlink(node) => self.symlink_block(node, out),
            Content::SmallData(node) => {
                let content = self.small_content(node);
                out[..content.len()].copy_from_slice(content);
            }
            Content::Data(_) => {}
        }
    }
}

fn is_copied(piece: &Piece) -> bool {
    matches!(piece.content, Content::Data(_))
}

/// The bytes of all blocks of a piece.
fn padded(piece: &Piece, block_size: usize) -> usize {
    usize::try_from(piece.bytes).unwrap_or(usize::MAX).next_multiple_of(block_size)
}

fn flush(sink: &dyn Sink, start: u64, parts: &mut Vec<IoSlice<'_>>) -> std::io::Result<()> {
    parts.retain(|part| !part.is_empty());
    if !parts.is_empty() {
        sink.write_at(start, parts)?;
        parts.clear();
    }
    Ok(())
}
