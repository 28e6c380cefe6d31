//! Defines sinks: a file, memory, a digest of the output, and a comparison with an image.

mod compare;
mod copy;
mod hash;
mod ready;

pub(crate) use compare::CompareSink;
pub(crate) use copy::copy;
pub(crate) use hash::{HashSink, digest_of};
pub use ready::{FileSink, VecSink};
