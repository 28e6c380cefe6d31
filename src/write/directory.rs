//! Renders directories.

use std::ops::Range;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::renderer::Renderer;
use crate::ondisk::dir_entry::{self, DirEntry, DirEntryTail, HEADER_SIZE, TAIL_SIZE};
use crate::ondisk::features::Incompat;
use crate::ondisk::htree::{self, DxCountLimit, DxEntry, DxRootInfo, DxTail};
use crate::ondisk::inode::{InodeFlags, S_IFDIR};
use crate::plan::{DirectoryPlan, IndexPlan};
use crate::tree::{Kind, NodeId};
use crate::units::{InodeNr, fits};

/// A writer of directory entries, which fills a block one entry at a time.
pub(super) struct EntryFiller<'o> {
    out: &'o mut [u8],
    typed: bool,
    next: usize,
    /// The offset of the last entry, which is extended at the end.
    last: usize,
}

impl<'o> EntryFiller<'o> {
    /// Starts with an empty block. `out` must be zero.
    pub(super) fn new(out: &'o mut [u8], typed: bool) -> Self {
        Self { out, typed, next: 0, last: 0 }
    }

    pub(super) fn add(&mut self, name: &[u8], inode: InodeNr, mode: u16, hashes: Option<[u32; 2]>) {
        let hashes_start = dir_entry::entry_size(name.len());
        let size = hashes_start + if hashes.is_some() { dir_entry::HASHES_SIZE } else { 0 };
        let entry = DirEntry {
            inode: U32::new(inode.0),
            rec_len: dir_entry::encode_rec_len(size, self.out.len()),
            name_len: fits(name.len(), "a name has at most 255 bytes"),
            file_type: if self.typed { dir_entry::file_type(mode) } else { 0 },
        };
        self.out[self.next..self.next + HEADER_SIZE].copy_from_slice(entry.as_bytes());
        self.out[self.next + HEADER_SIZE..][..name.len()].copy_from_slice(name);
        if let Some(hashes) = hashes {
            let hashes = hashes.map(U32::new);
            self.out[self.next + hashes_start..self.next + size].copy_from_slice(hashes.as_bytes());
        }
        self.last = self.next;
        self.next += size;
    }

    /// Extends the last entry to `end`. If the block has no entries, writes one unused entry up to `end`.
    pub(super) fn finish(self, end: usize) {
        let len = dir_entry::encode_rec_len(end - self.last, self.out.len());
        self.out[self.last + 4..self.last + 6].copy_from_slice(len.as_bytes());
    }
}

/// A directory block with entries.
#[derive(Clone, Copy)]
struct Leaf<'p> {
    /// The index among the directory's blocks with entries.
    number: usize,
    /// The order of all entries in the directory, if it is not the order in the tree.
    order: Option<&'p [u32]>,
    /// Whether the block begins with `.` and `..`.
    with_dots: bool,
}

impl Renderer<'_, '_> {
    /// Renders blocks of a directory, starting with the logical block `first`.
    pub(super) fn directory_blocks(&self, id: NodeId, first: u32, out: &mut [u8]) {
        let plan = self.plan.directories.of(id);
        for (block, out) in (first..).zip(out.chunks_exact_mut(self.plan.geometry.block_size)) {
            self.directory_block(id, plan, block, out);
        }
    }

    fn directory_block(&self, id: NodeId, plan: &DirectoryPlan, block: u32, out: &mut [u8]) {
        let Some(index) = &plan.index else {
            let number = block as usize;
            self.leaf(id, plan, Leaf { number, order: None, with_dots: block == 0 }, out);
            return;
        };
        let leaves = fits::<u32, _>(plan.starts.len(), "a directory has fewer than 2^32 entries");
        if block == 0 {
            self.index_root(id, plan, index, out);
        } else if block <= leaves {
            let number = block as usize - 1;
            self.leaf(id, plan, Leaf { number, order: Some(&index.order), with_dots: false }, out);
        } else {
            self.index_node(id, plan, index, block - leaves - 1, out);
        }
    }

    /// Renders a block with entries.
    fn leaf(&self, id: NodeId, plan: &DirectoryPlan, leaf: Leaf<'_>, out: &mut [u8]) {
        let number = self.plan.numbering.number_of(id);
        let with_tail = self.checksums.covers_metadata();
        let end = out.len() - if with_tail { TAIL_SIZE } else { 0 };
        let entries = self.view.stored.tree.entries_of(id);
        let mut filler = EntryFiller::new(out, self.typed_entries());
        if leaf.with_dots {
            filler.add(b".", number, S_IFDIR, None);
            filler.add(b"..", self.parent_of(id), S_IFDIR, None);
        }
        let start = plan.starts.get(leaf.number).map_or(entries.len(), |start| *start as usize);
        let stop = plan.starts.get(leaf.number + 1).map_or(entries.len(), |start| *start as usize);
        let hashed = self.view.stored.tree.node(id).flags.contains(InodeFlags::HASHED_NAMES);
        for place in start..stop {
            let entry = &entries[leaf.order.map_or(place, |order| order[place] as usize)];
            let mode = self.view.stored.tree.node(entry.node).mode;
            let hashes = hashed.then_some(entry.hashes);
            filler.add(
                self.view.stored.tree.text(entry.name),
                self.plan.numbering.number_of(entry.node),
                mode,
                hashes,
            );
        }
        filler.finish(end);
        if with_tail {
            let checksum = self.checksums.directory_block(number, 0, out).unwrap_or(0);
            let tail = DirEntryTail { det_checksum: U32::new(checksum), ..DirEntryTail::new() };
            out[end..].copy_from_slice(tail.as_bytes());
        }
    }

