//! Gives access to the blocks and inodes of an image.

use std::collections::BTreeMap;
use std::ops::Range;

use super::fast_commits::FastCommits;
use super::input::Input;
use super::overlay::Overlay;
use crate::geometry::Geometry;
use crate::ondisk::bitmap;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::features::{Compat, Features};
use crate::ondisk::group_descriptor::{BLOCK_UNINIT, GroupDescriptor, INODE_UNINIT};
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::units::{BlockNr, GroupNr, InodeNr};

/// An image whose superblock and group descriptors are valid.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub(super) input: Input<'a>,
    pub(super) overlay: &'a Overlay<'a>,
    /// The number of blocks in a block of the overlay; 1 except in [`Self::in_smaller_blocks`].
    pub(super) blocks_per_replayed: u64,
    /// The primary superblock.
    pub superblock: Superblock,
    /// The sizes and counts from the superblock.
    pub geometry: Geometry,
    /// The checksum algorithms of the filesystem.
    pub checksums: Checksums,
    /// The group descriptors, in the order of the groups.
    pub descriptors: Vec<GroupDescriptor>,
}

impl<'a> Source<'a> {
    /// Returns the features of the superblock.
    pub fn features(&self) -> Features {
        self.geometry.features
    }

    /// Returns the input.
    pub fn input(&self) -> &Input<'a> {
        &self.input
    }

    /// Returns whether a range of blocks is in the filesystem, and starts after the first data block. No file
    /// can own the first data block.
    pub fn has_blocks(&self, start: BlockNr, count: u64) -> bool {
        start.0 > self.geometry.first_data_block
            && start.0.checked_add(count).is_some_and(|end| end <= self.geometry.blocks_count)
    }

    /// Returns the bytes of a block; `None` if the block is outside the filesystem.
    pub fn block(&self, block: BlockNr) -> Option<&'a [u8]> {
        match self.replayed(block) {
            Some(replayed) => Some(replayed),
            None => self.input_blocks(block, 1),
        }
    }

    /// Returns the bytes of a block that was checked with [`Self::has_blocks`], or that a checked
    /// descriptor refers to.
    ///
    /// # Panics
    ///
    /// If the block is outside the filesystem. A missing block would result in a different tree.
    pub fn checked_block(&self, block: BlockNr) -> &'a [u8] {
        // `open` checked that the file contains all blocks of the filesystem.
        self.block(block).expect("fits: the reader checked that the block is in the filesystem")
    }

    /// Returns the bytes of the longest contiguous prefix of a range of `count` blocks. This is at least one
    /// block; `None` if the range starts outside the filesystem.
    pub fn together(&self, start: BlockNr, count: u64) -> Option<&'a [u8]> {
        match self.first_replayed(start.0..start.0.checked_add(count)?) {
            Some(replayed) if replayed == start => self.block(start),
            Some(replayed) => self.input_blocks(start, replayed.0 - start.0),
            None => self.input_blocks(start, count),
        }
    }

    /// Returns whether all of these blocks are unchanged blocks of the input, because none of them was
    /// replayed.
    pub fn lie_in_input(&self, start: BlockNr, count: u64) -> bool {
        self.first_replayed(start.0..start.0 + count).is_none()
    }

    /// Returns the same image, with its blocks numbered in units of `block_size` bytes, which must divide the
    /// block size. Only the bytes of blocks may be read from it: all structures keep their block numbers.
    pub fn in_smaller_blocks(&self, block_size: usize) -> Self {
        let ratio = (self.geometry.block_size / block_size) as u64;
        let mut smaller = self.clone();
        smaller.geometry.block_size = block_size;
        smaller.geometry.blocks_count *= ratio;
        smaller.blocks_per_replayed *= ratio;
        smaller
    }

    /// Returns the overlay with more replaced blocks.
    pub(crate) fn overlay_with(&self, blocks: BTreeMap<u64, Vec<u8>>) -> Overlay<'a> {
        let mut overlay = self.overlay.clone();
        for (block, bytes) in blocks {
            overlay.insert_changed(BlockNr(block), bytes);
        }
        overlay
    }

    /// Returns the same image with a different overlay.
    pub(crate) fn with_overlay<'b>(&self, overlay: &'b Overlay<'b>) -> Source<'b>
    where
        'a: 'b,
    {
        Source { overlay, ..self.clone() }
    }

    /// Returns the bytes of a block that was replayed.
    fn replayed(&self, block: BlockNr) -> Option<&'a [u8]> {
        let ratio = self.blocks_per_replayed;
        let whole = self.overlay.get(BlockNr(block.0 / ratio))?;
        let size = self.geometry.block_size;
        let index = usize::try_from(block.0 % ratio).expect("a block has at most 64 parts");
        whole.get(index * size..)?.get(..size)
    }

    /// Returns the first replayed block of a range.
    fn first_replayed(&self, blocks: Range<u64>) -> Option<BlockNr> {
        if blocks.is_empty() {
            return None;
        }
        let ratio = self.blocks_per_replayed;
        let first = self.overlay.first_in(blocks.start / ratio..blocks.end.div_ceil(ratio))?;
        Some(BlockNr((first.0 * ratio).max(blocks.start)))
    }

    fn input_blocks(&self, start: BlockNr, count: u64) -> Option<&'a [u8]> {
        let end = start.0.checked_add(count).filter(|end| *end <= self.geometry.blocks_count)?;
        let size = self.geometry.block_bytes();
        // Neither product exceeds the length of the file.
        self.input.range(start.0 * size, end * size)
    }

    /// Returns the blocks of a range that are not known to be zero, as ranges in order.
    pub fn stored(&self, blocks: Range<u64>) -> Vec<Range<u64>> {
        let size = self.geometry.block_bytes();
        let mut stored: Vec<Range<u64>> = Vec::new();
        let data = self.input.data_within(blocks.start * size..blocks.end * size);
        let data = data.map(|bytes| bytes.start / size..bytes.end.div_ceil(size));
        let ratio = self.blocks_per_replayed;
        let replayed = self.overlay.within(blocks.start / ratio..blocks.end.div_ceil(ratio));
        let replayed = replayed.map(|range| range.start * ratio..range.end * ratio);
        let replayed = replayed.map(|range| range.start.max(blocks.start)..range.end.min(blocks.end));
        let mut ranges: Vec<Range<u64>> = data.chain(replayed).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        for range in ranges {
            match stored.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => stored.push(range),
            }
        }
        stored
    }

    /// Returns whether blocks are known to be zero without reading them.
    pub fn is_hole(&self, start: BlockNr, count: u64) -> bool {
        let size = self.geometry.block_bytes();
        self.input.is_hole(start.0 * size..(start.0 + count) * size) && self.lie_in_input(start, count)
    }

    /// Returns the number of inodes of a group that can be in use. Returns 0 if the inode table is
    /// uninitialized. Excludes inodes at the end of the table that the descriptor counts as never used.
    pub fn inodes_in_use(&self, group: GroupNr) -> u32 {
        let descriptor = &self.descriptors[group.0 as usize];
        if !self.checksums.covers_descriptors() {
            return self.geometry.inodes_per_group;
        }
        if descriptor.bg_flags.get() & INODE_UNINIT != 0 {
            return 0;
        }
        self.geometry.inodes_per_group - descriptor.itable_unused()
    }

    /// Returns whether the block bitmap of a group is initialized.
    pub fn has_block_bitmap(&self, group: GroupNr) -> bool {
        !self.checksums.covers_descriptors()
            || self.descriptors[group.0 as usize].bg_flags.get() & BLOCK_UNINIT == 0
    }

    /// Returns whether the inode bitmap of a group is initialized.
    pub fn has_inode_bitmap(&self, group: GroupNr) -> bool {
        !self.checksums.covers_descriptors()
            || self.descriptors[group.0 as usize].bg_flags.get() & INODE_UNINIT == 0
    }

    /// Returns the changes of fast commits.
    pub fn fast_commits(&self) -> &'a FastCommits<'a> {
        &self.overlay.fast_commits
    }

    /// Returns the bytes of an inode; `None` if the inode can't be in use.
    pub fn inode(&self, inode: InodeNr) -> Option<&'a [u8]> {
        if let Some(replayed) = self.fast_commits().inodes.get(&inode) {
            return Some(&replayed.bytes);
        }
        let slot = self.inode_slot(inode)?;
        let (group, index) = self.geometry.place_of_inode(inode);
        (index < self.inodes_in_use(group)).then_some(slot)
    }

    /// Returns whether an inode is marked as in use in the inode bitmap, or was written by a fast commit.
    pub fn is_marked(&self, inode: InodeNr) -> bool {
        if self.fast_commits().inodes.contains_key(&inode) {
            return true;
        }
        if !self.geometry.has_inode(inode) {
            return false;
        }
        let (group, index) = self.geometry.place_of_inode(inode);
        let descriptor = &self.descriptors[group.0 as usize];
        let bitmap = self.checked_block(descriptor.inode_bitmap());
        self.has_inode_bitmap(group) && bitmap::get(bitmap, index as usize)
    }

    /// Returns the bytes of an inode in its table, even if it is not in use; `None` if there is no such
    /// inode.
    pub fn inode_slot(&self, inode: InodeNr) -> Option<&'a [u8]> {
        if !self.geometry.has_inode(inode) {
            return None;
        }
        let (group, index) = self.geometry.place_of_inode(inode);
        let size = self.geometry.inode_size;
        let per_block = self.geometry.block_size / size;
        let start = self.descriptors.get(group.0 as usize)?.inode_table();
        let block = self.block(start + (index as usize / per_block) as u64)?;
        block.get(index as usize % per_block * size..)?.get(..size)
    }

    /// Returns whether an inode is the journal.
    pub fn has_journal_in(&self, number: InodeNr) -> bool {
        self.features().has(Compat::HAS_JOURNAL) && InodeNr(self.superblock.s_journal_inum.get()) == number
    }

    /// Returns whether inodes have the layout of GNU Hurd.
    pub fn is_of_hurd(&self) -> bool {
        self.superblock.s_creator_os == sb::OS_HURD
    }

    /// Returns the inodes outside the tree whose numbers are in the superblock. The number is 0 for an inode
    /// that does not exist.
    pub fn special_inodes(&self) -> [InodeNr; 5] {
        let [orphan_file, user, group, project] = self.hidden_inodes();
        [InodeNr(self.superblock.s_journal_inum.get()), orphan_file, user, group, project]
    }

    /// Returns the special inodes that the kernel never opens for a user, even if the features for them are
    /// disabled.
    pub fn hidden_inodes(&self) -> [InodeNr; 4] {
        let sb = &self.superblock;
        [sb.s_orphan_file_inum, sb.s_usr_quota_inum, sb.s_grp_quota_inum, sb.s_prj_quota_inum]
            .map(|number| InodeNr(number.get()))
    }
}
