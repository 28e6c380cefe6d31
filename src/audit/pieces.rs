//! What is written: each piece is where a pointer leads, and nothing that a pointer leads to is left out.

use super::copies::Copies;
use super::static_metadata::StaticMetadata;
use super::{ensure, wrong};
use crate::error::{Error, Result};
use crate::ondisk::mmp::MmpStruct;
use crate::plan::{FileLayout, MapOwner, Piece, PieceContent, Plan};
use crate::survey::StoredTree;
use crate::tree::{Bytes, Kind, NodeId};
use crate::units::{BlockNr, GroupNr};

/// Checks all pieces.
pub fn check(plan: &Plan, stored: StoredTree<'_>, metadata: &StaticMetadata) -> Result<()> {
    let mut checker =
        Checker { plan, stored, metadata, copies: Copies::new(plan, stored), found: Totals::default() };
    let (mut end, mut bytes) = (0, 0);
    let block_size = plan.geometry.block_bytes();
    for piece in plan.pieces(stored) {
        let blocks = piece.bytes.div_ceil(block_size);
        ensure(piece.start.0 >= end && piece.start.0 + blocks <= plan.geometry.blocks_count, || {
            format!("{} is written to block {}", piece.content.describe(), piece.start)
        })?;
        end = piece.start.0 + blocks;
        bytes += piece.bytes;
        checker.piece(&piece, blocks)?;
    }
    checker.copies.finish()?;
    ensure(bytes == plan.copies.bytes_written, || {
        format!("{bytes} bytes are written, not {}", plan.copies.bytes_written)
    })?;
    let expected = Totals::expected(plan, stored, metadata);
    ensure(checker.found == expected, || {
        format!("what is written is {:?}, expected {expected:?}", checker.found)
    })
}

/// How much is written of each kind.
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
    /// What has to be written, in blocks, or inodes.
    fn expected(plan: &Plan, stored: StoredTree<'_>, metadata: &StaticMetadata) -> Self {
        let tree = stored.tree;
        let layout = &plan.layout;
        let blocks = |file: &FileLayout| {
            layout.extents(*file).iter().map(|extent| u64::from(extent.count)).sum::<u64>()
        };
        let map = |file: &FileLayout| layout.map_blocks(*file).len() as u64;
        let specials =
            layout.journal.iter().chain(&layout.quotas).chain(&layout.orphan_file).chain(&layout.values);
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
            values: layout.values.iter().map(blocks).sum(),
            ..Self::default()
        };
        for id in tree.ids().filter(|id| plan.xattrs.inline_of(*id).is_none()) {
            match tree.node(id).kind {
                Kind::Directory { .. } => totals.directories += blocks(&layout.nodes[id.index()]),
                Kind::Symlink(target) => totals.symlinks += u64::from(tree.text(target).len() >= 60),
                Kind::Regular { .. } => {
                    let in_tree = stored.runs_of(id).iter().any(|run| run.bytes() == Bytes::Tree);
                    totals.small += u64::from(in_tree);
                }
                Kind::Device { .. } | Kind::Empty => {}
            }
        }
        totals
    }
}

struct Checker<'p> {
    plan: &'p Plan,
    stored: StoredTree<'p>,
    metadata: &'p StaticMetadata,
    copies: Copies<'p>,
    found: Totals,
}

