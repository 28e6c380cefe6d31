//! Output formats. Each is written by a module of its own, such as `sparse`.

use clap::ValueEnum;

/// In which format an image is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The bytes of the image
    Raw,
    /// An Android sparse image, without the free blocks of filesystems
    Sparse,
}
