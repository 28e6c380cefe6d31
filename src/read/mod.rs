//! Blocks → `Tree`: reads every structure that affects the tree, and checks it before use.
//!
//! Redundant data (bitmaps, counts) is compared with the tree, and differences are warnings. All other
//! violations of the format are errors.

mod accounting;
mod assemble;
mod claims;
mod directory;
mod encryption;
mod image;
mod inode;
mod inode_index;
mod inodes;
mod live_inodes;
mod paths;
mod reading;
mod special;
mod xattr;

pub(crate) use claims::{BlockClaims, CheckedClaims};
pub(crate) use directory::{StoredDirectory, stored};
pub(crate) use reading::Reading;
pub(crate) use special::quota_file::QuotaFile;
pub(crate) use special::specials::{SpecialFile, Specials};

use crate::error::Result;
use crate::observe::Observer;
use crate::source::Source;

/// Reads the tree of an image.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, with the inode, its path and the block.
pub fn read(source: &Source<'_>, observer: &dyn Observer) -> Result<Reading> {
    image::read(source, observer).map_err(|error| match error.inode_without_path() {
        Some(inode) => match paths::find(source, inode) {
            Some(path) => error.with_path(path),
            None => error,
        },
        None => error,
    })
}
