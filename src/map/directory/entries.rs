//! Reads the entries of a directory, in blocks or as inline data, and makes all checks that need no other
//! inode.

use super::directory_inode::DirectoryInode;
use super::htree::{BlockRole, DirectoryIndex};
use crate::bytes::is_zero;
use crate::error::{Location, Problem, Result, Structure, shown};
use crate::map::inode::InlineParts;
use crate::ondisk::crypt::NAME_MIN;
use crate::ondisk::dir_entry::{self, DirEntry, DirEntryTail};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::{le32, view};
use crate::remedy::Remedy;
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr};

/// The remedy for a damaged index. e2fsck does not detect all damage of an index, but e2fsck -D rebuilds it.
const REBUILD: Remedy = Remedy::fsck("run e2fsck -fD on the image");

/// A directory entry, as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number.
    pub inode: InodeNr,
    /// The file type byte; 0 without the `filetype` feature.
    pub file_type: u8,
    /// See [`crate::tree::Entry`].
    pub hashes: [u32; 2],
}

/// The entries of a directory.
#[derive(Debug)]
pub(crate) struct DirectoryEntries<'a> {
    /// The inode of `..`.
    pub parent: InodeNr,
    /// The entries except `.` and `..`.
    pub list: Vec<RawEntry<'a>>,
    /// The number of entries with stale bytes: bytes other than zero after the name, or in an unused entry.
    pub stale: u64,
}

struct EntryReader<'s, 'a> {
    source: &'s Source<'a>,
    directory: DirectoryInode<'s, 'a>,
    entries: Vec<RawEntry<'a>>,
    stale: u64,
}

/// Reads the entries of a directory, in the order in which the image stores them.
///
/// # Errors
///
/// `Corrupt`, with the inode and the block.
pub(crate) fn read_in_order<'a>(
    source: &Source<'a>,
    directory: DirectoryInode<'_, 'a>,
) -> Result<DirectoryEntries<'a>> {
    let mut reader = EntryReader { source, directory, entries: Vec::new(), stale: 0 };
    let parent = match directory.parts {
        Some(parts) => reader.inline(parts)?,
        None => reader.blocks()?,
    };
    Ok(DirectoryEntries { parent, list: reader.entries, stale: reader.stale })
}

/// Reads the entries of a directory, in byte order of their names.
///
/// # Errors
///
/// The errors of [`read_in_order`], and `Corrupt` if two entries have the same name, or if there is a second
/// entry named `.` or `..`.
pub(crate) fn read_sorted<'a>(
    source: &Source<'a>,
    directory: DirectoryInode<'_, 'a>,
) -> Result<DirectoryEntries<'a>> {
    let mut entries = read_in_order(source, directory)?;
    let at = || Location::of(Structure::Directory).inode(directory.number);
    entries.list.sort_unstable_by_key(|entry| entry.name);
    for pair in entries.list.windows(2) {
        if let [first, second] = pair
            && first.name == second.name
        {
            return Err(at().wrong(format!("has two entries named '{}'", shown(first.name))));
        }
    }
    if let Some(odd) = entries.list.iter().find(|entry| matches!(entry.name, b"." | b"..")) {
        return Err(at().wrong(format!("has a second entry named '{}'", shown(odd.name))));
    }
    Ok(entries)
}

