//! Comparing an image with its canonical form, without writing it.

use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::bytes::first_set_byte;
use crate::plan::{Content, Plan};
use crate::report::Difference;
use crate::source::{Input, Source};
use crate::tree::Tree;
use crate::write::sink::Sink;

/// A sink that compares what it is given with the input.
#[derive(Debug)]
pub struct CompareSink<'a> {
    input: Input<'a>,
    /// How many differences are told.
    limit: usize,
    /// The first byte that differs of each part: of those, the first ones.
    offsets: Mutex<BinaryHeap<u64>>,
    /// No byte from here on is one of them.
    end: AtomicU64,
}

impl<'a> CompareSink<'a> {
    /// Compares with the bytes of an image, to tell at most `limit` differences.
    pub fn new(input: Input<'a>, limit: usize) -> Self {
        Self { input, limit, offsets: Mutex::default(), end: AtomicU64::new(u64::MAX) }
    }

    /// The first byte that differs.
    pub fn first(self) -> Option<u64> {
        self.offsets.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().min()
    }

    fn add(&self, offset: u64) {
        if offset >= self.end.load(Ordering::Relaxed) {
            return;
        }
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.push(offset);
        if offsets.len() > self.limit {
            offsets.pop();
            self.end.store(offsets.peek().map_or(0, |last| *last), Ordering::Relaxed);
        }
    }
}

impl Sink for CompareSink<'_> {
    fn write_at(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for part in parts {
            let end = offset + part.len() as u64;
            // Nothing that is written lies behind the end of what is the same.
            let length = self.input.bytes().len() as u64;
            let there =
                self.input.range(offset.min(length), end.min(length)).expect("both are within the input");
            if *there != **part {
                let same = there.iter().zip(part.iter()).take_while(|(one, other)| one == other).count();
                self.add(offset + same as u64);
            }
            offset = end;
        }
        Ok(())
    }
}

/// What differs, in the order of the offsets: what was written, and what should be zero.
pub fn differences(source: &Source<'_>, tree: &Tree, plan: &Plan, sink: CompareSink<'_>) -> Vec<Difference> {
    let (size, limit) = (plan.geometry.block_size as u64, sink.limit);
    let input = source.input();
    let mut offsets = sink
        .offsets
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_sorted_vec()
        .into_iter()
        .peekable();
    let (mut differences, mut gaps) = (Vec::new(), 0);
    // The end of the last piece, and what it is.
    let (mut next, mut what) = (0, None);
    let end = plan.geometry.blocks_count * size;
    let pieces = plan.pieces(tree).map(|piece| {
        let blocks = piece.bytes.div_ceil(size);
        (piece.start.0 * size..(piece.start.0 + blocks) * size, Some(piece.content))
    });
    for (range, content) in pieces.chain([(end..end, None)]) {
        let is_last = content.is_none();
        while let Some(offset) = offsets.next_if(|offset| is_last || *offset < range.start) {
            let what: Option<Content> = what;
            let what = what.map_or_else(|| "bytes behind the filesystem".to_owned(), |what| what.describe());
            differences.push(Difference { offset, what });
        }
        if gaps < limit
            && let Some(offset) = first_set_byte(input.bytes(), input.data_within(next..range.start))
        {
            differences.push(Difference { offset, what: "bytes that should be zero".to_owned() });
            gaps += 1;
        }
        (next, what) = (range.end, content);
    }
    let length = input.bytes().len() as u64;
    if plan.image_bytes != length {
        let what = format!("end of the image, which should have {} bytes", plan.image_bytes);
        differences.push(Difference { offset: plan.image_bytes.min(length), what });
    }
    differences.sort_by_key(|difference| difference.offset);
    differences.truncate(limit);
    differences
}
