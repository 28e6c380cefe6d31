//! Renders extent trees and block maps.

use zerocopy::IntoBytes;

use super::renderer::Renderer;
use crate::ondisk::extent::{
    self as disk, ENTRY_SIZE, ExtentHeader, ExtentIndex, ROOT_MAX, entries_per_block,
};
use crate::ondisk::indirect::DIRECT;
use crate::ondisk::inode::I_BLOCK_SIZE;
use crate::plan::{
    Extent, FileLayout, IndirectBlock, MapOwner, Plan, extent_levels, indirect_blocks, indirect_root,
};
use crate::units::{InodeNr, OutputBlock, fits};

/// Returns `i_block` of a file: the root of its extent tree, or its block map.
pub(super) fn root(plan: &Plan, file: FileLayout) -> [u8; I_BLOCK_SIZE] {
    let mut out = [0; I_BLOCK_SIZE];
    let (extents, blocks) = (plan.layout.extents(file), plan.layout.map_nodes(file));
    if plan.has_extents() {
        let tree = ExtentTree::new(extents, blocks, plan.geometry.block_size);
        tree.node(0, 0, ROOT_MAX, &mut out);
        return out;
    }
    for extent in extents {
        direct_pointers(extent, 0..DIRECT, &mut out);
    }
    let pointers = plan.geometry.pointers_per_block();
    for (indirect, block) in indirect_blocks(extents, pointers).iter().zip(blocks) {
        let (first, below) = indirect_root(indirect.first, pointers);
        if indirect.first == first && indirect.below() == below {
            put_pointer(&mut out, DIRECT + u64::from(below), *block);
        }
    }
    out
}

/// The extents of a file, and the blocks of its extent tree.
struct ExtentTree<'p> {
    extents: &'p [Extent],
    blocks: &'p [OutputBlock],
    /// The number of nodes on each level, including the root.
    levels: Vec<usize>,
    per_block: usize,
}

impl<'p> ExtentTree<'p> {
    fn new(extents: &'p [Extent], blocks: &'p [OutputBlock], block_size: usize) -> Self {
        let mut levels = extent_levels(extents.len(), block_size);
        levels.insert(0, 1);
        Self { extents, blocks, levels, per_block: entries_per_block(block_size).into() }
    }

    /// Returns the level of a node, and its position in that level.
    fn find(&self, mut place: usize) -> (usize, usize) {
        for (level, nodes) in self.levels.iter().enumerate().skip(1) {
            if place < *nodes {
                return (level, place);
            }
            place -= nodes;
        }
        (0, 0)
    }

    /// Renders a node, by its level and its position in the level. All previous nodes of the level are full.
    fn node(&self, level: usize, place: usize, max: u16, out: &mut [u8]) {
        let depth = self.levels.len() - 1 - level;
        let all = if depth == 0 { self.extents.len() } else { self.levels[level + 1] };
        let first = place * self.per_block;
        let entries = (all - first).min(max.into());
        let header = ExtentHeader::new(narrow(entries), max, narrow(depth));
        out[..ENTRY_SIZE].copy_from_slice(header.as_bytes());
        // The blocks of the levels above the children come first. The root is in the inode, so it has no
        // block.
        let children: usize = self.levels[1..=level].iter().sum();
        for (entry, slot) in (first..first + entries).zip(out[ENTRY_SIZE..].chunks_exact_mut(ENTRY_SIZE)) {
            if depth == 0 {
                let extent = &self.extents[entry];
                let extent =
                    disk::Extent::new(extent.logical, extent.count, extent.physical(), extent.unwritten());
                slot.copy_from_slice(extent.as_bytes());
            } else {
                let below = self.per_block.pow(fits(depth - 1, "a tree has at most five levels"));
                let logical = self.extents[entry * below * self.per_block].logical;
                slot.copy_from_slice(ExtentIndex::new(logical, self.blocks[children + entry]).as_bytes());
            }
        }
    }
}

