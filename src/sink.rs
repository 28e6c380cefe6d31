//! Where the output goes: data at an offset. What is never written is zero.

use std::io::{self, IoSlice};
use std::ops::Range;

/// In which order bytes reach a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In any order, from several threads.
    Any,
    /// In the order of the offsets, from one thread.
    Ascending,
}

/// Takes the output, from several threads, in any order, each byte at most once.
pub trait Sink: Sync {
    /// Stores `parts`, one behind the other, from the byte `offset` on.
    ///
    /// # Errors
    ///
    /// What the system says, or whatever else keeps the bytes from being stored.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// The order that the sink needs.
    fn order(&self) -> Order {
        Order::Any
    }

    /// Takes over bytes of the input, from the byte `from` of it on, without their being given: for sinks
    /// that share blocks with it. Returns how many, from the first on; the others are given to
    /// [`Self::write_at`].
    fn take_over(&self, offset: u64, from: u64, length: u64) -> u64 {
        let _ = (offset, from, length);
        0
    }

    /// Hears of bytes that mean something to whoever reads the image, those that are zero included: all but the
    /// free blocks of filesystems.
    fn in_use(&self, bytes: Range<u64>) {
        let _ = bytes;
    }
}
