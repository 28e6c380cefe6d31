//! Opens an image, and gives access to its blocks. An image is accepted or refused as a whole, and never
//! changed.

mod descriptors;
mod fast_commits;
mod image;
mod input;
mod mmp;
mod not_ext;
mod open;
mod overlay;
mod support;

pub(crate) use fast_commits::{FastCommits, RangeEdit, ReplayedInode};
pub use image::Source;
pub use input::Input;
pub(crate) use not_ext::{foreign, overwritten};
pub use overlay::Overlay;
