//! The list of everything that is written but not copied: each byte at most once, and the rest zero.

use std::ops::Range;

use rayon::slice::ParallelSliceMut as _;

use super::{FileLayout, Plan, SplitId};
use crate::ondisk::bitmap;
use crate::ondisk::mmp::MmpStruct;
use crate::ondisk::quota::QuotaType;
use crate::survey::StoredTree;
use crate::tree::{Bytes, Kind, NodeId};
use crate::units::{BlockNr, GroupNr, fits};

/// The most bytes of a piece.
pub const MAX_BYTES: u64 = 1 << 20;

/// Bytes of the MMP block that hold anything.
const MMP_SIZE: u64 = size_of::<MmpStruct>() as u64;

/// Consecutive blocks of the output with one kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first block.
    pub start: BlockNr,
    /// Bytes from its start on; up to the end of the last block, they are zero.
    pub bytes: u64,
    /// What the blocks hold.
    pub content: Content,
}

/// What the blocks of a piece hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The boot sector, where it has a block of its own.
    Boot,
    /// A superblock, in group 0 of larger blocks behind the boot sector.
    Superblock(GroupNr),
    /// Group descriptors, from the descriptor block of this index on.
    Descriptors(u64),
    /// A block bitmap.
    BlockBitmap(GroupNr),
    /// An inode bitmap.
    InodeBitmap(GroupNr),
    /// Inodes, from this index in the group's table on.
    InodeTable(GroupNr, u32),
    /// The double indirect block of the resize inode.
    ResizeMap,
    /// A reserved descriptor block, which is an indirect block of the resize inode.
    ResizeIndirect(u64),
    /// The block of multiple mount protection.
    Mmp,
    /// The journal's superblock.
    JournalSuperblock,
    /// Blocks of a quota file, from this logical one on.
    Quota(QuotaType, u32),
    /// Blocks of the orphan file.
    OrphanFile,
    /// A block of a file's own map, by its place among them.
    Map(Owner, u32),
    /// Blocks of a directory, from this logical one on.
    Directory(NodeId, u32),
    /// The xattrs of a split for the block, and how many inodes share them.
    Xattrs(SplitId, u32),
    /// The target of a symlink.
    Symlink(NodeId),
    /// Content of a regular file, from this block of the input on.
    Data(BlockNr),
    /// Content of a regular file that lies in the tree.
    SmallData(NodeId),
    /// A value of an xattr, by its index, from this logical block on.
    Value(u32, u32),
}

/// Whose map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The journal's.
    Journal,
    /// A quota file's.
    Quota(QuotaType),
    /// The orphan file's.
    OrphanFile,
    /// A node's.
    Node(NodeId),
    /// That of a value of an xattr, by its index.
    Value(u32),
}

impl Content {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Boot => "boot sector".to_owned(),
            Self::Superblock(GroupNr(0)) => "superblock".to_owned(),
            Self::Superblock(group) => format!("backup superblock of group {group}"),
            Self::Descriptors(_) => "group descriptors".to_owned(),
            Self::BlockBitmap(group) => format!("block bitmap of group {group}"),
            Self::InodeBitmap(group) => format!("inode bitmap of group {group}"),
            Self::InodeTable(group, _) => format!("inode table of group {group}"),
            Self::ResizeMap | Self::ResizeIndirect(_) => "resize inode".to_owned(),
            Self::Mmp => "MMP block".to_owned(),
            Self::JournalSuperblock => "journal superblock".to_owned(),
            Self::Quota(kind, _) => format!("{} quota file", kind.word()),
            Self::OrphanFile => "orphan file".to_owned(),
            Self::Map(..) => "block map of a file".to_owned(),
            Self::Directory(..) => "directory".to_owned(),
            Self::Xattrs(..) => "block of xattrs".to_owned(),
            Self::Value(..) => "value of an xattr".to_owned(),
            Self::Symlink(_) => "symlink".to_owned(),
            Self::Data(_) | Self::SmallData(_) => "file content".to_owned(),
        }
    }
}

/// Lists all pieces that are not copied, in the order of their blocks.
pub fn rendered(plan: &Plan, stored: StoredTree<'_>) -> Vec<Piece> {
    let mut lister = Lister { plan, stored, block_size: plan.geometry.block_bytes(), pieces: Vec::new() };
    lister.static_metadata();
    lister.specials();
    lister.nodes();
    let mut pieces = lister.pieces;
    // No two have one start, or it is noticed where those that are copied come between them.
    pieces.par_sort_unstable_by_key(|piece| piece.start);
    pieces.shrink_to_fit();
    pieces
}

struct Lister<'p> {
    plan: &'p Plan,
    stored: StoredTree<'p>,
    block_size: u64,
    pieces: Vec<Piece>,
}

