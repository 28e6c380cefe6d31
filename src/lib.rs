//! Turns any ext2/3/4 image into the canonical image of the same file tree.
//!
//! Data flows one way: an [`Input`] is opened as a [`source::Source`], read into a [`tree::Tree`],
//! changed by [`policy`], surveyed, planned, and written to a [`Sink`].
//!
//! The library holds no global state, prints nothing, and reads neither clock nor environment.
//! Work is spread over the rayon pool it is called in; the output does not depend on its size.

#![forbid(unsafe_code)]

pub mod attribute_text;
mod audit;
mod bytes;
mod changes;
mod check;
pub mod compare;
pub mod content;
pub mod disk;
pub mod error;
pub mod explain;
pub mod form;
pub mod geometry;
mod leftovers;
pub mod map;
pub mod observe;
pub mod occupancy;
pub mod ondisk;
mod pipeline;
mod places;
pub mod plan;
pub mod policy;
mod ranges;
pub mod read;
pub mod recover;
pub mod report;
pub mod sink;
mod sinks;
pub mod source;
pub mod survey;
pub mod text;
pub mod tree;
pub mod tree_digest;
pub mod units;
mod uuid_references;
mod verify;
pub mod view;
pub mod write;

pub use error::{Error, Result};
pub use form::VERSION as FORM_VERSION;
pub use observe::{Observer, Stage};
pub use pipeline::{occupancy, with_tree};
pub use policy::Options;
pub use report::{Difference, Report};
pub use sink::Sink;
pub use source::Input;

/// What benchmarks measure beside the public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::bytes::is_zero;
}

/// Returns the digest of an image's tree alone, with the options applied, and the warnings of reading it.
///
/// # Errors
///
/// See [`Error`].
pub fn tree_digest(
    input: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<(Vec<String>, [u8; 32])> {
    with_tree(input, options, observer, |source, reading| {
        let digest = tree_digest::tree_digest(view::View { source, tree: &reading.tree }, observer)?;
        Ok((reading.warnings.clone(), digest))
    })
}

/// Reads an image and writes its canonical form.
///
/// # Errors
///
/// See [`Error`]. What was written to the sink until then is worthless.
pub fn canonicalize(
    input: &Input<'_>,
    options: &Options,
    sink: &dyn Sink,
    observer: &dyn Observer,
) -> Result<Report> {
    pipeline::canonicalize(input, sink, pipeline::Task { options, neighbours: &Default::default(), observer })
}

/// The SHA-256 of an image's canonical form, without writing it.
///
/// # Errors
///
/// See [`Error`].
pub fn digest(input: &Input<'_>, options: &Options, observer: &dyn Observer) -> Result<(Report, [u8; 32])> {
    pipeline::digest(input, pipeline::Task { options, neighbours: &Default::default(), observer })
}

/// Reads an image and its canonical form, and compares the two trees, content included.
///
/// # Errors
///
/// See [`Error`].
pub fn verify(
    input: &Input<'_>,
    output: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<()> {
    pipeline::verify(input, output, options, observer)
}
