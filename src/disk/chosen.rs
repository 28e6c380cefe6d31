//! A filesystem that was chosen from those of an image.

use std::ops::Range;

/// A filesystem that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChosenFilesystem {
    /// The bytes of the image that it can have.
    pub bytes: Range<u64>,
    /// Its partition, as an index into those of the table.
    pub partition: Option<usize>,
    /// How messages call it: none if it is all of the image.
    pub name: Option<String>,
}
