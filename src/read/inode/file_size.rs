//! Checks a regular file's size against its map, and removes blocks past its end, such as those of orphans
//! whose truncation is pending.

use super::verity;
use crate::error::Result;
use crate::map::{DecodedInode, FileMap};
use crate::ondisk::indirect;
use crate::ondisk::inode::InodeFlags;
use crate::source::Source;
use crate::tree::Run;

/// Checks the size of a file with blocks, and removes the blocks past its end.
pub(super) fn settle(
    source: &Source<'_>,
    inode: &DecodedInode<'_>,
    orphan: bool,
    map: &mut FileMap,
    mut dropped: impl FnMut(Run),
) -> Result<()> {
    if inode.fields.flags().contains(InodeFlags::VERITY) {
        if orphan {
            return Err(inode.at().wrong("is to be truncated, but the Merkle tree past its end is in use"));
        }
        check(source, inode)?;
        return verity::settle(source, inode, map, dropped);
    }
    if orphan {
        // The pending truncation would have freed all blocks past the end.
        map.cut(source.geometry.blocks_of_bytes(inode.fields.size()), &mut dropped);
    }
    check(source, inode)?;
    cut_to_size(source, inode, map, dropped)
}

/// Returns the number of logical blocks that the map of an inode can address.
fn map_limit(source: &Source<'_>, inode: &DecodedInode<'_>) -> u64 {
    if inode.fields.flags().contains(InodeFlags::EXTENTS) {
        u32::MAX.into()
    } else {
        indirect::max_blocks(source.geometry.pointers_per_block()).min(u32::MAX.into())
    }
}

/// Checks that the map of a file can address its last block.
pub(super) fn check(source: &Source<'_>, inode: &DecodedInode<'_>) -> Result<()> {
    let (size, block_size) = (inode.fields.size(), source.geometry.block_bytes());
    let limit = map_limit(source, inode);
    if size.div_ceil(block_size) <= limit {
        return Ok(());
    }
    let expected = format!("at most {}, the limit of its map", limit * block_size);
    Err(inode.at().value("i_size", size, expected))
}

/// Removes all blocks past the end of a file. As in e2fsck, only unwritten blocks and one written block right
/// after the end are allowed there.
fn cut_to_size(
    source: &Source<'_>,
    inode: &DecodedInode<'_>,
    map: &mut FileMap,
    dropped: impl FnMut(Run),
) -> Result<()> {
    let (size, block_size) = (inode.fields.size(), source.geometry.block_bytes());
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
