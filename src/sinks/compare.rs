//! A sink that compares the output with an image, without storing it.

use std::collections::BinaryHeap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::sink::Sink;
use crate::source::Input;

/// A sink that compares what it is given with the input.
#[derive(Debug)]
pub(crate) struct CompareSink<'a> {
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
    pub(crate) fn new(input: Input<'a>, limit: usize) -> Self {
        Self { input, limit, offsets: Mutex::default(), end: AtomicU64::new(u64::MAX) }
    }

    /// How many differences are told at most.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The first byte that differs of each part: the first ones, in order.
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
