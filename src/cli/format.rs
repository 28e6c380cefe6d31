//! Defines the formats of an output image.

use clap::ValueEnum;

/// The format of an output image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The bytes of the image
    Raw,
    /// An Android sparse image, without the free blocks of filesystems
    Sparse,
}