impl<'a> EntryReader<'_, 'a> {
    fn at(&self, block: BlockNr) -> Location {
        Location::of(Structure::Directory).inode(self.directory.number).block(block)
    }

    /// Reads all blocks, and returns the inode of `..`.
    fn blocks(&mut self) -> Result<InodeNr> {
        let directory = self.directory;
        let count = directory.runs.last().map_or(0, Run::end);
        let index = if directory.indexed {
            let count = u32::try_from(count).map_err(|_| {
                let at = Location::of(Structure::Directory).inode(directory.number);
                at.value("the number of blocks", count, format!("at most {}, with an index", u32::MAX))
            })?;
            let index = DirectoryIndex::read(self.source, directory, count);
            Some(index.map_err(|error| error.with_remedy(REBUILD))?)
        } else {
            None
        };
        let blocks = directory.runs.iter().flat_map(Run::blocks).map(BlockNr);
        for (place, block) in (0..).zip(blocks) {
            self.block(block, place, index.as_ref())?;
            if place == 0 {
                self.check_dots(block)?;
            }
        }
        let parent = self.entries.get(1).map_or(InodeNr(0), |dotdot| dotdot.inode);
        self.entries.drain(..2);
        Ok(parent)
    }

    /// Reads the two lists of entries in an inode, and returns the parent, which is stored before them.
    fn inline(&mut self, [head, value]: InlineParts<'a>) -> Result<InodeNr> {
        let number = self.directory.number;
        let at = || Location::of(Structure::Directory).inode(number);
        let (parent, list) = head.split_first_chunk().expect("fits: i_block has 60 bytes");
        let parent = u32::from_le_bytes(*parent);
        self.names(list, list.len(), at)?;
        self.names(value, value.len(), at)?;
        Ok(InodeNr(parent))
    }

    fn block(&mut self, block: BlockNr, place: u32, index: Option<&DirectoryIndex>) -> Result<()> {
        let bytes = self.source.checked_block(block);
        let role = index.map(|index| index.role(place));
        // Index nodes have no leaf tail: the last entry covers all remaining bytes of the block, including
        // the index.
        let is_node = role == Some(BlockRole::Node);
        let end = if self.source.checksums.covers_metadata() && !is_node {
            self.check_leaf(block, bytes)?
        } else {
            bytes.len()
        };
        let directory = self.directory.number;
        let at = || Location::of(Structure::Directory).inode(directory).block(block);
        let first = self.entries.len();
        self.names(bytes, end, at)?;
        if let (Some(index), Some(BlockRole::Leaf(range))) = (index, role) {
            for entry in &self.entries[first..] {
                index
                    .check_name(range, entry.name, entry.hashes[0], at)
                    .map_err(|error| error.with_remedy(REBUILD))?;
            }
        }
        Ok(())
    }

    /// Checks the tail of a leaf block, and returns the offset of the tail, which is the end of the entries.
    fn check_leaf(&self, block: BlockNr, bytes: &[u8]) -> Result<usize> {
        let end = bytes.len() - dir_entry::TAIL_SIZE;
        let tail = bytes.get(end..).and_then(view::<DirEntryTail>).filter(|tail| tail.is_valid());
        let Some(tail) = tail else { return Err(self.at(block).wrong("has no tail with a checksum")) };
        let directory = self.directory;
        let expected = self.source.checksums.directory_block(directory.number, directory.generation, bytes);
        let found = tail.det_checksum.get();
        match expected {
            Some(expected) if expected != found => {
                Err(self.at(block).corrupt(Problem::Checksum { found, expected }))
            }
            _ => Ok(end),
        }
    }

    /// Checks that the first two entries of the first block are `.` and `..`.
    fn check_dots(&self, block: BlockNr) -> Result<()> {
        let [dot, dotdot, ..] = &self.entries[..] else {
            return Err(self.at(block).wrong("does not begin with '.' and '..'"));
        };
        // A first entry of more than 24 bytes has room for a second entry, so e2fsck would split the first.
        let bytes = self.source.checked_block(block);
        let length =
            view::<DirEntry>(bytes).map_or(0, |entry| dir_entry::decode_rec_len(entry.rec_len, bytes.len()));
        let second =
            bytes.get(length..).and_then(view::<DirEntry>).is_some_and(|entry| entry.inode.get() != 0);
        let first = view::<DirEntry>(bytes).is_some_and(|entry| entry.inode.get() != 0);
        if !first || !second || length > 24 || dot.name != b"." || dotdot.name != b".." {
            return Err(self.at(block).wrong("does not begin with '.' and '..'"));
        }
        if dot.inode != self.directory.number {
            return Err(self.at(block).value("the inode of '.'", dot.inode.0, self.directory.number));
        }
        Ok(())
    }

    /// Returns the hashes of an entry. `end` is the offset of the end of the hashes.
    fn hashes(&self, bytes: &[u8], end: usize, at: &impl Fn() -> Location) -> Result<[u32; 2]> {
        let hashes = [8, 4].map(|before| le32(bytes, end - before).expect("fits: rec_len has room for them"));
        // In an index, the lowest bit marks a block that continues a run of equal hashes.
        if hashes[0] & 1 != 0 {
            return Err(at().value("the hash of an entry", hashes[0], "an even number"));
        }
        Ok(hashes)
    }

    /// Checks that a name is valid in this directory.
    fn check_name(&self, name: &[u8], at: &impl Fn() -> Location) -> Result<()> {
        if self.directory.flags.contains(InodeFlags::ENCRYPT) && !matches!(name, b"." | b"..") {
            // Ciphertext can contain any byte.
            if name.len() < NAME_MIN {
                let expected = format!("{NAME_MIN} or more in an encrypted directory");
                return Err(at().value("name_len", name.len() as u64, expected));
            }
        } else if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(at().wrong(format!(
                "has a name that is empty or has a '/' or a NUL byte: '{}'",
                name.escape_ascii()
            )));
        }
        Ok(())
    }

    /// Reads a list of entries that fills `bytes` up to `end`.
    fn names(&mut self, bytes: &'a [u8], end: usize, at: impl Fn() -> Location) -> Result<()> {
        let typed = self.source.features().has(Incompat::FILETYPE);
        let mut offset = 0;
        while offset < end {
            let Some(entry) = bytes.get(offset..end).and_then(view::<DirEntry>) else {
                return Err(at().wrong("has an entry that crosses its end"));
            };
            let length = dir_entry::decode_rec_len(entry.rec_len, bytes.len());
            let name_len = usize::from(entry.name_len);
            let in_use = entry.inode.get() != 0;
            // `.` and `..` are the first entries and have no hashes.
            let hashed =
                in_use && self.entries.len() >= 2 && self.directory.flags.contains(InodeFlags::HASHED_NAMES);
            let needed =
                dir_entry::entry_size(name_len.max(1)) + if hashed { dir_entry::HASHES_SIZE } else { 0 };
            if length < needed || !length.is_multiple_of(4) || length > end - offset {
                return Err(at().value(
                    "rec_len",
                    length as u64,
                    format!("room for the name, within the {} bytes left", end - offset),
                ));
            }
            if in_use {
                // `length` was checked against the size of the name.
                let name = &bytes[offset + dir_entry::HEADER_SIZE..][..name_len];
                self.check_name(name, &at)?;
                if !typed && entry.file_type != 0 {
                    return Err(at().value("the high byte of name_len", entry.file_type, 0));
                }
                let hashes = if hashed { self.hashes(bytes, offset + needed, &at)? } else { [0; 2] };
                self.entries.push(RawEntry {
                    hashes,
                    name,
                    inode: InodeNr(entry.inode.get()),
                    file_type: entry.file_type,
                });
            }
            let live = if in_use { dir_entry::HEADER_SIZE + name_len } else { dir_entry::HEADER_SIZE };
            // The bytes after the name can be hashes. After `..`, or in an unused entry that covers the
            // block, they can be an index.
            let hides_index = self.directory.indexed
                && (self.entries.len() == 2 && in_use || !in_use && length == bytes.len());
            let rest = bytes.get(offset + live..offset + length).unwrap_or_default();
            self.stale += u64::from(!hashed && !hides_index && !is_zero(rest));
            offset += length;
        }
        Ok(())
    }
}
