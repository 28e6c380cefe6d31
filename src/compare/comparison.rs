//! The result of a comparison.

use std::fmt;

use super::difference::{PathDifference, SettingDifference};
use super::ignored::Ignored;
use crate::error::Error;
use crate::occupancy::Occupancy;

/// How two images differ.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Differences outside of filesystems: in partition tables, and in other bytes.
    pub settings: Vec<SettingDifference>,
    /// The filesystems that both images have in the same place.
    pub filesystems: Vec<FilesystemComparison>,
}

/// How two filesystems differ.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FilesystemComparison {
    /// The partition in the first image; `None` if no other filesystem is compared.
    pub name: Option<String>,
    /// Differences between the trees, by path.
    pub differences: Vec<PathDifference>,
    /// Differences between the filesystems, so that even equal trees have no equal images.
    pub settings: Vec<SettingDifference>,
    /// Differences between the images that their canonical forms don't have; `None` if not asked for.
    pub ignored: Option<Vec<Ignored>>,
    /// How many paths both trees have.
    pub paths: u64,
    /// How many bytes of content were compared.
    pub bytes: u64,
    /// Warnings about each image, in words.
    pub warnings: [Vec<String>; 2],
    /// What the blocks of each image are used for; `None` if not asked for.
    pub block_maps: Option<[BlockMaps; 2]>,
}

/// What the blocks of a filesystem are used for, before and after.
#[derive(Debug)]
#[non_exhaustive]
pub struct BlockMaps {
    /// In the image.
    pub before: Occupancy,
    /// In its canonical form; the error if it has none.
    pub after: Result<Occupancy, Error>,
}

impl Comparison {
    /// Whether the canonical forms are equal.
    pub fn is_match(&self) -> bool {
        self.settings.is_empty() && self.filesystems.iter().all(FilesystemComparison::is_match)
    }
}

impl FilesystemComparison {
    /// Whether the canonical forms are equal.
    pub fn is_match(&self) -> bool {
        self.differences.is_empty() && self.settings.is_empty()
    }
}

/// What to report besides differences that matter. By default, nothing.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Details {
    /// Whether to report differences that canonicalization removes.
    pub ignored: bool,
    /// The largest files, in bytes, whose content is reported if it differs.
    pub texts: Option<usize>,
    /// The number of cells in a map of each image's blocks.
    pub map_cells: Option<u64>,
}

impl Details {
    /// No details.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether to report differences that canonicalization removes.
    #[must_use]
    pub fn ignored(mut self, ignored: bool) -> Self {
        self.ignored = ignored;
        self
    }

    /// Reports the content of files that differ and have no more bytes than this.
    #[must_use]
    pub fn texts(mut self, largest: usize) -> Self {
        self.texts = Some(largest);
        self
    }

    /// Reports what the blocks are used for, in at most this many cells.
    #[must_use]
    pub fn map_cells(mut self, cells: u64) -> Self {
        self.map_cells = Some(cells);
        self
    }
}

/// An error about one of two images.
#[derive(Debug)]
#[non_exhaustive]
pub struct CompareError {
    /// Which image: 0 or 1.
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
