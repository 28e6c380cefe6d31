//! Lists all pieces that are rendered, not copied. No byte is in two pieces. Bytes outside rendered and
//! copied pieces are zero.

use std::ops::Range;

use rayon::slice::ParallelSliceMut as _;

use super::finished::Plan;
use super::layout::FileLayout;
use super::piece::{MAX_PIECE_BYTES, MapOwner, Piece, PieceContent};
use crate::ondisk::mmp::MmpStruct;
use crate::survey::StoredTree;
use crate::tree::{Bytes, Kind, NodeId};
use crate::units::{GroupNr, OutputBlock, fits};

/// The size in bytes of the structure in the MMP block.
const MMP_SIZE: u64 = size_of::<MmpStruct>() as u64;

/// Lists all rendered pieces, in the order of their blocks.
pub(super) fn rendered(plan: &Plan, stored: StoredTree<'_>) -> Vec<Piece> {
    let mut lister =
        PieceLister { plan, stored, block_size: plan.geometry.block_bytes(), pieces: Vec::new() };
    lister.static_metadata();
    lister.specials();
    lister.nodes();
    let mut pieces = lister.pieces;
    // No two pieces start at the same block. If two did, the audit would find it.
    pieces.par_sort_unstable_by_key(|piece| piece.start);
    pieces.shrink_to_fit();
    pieces
}

struct PieceLister<'p> {
    plan: &'p Plan,
    stored: StoredTree<'p>,
    block_size: u64,
    pieces: Vec<Piece>,
}

