//! The result of a comparison.

use super::difference::{PathDifference, SettingDifference};
use super::ignored::Ignored;
use crate::error::Error;

/// What differs between two images.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What differs between the trees, by path.
    pub differences: Vec<PathDifference>,
    /// What differs between the filesystems, so that even equal trees have no equal images.
    pub settings: Vec<SettingDifference>,
    /// What differs between the images, but not between their canonical forms.
    pub ignored: Vec<Ignored>,
    /// Whether it was looked for.
    pub looked_at_ignored: bool,
    /// Paths that both trees have.
    pub paths: u64,
    /// Bytes of content that were compared.
    pub bytes: u64,
    /// What is worth telling of each image, in words.
    pub warnings: [Vec<String>; 2],
}

impl Comparison {
    /// Whether the canonical forms are equal.
    pub fn is_match(&self) -> bool {
        self.differences.is_empty() && self.settings.is_empty()
    }
}

/// What to look at besides what differs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// What differs but does not matter.
    pub ignored: bool,
    /// The bytes of files that differ in content and have no more bytes than this.
    pub texts: Option<usize>,
}

/// An error of one of two images.
#[derive(Debug)]
pub struct SideError {
    /// Whose: 0 or 1.
    pub side: usize,
    /// The error.
    pub error: Error,
}
