//! What reading the names of a directory takes of its inode.

use crate::error::Result;
use crate::map::file_map::FileMap;
use crate::map::inode::{DecodedInode, InlineParts};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::InodeFlags;
use crate::source::Source;
use crate::tree::Run;
use crate::units::InodeNr;

/// The inode of a directory, as far as its names depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryInode<'s, 'a> {
    /// Its number.
    pub number: InodeNr,
    /// `i_generation`, which checksums cover.
    pub generation: u32,
    /// Its flags; whether it has an index stands beside them.
    pub flags: InodeFlags,
    /// Whether it has an index.
    pub indexed: bool,
    /// Its blocks.
    pub runs: &'s [Run],
    /// Its entries, where they lie in the inode.
    pub parts: Option<InlineParts<'a>>,
}

/// Checks that a directory has the blocks that its size asks for, and no holes.
///
/// # Errors
///
/// `Corrupt`, naming the inode.
pub(crate) fn check_size(source: &Source<'_>, inode: &DecodedInode<'_>, map: &FileMap) -> Result<()> {
    let high = inode.fields.i_size_high.get();
    if high != 0 && !source.features().incompat.contains(Incompat::LARGE_DIR) {
        return Err(inode.at().value("i_size_high", high, "0 in a directory without the large_dir feature"));
    }
    let Some(blocks) = map.dense_blocks() else {
        return Err(inode.at().wrong("is a directory with a hole or with unwritten blocks"));
    };
    let bytes = blocks * source.geometry.block_size as u64;
    if blocks == 0 || inode.fields.size() != bytes {
        let expected = format!("{bytes}, the blocks of the directory, which has at least one");
        return Err(inode.at().value("i_size", inode.fields.size(), expected));
    }
    Ok(())
}
