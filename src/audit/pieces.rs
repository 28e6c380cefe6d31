//! Checks that each piece to write is at a block that a pointer leads to, and that every block that a pointer
//! leads to is written.

use super::contradiction::{ensure, wrong};
use super::expected_copies::ExpectedCopies;
use super::static_metadata::StaticMetadata;
use crate::error::{Error, Result};
use crate::ondisk::mmp::MmpStruct;
use crate::plan::{FileLayout, GroupCounts, GroupPlaces, MapOwner, Piece, PieceContent, Plan, SplitId};
use crate::survey::StoredTree;
use crate::tree::{Bytes, Kind, NodeId};
use crate::units::{GroupNr, OutputBlock};

/// Checks all pieces.
pub(super) fn check(plan: &Plan, stored: StoredTree<'_>, metadata: &StaticMetadata) -> Result<()> {
    let mut checker = PieceChecker {
        plan,
        stored,
        metadata,
        copies: ExpectedCopies::new(plan, stored),
        found: Totals::default(),
    };
    let (mut end, mut bytes) = (0, 0);
    let block_size = plan.geometry.block_bytes();
    for piece in plan.pieces(stored) {
        let (blocks, start) = (piece.blocks(block_size), piece.offset(block_size));
        let is_copied = matches!(piece.content, PieceContent::Data { .. });
        let fits = piece.start.0 + blocks <= plan.geometry.blocks_count;
        ensure(start >= end && fits && (is_copied || piece.skipped == 0), || {
            format!("{} is written to block {}", piece.content.describe(), piece.start)
        })?;
        // Nothing but content from smaller blocks shares a block.
        end = if is_copied { start + piece.bytes } else { (piece.start.0 + blocks) * block_size };
        bytes += piece.bytes;
        checker.piece(&piece, blocks)?;
    }
    checker.copies.finish()?;
    ensure(bytes == plan.copies.bytes_written, || {
        format!("{bytes} bytes are written, not {}", plan.copies.bytes_written)
    })?;
    let expected = Totals::expected(plan, stored, metadata);
    ensure(checker.found == expected, || {
        format!("the piece counts are {:?}, expected {expected:?}", checker.found)
    })
}

/// The number of blocks or inodes that are written, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    boot: u64,
    superblocks: u64,
    descriptors: u64,
    block_bitmaps: u64,
    inode_bitmaps: u64,
    inodes: u64,
    resize_map: u64,
    resize_indirect: u64,
    mmp: u64,
    journal: u64,
    quota: u64,
    orphan_file: u64,
    maps: u64,
    directories: u64,
    xattrs: u64,
    symlinks: u64,
    small: u64,
    values: u64,
}

impl Totals {
    /// Returns the counter for a kind of content, or `None` for copied content.
    fn of(&mut self, content: PieceContent) -> Option<&mut u64> {
        Some(match content {
            PieceContent::Boot => &mut self.boot,
            PieceContent::Superblock(_) => &mut self.superblocks,
            PieceContent::Descriptors(_) => &mut self.descriptors,
            PieceContent::BlockBitmap(_) => &mut self.block_bitmaps,
            PieceContent::InodeBitmap(_) => &mut self.inode_bitmaps,
            PieceContent::InodeTable(..) => &mut self.inodes,
            PieceContent::ResizeMap => &mut self.resize_map,
            PieceContent::ResizeIndirect(_) => &mut self.resize_indirect,
            PieceContent::Mmp => &mut self.mmp,
            PieceContent::JournalSuperblock => &mut self.journal,
            PieceContent::Quota(..) => &mut self.quota,
            PieceContent::OrphanFile => &mut self.orphan_file,
            PieceContent::Map(..) => &mut self.maps,
            PieceContent::Directory(..) => &mut self.directories,
            PieceContent::Xattrs(..) => &mut self.xattrs,
            PieceContent::Symlink(_) => &mut self.symlinks,
            PieceContent::SmallData(..) => &mut self.small,
            PieceContent::EaInode(..) => &mut self.values,
            PieceContent::Data { .. } => return None,
        })
    }

