//! The size of a regular file against its map, and what of the map lies past it.

use super::verity;
use crate::error::Result;
use crate::map::{DecodedInode, FileMap};
use crate::ondisk::indirect;
use crate::ondisk::inode::InodeFlags;
use crate::source::Source;
use crate::tree::Run;

/// Checks the size of a file with blocks, and drops those past its end.
pub(super) fn settle(
    source: &Source<'_>,
    inode: &DecodedInode<'_>,
    orphan: bool,
    map: &mut FileMap,
    mut dropped: impl FnMut(Run),
) -> Result<()> {
    if inode.fields.flags().contains(InodeFlags::VERITY) {
        if orphan {
            return Err(inode.at().wrong("is to be truncated, but the Merkle tree behind its end is in use"));
        }
        check(source, inode)?;
        return verity::settle(source, inode, map, dropped);
    }
    if orphan {
        // Whatever lies past the end was about to go.
        map.cut(source.geometry.blocks_of_bytes(inode.fields.size()), &mut dropped);
    }
    check(source, inode)?;
    cut_to_size(source, inode, map, dropped)
}

/// The blocks that the map of an inode reaches.
fn map_limit(source: &Source<'_>, inode: &DecodedInode<'_>) -> u64 {
    if inode.fields.flags().contains(InodeFlags::EXTENTS) {
        u32::MAX.into()
    } else {
        indirect::max_blocks(source.geometry.pointers_per_block()).min(u32::MAX.into())
    }
}

/// Checks that the map of a file can reach its end.
pub(super) fn check(source: &Source<'_>, inode: &DecodedInode<'_>) -> Result<()> {
    let (size, block_size) = (inode.fields.size(), source.geometry.block_size as u64);
    let limit = map_limit(source, inode);
    if size.div_ceil(block_size) <= limit {
        return Ok(());
    }
    let expected = format!("at most {}, what its map can reach", limit * block_size);
    Err(inode.at().value("i_size", size, expected))
}

/// Drops blocks past the end of a file, as far as e2fsck tolerates them: unwritten ones, and one
/// written block right after the end.
fn cut_to_size(
    source: &Source<'_>,
    inode: &DecodedInode<'_>,
    map: &mut FileMap,
    dropped: impl FnMut(Run),
) -> Result<()> {
    let (size, block_size) = (inode.fields.size(), source.geometry.block_size as u64);
    let last_written = map.runs.iter().rev().find(|run| !run.unwritten());
    if let Some(run) = last_written {
        let last = run.end() - 1;
        if last * block_size > size {
            let expected = format!("more than {}, since there are written blocks", last * block_size);
            return Err(inode.at().value("i_size", size, expected));
        }
    }
    map.cut(size.div_ceil(block_size), dropped);
    Ok(())
}