impl Lister<'_> {
    fn add(&mut self, start: BlockNr, blocks: u64, content: Content) {
        self.pieces.push(Piece { start, bytes: blocks * self.block_size, content });
    }

    fn static_metadata(&mut self) {
        let geometry = &self.plan.geometry;
        // Larger blocks hold it together with the superblock.
        if geometry.block_size == 1024 {
            self.pieces.push(Piece { start: BlockNr(0), bytes: 1024, content: Content::Boot });
        }
        for group in (0..geometry.groups).map(GroupNr) {
            let head = geometry.group_head(group);
            if let Some(block) = head.superblock {
                self.add(block, 1, Content::Superblock(group));
            }
            if let Some((block, count)) = head.descriptors {
                let first = geometry.first_descriptor_block_of(group);
                let per_piece = MAX_BYTES / self.block_size;
                for done in (0..count).step_by(fits(per_piece, "a piece has at most 1 MiB")) {
                    let blocks = per_piece.min(count - done);
                    self.add(BlockNr(block.0 + done), blocks, Content::Descriptors(first + done));
                }
            }
            if let Some((block, count)) = head.reserved
                && group.0 == 0
            {
                for index in 0..count {
                    self.add(BlockNr(block.0 + index), 1, Content::ResizeIndirect(index));
                }
            }
            let places = &self.plan.groups[group.0 as usize];
            let counts = &self.plan.counts[group.0 as usize];
            if !counts.is_block_uninit() {
                self.add(places.block_bitmap, 1, Content::BlockBitmap(group));
            }
            if !counts.is_inode_uninit() {
                self.add(places.inode_bitmap, 1, Content::InodeBitmap(group));
            }
            self.inode_table(group, places.inode_table);
        }
    }

    /// The blocks of a group's table with inodes in use, each from its start to the last of these.
    fn inode_table(&mut self, group: GroupNr, table: BlockNr) {
        let inode_size = self.plan.geometry.inode_size as u64;
        let per_piece = (MAX_BYTES / 4).max(self.block_size);
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
                let start = BlockNr(table.0 + done / self.block_size);
                self.pieces.push(Piece { start, bytes, content: Content::InodeTable(group, index) });
            }
        }
    }

    fn specials(&mut self) {
        let layout = &self.plan.layout;
        if let Some(block) = layout.resize_block {
            self.add(block, 1, Content::ResizeMap);
        }
        if let Some(block) = layout.mmp_block {
            self.pieces.push(Piece { start: block, bytes: MMP_SIZE, content: Content::Mmp });
        }
        if let Some(file) = layout.journal {
            if let Some(block) = layout.physical(file, 0) {
                self.pieces.push(Piece { start: block, bytes: 1024, content: Content::JournalSuperblock });
            }
            self.map(Owner::Journal, file);
        }
        for (quota, file) in self.plan.quotas.iter().zip(&layout.quotas) {
            self.in_parts(*file, |first| Content::Quota(quota.kind, first));
            self.map(Owner::Quota(quota.kind), *file);
        }
        if let Some(file) = layout.orphan_file {
            for extent in layout.extents(file) {
                self.add(extent.physical(), extent.count.into(), Content::OrphanFile);
            }
            self.map(Owner::OrphanFile, file);
        }
        for (index, file) in (0..).zip(&layout.values) {
            self.in_parts(*file, |first| Content::Value(index, first));
            self.map(Owner::Value(index), *file);
        }
        for (block, at) in self.plan.xattrs.blocks.iter().zip(&layout.xattr_blocks) {
            self.add(*at, 1, Content::Xattrs(block.split, block.refcount));
        }
    }

    /// The blocks of a file that is rendered, in pieces small enough to share the work; each is told by
    /// its first logical block.
    fn in_parts(&mut self, file: FileLayout, content: impl Fn(u32) -> Content) {
        let per_piece = fits::<u32, _>(MAX_BYTES / 4 / self.block_size, "a piece has at most 1 MiB").max(1);
        for extent in self.plan.layout.extents(file) {
            for done in (0..extent.count).step_by(per_piece as usize) {
                let blocks = per_piece.min(extent.count - done);
                let start = BlockNr(extent.physical().0 + u64::from(done));
                self.add(start, blocks.into(), content(extent.logical + done));
            }
        }
    }

    fn map(&mut self, owner: Owner, file: FileLayout) {
        for (place, block) in (0..).zip(self.plan.layout.map_blocks(file)) {
            self.add(*block, 1, Content::Map(owner, place));
        }
    }

    fn nodes(&mut self) {
        let in_blocks = |id: &NodeId| self.plan.xattrs.inline_of(*id).is_none();
        for id in self.stored.tree.ids().filter(in_blocks) {
            let file = self.plan.layout.nodes[id.index()];
            match self.stored.tree.node(id).kind {
                Kind::Directory { .. } => self.in_parts(file, |first| Content::Directory(id, first)),
                Kind::Regular { size, .. } => {
                    let in_tree = self.stored.runs_of(id).iter().any(|run| run.bytes() == Bytes::Tree);
                    if let Some(start) = self.plan.layout.physical(file, 0).filter(|_| in_tree) {
                        let bytes = size.min(self.block_size);
                        self.pieces.push(Piece { start, bytes, content: Content::SmallData(id) });
                    }
                }
                Kind::Symlink(target) => {
                    let bytes = self.stored.tree.text(target).len() as u64;
                    if let Some(start) = self.plan.layout.physical(file, 0) {
                        self.pieces.push(Piece { start, bytes, content: Content::Symlink(id) });
                    }
                }
                Kind::Device { .. } | Kind::Empty => continue,
            }
            self.map(Owner::Node(id), file);
        }
    }
}

impl Plan {
    /// Sets the bits of a group's clusters in use, and of those that it lacks, in a bitmap of zeros.
    pub fn fill_block_bitmap(&self, group: GroupNr, bits: &mut [u8]) {
        let blocks = self.geometry.group_blocks(group);
        let cluster = self.geometry.blocks_per_cluster;
        let bit = |block: u64| fits((block - blocks.start) / cluster, "a group has at most 2^19 clusters");
        let mut next = blocks.start;
        for free in self.layout.free.within(blocks.clone()) {
            bitmap::set(bits, bit(next)..bit(free.start));
            next = free.end;
        }
        bitmap::set(bits, bit(next)..bits.len() * 8);
    }
}