/// Converts a count, which is at most the number of entries in a block.
fn narrow(value: usize) -> u16 {
    fits(value, "a node has at most the entries of a block, and a tree few levels")
}

/// Writes pointers to those blocks of an extent that are in a range of logical blocks.
fn direct_pointers(extent: &Extent, range: std::ops::Range<u64>, out: &mut [u8]) {
    let first = u64::from(extent.logical);
    let (start, end) = (range.start.max(first), range.end.min(extent.end()));
    for logical in start..end {
        put_pointer(out, logical - range.start, extent.physical() + (logical - first));
    }
}

fn put_pointer(out: &mut [u8], slot: u64, block: OutputBlock) {
    let start: usize = fits(slot * 4, "it is the offset of a pointer in a block");
    let block: u32 = fits(block.0, "the layout keeps blocks that maps name below 2^32");
    out[start..start + 4].copy_from_slice(&block.to_le_bytes());
}

/// The reason why the file of an extent tree or block map always exists.
const PLANNED: &str = "the audit checked that a planned file has this extent tree node or indirect block";

impl Renderer<'_, '_> {
    fn file_of(&self, owner: MapOwner) -> (InodeNr, FileLayout) {
        let layout = &self.plan.layout;
        match owner {
            MapOwner::Journal => (InodeNr::JOURNAL, layout.journal.expect(PLANNED)),
            MapOwner::Quota(kind) => {
                let number = self.plan.numbering.quota_file(kind).expect(PLANNED);
                (number, self.quota_file(number).expect(PLANNED).1)
            }
            MapOwner::OrphanFile => {
                (self.plan.numbering.orphan_file().expect(PLANNED), layout.orphan_file.expect(PLANNED))
            }
            MapOwner::EaInode(index) => {
                (self.plan.numbering.number_of_ea_inode(index), layout.ea_inodes[index as usize])
            }
            MapOwner::Node(id) => (self.plan.numbering.number_of(id), layout.nodes[id.index()]),
        }
    }

    /// Renders an extent tree node or indirect block of a file, by its index in the layout.
    pub(super) fn map_node(&self, owner: MapOwner, place: u32, out: &mut [u8]) {
        let (number, file) = self.file_of(owner);
        let (extents, blocks) = (self.plan.layout.extents(file), self.plan.layout.map_nodes(file));
        if self.plan.has_extents() {
            let tree = ExtentTree::new(extents, blocks, out.len());
            let (level, place) = tree.find(place as usize);
            let max = entries_per_block(out.len());
            tree.node(level, place, max, out);
            if let Some(checksum) = self.checksums.extent_block(number, 0, out, max) {
                let tail = ENTRY_SIZE * (usize::from(max) + 1);
                out[tail..tail + 4].copy_from_slice(&checksum.to_le_bytes());
            }
            return;
        }
        let pointers = self.plan.geometry.pointers_per_block();
        let all = indirect_blocks(extents, pointers);
        indirect_block(&all, place as usize, extents, blocks, pointers, out);
    }
}

fn indirect_block(
    all: &[IndirectBlock],
    place: usize,
    extents: &[Extent],
    blocks: &[OutputBlock],
    pointers: u64,
    out: &mut [u8],
) {
    let this = &all[place];
    let span = pointers.pow(this.below());
    let range = this.first..this.first + span * pointers;
    if this.below() == 0 {
        let first = extents.partition_point(|extent| extent.end() <= range.start);
        for extent in extents[first..].iter().take_while(|extent| u64::from(extent.logical) < range.end) {
            direct_pointers(extent, range.clone(), out);
        }
        return;
    }
    let children = all.iter().zip(blocks).skip(place + 1).take_while(|(child, _)| child.first < range.end);
    for (child, block) in children.filter(|(child, _)| child.below() + 1 == this.below()) {
        put_pointer(out, (child.first - range.start) / span, *block);
    }
}
