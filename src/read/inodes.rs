//! Collects all inodes of the tree. Their content is in shared lists, so that small files need no separate
//! allocations.

use std::ops::Range;

use super::xattr::entries::StoredXattr;
use super::xattr::set_hashes::SetHashes;
use crate::error::{Location, Result, Structure};
use crate::map::InlineParts;
use crate::map::directory::DirectoryInode;
use crate::ondisk::inode::{S_IFDIR, S_IFMT, S_IFREG};
use crate::tree::{Kind, Node, QuotaUsage, Run};
use crate::units::{BlockNr, InodeNr};

/// A live inode of the tree, decoded and checked, without its node. Its content is in [`Inodes`].
#[derive(Debug)]
pub struct ReadInode {
    /// The inode number.
    pub number: InodeNr,
    /// `i_generation`, which is part of checksums.
    pub generation: u32,
    /// `i_links_count`.
    pub links: u16,
    /// `i_mode`.
    pub mode: u16,
    /// Whether the inode is an indexed directory.
    pub indexed: bool,
    /// Whether quotas count the inode, as in e2fsck. They don't count the boot loader and symlinks with
    /// inline data.
    pub charged: bool,
    /// Whether fast commits changed the inode. Fast commits do not contain `i_blocks`.
    pub replayed: bool,
    /// The blocks of a regular file or directory. Only the blocks of fs-verity may be past the end of the
    /// file.
    pub runs: ListRange,
    /// The xattrs in the body.
    pub xattrs: ListRange,
    /// The inline data, or the target of a symlink.
    pub parts: ListRange,
    /// The xattr block; 0 if there is none.
    pub xattr_block_or_zero: BlockNr,
    /// The number of blocks that are allocated for content, map and xattr block, in whole clusters.
    pub blocks: u64,
    /// `i_blocks` in units of 512 bytes.
    pub sectors: u64,
}

impl ReadInode {
    /// Returns whether the inode is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Returns whether the inode is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }

    /// Returns the xattr block, if there is one.
    pub fn xattr_block(&self) -> Option<BlockNr> {
        Some(self.xattr_block_or_zero).filter(|block| block.0 != 0)
    }
}

/// A list of inodes, with their content in shared lists.
#[derive(Debug, Default)]
pub(super) struct Inodes<'a> {
    /// The inodes, sorted by number.
    pub list: Vec<ReadInode>,
    /// The nodes of these inodes, without links, xattrs, directory entries and inline data.
    pub nodes: Vec<Node>,
    /// The runs of regular files. The runs of one file are contiguous in the list.
    pub runs: Vec<Run>,
    directory_runs: Vec<Run>,
    xattrs: Vec<StoredXattr<'a>>,
    parts: Vec<InlineParts<'a>>,
    /// The hashes of the xattr sets that are completely in the bodies of their inodes.
    pub hashes: SetHashes,
    /// The quota usage of each inode's EA inodes; empty if there are no EA inodes.
    pub values: Vec<QuotaUsage>,
    /// The number of inodes that have the xattr `system.data` without inline data.
    pub stray_inline_data: usize,
}

/// A range of elements of one of the shared lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListRange {
    start: u32,
    len: u32,
}

impl ListRange {
    /// Returns the range of the elements that were added to a list since it had `start` elements.
    fn since<T>(list: &[T], start: usize) -> Self {
        Self { start: narrow(start), len: narrow(list.len() - start) }
    }

    /// Moves the range by `by` elements, after its list was appended to another list.
    fn shift(&mut self, by: usize) {
        self.start = self.start.saturating_add(narrow(by));
    }

