//! Defines the result of a comparison.

use std::fmt;

use super::difference::{PathDifference, SettingDifference};
use super::ignored::Ignored;
use crate::error::Error;
use crate::occupancy::Occupancy;

/// The differences between two images.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Differences outside of filesystems: in partition tables, and in other bytes of a disk.
    pub settings: Vec<SettingDifference>,
    /// The compared pairs of filesystems. On disks, two filesystems are a pair if they have the same byte
    /// range.
    pub filesystems: Vec<FilesystemComparison>,
}

/// The differences between two filesystems.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FilesystemComparison {
    /// The partition in the first image; `None` if only one filesystem is compared.
    pub name: Option<String>,
    /// Differences between the trees, by path.
    pub differences: Vec<PathDifference>,
    /// Differences between the settings of the filesystems. Because of them, the canonical forms differ even
    /// if the trees are equal.
    pub settings: Vec<SettingDifference>,
    /// Whether the settings of the images themselves differ, and the options settle that.
    pub settled: bool,
    /// Differences that canonicalization removes; `None` if not requested.
    pub ignored: Option<Vec<Ignored>>,
    /// The number of paths that are in both trees.
    pub paths: u64,
    /// The number of bytes of content that were compared.
    pub bytes: u64,
    /// Warnings about each image.
    pub warnings: [Vec<String>; 2],
    /// The use of the blocks in each image; `None` if not requested.
    pub block_maps: Option<[BlockMaps; 2]>,
}

/// The use of the blocks of a filesystem, before and after canonicalization.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlockMaps {
    /// The use in the image.
    pub before: Occupancy,
    /// The use in the canonical form, or the error if canonicalization would fail.
    pub after: Result<Occupancy, Error>,
}

impl Comparison {
    /// Returns whether the canonical forms are equal.
    pub fn is_match(&self) -> bool {
        self.settings.is_empty() && self.filesystems.iter().all(FilesystemComparison::is_match)
    }
}

impl FilesystemComparison {
    /// Returns whether the canonical forms are equal.
    pub fn is_match(&self) -> bool {
        self.differences.is_empty() && self.settings.is_empty()
    }
}

/// Optional parts of a comparison. By default, none is requested.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Details {
    /// Whether to report differences that canonicalization removes.
    pub ignored: bool,
    /// The maximum size in bytes of files whose content is reported if it differs; `None` to report no
    /// content.
    pub texts: Option<usize>,
    /// The maximum number of cells in the block map of each image; `None` for no block maps.
    pub map_cells: Option<u64>,
}

impl Details {
    /// Requests no optional parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to report differences that canonicalization removes.
    #[must_use]
    pub fn ignored(mut self, ignored: bool) -> Self {
        self.ignored = ignored;
        self
    }

    /// Sets the maximum size in bytes of files whose content is reported if it differs.
    #[must_use]
    pub fn texts(mut self, largest: usize) -> Self {
        self.texts = Some(largest);
        self
    }

    /// Requests a map of the use of blocks, with at most `cells` cells.
    #[must_use]
    pub fn map_cells(mut self, cells: u64) -> Self {
        self.map_cells = Some(cells);
        self
    }
}

/// An error in one of two images.
#[derive(Debug)]
#[non_exhaustive]
pub struct CompareError {
    /// The index of the image: 0 or 1.
    pub side: usize,
    /// The error.
    pub error: Error,
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = if self.side == 0 { "first" } else { "second" };
        write!(f, "the {which} image: {}", self.error)
    }
}

impl std::error::Error for CompareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
