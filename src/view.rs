//! An image together with its tree.

use crate::source::Source;
use crate::tree::Tree;

/// A tree, and the image that its runs lie in.
#[derive(Clone, Copy, Debug)]
pub struct View<'v, 'a> {
    /// The image.
    pub source: &'v Source<'a>,
    /// Its tree.
    pub tree: &'v Tree,
}
