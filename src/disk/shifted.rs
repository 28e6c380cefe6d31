//! Writes the output of a filesystem to its offset in the sink of a disk.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sink::{Order, Sink};
use crate::source::Input;

/// The end of the superblock, in bytes.
const SUPERBLOCK_END: u64 = 2048;

/// A sink for one filesystem, which passes all data to the sink of the disk at a shifted offset.
pub(super) struct Shifted<'s> {
    sink: &'s dyn Sink,
    by: u64,
    input: &'s Input<'s>,
    /// Whether the written superblock differs from the superblock of the input. It is compared, because a
    /// mount can change the superblock and nothing else.
    rewritten: AtomicBool,
}

impl<'s> Shifted<'s> {
    /// Creates the sink for the canonical form of `input`, which adds `by` to all offsets.
    pub(super) fn new(sink: &'s dyn Sink, by: u64, input: &'s Input<'s>) -> Self {
        Self { sink, by, input, rewritten: false.into() }
    }

    /// Returns whether the bytes written before the end of the superblock differ from the input.
    pub(super) fn rewrote_superblock(self) -> bool {
        self.rewritten.into_inner()
    }

    /// Returns whether these bytes differ from the input. Bytes past the end of the superblock are ignored.
    fn differs(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> bool {
        for part in parts {
            let Some(length) = SUPERBLOCK_END.checked_sub(offset).filter(|length| *length > 0) else { break };
            // The cast is exact: `length` is at most `SUPERBLOCK_END`.
            let head = &part[..part.len().min(length as usize)];
            if self.input.range(offset, offset + head.len() as u64) != Some(head) {
                return true;
            }
            offset += part.len() as u64;
        }
        false
    }
}

impl Sink for Shifted<'_> {
    fn order(&self) -> Order {
        self.sink.order()
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if self.differs(offset, parts) {
            self.rewritten.store(true, Ordering::Relaxed);
        }
        self.sink.write_at(self.by + offset, parts)
    }

    fn in_use(&self, bytes: Range<u64>) {
        self.sink.in_use(self.by + bytes.start..self.by + bytes.end);
    }

    fn take_over(&self, offset: u64, from: u64, length: u64) -> u64 {
        self.sink.take_over(self.by + offset, self.by + from, length)
    }
}
