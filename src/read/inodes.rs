//! All inodes that names lead to: what each holds lies in lists that they share, so that a small file costs
//! no allocation of its own.

use std::ops::{Deref, Range};

use super::inode::{Parts, ReadInode};
use super::quota::Usage;
use super::xattr::RawXattr;
use super::xattr_sets::Hashes;
use crate::error::{Location, Result, Structure};
use crate::ondisk::inode::InodeFlags;
use crate::tree::{Kind, Node, Run};
use crate::units::InodeNr;

/// Inodes, and what they hold.
#[derive(Debug, Default)]
pub struct Inodes<'a> {
    /// The inodes, by number.
    pub list: Vec<ReadInode>,
    /// Their nodes, without links and xattrs, without the entries of directories, and without what lies in inodes.
    pub nodes: Vec<Node>,
    /// The blocks of regular files, those of a file together.
    pub runs: Vec<Run>,
    directory_runs: Vec<Run>,
    xattrs: Vec<RawXattr<'a>>,
    parts: Vec<Parts<'a>>,
    /// The hashes of those sets of xattrs that are known to lie in the bodies of their inodes as a whole.
    pub hashes: Hashes,
    /// What is charged to each inode for values of xattrs in inodes of their own; empty where there are none.
    pub values: Vec<Usage>,
    /// How many inodes have the xattr `system.data`, but no inline data.
    pub stray_inline_data: usize,
}

/// A part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    start: u32,
    len: u32,
}

impl Part {
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

/// An inode, and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Held<'s, 'a> {
    inode: &'s ReadInode,
    /// The flags of its node.
    pub flags: InodeFlags,
    /// The blocks of a directory.
    pub runs: &'s [Run],
    /// The target of a symlink, or the content of a regular file or directory that lies in the inode.
    pub parts: Option<Parts<'a>>,
}

impl Deref for Held<'_, '_> {
    type Target = ReadInode;

    fn deref(&self) -> &ReadInode {
        self.inode
    }
}

impl<'a> Inodes<'a> {
    /// Adds xattrs of the inode that is to be added next; the function is given the list to add them to.
    pub fn add_xattrs<T, E>(
        &mut self,
        read: impl FnOnce(&mut Vec<RawXattr<'a>>) -> std::result::Result<T, E>,
    ) -> std::result::Result<(T, Part), E> {
        let start = self.xattrs.len();
        let found = read(&mut self.xattrs)?;
        Ok((found, Part::since(&self.xattrs, start)))
    }

    /// Adds an inode with its blocks and what lies in it.
    ///
    /// # Errors
    ///
    /// `Corrupt` where two xattrs in its body have one name.
    pub fn push(
        &mut self,
        (mut inode, mut node): (ReadInode, Node),
        runs: &[Run],
        parts: Option<Parts<'a>>,
    ) -> Result<()> {
        let list = match node.kind {
            Kind::Directory { .. } => Some(&mut self.directory_runs),
            Kind::Regular { .. } => Some(&mut self.runs),
            // What a symlink's block holds is known.
            _ => None,
        };
        if let Some(list) = list {
            let start = list.len();
            list.extend_from_slice(runs);
            inode.runs = Part::since(list, start);
            if let Kind::Regular { first, count, .. } = &mut node.kind {
                (*first, *count) = (start, inode.runs.len);
            }
        }
        let start = self.parts.len();
        self.parts.extend(parts);
        inode.parts = Part::since(&self.parts, start);
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
    pub fn append(&mut self, mut more: Self) {
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
    pub fn index_of(&self, number: InodeNr) -> Option<usize> {
        self.list.binary_search_by_key(&number, |inode| inode.number).ok()
    }

    /// An inode by its index, with what it holds.
    pub fn get(&self, index: usize) -> Held<'_, 'a> {
        let inode = &self.list[index];
        let runs = if inode.is_directory() { &self.directory_runs[inode.runs.range()] } else { &[] };
        let flags = self.nodes[index].flags;
        Held { inode, flags, runs, parts: self.parts_of(inode) }
    }

    /// The xattrs in the body of an inode.
    pub fn xattrs_of(&self, inode: &ReadInode) -> &[RawXattr<'a>] {
        &self.xattrs[inode.xattrs.range()]
    }

    /// The target of a symlink, or the content of a regular file or directory that lies in the inode.
    pub fn parts_of(&self, inode: &ReadInode) -> Option<Parts<'a>> {
        self.parts[inode.parts.range()].first().copied()
    }

    /// What quotas count for an inode.
    pub fn usage(&self, index: usize, block_size: usize) -> Usage {
        let mut usage = Usage { inodes: 1, bytes: self.list[index].blocks * block_size as u64 };
        usage.add(self.values.get(index).copied().unwrap_or_default());
        usage
    }

    /// Refuses more of anything than a [`Part`] can count.
    pub fn check_counts(&self) -> Result<()> {
        let most = self.runs.len().max(self.directory_runs.len()).max(self.xattrs.len());
        if u32::try_from(most).is_ok() {
            return Ok(());
        }
        Err(Location::of(Structure::FileMap)
            .unsupported("2^32 or more extents or xattrs", "put some of the files into another image"))
    }

    /// How many inodes have an `i_blocks` that is not what their blocks and values give.
    pub fn wrong_blocks(&self, block_size: usize) -> usize {
        let is_wrong = |index: &usize| {
            let inode = &self.list[*index];
            !inode.replayed && inode.sectors != self.usage(*index, block_size).bytes / 512
        };
        (0..self.list.len()).filter(is_wrong).count()
    }
}
