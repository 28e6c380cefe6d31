//! Defines the data of a directory's inode that is needed to read its entries.

use crate::error::Result;
use crate::map::file_map::FileMap;
use crate::map::inode::{DecodedInode, InlineParts};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::InodeFlags;
use crate::source::Source;
use crate::tree::Run;
use crate::units::InodeNr;

/// The data of a directory's inode that is needed to read its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryInode<'s, 'a> {
    /// The number of the inode.
    pub number: InodeNr,
    /// `i_generation`, which is part of checksums.
    pub generation: u32,
    /// The flags, without `INDEX`: see [`Self::indexed`].
    pub flags: InodeFlags,
    /// Whether the directory has an index.
    pub indexed: bool,
    /// The blocks of the directory.
    pub runs: &'s [Run],
    /// The entries, if they are inline data.
    pub parts: Option<InlineParts<'a>>,
}

/// Checks that a directory has as many blocks as its size says, and no holes.
///
/// # Errors
///
/// `Corrupt`, with the inode.
pub(crate) fn check_size(source: &Source<'_>, inode: &DecodedInode<'_>, map: &FileMap) -> Result<()> {
    let high = inode.fields.i_size_high.get();
    if high != 0 && !source.features().has(Incompat::LARGE_DIR) {
        return Err(inode.at().value("i_size_high", high, "0 in a directory without the large_dir feature"));
    }
    let Some(blocks) = map.dense_blocks() else {
        return Err(inode.at().wrong("is a directory with a hole or with unwritten blocks"));
    };
    let bytes = blocks * source.geometry.block_bytes();
    if blocks == 0 || inode.fields.size() != bytes {
        let expected =
            format!("{bytes}, the total size of the directory's blocks, of which there is at least one");
        return Err(inode.at().value("i_size", inode.fields.size(), expected));
    }
    Ok(())
}
