//! Reading block maps: twelve direct blocks, then indirect, double and triple indirect ones.

use super::file_map::{Budget, FileMap};
use crate::error::{Location, Result, Structure};
use crate::ondisk::indirect::DIRECT;
use crate::ondisk::inode::Inode;
use crate::ondisk::le32;
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr};

/// An indirect block that is being read.
struct Level<'a> {
    bytes: &'a [u8],
    block: BlockNr,
    /// Levels below: 0 where the pointers are to data.
    below: u32,
    /// The logical block of the first pointer.
    first: u64,
    next: usize,
}

/// Reads the block map in `i_block` and below.
pub fn read(source: &Source<'_>, budget: &Budget, number: InodeNr, inode: &Inode) -> Result<FileMap> {
    let pointers = source.geometry.pointers_per_block();
    let mut map = FileMap::default();
    let root = |slot: usize| le32(&inode.i_block, slot * 4).expect("fits: i_block has 15 words");
    for slot in 0..12 {
        push(source, budget, number, &mut map, None, slot as u64, root(slot))?;
    }
    let mut first = DIRECT;
    for below in 0..3_u32 {
        let pointer = root(12 + below as usize);
        if pointer != 0 {
            let mut path = vec![open(source, budget, number, &mut map, None, pointer, below, first)?];
            while let Some(level) = path.last_mut() {
                let Some(pointer) = le32(level.bytes, level.next * 4) else {
                    path.pop();
                    continue;
                };
                let (block, below, slot) = (level.block, level.below, level.next as u64);
                let logical = level.first + slot * pointers.pow(below);
                level.next += 1;
                if below == 0 {
                    push(source, budget, number, &mut map, Some(block), logical, pointer)?;
                } else if pointer != 0 {
                    path.push(open(
                        source,
                        budget,
                        number,
                        &mut map,
                        Some(block),
                        pointer,
                        below - 1,
                        logical,
                    )?);
                }
            }
        }
        first += pointers.pow(below + 1);
    }
    Ok(map)
}

fn at(inode: InodeNr, block: Option<BlockNr>) -> Location {
    match block {
        Some(block) => Location::of(Structure::IndirectBlock).inode(inode).block(block),
        None => Location::of(Structure::FileMap).inode(inode),
    }
}

#[expect(clippy::too_many_arguments, reason = "a pointer, where it stands, and what it stands for")]
fn open<'a>(
    source: &Source<'a>,
    budget: &Budget,
    inode: InodeNr,
    map: &mut FileMap,
    parent: Option<BlockNr>,
    pointer: u32,
    below: u32,
    first: u64,
) -> Result<Level<'a>> {
    let block = BlockNr(pointer.into());
    if !source.has_blocks(block, 1) {
        return Err(at(inode, parent).value("a block number", pointer, "a block of the filesystem"));
    }
    budget.take_node(inode, block)?;
    map.nodes.push(block);
    Ok(Level { bytes: source.checked_block(block), block, below, first, next: 0 })
}

fn push(
    source: &Source<'_>,
    budget: &Budget,
    inode: InodeNr,
    map: &mut FileMap,
    block: Option<BlockNr>,
    logical: u64,
    pointer: u32,
) -> Result<()> {
    if pointer == 0 {
        return Ok(());
    }
    let physical = BlockNr(pointer.into());
    if !source.has_blocks(physical, 1) {
        return Err(at(inode, block).value("a block number", pointer, "a block of the filesystem"));
    }
    let Ok(logical) = u32::try_from(logical) else {
        return Err(at(inode, block).value("a logical block", logical, "below 2^32"));
    };
    budget.take(inode, 1)?;
    map.push(Run::in_blocks(logical, 1, physical, false));
    Ok(())
}