impl PieceLister<'_> {
    fn add(&mut self, start: OutputBlock, blocks: u64, content: PieceContent) {
        self.pieces.push(Piece::new(start, blocks * self.block_size, content));
    }

    fn static_metadata(&mut self) {
        let geometry = &self.plan.geometry;
        // With larger blocks, the boot sector is in the same block as the superblock.
        if geometry.block_size == 1024 {
            self.pieces.push(Piece::new(OutputBlock(0), 1024, PieceContent::Boot));
        }
        for group in (0..geometry.groups).map(GroupNr) {
            let head = geometry.group_head(group);
            if let Some(block) = head.superblock {
                self.add(OutputBlock(block), 1, PieceContent::Superblock(group));
            }
            if let Some((block, count)) = head.descriptors {
                let first = geometry.first_descriptor_block_of(group);
                let per_piece = MAX_PIECE_BYTES / self.block_size;
                for done in (0..count).step_by(fits(per_piece, "a piece has at most 1 MiB")) {
                    let blocks = per_piece.min(count - done);
                    self.add(OutputBlock(block + done), blocks, PieceContent::Descriptors(first + done));
                }
            }
            if let Some((block, count)) = head.reserved
                && group.0 == 0
            {
                for index in 0..count {
                    self.add(OutputBlock(block + index), 1, PieceContent::ResizeIndirect(index));
                }
            }
            let places = &self.plan.groups[group.0 as usize];
            let counts = &self.plan.counts[group.0 as usize];
            if !counts.is_block_uninit() {
                self.add(places.block_bitmap, 1, PieceContent::BlockBitmap(group));
            }
            if !counts.is_inode_uninit() {
                self.add(places.inode_bitmap, 1, PieceContent::InodeBitmap(group));
            }
            self.inode_table(group, places.inode_table);
        }
    }

    /// Adds the blocks of a group's inode table that contain used inodes. Each piece ends after its last used
    /// inode.
    fn inode_table(&mut self, group: GroupNr, table: OutputBlock) {
        let inode_size = self.plan.geometry.inode_size as u64;
        let per_piece = (MAX_PIECE_BYTES / 4).max(self.block_size);
        let mut parts: Vec<Range<u64>> = Vec::new();
        for used in self.plan.numbering.used_in(group) {
            let start = u64::from(used.start) * inode_size / self.block_size * self.block_size;
            let end = u64::from(used.end) * inode_size;
            match parts.last_mut() {
                Some(last) if last.end.next_multiple_of(self.block_size) >= start => last.end = end,
                _ => parts.push(start..end),
            }
        }
        for part in parts {
            for done in (part.start..part.end).step_by(fits(per_piece, "a piece has at most 1 MiB")) {
                let bytes = per_piece.min(part.end - done);
                let index = fits(done / inode_size, "a group has at most 2^19 inodes");
                let start = table + done / self.block_size;
                self.pieces.push(Piece::new(start, bytes, PieceContent::InodeTable(group, index)));
            }
        }
    }

    fn specials(&mut self) {
        let layout = &self.plan.layout;
        if let Some(block) = layout.resize_block {
            self.add(block, 1, PieceContent::ResizeMap);
        }
        if let Some(block) = layout.mmp_block {
            self.pieces.push(Piece::new(block, MMP_SIZE, PieceContent::Mmp));
        }
        if let Some(file) = layout.journal {
            if let Some(block) = layout.physical(file, 0) {
                self.pieces.push(Piece::new(block, 1024, PieceContent::JournalSuperblock));
            }
            self.map(MapOwner::Journal, file);
        }
        for (quota, file) in self.plan.quotas.iter().zip(&layout.quotas) {
            self.in_parts(*file, |first| PieceContent::Quota(quota.kind, first));
            self.map(MapOwner::Quota(quota.kind), *file);
        }
        if let Some(file) = layout.orphan_file {
            for extent in layout.extents(file) {
                self.add(extent.physical(), extent.count.into(), PieceContent::OrphanFile);
            }
            self.map(MapOwner::OrphanFile, file);
        }
        for (index, file) in (0..).zip(&layout.ea_inodes) {
            self.in_parts(*file, |first| PieceContent::EaInode(index, first));
            self.map(MapOwner::EaInode(index), *file);
        }
        for (block, at) in self.plan.xattrs.blocks.iter().zip(&layout.xattr_blocks) {
            self.add(*at, 1, PieceContent::Xattrs(block.split, block.refcount));
        }
    }

    /// Adds the blocks of a rendered file, in pieces that are small enough to be rendered in parallel. Calls
    /// `content` with the first logical block of each piece.
    fn in_parts(&mut self, file: FileLayout, content: impl Fn(u32) -> PieceContent) {
        let per_piece =
            fits::<u32, _>(MAX_PIECE_BYTES / 4 / self.block_size, "a piece has at most 1 MiB").max(1);
        for extent in self.plan.layout.extents(file) {
            for done in (0..extent.count).step_by(per_piece as usize) {
                let blocks = per_piece.min(extent.count - done);
                let start = extent.physical() + u64::from(done);
                self.add(start, blocks.into(), content(extent.logical + done));
            }
        }
    }

    fn map(&mut self, owner: MapOwner, file: FileLayout) {
        for (place, block) in (0..).zip(self.plan.layout.map_nodes(file)) {
            self.add(*block, 1, PieceContent::Map(owner, place));
        }
    }

    /// Adds the blocks of a regular file whose content is in the tree. They are less than 64 KiB, so that each
    /// extent is a piece.
    fn small_data(&mut self, id: NodeId, size: u64, file: FileLayout) {
        if !self.stored.runs_of(id).iter().any(|run| run.bytes() == Bytes::Tree) {
            return;
        }
        for extent in self.plan.layout.extents(file) {
            let start = u64::from(extent.logical) * self.block_size;
            let bytes = (u64::from(extent.count) * self.block_size).min(size - start);
            let content = PieceContent::SmallData(id, extent.logical);
            self.pieces.push(Piece::new(extent.physical(), bytes, content));
        }
    }

    fn nodes(&mut self) {
        let in_blocks = |id: &NodeId| self.plan.xattrs.inline_of(*id).is_none();
        for id in self.stored.tree.ids().filter(in_blocks) {
            let file = self.plan.layout.nodes[id.index()];
            match self.stored.tree.node(id).kind {
                Kind::Directory { .. } => self.in_parts(file, |first| PieceContent::Directory(id, first)),
                Kind::Regular { size, .. } => self.small_data(id, size, file),
                Kind::Symlink(target) => {
                    let bytes = self.stored.tree.text(target).len() as u64;
                    if let Some(start) = self.plan.layout.physical(file, 0) {
                        self.pieces.push(Piece::new(start, bytes, PieceContent::Symlink(id)));
                    }
                }
                Kind::Device { .. } | Kind::Empty => continue,
            }
            self.map(MapOwner::Node(id), file);
        }
    }
}
