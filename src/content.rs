//! Reads the bytes of regular files, from blocks or from inline data.

use std::ops::Range;

use crate::bytes::is_zero;
use crate::source::Source;
use crate::tree::{Kind, NodeId, Run};
use crate::units::BlockNr;
use crate::view::View;

/// The content of a regular file.
#[derive(Clone, Copy, Debug)]
pub struct FileContent<'s, 'a> {
    source: &'s Source<'a>,
    runs: &'s [Run],
    /// The inline data, at most one block.
    inline: Option<&'s [u8]>,
    /// The size in bytes.
    pub size: u64,
    /// See [`crate::tree::Node::opaque_from`].
    pub(crate) opaque_from: Option<u64>,
}

impl<'s, 'a> FileContent<'s, 'a> {
    /// Returns the content of a node; `None` if the node is not a regular file.
    pub(crate) fn of(view: View<'s, 'a>, id: NodeId) -> Option<Self> {
        let View { source, tree } = view;
        match tree.node(id).kind {
            Kind::Regular { size, .. } => {
                let opaque_from = tree.node(id).opaque_from(source.geometry.block_size);
                let inline = tree.inline_of(id);
                // A file with inline data has no blocks to read from.
                let runs = if inline.is_some() { &[][..] } else { tree.runs_of(id) };
                Some(Self { source, runs, inline, size, opaque_from })
            }
            _ => None,
        }
    }