    /// Computes the expected numbers of blocks or inodes.
    fn expected(plan: &Plan, stored: StoredTree<'_>, metadata: &StaticMetadata) -> Self {
        let tree = stored.tree;
        let layout = &plan.layout;
        let blocks = |file: &FileLayout| {
            layout.extents(*file).iter().map(|extent| u64::from(extent.count)).sum::<u64>()
        };
        let map = |file: &FileLayout| layout.map_nodes(*file).len() as u64;
        let specials =
            layout.journal.iter().chain(&layout.quotas).chain(&layout.orphan_file).chain(&layout.ea_inodes);
        let mut totals = Self {
            boot: u64::from(plan.geometry.block_size == 1024),
            superblocks: metadata.superblocks.len() as u64,
            descriptors: metadata.descriptors.iter().map(|copy| copy.count).sum(),
            block_bitmaps: plan.counts.iter().filter(|counts| !counts.is_block_uninit()).count() as u64,
            inode_bitmaps: plan.counts.iter().filter(|counts| !counts.is_inode_uninit()).count() as u64,
            inodes: plan.numbering.count().into(),
            resize_map: u64::from(layout.resize_block.is_some()),
            resize_indirect: plan.geometry.reserved_gdt_blocks,
            mmp: u64::from(layout.mmp_block.is_some()),
            journal: u64::from(layout.journal.is_some()),
            quota: layout.quotas.iter().map(blocks).sum(),
            orphan_file: layout.orphan_file.iter().map(blocks).sum(),
            maps: specials.chain(&layout.nodes).map(map).sum(),
            xattrs: plan.xattrs.blocks.len() as u64,
            values: layout.ea_inodes.iter().map(blocks).sum(),
            ..Self::default()
        };
        for id in tree.ids().filter(|id| plan.xattrs.inline_of(*id).is_none()) {
            match tree.node(id).kind {
                Kind::Directory { .. } => totals.directories += blocks(&layout.nodes[id.index()]),
                Kind::Symlink(target) => totals.symlinks += u64::from(tree.text(target).len() >= 60),
                Kind::Regular { .. } => {
                    let in_tree = stored.runs_of(id).iter().any(|run| run.bytes() == Bytes::Tree);
                    totals.small += if in_tree { blocks(&layout.nodes[id.index()]) } else { 0 };
                }
                Kind::Device { .. } | Kind::Empty => {}
            }
        }
        totals
    }
}

struct PieceChecker<'p> {
    plan: &'p Plan,
    stored: StoredTree<'p>,
    metadata: &'p StaticMetadata,
    copies: ExpectedCopies<'p>,
    found: Totals,
}

