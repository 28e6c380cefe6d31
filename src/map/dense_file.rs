//! Reads files without holes outside the tree: a journal or an orphan file.

use super::budget::Budget;
use super::file_map::FileMap;
use super::inode::DecodedInode;
use super::read::read;
use crate::error::{Location, Result, Structure};
use crate::ondisk::inode::S_IFREG;
use crate::source::Source;
use crate::units::InodeNr;

/// A file without holes outside the tree.
#[derive(Debug)]
pub struct DenseFile {
    /// The number of the inode.
    pub number: InodeNr,
    /// `i_generation`, which is part of checksums.
    pub generation: u32,
    /// The map, which can have one block past the end of the file.
    pub map: FileMap,
    /// The length in blocks, at least 1.
    pub blocks: u32,
    /// Whether `i_blocks` is wrong.
    pub wrong_blocks: bool,
}

/// Reads a file without holes outside the tree.
///
/// # Errors
///
/// `Corrupt` if the inode or its map is damaged, if the inode is not a regular file in use, if the file has
/// no blocks, has holes or has unwritten blocks, or if its size does not match its blocks.
pub(crate) fn dense_file(source: &Source<'_>, number: InodeNr, structure: Structure) -> Result<DenseFile> {
    let at = || Location::of(structure).inode(number);
    let inode = regular_inode(source, number, structure)?;
    let map = read(source, &Budget::new(source), &inode)?;
    let size = source.geometry.block_bytes();
    let Some(allocated) = map.dense_blocks() else { return Err(at().wrong("has a hole")) };
    if allocated == 0 {
        return Err(at().wrong("has no blocks"));
    }
    // mke2fs and tune2fs before e2fsprogs commit 674c0cc4 (2008) allocated one block past the end of
    // journals. The kernel uses the size, and e2fsck accepts one such block.
    let past_end = structure == Structure::Journal && inode.fields.size() == (allocated - 1) * size;
    let blocks = allocated - u64::from(past_end);
    if blocks == 0 || inode.fields.size() != blocks * size {
        return Err(at().value("i_size", inode.fields.size(), allocated * size));
    }
    let blocks = u32::try_from(blocks).map_err(|_| at().wrong("is too large"))?;
    let wrong_blocks = inode.has_wrong_blocks(source, &map);
    Ok(DenseFile { number, generation: inode.fields.i_generation.get(), map, blocks, wrong_blocks })
}

/// Reads the inode of a regular file outside the tree, such as a journal or a quota file.
///
/// # Errors
///
/// `Corrupt` if the inode is not in use, is damaged, or is not a regular file with a link.
pub(crate) fn regular_inode<'a>(
    source: &Source<'a>,
    number: InodeNr,
    structure: Structure,
) -> Result<DecodedInode<'a>> {
    let at = || Location::of(structure).inode(number);
    let Some(bytes) = source.inode(number) else { return Err(at().wrong("is not in use")) };
    let inode = DecodedInode::new(number, bytes);
    inode.check_checksum(source)?;
    inode.check_extra_isize(source)?;
    if inode.fields.format() != S_IFREG || inode.fields.i_links_count.get() == 0 {
        return Err(at().wrong("is not a regular file with a link"));
    }
    Ok(inode)
}