    /// Returns the bytes of a logical block; `None` for a hole. Bytes past the end of the file are left out,
    /// unless the file has opaque blocks. Zeros at the end of inline data can be missing.
    pub(crate) fn block(&self, logical: u64) -> Option<&'s [u8]> {
        if let Some(bytes) = self.inline {
            return (logical == 0 && !bytes.is_empty()).then_some(bytes);
        }
        let block_size = self.source.geometry.block_bytes();
        let index = self.runs.partition_point(|run| run.end() <= logical);
        let run = self.runs.get(index).filter(|run| u64::from(run.logical) <= logical)?;
        let block = run.stored_at()? + (logical - u64::from(run.logical));
        let bytes = self.source.checked_block(block);
        if self.opaque_from.is_some() {
            return Some(bytes);
        }
        let left = at_most(self.size.saturating_sub(logical * block_size));
        Some(&bytes[..left.min(bytes.len())])
    }

    /// Returns the logical blocks with stored bytes, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u64> + use<'s> {
        let runs = self.runs.iter().filter(|run| run.stored_at().is_some());
        let blocks = runs.flat_map(|run| u64::from(run.logical)..run.end());
        let in_inode = self.inline.is_some_and(|bytes| !bytes.is_empty());
        blocks.chain(in_inode.then_some(0))
    }

    /// Returns the ranges of bytes that the image stores for the file, in whole blocks, in order.
    pub(crate) fn stored_ranges(&self) -> impl Iterator<Item = Range<u64>> + use<'s> {
        let size = self.source.geometry.block_bytes();
        let in_inode = self.inline.map(|bytes| 0..bytes.len() as u64);
        let runs = self.runs.iter().filter(|run| run.stored_at().is_some());
        in_inode.into_iter().chain(runs.map(move |run| u64::from(run.logical) * size..run.end() * size))
    }

    /// Returns the stored bytes of a byte range that starts at a block boundary, as pairs of offset and
    /// bytes, in order. Bytes past the end of the file are left out, unless the file has opaque blocks. All
    /// other bytes of the range are zero.
    pub(crate) fn pieces(&self, range: Range<u64>) -> Vec<(u64, &'s [u8])> {
        let size = self.source.geometry.block_bytes();
        let mut pieces = Vec::new();
        let mut push = |offset: u64, bytes: &'s [u8]| {
            let end = if self.opaque_from.is_some() { range.end } else { range.end.min(self.size) };
            let length = at_most(end.saturating_sub(offset)).min(bytes.len());
            if length > 0 {
                pieces.push((offset, &bytes[..length]));
            }
        };
        if let Some(bytes) = self.inline {
            if range.start == 0 {
                push(0, bytes);
            }
            return pieces;
        }
        let wanted = range.start / size..range.end.div_ceil(size);
        let first = self.runs.partition_point(|run| run.end() <= wanted.start);
        let runs = self.runs[first..].iter().take_while(|run| u64::from(run.logical) < wanted.end);
        for (run, physical) in runs.filter_map(|run| Some((run, run.stored_at()?))) {
            let logical = u64::from(run.logical);
            let start = physical.0 + (wanted.start.max(logical) - logical);
            let end = physical.0 + (wanted.end.min(run.end()) - logical);
            for stored in self.source.stored(start..end) {
                let mut next = stored.start;
                while let Some(bytes) = self.source.together(BlockNr(next), stored.end - next)
                    && !bytes.is_empty()
                {
                    push((next - physical.0 + logical) * size, bytes);
                    next += bytes.len() as u64 / size;
                }
            }
        }
        pieces
    }

    /// Returns whether two files have the same size and read as the same bytes. Holes equal zeros, except in
    /// opaque blocks. Both images must have the same block size.
    pub(crate) fn equals(&self, other: &FileContent<'_, '_>) -> bool {
        self.size == other.size
            && self.opaque_from == other.opaque_from
            && self.blocks().chain(other.blocks()).all(|logical| {
                match (self.block(logical), other.block(logical)) {
                    (Some(bytes), Some(other)) => {
                        let (both, rest) = bytes.split_at(bytes.len().min(other.len()));
                        let (other_both, other_rest) = other.split_at(both.len());
                        both == other_both && is_zero(rest) && is_zero(other_rest)
                    }
                    (Some(bytes), None) | (None, Some(bytes)) => {
                        self.opaque_from.is_none_or(|opaque| logical < opaque) && is_zero(bytes)
                    }
                    (None, None) => true,
                }
            })
    }

    /// Calls `take` with all bytes up to the size of the file, in order. Holes are passed as zeros.
    ///
    /// # Errors
    ///
    /// The error that `take` returns.
    pub fn each_part<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        const WINDOW: u64 = 4 << 20;
        let (zeros, mut next) = (vec![0_u8; 1 << 16], 0);
        let mut start = 0;
        while start < self.size {
            let end = start.saturating_add(WINDOW).min(self.size);
            let pieces = self.pieces(start..end);
            for (offset, bytes) in pieces.into_iter().chain([(end, &[][..])]) {
                while next < offset {
                    let length = at_most(offset - next).min(zeros.len());
                    take(&zeros[..length])?;
                    next += length as u64;
                }
                // The pieces of a file with opaque blocks are not truncated to its size.
                let length = at_most(end - offset).min(bytes.len());
                take(&bytes[..length])?;
                next = offset + length as u64;
            }
            start = end;
        }
        Ok(())
    }

    /// Returns `length` bytes from `offset`; `None` if they are in a hole, past the end of the file, or not
    /// all in the same block.
    pub(crate) fn within_block(&self, offset: u64, length: usize) -> Option<&'s [u8]> {
        let block_size = self.source.geometry.block_bytes();
        let start = usize::try_from(offset % block_size).ok()?;
        self.block(offset / block_size)?.get(start..)?.get(..length)
    }

    /// Returns all bytes of the file; `None` if there are more than `limit`.
    pub fn bytes(&self, limit: usize) -> Option<Vec<u8>> {
        let size = usize::try_from(self.size).ok().filter(|size| *size <= limit)?;
        let mut bytes = vec![0; size];
        for logical in self.blocks() {
            let start = usize::try_from(logical).ok()?.checked_mul(self.source.geometry.block_size)?;
            if let Some(block) = self.block(logical)
                && let Some(place) = bytes.get_mut(start..)
            {
                let length = place.len().min(block.len());
                place[..length].copy_from_slice(&block[..length]);
            }
        }
        Some(bytes)
    }
}

/// Converts a limit to a `usize`. A limit that exceeds the address space has no effect, so it is clamped to
/// the maximum.
fn at_most(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