    /// Returns whether entries have file types.
    pub(super) fn typed_entries(&self) -> bool {
        self.plan.geometry.features.has(Incompat::FILETYPE)
    }

    pub(super) fn parent_of(&self, id: NodeId) -> InodeNr {
        match self.view.stored.tree.node(id).kind {
            Kind::Directory { parent, .. } => self.plan.numbering.number_of(parent),
            _ => unreachable!("only directories have plans of directories"),
        }
    }

    /// Renders the root of an index. Its children are the top level of interior nodes, or the leaves.
    fn index_root(&self, id: NodeId, plan: &DirectoryPlan, index: &IndexPlan, out: &mut [u8]) {
        let typed = self.plan.geometry.features.has(Incompat::FILETYPE);
        let size = out.len();
        let mut filler = EntryFiller { out, typed, next: 0, last: 0 };
        filler.add(b".", self.plan.numbering.number_of(id), S_IFDIR, None);
        filler.add(b"..", self.parent_of(id), S_IFDIR, None);
        filler.finish(size);
        let info = DxRootInfo {
            reserved_zero: U32::new(0),
            hash_version: if self.view.stored.tree.node(id).flags.contains(InodeFlags::HASHED_NAMES) {
                htree::SIPHASH
            } else {
                self.plan.geometry.hash_version.to_disk()
            },
            info_length: 8,
            indirect_levels: fits(index.levels.len(), "an index has at most three levels"),
            unused_flags: 0,
        };
        out[crate::plan::DOTS_SIZE..htree::ROOT_HEAD].copy_from_slice(info.as_bytes());
        let top = index.levels.len();
        let children = self.children(plan, index, top, 0..u32::MAX);
        self.index_entries(id, &children, htree::ROOT_HEAD, out);
    }

    /// Renders an interior node of an index, by its position. Nodes directly above the leaves come first.
    fn index_node(
        &self,
        id: NodeId,
        plan: &DirectoryPlan,
        index: &IndexPlan,
        mut place: u32,
        out: &mut [u8],
    ) {
        let mut level = 0;
        while let Some(nodes) = index.levels.get(level).filter(|nodes| place >= **nodes) {
            place -= nodes;
            level += 1;
        }
        let head = DirEntry {
            inode: U32::new(0),
            rec_len: dir_entry::encode_rec_len(out.len(), out.len()),
            name_len: 0,
            file_type: 0,
        };
        out[..htree::NODE_HEAD].copy_from_slice(head.as_bytes());
        let limit = self.index_limit(htree::NODE_HEAD, out.len());
        let first = place * limit;
        let children = self.children(plan, index, level, first..first.saturating_add(limit));
        self.index_entries(id, &children, htree::NODE_HEAD, out);
    }

    fn index_limit(&self, head: usize, block_size: usize) -> u32 {
        fits(
            htree::limit(block_size, head, self.checksums.covers_metadata()),
            "a block has at most 2^13 entries",
        )
    }

    /// Returns the hashes and block numbers of the existing children in a range, for the nodes of a level.
    fn children(
        &self,
        plan: &DirectoryPlan,
        index: &IndexPlan,
        level: usize,
        range: Range<u32>,
    ) -> Vec<DxEntry> {
        let leaves = fits::<u32, _>(plan.starts.len(), "a directory has fewer than 2^32 entries");
        let below = |level: usize| if level == 0 { leaves } else { index.levels[level - 1] };
        let limit = self.index_limit(htree::NODE_HEAD, self.plan.geometry.block_size);
        // Leaves start at block 1. The interior nodes follow, level by level.
        let first_block = 1 + (0..level).map(below).sum::<u32>();
        let leaves_each = limit.pow(fits(level, "an index has at most three levels"));
        (range.start..range.end.min(below(level)))
            .map(|child| DxEntry {
                hash: U32::new(index.hashes[(child * leaves_each) as usize]),
                block: U32::new(first_block + child),
            })
            .collect()
    }

    /// Writes the entries of an index node after its header, and the checksum.
    fn index_entries(&self, id: NodeId, children: &[DxEntry], head: usize, out: &mut [u8]) {
        let limit = self.index_limit(head, out.len());
        for (entry, slot) in children.iter().zip(out[head..].chunks_exact_mut(htree::ENTRY_SIZE)) {
            slot.copy_from_slice(entry.as_bytes());
        }
        let narrow = |value: usize| U16::new(fits(value, "a block has at most 2^13 entries"));
        // The count and limit replace the hash of the first entry.
        let counts = DxCountLimit { limit: narrow(limit as usize), count: narrow(children.len()) };
        out[head..head + size_of::<DxCountLimit>()].copy_from_slice(counts.as_bytes());
        let end = head + children.len() * htree::ENTRY_SIZE;
        let tail = head + limit as usize * htree::ENTRY_SIZE;
        let number = self.plan.numbering.number_of(id);
        if let Some(checksum) = self.checksums.htree_node(number, 0, out, end, tail) {
            let value = DxTail { dt_reserved: U32::new(0), dt_checksum: U32::new(checksum) };
            out[tail..tail + size_of::<DxTail>()].copy_from_slice(value.as_bytes());
        }
    }
}
