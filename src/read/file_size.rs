//! The size of a regular file against its map, and what of the map lies behind it.

use super::file_map::FileMap;
use super::verity;
use crate::error::{Location, Result, Structure};
use crate::ondisk::indirect;
use crate::ondisk::inode::InodeFlags;
use crate::source::Source;
use crate::tree::Run;
use crate::units::InodeNr;

/// Checks the size of a file with blocks, and drops those that lie behind its end.
pub fn settle(
    source: &Source<'_>,
    (number, flags, orphan): (InodeNr, InodeFlags, bool),
    size: u64,
    map: &mut FileMap,
    mut dropped: impl FnMut(Run),
) -> Result<()> {
    let limit = map_limit(source, flags.contains(InodeFlags::EXTENTS));
    if flags.contains(InodeFlags::VERITY) {
        if orphan {
            return Err(Location::of(Structure::Inode)
                .inode(number)
                .wrong("is to be truncated, but the Merkle tree behind its end is in use"));
        }
        check_size(source, number, size, limit)?;
        return verity::settle(source, number, size, flags, map, dropped);
    }
    if orphan {
        // Whatever lies behind the end was about to go.
        map.cut(source.geometry.blocks_of_bytes(size), &mut dropped);
    }
    check_size(source, number, size, limit)?;
    cut_to_size(source, number, size, map, dropped)
}

/// The blocks that a map reaches.
pub fn map_limit(source: &Source<'_>, extents: bool) -> u64 {
    if extents {
        u32::MAX.into()
    } else {
        indirect::max_blocks(source.geometry.pointers_per_block()).min(u32::MAX.into())
    }
}

/// Checks that a map can reach the end of a file.
pub fn check_size(source: &Source<'_>, number: InodeNr, size: u64, limit: u64) -> Result<()> {
    let block_size = source.geometry.block_size as u64;
    if size.div_ceil(block_size) <= limit {
        return Ok(());
    }
    let expected = format!("at most {}, what its map can reach", limit * block_size);
    Err(Location::of(Structure::Inode).inode(number).value("i_size", size, expected))
}

/// Drops blocks past the end of a file, as far as e2fsck tolerates them: unwritten ones, and one
/// written block right behind the end.
fn cut_to_size(
    source: &Source<'_>,
    number: InodeNr,
    size: u64,
    map: &mut FileMap,
    dropped: impl FnMut(Run),
) -> Result<()> {
    let at = || Location::of(Structure::Inode).inode(number);
    let block_size = source.geometry.block_size as u64;
    let blocks = size.div_ceil(block_size);
    let last_written = map.runs.iter().rev().find(|run| !run.unwritten());
    if let Some(run) = last_written {
        let last = run.end() - 1;
        if last * block_size > size {
            return Err(at().value(
                "i_size",
                size,
                format!("more than {}, since there are written blocks", last * block_size),
            ));
        }
    }
    map.cut(blocks, dropped);
    Ok(())
}
