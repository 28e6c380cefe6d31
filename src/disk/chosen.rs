//! Defines a filesystem that was selected in an image.

use std::ops::Range;

/// A filesystem that was selected in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChosenFilesystem {
    /// The byte range that is available to the filesystem.
    pub bytes: Range<u64>,
    /// The index of its partition in the table.
    pub partition: Option<usize>,
    /// The name in messages; `None` if the filesystem is the whole image.
    pub name: Option<String>,
}
