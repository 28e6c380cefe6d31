//! Where the output goes: data at an offset. What is never written is zero.

use std::io::{self, IoSlice};

/// Takes the output, from several threads, in any order, each byte at most once.
pub trait Sink: Sync {
    /// Stores `parts`, one behind the other, from the byte `offset` on.
    ///
    /// # Errors
    ///
    /// What the system says, or whatever else keeps the bytes from being stored.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;
}
