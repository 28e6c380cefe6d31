//! Reads the names of a directory as they are after the log is replayed, but before fast commits are applied.

use crate::error::{Location, Result, Structure};
use crate::map::directory::{self, DirectoryInode};
use crate::map::{self, Budget, DecodedInode};
use crate::ondisk::inode::{InodeFlags, S_IFDIR};
use crate::source::Source;
use crate::units::InodeNr;

/// Returns the names of a directory with their inodes, sorted.
///
/// # Errors
///
/// `Corrupt` or `Unsupported` for a directory that can't be read with certainty.
///
/// # Panics
///
/// If the directory has inline data. Fast commits are never replayed on a filesystem with that feature.
pub(super) fn stored_names<'a>(source: &Source<'a>, number: InodeNr) -> Result<Vec<(&'a [u8], InodeNr)>> {
    let at = || Location::of(Structure::Directory).inode(number);
    let bytes = source.inode(number).ok_or_else(|| at().wrong("is not in use"))?;
    let inode = DecodedInode::new(number, bytes);
    map::check_fields(source, &inode, false)?;
    map::check_inline_flags(source, &inode)?;
    let flags = inode.fields.flags();
    assert!(!flags.contains(InodeFlags::INLINE_DATA), "without the feature, the flag was just refused");
    if inode.fields.format() != S_IFDIR {
        return Err(at().wrong("is not a directory"));
    }
    let file_map = map::read(source, &Budget::new(source), &inode)?;
    directory::check_size(source, &inode, &file_map)?;
    inode.xattr_block(source)?;
    let entries = directory::read_sorted(
        source,
        DirectoryInode {
            number,
            generation: inode.fields.i_generation.get(),
            flags,
            indexed: flags.contains(InodeFlags::INDEX),
            runs: &file_map.runs,
            parts: None,
        },
    )?;
    Ok(entries.list.into_iter().map(|entry| (entry.name, entry.inode)).collect())
}
