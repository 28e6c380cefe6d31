//! All inodes that names lead to. What each of them holds is in lists that they share, so that a small file
//! costs no allocation.

use std::ops::Range;

use super::xattr::entries::StoredXattr;
use super::xattr::set_hashes::SetHashes;
use crate::error::{Location, Result, Structure};
use crate::map::InlineParts;
use crate::map::directory::DirectoryInode;
use crate::ondisk::inode::{S_IFDIR, S_IFMT, S_IFREG};
use crate::tree::{Kind, Node, QuotaUsage, Run};
use crate::units::{BlockNr, InodeNr};

/// A live inode of the tree, decoded and checked by itself: all but its node. What it holds is in [`Inodes`].
#[derive(Debug)]
pub struct ReadInode {
    /// Its number.
    pub number: InodeNr,
    /// `i_generation`, which checksums cover.
    pub generation: u32,
    /// `i_links_count`.
    pub links: u16,
    /// `i_mode`.
    pub mode: u16,
    /// Whether the directory is indexed.
    pub indexed: bool,
    /// Whether quotas count it, as e2fsck does: neither the boot loader nor symlinks with inline data.
    pub charged: bool,
    /// Whether fast commits, which do not tell of `i_blocks`, changed it.
    pub replayed: bool,
    /// The blocks of a regular file or directory, none past its end but for a Merkle tree.
    pub runs: ListRange,
    /// The xattrs in the body.
    pub xattrs: ListRange,
    /// What lies in the inode, or the target of a symlink.
    pub parts: ListRange,
    /// The block of xattrs; 0 where there is none.
    pub xattr_block_or_zero: BlockNr,
    /// Blocks that are allocated for it: content, map and xattr block.
    pub blocks: u64,
    /// `i_blocks` in units of 512 bytes.
    pub sectors: u64,
}

impl ReadInode {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }

    /// The block of xattrs.
    pub fn xattr_block(&self) -> Option<BlockNr> {
        Some(self.xattr_block_or_zero).filter(|block| block.0 != 0)
    }
}

/// Inodes, and what they hold.
#[derive(Debug, Default)]
pub(super) struct Inodes<'a> {
    /// The inodes, by number.
    pub list: Vec<ReadInode>,
    /// Their nodes, without links and xattrs, without the entries of directories, and without what lies in inodes.
    pub nodes: Vec<Node>,
    /// The blocks of regular files, those of a file together.
    pub runs: Vec<Run>,
    directory_runs: Vec<Run>,
    xattrs: Vec<StoredXattr<'a>>,
    parts: Vec<InlineParts<'a>>,
    /// The hashes of those sets of xattrs that are known to lie in the bodies of their inodes as a whole.
    pub hashes: SetHashes,
    /// What is charged to each inode for values of xattrs in inodes of their own; empty where there are none.
    pub values: Vec<QuotaUsage>,
    /// How many inodes have the xattr `system.data`, but no inline data.
    pub stray_inline_data: usize,
}

/// A part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListRange {
    start: u32,
    len: u32,
}

impl ListRange {
    /// What was added to a list since it had `start` elements.
    fn since<T>(list: &[T], start: usize) -> Self {
        Self { start: narrow(start), len: narrow(list.len() - start) }
    }

    /// Moves it along a list that was put behind another one.
    fn shift(&mut self, by: usize) {
        self.start = self.start.saturating_add(narrow(by));
    }

    /// Where they are.
    pub fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

/// A count; [`Inodes::check_counts`] refuses those that are too large.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// An inode that is to be added, its xattrs already in the list.
pub(super) struct NewInode<'s, 'a> {
    /// The inode, whose ranges of runs and parts are not known yet.
    pub inode: ReadInode,
    /// Its node.
    pub node: Node,
    /// Its blocks.
    pub runs: &'s [Run],
    /// What is in the inode, or the target of a symlink.
    pub parts: Option<InlineParts<'a>>,
}

impl<'a> Inodes<'a> {
    /// Adds xattrs of the inode that is to be added next; the function is given the list to add them to.
    pub(super) fn add_xattrs<T, E>(
        &mut self,
        read: impl FnOnce(&mut Vec<StoredXattr<'a>>) -> std::result::Result<T, E>,
    ) -> std::result::Result<(T, ListRange), E> {
        let start = self.xattrs.len();
        let found = read(&mut self.xattrs)?;
        Ok((found, ListRange::since(&self.xattrs, start)))
    }

    /// Adds an inode with its blocks and what lies in it.
    ///
    /// # Errors
    ///
    /// `Corrupt` where two xattrs in its body have one name.
    pub(super) fn push(&mut self, new: NewInode<'_, 'a>) -> Result<()> {
        let NewInode { mut inode, mut node, runs, parts } = new;
        let list = match node.kind {
            Kind::Directory { .. } => Some(&mut self.directory_runs),
            Kind::Regular { .. } => Some(&mut self.runs),
            // What a symlink's block holds is known.
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
            // While they are in the processor's cache.
            let own = &self.xattrs[inode.xattrs.range()];
            self.hashes.add(inode.number, narrow(self.list.len()), own)?;
        }
        self.list.push(inode);
        self.nodes.push(node);
        Ok(())
    }

    /// Adds inodes with greater numbers.
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

    /// The index of an inode.
    pub(super) fn index_of(&self, number: InodeNr) -> Option<usize> {
        self.list.binary_search_by_key(&number, |inode| inode.number).ok()
    }

    /// The directory at an index.
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

    /// The xattrs in the body of an inode.
    pub(super) fn xattrs_of(&self, inode: &ReadInode) -> &[StoredXattr<'a>] {
        &self.xattrs[inode.xattrs.range()]
    }

    /// The target of a symlink, or the content of a regular file or directory that lies in the inode.
    pub(super) fn parts_of(&self, inode: &ReadInode) -> Option<InlineParts<'a>> {
        self.parts[inode.parts.range()].first().copied()
    }

    /// What quotas count for an inode.
    pub(super) fn usage(&self, index: usize, block_size: usize) -> QuotaUsage {
        let mut usage = QuotaUsage { inodes: 1, bytes: self.list[index].blocks * block_size as u64 };
        usage.add(self.values.get(index).copied().unwrap_or_default());
        usage
    }

    /// Refuses more of anything than a [`ListRange`] can count.
    pub(super) fn check_counts(&self) -> Result<()> {
        let most = self.runs.len().max(self.directory_runs.len()).max(self.xattrs.len());
        if u32::try_from(most).is_ok() {
            return Ok(());
        }
        Err(Location::of(Structure::FileMap)
            .unsupported("2^32 or more extents or xattrs", "put some of the files into another image"))
    }

    /// How many inodes have an `i_blocks` that is not what their blocks and values give.
    pub(super) fn wrong_blocks(&self, block_size: usize) -> usize {
        let is_wrong = |index: &usize| {
            let inode = &self.list[*index];
            !inode.replayed && inode.sectors != self.usage(*index, block_size).bytes / 512
        };
        (0..self.list.len()).filter(is_wrong).count()
    }
}