impl Checker<'_> {
    /// Checks a piece and counts it.
    fn piece(&mut self, piece: &Piece, blocks: u64) -> Result<()> {
        let (plan, layout) = (self.plan, &self.plan.layout);
        let place = |group: GroupNr| plan.groups.get(group.0 as usize);
        let counts = |group: GroupNr| plan.counts.get(group.0 as usize);
        let whole = piece.bytes == blocks * plan.geometry.block_bytes();
        let found = &mut self.found;
        let holds = match piece.content {
            PieceContent::Data(from) => return self.copies.check(piece, from),
            PieceContent::Boot => add(&mut found.boot, 1) && piece.start.0 == 0 && piece.bytes == 1024,
            PieceContent::Superblock(group) => {
                let copy = self.metadata.superblocks.binary_search_by_key(&group.0, |(group, _)| *group);
                add(&mut found.superblocks, blocks)
                    && whole
                    && copy.is_ok_and(|index| self.metadata.superblocks[index].1 == piece.start.0)
            }
            PieceContent::Descriptors(index) => {
                let after = self.metadata.descriptors.partition_point(|copy| copy.start <= piece.start.0);
                let copy = after.checked_sub(1).map(|before| self.metadata.descriptors[before]);
                add(&mut found.descriptors, blocks)
                    && whole
                    && copy.is_some_and(|copy| {
                        let skipped = piece.start.0 - copy.start;
                        skipped + blocks <= copy.count && copy.index + skipped == index
                    })
            }
            PieceContent::BlockBitmap(group) => {
                add(&mut found.block_bitmaps, blocks)
                    && place(group).is_some_and(|places| places.block_bitmap == piece.start)
                    && counts(group).is_some_and(|counts| !counts.is_block_uninit())
            }
            PieceContent::InodeBitmap(group) => {
                add(&mut found.inode_bitmaps, blocks)
                    && place(group).is_some_and(|places| places.inode_bitmap == piece.start)
                    && counts(group).is_some_and(|counts| !counts.is_inode_uninit())
            }
            PieceContent::InodeTable(group, index) => return self.inode_table(piece, group, index),
            PieceContent::ResizeMap => {
                add(&mut found.resize_map, blocks) && layout.resize_block == Some(piece.start)
            }
            PieceContent::ResizeIndirect(index) => {
                let reserved = self.metadata.reserved.first();
                add(&mut found.resize_indirect, blocks)
                    && reserved.is_some_and(|range| {
                        range.start + index == piece.start.0 && range.contains(&piece.start.0)
                    })
            }
            PieceContent::Mmp => {
                add(&mut found.mmp, blocks)
                    && layout.mmp_block == Some(piece.start)
                    && piece.bytes == size_of::<MmpStruct>() as u64
            }
            PieceContent::JournalSuperblock => {
                add(&mut found.journal, blocks)
                    && piece.bytes == 1024
                    && layout.journal.is_some_and(|file| leads(plan, file, 0, piece.start, 1))
            }
            PieceContent::Quota(kind, first) => {
                let index = plan.quotas.iter().position(|quota| quota.kind == kind);
                let file = index.and_then(|index| layout.quotas.get(index).copied());
                add(&mut found.quota, blocks)
                    && whole
                    && file.is_some_and(|file| leads(plan, file, first, piece.start, blocks))
            }
            PieceContent::OrphanFile => {
                let extents = layout.orphan_file.map_or(&[][..], |file| layout.extents(file));
                add(&mut found.orphan_file, blocks)
                    && whole
                    && extents.iter().any(|e| e.physical() == piece.start && u64::from(e.count) == blocks)
            }
            PieceContent::Map(owner, index) => {
                let file = file_of(plan, owner);
                let block = file.and_then(|file| layout.map_blocks(file).get(index as usize).copied());
                add(&mut found.maps, blocks) && whole && block == Some(piece.start)
            }
            PieceContent::Directory(id, first) => {
                add(&mut found.directories, blocks)
                    && whole
                    && self.node_leads(id, first, piece.start, blocks)
            }
            PieceContent::Xattrs(split, refcount) => {
                // Blocks of xattrs are in the order of their first use, and so ascending.
                let index = usize::try_from(found.xattrs).expect("counted in memory");
                let block = plan.xattrs.blocks.get(index);
                add(&mut found.xattrs, blocks)
                    && whole
                    && block.is_some_and(|block| (block.split, block.refcount) == (split, refcount))
                    && layout.xattr_blocks.get(index) == Some(&piece.start)
            }
            PieceContent::Symlink(id) => {
                let length = match self.stored.tree.nodes.get(id.index()).map(|node| node.kind) {
                    Some(Kind::Symlink(target)) => self.stored.tree.text(target).len() as u64,
                    _ => 0,
                };
                add(&mut found.symlinks, blocks)
                    && piece.bytes == length
                    && self.node_leads(id, 0, piece.start, blocks)
            }
            PieceContent::SmallData(id) => {
                add(&mut found.small, blocks) && self.node_leads(id, 0, piece.start, blocks)
            }
            PieceContent::Value(index, first) => {
                let file = layout.values.get(index as usize).copied();
                add(&mut found.values, blocks)
                    && whole
                    && file.is_some_and(|file| leads(plan, file, first, piece.start, blocks))
            }
        };
        if holds { Ok(()) } else { Err(misplaced(piece)) }
    }

    /// Checks that a piece of an inode table is at the place of its inodes, and counts those in use.
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

    /// Whether the map of a node leads to these blocks.
    fn node_leads(&self, id: NodeId, first: u32, start: BlockNr, blocks: u64) -> bool {
        self.plan
            .layout
            .nodes
            .get(id.index())
            .is_some_and(|file| leads(self.plan, *file, first, start, blocks))
    }
}

/// Adds to a count, and holds.
fn add(count: &mut u64, more: u64) -> bool {
    *count += more;
    true
}

fn misplaced(piece: &Piece) -> Error {
    wrong(format!("{} is written to block {}, where no pointer leads", piece.content.describe(), piece.start))
}

/// Whether the map of a file leads from a logical block to these blocks, in one extent.
fn leads(plan: &Plan, file: FileLayout, first: u32, start: BlockNr, blocks: u64) -> bool {
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
        MapOwner::Value(index) => layout.values.get(index as usize).copied(),
    }
}
