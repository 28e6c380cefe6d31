//! Reads extent trees.

use smallvec::{SmallVec, smallvec};

use super::budget::Budget;
use super::file_map::FileMap;
use super::inode::DecodedInode;
use crate::error::{Location, Problem, Result, Structure};
use crate::ondisk::extent::{
    ENTRY_SIZE, Extent, ExtentHeader, ExtentIndex, MAGIC, MAX_DEPTH, entries_per_block,
};
use crate::ondisk::{le32, view};
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr};

/// A node on the path from the root to a leaf.
struct ExtentNode<'a> {
    bytes: &'a [u8],
    /// The block of the node; `None` for the root.
    block: Option<BlockNr>,
    depth: u16,
    entries: u16,
    /// The next entry to read.
    next: u16,
}

struct ExtentTreeReader<'s, 'a> {
    source: &'s Source<'a>,
    budget: &'s Budget,
    inode: InodeNr,
    generation: u32,
    map: FileMap,
    /// The lowest logical block that the next extent may start at.
    next_logical: u64,
}

/// Reads the extent tree of an inode, starting with `i_block`.
pub(super) fn read(source: &Source<'_>, budget: &Budget, inode: &DecodedInode<'_>) -> Result<FileMap> {
    let mut reader = ExtentTreeReader {
        source,
        budget,
        inode: inode.number,
        generation: inode.fields.i_generation.get(),
        map: FileMap::default(),
        next_logical: 0,
    };
    let root = reader.node(&inode.fields.i_block, None, None)?;
    let mut path: SmallVec<[_; 2]> = smallvec![root];
    // Each block below the root is reached through an index entry with its first logical block. On each
    // level, these logical block numbers are strictly ascending, so no node is read twice and the loop
    // terminates.
    while let Some(node) = path.last_mut() {
        if node.next == node.entries {
            path.pop();
            continue;
        }
        node.next += 1;
        let raw = &node.bytes[ENTRY_SIZE * usize::from(node.next)..];
        let (block, depth) = (node.block, node.depth);
        if depth == 0 {
            let extent = view::<Extent>(raw).expect("fits: the header was checked against the room");
            reader.extent(block, *extent)?;
        } else {
            let index = view::<ExtentIndex>(raw).expect("fits: the header was checked against the room");
            let child = reader.descend(block, index, depth)?;
            path.push(child);
        }
    }
    Ok(reader.map)
}

impl<'a> ExtentTreeReader<'_, 'a> {
    fn at(&self, block: Option<BlockNr>) -> Location {
        match block {
            Some(block) => Location::of(Structure::ExtentBlock).inode(self.inode).block(block),
            None => Location::of(Structure::FileMap).inode(self.inode),
        }
    }

    /// Checks the header of a node. `parent_depth` is `None` for the root.
    fn node<'b>(
        &self,
        bytes: &'b [u8],
        block: Option<BlockNr>,
        parent_depth: Option<u16>,
    ) -> Result<ExtentNode<'b>> {
        let Some(header) = view::<ExtentHeader>(bytes) else {
            return Err(self.at(block).wrong("is cut short"));
        };
        let (entries, max, depth) = (header.eh_entries.get(), header.eh_max.get(), header.eh_depth.get());
        if header.eh_magic.get() != MAGIC {
            let (found, expected) = (header.eh_magic.get().into(), MAGIC.into());
            return Err(self.at(block).corrupt(Problem::Magic { found, expected }));
        }
        let room = entries_per_block(bytes.len());
        if max > room || max == 0 {
            return Err(self.at(block).value("eh_max", max, format!("1 to {room}")));
        }
        if entries > max || (entries == 0 && (block.is_some() || depth > 0)) {
            return Err(self.at(block).value("eh_entries", entries, format!("1 to {max}")));
        }
        match parent_depth {
            Some(parent) if depth.checked_add(1) != Some(parent) => {
                return Err(self.at(block).value("eh_depth", depth, parent - 1).with_remedy(
                    "extract the file with debugfs's dump, and replace it: e2fsck does not detect this",
                ));
            }
            None if depth > MAX_DEPTH => {
                return Err(self.at(block).value("eh_depth", depth, format!("at most {MAX_DEPTH}")));
            }
            _ => {}
        }
        if block.is_some()
            && let Some(expected) =
                self.source.checksums.extent_block(self.inode, self.generation, bytes, max)
        {
            let found = le32(bytes, ENTRY_SIZE * (usize::from(max) + 1))
                .expect("fits: no power of two is a multiple of 12, and 4 bytes or more are left");
            if found != expected {
                return Err(self.at(block).corrupt(Problem::Checksum { found, expected }));
            }
        }
        Ok(ExtentNode { bytes, block, depth, entries, next: 0 })
    }

    fn descend(&mut self, block: Option<BlockNr>, index: &ExtentIndex, depth: u16) -> Result<ExtentNode<'a>> {
        let (first, leaf) = (index.ei_block.get(), index.leaf());
        if u64::from(first) < self.next_logical {
            return Err(self.at(block).value("ei_block", first, format!("{} or more", self.next_logical)));
        }
        if !self.source.has_blocks(leaf, 1) {
            return Err(self.at(block).value("ei_leaf", leaf.0, "a block of the filesystem"));
        }
        let bytes = self.source.checked_block(leaf);
        let child = self.node(bytes, Some(leaf), Some(depth))?;
        // Index entries and extents both start with their first logical block.
        let found = le32(bytes, ENTRY_SIZE).expect("fits: the node has an entry");
        if found != first {
            return Err(self.at(Some(leaf)).value("the first logical block", found, first));
        }
        self.map.nodes.push(leaf);
        self.budget.take_node(self.inode, leaf)?;
        Ok(child)
    }

    fn extent(&mut self, block: Option<BlockNr>, extent: Extent) -> Result<()> {
        let (logical, (count, unwritten), physical) = (extent.ee_block.get(), extent.len(), extent.start());
        if count == 0 {
            return Err(self.at(block).value("ee_len", count, "1 or more"));
        }
        if u64::from(logical) < self.next_logical {
            return Err(self.at(block).value("ee_block", logical, format!("{} or more", self.next_logical)));
        }
        let end = u64::from(logical) + u64::from(count);
        if end > u64::from(u32::MAX) {
            return Err(self.at(block).value("the end of an extent", end, "below 2^32"));
        }
        if !self.source.has_blocks(physical, count.into()) {
            return Err(self.at(block).value(
                "ee_start",
                physical.0,
                format!("{count} blocks of the filesystem"),
            ));
        }
        self.budget.take(self.inode, count.into())?;
        self.next_logical = end;
        self.map.push(Run::in_blocks(logical, count, physical, unwritten));
        Ok(())
    }
}
