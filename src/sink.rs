//! Defines the destination of the output. Bytes that are not written to it are zero.

use std::io::{self, IoSlice};
use std::ops::Range;

/// The order in which a sink receives data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Any order, from several threads.
    Any,
    /// Ascending offsets, from one thread.
    Ascending,
}

/// A destination of the output. Each byte is written at most once.
pub trait Sink: Sync {
    /// Writes the concatenation of `parts` at `offset`.
    ///
    /// # Errors
    ///
    /// The error of the failed write.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Returns the order in which the sink needs the data.
    fn order(&self) -> Order {
        Order::Any
    }

    /// Copies `length` bytes from the offset `from` of the input to `offset` without passing them through
    /// memory, for sinks that can share blocks with the input. Returns the length of the prefix that was
    /// copied. The remaining bytes are passed to [`Self::write_at`].
    fn take_over(&self, offset: u64, from: u64, length: u64) -> u64 {
        let _ = (offset, from, length);
        0
    }

    /// Reports a byte range that is in use, even if it is zero. All bytes of the output are in use, except
    /// the free blocks of filesystems.
    fn in_use(&self, bytes: Range<u64>) {
        let _ = bytes;
    }
}
