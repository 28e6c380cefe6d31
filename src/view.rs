//! Combines a tree with its image.

use crate::source::Source;
use crate::tree::Tree;

/// A tree, with the image that contains the blocks of its runs.
#[derive(Clone, Copy, Debug)]
pub struct View<'v, 'a> {
    /// The image.
    pub source: &'v Source<'a>,
    /// The tree.
    pub tree: &'v Tree,
}
