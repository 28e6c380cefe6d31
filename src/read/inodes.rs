//! All inodes that names lead to: what each holds lies in lists that they share, so that a small file costs
//! no allocation of its own.

use std::ops::{Deref, Range};

use super::inode::{Content, Parts, ReadInode};
use super::quota::Usage;
use super::xattr::RawXattr;
use crate::tree::Run;
use crate::units::InodeNr;

/// Inodes, and what they hold.
#[derive(Debug, Default)]
pub struct Inodes<'a> {
    /// The inodes, by number.
    pub list: Vec<ReadInode>,
    /// The blocks of regular files, those of a file together.
    pub runs: Vec<Run>,
    directory_runs: Vec<Run>,
    xattrs: Vec<RawXattr<'a>>,
    parts: Vec<Parts<'a>>,
    /// What is charged to each inode for values of xattrs in inodes of their own; empty where there are none.
    pub values: Vec<Usage>,
}

/// A part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    start: usize,
    len: u32,
}

impl Part {
    /// What was added to a list since it had `start` elements.
    fn since<T>(list: &[T], start: usize) -> Self {
        Self { start, len: u32::try_from(list.len() - start).unwrap_or(u32::MAX) }
    }

    /// Where it begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The number of elements.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Where they are.
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.len as usize
    }
}

/// An inode, and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Held<'s, 'a> {
    inode: &'s ReadInode,
    /// The blocks of a directory.
    pub runs: &'s [Run],
    /// The xattrs in the body.
    pub xattrs: &'s [RawXattr<'a>],
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
        read: impl FnOnce(&mut Vec<RawXattr<'a>>) -> Result<T, E>,
    ) -> Result<(T, Part), E> {
        let start = self.xattrs.len();
        let found = read(&mut self.xattrs)?;
        Ok((found, Part::since(&self.xattrs, start)))
    }

    /// Adds an inode with its blocks and what lies in it.
    pub fn push(&mut self, mut inode: ReadInode, runs: &[Run], parts: Option<Parts<'a>>) {
        let list = match inode.content {
            Content::Directory => Some(&mut self.directory_runs),
            Content::Regular(_) => Some(&mut self.runs),
            // What a symlink's block holds is known.
            _ => None,
        };
        if let Some(list) = list {
            let start = list.len();
            list.extend_from_slice(runs);
            inode.runs = Part::since(list, start);
        }
        let start = self.parts.len();
        self.parts.extend(parts);
        inode.parts = Part::since(&self.parts, start);
        self.list.push(inode);
    }

    /// Adds inodes with greater numbers.
    pub fn append(&mut self, mut more: Self) {
        let starts = (self.runs.len(), self.directory_runs.len(), self.xattrs.len(), self.parts.len());
        for inode in &mut more.list {
            inode.runs.start += if inode.is_directory() { starts.1 } else { starts.0 };
            inode.xattrs.start += starts.2;
            inode.parts.start += starts.3;
        }
        self.list.append(&mut more.list);
        self.runs.append(&mut more.runs);
        self.directory_runs.append(&mut more.directory_runs);
        self.xattrs.append(&mut more.xattrs);
        self.parts.append(&mut more.parts);
    }

    /// The index of an inode.
    pub fn index_of(&self, number: InodeNr) -> Option<usize> {
        self.list.binary_search_by_key(&number, |inode| inode.number).ok()
    }

    /// An inode by its index, with what it holds.
    pub fn get(&self, index: usize) -> Held<'_, 'a> {
        self.hold(&self.list[index])
    }

    /// One of the inodes, with what it holds.
    pub fn hold<'s>(&'s self, inode: &'s ReadInode) -> Held<'s, 'a> {
        let runs = if inode.is_directory() { &self.directory_runs[inode.runs.range()] } else { &[] };
        Held { inode, runs, xattrs: &self.xattrs[inode.xattrs.range()], parts: self.parts_of(inode) }
    }

    /// The target of a symlink, or the content of a regular file or directory that lies in the inode.
    pub fn parts_of(&self, inode: &ReadInode) -> Option<Parts<'a>> {
        self.parts[inode.parts.range()].first().copied()
    }

    /// All inodes, with what they hold.
    pub fn iter(&self) -> impl Iterator<Item = Held<'_, 'a>> {
        self.list.iter().map(|inode| self.hold(inode))
    }

    /// What quotas count for an inode.
    pub fn usage(&self, index: usize, block_size: usize) -> Usage {
        let mut usage = Usage { inodes: 1, bytes: self.list[index].blocks * block_size as u64 };
        usage.add(self.values.get(index).copied().unwrap_or_default());
        usage
    }

    /// How many inodes have an `i_blocks` that is not what their blocks and values give.
    pub fn wrong_blocks(&self, block_size: usize) -> usize {
        let is_wrong = |index: &usize| {
            let sectors = self.list[*index].sectors;
            sectors.is_some_and(|sectors| sectors != self.usage(*index, block_size).bytes / 512)
        };
        (0..self.list.len()).filter(is_wrong).count()
    }
}