impl PieceChecker<'_> {
    /// Checks and counts a piece.
    fn piece(&mut self, piece: &Piece, blocks: u64) -> Result<()> {
        match piece.content {
            PieceContent::Data { from } => return self.copies.check(piece, from),
            PieceContent::InodeTable(group, index) => return self.inode_table(piece, group, index),
            _ => {}
        }
        let holds =
            piece.bytes == self.bytes_of(piece.content, blocks) && self.is_in_its_place(piece, blocks);
        if let Some(count) = self.found.of(piece.content) {
            *count += blocks;
        }
        if holds { Ok(()) } else { Err(misplaced(piece)) }
    }

    /// Returns the expected length in bytes of a piece with this number of blocks.
    fn bytes_of(&self, content: PieceContent, blocks: u64) -> u64 {
        let block_bytes = self.plan.geometry.block_bytes();
        let kind = |id: NodeId| self.stored.tree.nodes.get(id.index()).map(|node| node.kind);
        match content {
            PieceContent::Boot | PieceContent::JournalSuperblock => 1024,
            PieceContent::Mmp => size_of::<MmpStruct>() as u64,
            PieceContent::Symlink(id) => match kind(id) {
                Some(Kind::Symlink(target)) => self.stored.tree.text(target).len() as u64,
                _ => 0,
            },
            PieceContent::SmallData(id, first) => match kind(id) {
                Some(Kind::Regular { size, .. }) => {
                    size.saturating_sub(u64::from(first) * block_bytes).min(blocks * block_bytes)
                }
                _ => 0,
            },
            _ => blocks * block_bytes,
        }
    }

    /// Returns whether a pointer leads to the blocks of a rendered piece.
    fn is_in_its_place(&self, piece: &Piece, blocks: u64) -> bool {
        let (plan, layout, start) = (self.plan, &self.plan.layout, piece.start);
        let file_leads = |file: Option<FileLayout>, first: u32| {
            file.is_some_and(|file| leads(plan, file, first, start, blocks))
        };
        let node = |id: NodeId| layout.nodes.get(id.index()).copied();
        match piece.content {
            PieceContent::Boot => start.0 == 0,
            PieceContent::Superblock(group) => self.is_superblock(group, start),
            PieceContent::Descriptors(index) => self.are_descriptors(index, start, blocks),
            PieceContent::BlockBitmap(group) => self
                .is_bitmap(group, |places, counts| places.block_bitmap == start && !counts.is_block_uninit()),
            PieceContent::InodeBitmap(group) => self
                .is_bitmap(group, |places, counts| places.inode_bitmap == start && !counts.is_inode_uninit()),
            PieceContent::ResizeMap => layout.resize_block == Some(start),
            PieceContent::ResizeIndirect(index) => self
                .metadata
                .reserved
                .first()
                .is_some_and(|range| range.start + index == start.0 && range.contains(&start.0)),
            PieceContent::Mmp => layout.mmp_block == Some(start),
            PieceContent::JournalSuperblock => file_leads(layout.journal, 0),
            PieceContent::Quota(kind, first) => file_leads(file_of(plan, MapOwner::Quota(kind)), first),
            PieceContent::OrphanFile => {
                let extents = layout.orphan_file.map_or(&[][..], |file| layout.extents(file));
                extents.iter().any(|e| e.physical() == start && u64::from(e.count) == blocks)
            }
            PieceContent::Map(owner, index) => {
                let map = file_of(plan, owner).map(|file| layout.map_nodes(file));
                map.and_then(|map| map.get(index as usize)) == Some(&start)
            }
            PieceContent::Directory(id, first) => file_leads(node(id), first),
            PieceContent::Xattrs(split, refcount) => self.is_xattr_block(split, refcount, start),
            PieceContent::Symlink(id) => file_leads(node(id), 0),
            PieceContent::SmallData(id, first) => file_leads(node(id), first),
            PieceContent::EaInode(index, first) => {
                file_leads(layout.ea_inodes.get(index as usize).copied(), first)
            }
            // These kinds of content have separate checks.
            PieceContent::Data { .. } | PieceContent::InodeTable(..) => false,
        }
    }

    /// Returns whether this block contains the superblock of a group.
    fn is_superblock(&self, group: GroupNr, start: OutputBlock) -> bool {
        let copies = &self.metadata.superblocks;
        let copy = copies.binary_search_by_key(&group.0, |(group, _)| *group);
        copy.is_ok_and(|index| copies[index].1 == start.0)
    }

    /// Returns whether these blocks are in a copy of the descriptors, at the position of the descriptor block
    /// `index`.
    fn are_descriptors(&self, index: u64, start: OutputBlock, blocks: u64) -> bool {
        let copies = &self.metadata.descriptors;
        let after = copies.partition_point(|copy| copy.start <= start.0);
        after.checked_sub(1).is_some_and(|before| {
            let copy = copies[before];
            let skipped = start.0 - copy.start;
            skipped + blocks <= copy.count && copy.index + skipped == index
        })
    }

    fn is_bitmap(&self, group: GroupNr, holds: impl Fn(&GroupPlaces, &GroupCounts) -> bool) -> bool {
        let index = group.0 as usize;
        let (places, counts) = (self.plan.groups.get(index), self.plan.counts.get(index));
        places.zip(counts).is_some_and(|(places, counts)| holds(places, counts))
    }

    /// Returns whether this is the next xattr block. Xattr blocks are in the order of their first use, so
    /// their block numbers are ascending.
    fn is_xattr_block(&self, split: SplitId, refcount: u32, start: OutputBlock) -> bool {
        let index = usize::try_from(self.found.xattrs).expect("counted in memory");
        let block = self.plan.xattrs.blocks.get(index);
        block.is_some_and(|block| (block.split, block.refcount) == (split, refcount))
            && self.plan.layout.xattr_blocks.get(index) == Some(&start)
    }

    /// Checks the block number of a piece of an inode table, and counts its used inodes.
    fn inode_table(&mut self, piece: &Piece, group: GroupNr, index: u32) -> Result<()> {
        let geometry = &self.plan.geometry;
        let (inode_size, block_size) = (geometry.inode_size as u64, geometry.block_bytes());
        let offset = u64::from(index) * inode_size;
        let end = offset + piece.bytes;
        let holds = offset.is_multiple_of(block_size)
            && piece.bytes.is_multiple_of(inode_size)
            && end <= u64::from(geometry.inodes_per_group) * inode_size
            && self
                .plan
                .groups
                .get(group.0 as usize)
                .is_some_and(|places| places.inode_table.0 + offset / block_size == piece.start.0);
        if !holds {
            return Err(misplaced(piece));
        }
        let inodes = u64::from(index)..end / inode_size;
        for used in self.plan.numbering.used_in(group) {
            let part = u64::from(used.start).max(inodes.start)..u64::from(used.end).min(inodes.end);
            self.found.inodes += part.end.saturating_sub(part.start);
        }
        Ok(())
    }
}

fn misplaced(piece: &Piece) -> Error {
    wrong(format!("{} is written to block {}, where no pointer leads", piece.content.describe(), piece.start))
}

/// Returns whether a single extent maps these blocks, starting with the logical block `first`.
fn leads(plan: &Plan, file: FileLayout, first: u32, start: OutputBlock, blocks: u64) -> bool {
    let extents = plan.layout.extents(file);
    let after = extents.partition_point(|extent| extent.logical <= first);
    after.checked_sub(1).is_some_and(|before| {
        let extent = &extents[before];
        let skipped = u64::from(first - extent.logical);
        extent.physical().0 + skipped == start.0 && skipped + blocks <= extent.count.into()
    })
}

fn file_of(plan: &Plan, owner: MapOwner) -> Option<FileLayout> {
    let layout = &plan.layout;
    match owner {
        MapOwner::Journal => layout.journal,
        MapOwner::Quota(kind) => {
            let index = plan.quotas.iter().position(|quota| quota.kind == kind)?;
            layout.quotas.get(index).copied()
        }
        MapOwner::OrphanFile => layout.orphan_file,
        MapOwner::Node(id) => layout.nodes.get(id.index()).copied(),
        MapOwner::EaInode(index) => layout.ea_inodes.get(index as usize).copied(),
    }
}
