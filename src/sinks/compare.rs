//! Compares the output with an image, without storing the output.

use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::sink::Sink;
use crate::source::Input;

/// A sink that compares the output with the input.
#[derive(Debug)]
pub(crate) struct CompareSink<'a> {
    input: Input<'a>,
    /// The maximum number of reported differences.
    limit: usize,
    /// The offset of the first different byte of each written part. Only the lowest `limit` offsets are kept.
    offsets: Mutex<BinaryHeap<u64>>,
    /// The lowest offset that is no longer added, since enough lower offsets are known.
    end: AtomicU64,
}

impl<'a> CompareSink<'a> {
    /// Creates a sink that compares with the bytes of an image, and reports at most `limit` differences.
    pub(crate) fn new(input: Input<'a>, limit: usize) -> Self {
        Self { input, limit, offsets: Mutex::default(), end: AtomicU64::new(u64::MAX) }
    }

    /// Returns the maximum number of reported differences.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the offset of the first different byte of each written part, in order, up to the limit.
    pub(crate) fn offsets(self) -> Vec<u64> {
        self.offsets.into_inner().unwrap_or_else(PoisonError::into_inner).into_sorted_vec()
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
            // Past the end of the input, `there` is shorter than `part`, so the two differ.
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