    /// Returns the range of indices.
    pub fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// Narrows a count. [`Inodes::check_counts`] rejects counts that are too large.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// An inode to add to [`Inodes`]. Its xattrs are already in the list.
pub(super) struct NewInode<'s, 'a> {
    /// The inode, with empty ranges of runs and parts.
    pub inode: ReadInode,
    /// The node of the inode.
    pub node: Node,
    /// The blocks of the inode.
    pub runs: &'s [Run],
    /// The inline data, or the target of a symlink.
    pub parts: Option<InlineParts<'a>>,
}

impl<'a> Inodes<'a> {
    /// Lets `read` append the xattrs of the next inode to the list. Returns the result of `read`, and the range
    /// of the added xattrs.
    pub(super) fn add_xattrs<T, E>(
        &mut self,
        read: impl FnOnce(&mut Vec<StoredXattr<'a>>) -> std::result::Result<T, E>,
    ) -> std::result::Result<(T, ListRange), E> {
        let start = self.xattrs.len();
        let found = read(&mut self.xattrs)?;
        Ok((found, ListRange::since(&self.xattrs, start)))
    }

    /// Adds an inode with its blocks and inline data.
    ///
    /// # Errors
    ///
    /// `Corrupt` if two xattrs in its body have the same name.
    pub(super) fn push(&mut self, new: NewInode<'_, 'a>) -> Result<()> {
        let NewInode { mut inode, mut node, runs, parts } = new;
        let list = match node.kind {
            Kind::Directory { .. } => Some(&mut self.directory_runs),
            Kind::Regular { .. } => Some(&mut self.runs),
            // The target of a symlink was already read.
            _ => None,
        };
        if let Some(list) = list {
            let start = list.len();
            list.extend_from_slice(runs);
            inode.runs = ListRange::since(list, start);
            if let Kind::Regular { first, count, .. } = &mut node.kind {
                (*first, *count) = (start, inode.runs.len);
            }
        }
        let start = self.parts.len();
        self.parts.extend(parts);
        inode.parts = ListRange::since(&self.parts, start);
        if inode.xattr_block().is_none() {
            // The hash is computed now, because the xattrs are still in the processor's cache.
            let own = &self.xattrs[inode.xattrs.range()];
            self.hashes.add(inode.number, narrow(self.list.len()), own)?;
        }
        self.list.push(inode);
        self.nodes.push(node);
        Ok(())
    }

    /// Appends inodes whose numbers are higher than those in the list.
    pub(super) fn append(&mut self, mut more: Self) {
        let starts = (self.runs.len(), self.directory_runs.len(), self.xattrs.len(), self.parts.len());
        for inode in &mut more.list {
            inode.runs.shift(if inode.is_directory() { starts.1 } else { starts.0 });
            inode.xattrs.shift(starts.2);
            inode.parts.shift(starts.3);
        }
        for node in &mut more.nodes {
            if let Kind::Regular { first, .. } = &mut node.kind {
                *first += starts.0;
            }
        }
        self.hashes.append(more.hashes, narrow(self.list.len()));
        self.list.append(&mut more.list);
        self.nodes.append(&mut more.nodes);
        self.runs.append(&mut more.runs);
        self.directory_runs.append(&mut more.directory_runs);
        self.xattrs.append(&mut more.xattrs);
        self.parts.append(&mut more.parts);
        self.stray_inline_data += more.stray_inline_data;
    }

    /// Returns the index of an inode in the list.
    pub(super) fn index_of(&self, number: InodeNr) -> Option<usize> {
        self.list.binary_search_by_key(&number, |inode| inode.number).ok()
    }

    /// Returns the directory at an index.
    pub(super) fn directory(&self, index: usize) -> DirectoryInode<'_, 'a> {
        let inode = &self.list[index];
        DirectoryInode {
            number: inode.number,
            generation: inode.generation,
            flags: self.nodes[index].flags,
            indexed: inode.indexed,
            runs: &self.directory_runs[inode.runs.range()],
            parts: self.parts_of(inode),
        }
    }

    /// Returns the xattrs in the body of an inode.
    pub(super) fn xattrs_of(&self, inode: &ReadInode) -> &[StoredXattr<'a>] {
        &self.xattrs[inode.xattrs.range()]
    }

    /// Returns the target of a symlink, or the inline data of a regular file or directory.
    pub(super) fn parts_of(&self, inode: &ReadInode) -> Option<InlineParts<'a>> {
        self.parts[inode.parts.range()].first().copied()
    }

    /// Returns the quota usage of an inode.
    pub(super) fn usage(&self, index: usize, block_size: usize) -> QuotaUsage {
        let mut usage = QuotaUsage { inodes: 1, bytes: self.list[index].blocks * block_size as u64 };
        usage.add(self.values.get(index).copied().unwrap_or_default());
        usage
    }

    /// Returns an error if a list has more elements than a [`ListRange`] can count.
    pub(super) fn check_counts(&self) -> Result<()> {
        let most = self.runs.len().max(self.directory_runs.len()).max(self.xattrs.len());
        if u32::try_from(most).is_ok() {
            return Ok(());
        }
        Err(Location::of(Structure::FileMap)
            .unsupported("2^32 or more extents or xattrs", "put some of the files into a different image"))
    }

    /// Returns the number of inodes whose `i_blocks` does not match their blocks and EA inodes.
    pub(super) fn wrong_blocks(&self, block_size: usize) -> usize {
        let is_wrong = |index: &usize| {
            let inode = &self.list[*index];
            !inode.replayed && inode.sectors != self.usage(*index, block_size).bytes / 512
        };
        (0..self.list.len()).filter(is_wrong).count()
    }
}
