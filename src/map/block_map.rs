//! Reads block maps: twelve direct blocks, then an indirect, a double and a triple indirect block.

use super::budget::Budget;
use super::file_map::FileMap;
use super::inode::DecodedInode;
use crate::error::{Location, Result, Structure};
use crate::ondisk::indirect::DIRECT;
use crate::ondisk::le32;
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr};

/// An indirect block that is being read.
struct IndirectLevel<'a> {
    bytes: &'a [u8],
    block: BlockNr,
    /// The number of levels below this one; 0 if the pointers are to data.
    below: u32,
    /// The logical block of the first pointer.
    first: u64,
    next: usize,
}

struct BlockMapReader<'s, 'a> {
    source: &'s Source<'a>,
    budget: &'s Budget,
    inode: InodeNr,
    map: FileMap,
}

/// Reads the block map of an inode, starting with `i_block`.
///
/// # Errors
///
/// `Corrupt` for a pointer to a block outside the filesystem, for an indirect block that occurs twice, for a
/// logical block number above 32 bits, or if the budget is exhausted.
pub(crate) fn read(source: &Source<'_>, budget: &Budget, inode: &DecodedInode<'_>) -> Result<FileMap> {
    let pointers = source.geometry.pointers_per_block();
    let mut reader = BlockMapReader { source, budget, inode: inode.number, map: FileMap::default() };
    let root = |slot: usize| le32(&inode.fields.i_block, slot * 4).expect("fits: i_block has 15 words");
    for slot in 0..12 {
        reader.data(None, slot as u64, root(slot))?;
    }
    let mut first = DIRECT;
    for below in 0..3_u32 {
        let pointer = root(12 + below as usize);
        if pointer != 0 {
            let top = reader.open(None, pointer, below, first)?;
            reader.all_below(top, pointers)?;
        }
        first += pointers.pow(below + 1);
    }
    Ok(reader.map)
}

impl<'a> BlockMapReader<'_, 'a> {
    /// Returns the location of an error: an indirect block, or the inode.
    fn at(&self, block: Option<BlockNr>) -> Location {
        match block {
            Some(block) => Location::of(Structure::IndirectBlock).inode(self.inode).block(block),
            None => Location::of(Structure::FileMap).inode(self.inode),
        }
    }

    /// Reads an indirect block and all blocks below it.
    fn all_below(&mut self, top: IndirectLevel<'a>, pointers: u64) -> Result<()> {
        let mut path = vec![top];
        while let Some(level) = path.last_mut() {
            let Some(pointer) = le32(level.bytes, level.next * 4) else {
                path.pop();
                continue;
            };
            let (block, below, slot) = (level.block, level.below, level.next as u64);
            let logical = level.first + slot * pointers.pow(below);
            level.next += 1;
            if below == 0 {
                self.data(Some(block), logical, pointer)?;
            } else if pointer != 0 {
                path.push(self.open(Some(block), pointer, below - 1, logical)?);
            }
        }
        Ok(())
    }

    /// Opens the indirect block of a pointer in `parent`.
    fn open(
        &mut self,
        parent: Option<BlockNr>,
        pointer: u32,
        below: u32,
        first: u64,
    ) -> Result<IndirectLevel<'a>> {
        let block = BlockNr(pointer.into());
        if !self.source.has_blocks(block, 1) {
            return Err(self.at(parent).value("a block number", pointer, "a block of the filesystem"));
        }
        self.budget.take_node(self.inode, block)?;
        self.map.nodes.push(block);
        Ok(IndirectLevel { bytes: self.source.checked_block(block), block, below, first, next: 0 })
    }

    /// Adds the data block of a pointer in `parent`, if the pointer is not 0.
    fn data(&mut self, parent: Option<BlockNr>, logical: u64, pointer: u32) -> Result<()> {
        if pointer == 0 {
            return Ok(());
        }
        let physical = BlockNr(pointer.into());
        if !self.source.has_blocks(physical, 1) {
            return Err(self.at(parent).value("a block number", pointer, "a block of the filesystem"));
        }
        let Ok(logical) = u32::try_from(logical) else {
            return Err(self.at(parent).value("a logical block", logical, "below 2^32"));
        };
        self.budget.take(self.inode, 1)?;
        self.map.push(Run::in_blocks(logical, 1, physical, false));
        Ok(())
    }
}
