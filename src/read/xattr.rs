//! Reading xattrs, from the body of an inode and from blocks that inodes may share.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rayon::prelude::*;
use smallvec::SmallVec;

use super::claims::Claim;
use super::inodes::Inodes;
use super::orphan::Orphans;
use crate::error::{Location, Problem, Result, Structure};
use crate::map::DecodedInode;
use crate::ondisk::features::{Compat, Incompat};
use crate::ondisk::inode::{BASE_SIZE, EXTRA_WITH_CHECKSUM};
use crate::ondisk::xattr::{self as disk, XattrEntry, XattrHeader};
use crate::ondisk::{le32, view};
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// An xattr in the image. The order is that of a canonical set: index, name length, name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredXattr<'a> {
    /// The namespace.
    pub index: u8,
    /// The name without its prefix.
    pub name: &'a [u8],
    /// The value.
    pub value: StoredValue<'a>,
}

/// Where the value of an xattr lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredValue<'a> {
    /// Beside the entry.
    Here(&'a [u8]),
    /// In an inode of its own.
    Inode(ValueInode),
}

/// What an entry says of a value in an inode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueInode {
    /// The inode.
    pub number: InodeNr,
    /// The length of the value in bytes.
    pub size: u32,
    /// `e_hash`, of the name and the value's checksum.
    pub hash: u32,
}

impl StoredXattr<'_> {
    /// What sets are sorted by.
    pub fn key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), self.name)
    }

    /// Where the value lies, if it is in an inode of its own.
    pub fn inode(&self) -> Option<ValueInode> {
        match self.value {
            StoredValue::Inode(inode) => Some(inode),
            StoredValue::Here(_) => None,
        }
    }

    /// Whether it holds inline data, which is content.
    fn is_inline_data(&self) -> bool {
        self.index == disk::INDEX_SYSTEM && self.name == disk::INLINE_DATA_NAME
    }
}

/// Where a list of entries lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryHome {
    /// In an inode, where hashes may be missing.
    Body,
    /// In a block.
    Block,
}

/// Reads the xattrs in the body of an inode. Those that are part of the tree are added to the list; the value
/// of `system.data`, which holds inline data, is returned.
pub fn in_body<'a>(
    source: &Source<'_>,
    inode: &DecodedInode<'a>,
    list: &mut Vec<StoredXattr<'a>>,
) -> Result<Option<&'a [u8]>> {
    if !source.geometry.has_wide_inodes() || inode.fields.i_extra_isize.get() < EXTRA_WITH_CHECKSUM {
        return Ok(None);
    }
    let start = BASE_SIZE + usize::from(inode.fields.i_extra_isize.get());
    let area = inode.bytes.get(start..).unwrap_or_default();
    if le32(area, 0) != Some(disk::MAGIC) {
        return Ok(None);
    }
    let at = || Location::of(Structure::Xattr).inode(inode.number);
    let entries = area.get(disk::IBODY_HEADER_SIZE..).unwrap_or_default();
    let first = list.len();
    parse(source, entries, 0, EntryHome::Body, at, list)?;
    let mut inline_data = None;
    while let Some(index) = list[first..].iter().position(StoredXattr::is_inline_data) {
        // It has no inode of its own.
        let StoredValue::Here(value) = list.remove(first + index).value else { continue };
        if inline_data.replace(value).is_some() {
            return Err(at().wrong("have two values for system.data"));
        }
    }
    if list.len() > first && !source.features().compat.contains(Compat::EXT_ATTR) {
        return Err(at().wrong("are there without the ext_attr feature"));
    }
    Ok(inline_data)
}

/// The blocks of xattrs, by their numbers, each with its entries and one of its inodes.
#[derive(Debug)]
pub struct XattrBlocks<'a> {
    blocks: BTreeMap<BlockNr, (InodeNr, Vec<StoredXattr<'a>>)>,
    /// Those that only orphans without links use.
    of_orphans: BTreeSet<BlockNr>,
}

impl<'a> XattrBlocks<'a> {
    /// The entries of a block.
    pub fn entries(&self, block: BlockNr) -> &[StoredXattr<'a>] {
        self.blocks.get(&block).map_or(&[], |(_, entries)| entries)
    }

    /// All blocks of live inodes: one of the inodes that use it, and the entries.
    pub fn all(&self) -> impl Iterator<Item = (InodeNr, &[StoredXattr<'a>])> {
        let live = self.blocks.iter().filter(|(block, _)| !self.of_orphans.contains(block));
        live.map(|(_, (inode, entries))| (*inode, &entries[..]))
    }

    /// The claims on the blocks, each once: on those of live inodes, or on those that only orphans use.
    pub fn claims(&self, orphans: bool) -> impl Iterator<Item = Claim> + use<'_> {
        let blocks = self.blocks.iter().filter(move |(block, _)| self.of_orphans.contains(block) == orphans);
        blocks.map(|(block, (inode, _))| Claim::of_inode(*inode, *block, 1))
    }
}

/// Reads each block of xattrs once, and checks that as many inodes use it as it says.
///
/// Orphans without links count as users.
pub fn read_blocks<'a>(
    source: &Source<'a>,
    inodes: &Inodes<'_>,
    orphans: &Orphans,
) -> Result<XattrBlocks<'a>> {
    let mut users: BTreeMap<BlockNr, (InodeNr, u32)> = BTreeMap::new();
    for inode in &inodes.list {
        if let Some(block) = inode.xattr_block() {
            users.entry(block).or_insert((inode.number, 0)).1 += 1;
        }
    }
    let mut of_orphans = BTreeSet::new();
    for (number, block) in &orphans.xattr_blocks {
        users
            .entry(*block)
            .or_insert_with(|| {
                of_orphans.insert(*block);
                (*number, 0)
            })
            .1 += 1;
    }
    let blocks = users
        .into_par_iter()
        .map(|(block, (inode, count))| {
            let entries = read_block(source, block, inode, count)?;
            Ok((block, (inode, entries)))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    Ok(XattrBlocks { blocks, of_orphans })
}

/// The entries of orphans without links that refer to values in inodes: those in their bodies, and in
/// blocks that no other inode uses.
pub fn values_of_orphans(
    source: &Source<'_>,
    blocks: &XattrBlocks<'_>,
    orphans: &Orphans,
) -> Result<Vec<(InodeNr, ValueInode)>> {
    let mut values = Vec::new();
    if !source.features().incompat.contains(Incompat::EA_INODE) {
        return Ok(values);
    }
    for number in &orphans.without_links {
        let bytes = source.inode(*number).unwrap_or_default();
        let mut xattrs = Vec::new();
        in_body(source, &DecodedInode::new(*number, bytes), &mut xattrs)?;
        values.extend(xattrs.iter().filter_map(|xattr| Some((*number, xattr.inode()?))));
    }
    for (number, entries) in blocks.of_orphans.iter().filter_map(|block| blocks.blocks.get(block)) {
        values.extend(entries.iter().filter_map(|xattr| Some((*number, xattr.inode()?))));
    }
    Ok(values)
}

fn read_block<'a>(
    source: &Source<'a>,
    block: BlockNr,
    inode: InodeNr,
    users: u32,
) -> Result<Vec<StoredXattr<'a>>> {
    let at = || Location::of(Structure::Xattr).inode(inode).block(block);
    let bytes = source.checked_block(block);
    let Some(header) = view::<XattrHeader>(bytes) else { return Err(at().wrong("is cut short")) };
    let magic = header.h_magic.get();
    if magic != disk::MAGIC {
        return Err(at().corrupt(Problem::Magic { found: magic.into(), expected: disk::MAGIC.into() }));
    }
    if let Some(expected) = source.checksums.xattr_block(block, bytes) {
        let found = header.h_checksum.get();
        if found != expected {
            return Err(at().corrupt(Problem::Checksum { found, expected }));
        }
    }
    if header.h_blocks.get() != 1 {
        return Err(at().value("h_blocks", header.h_blocks.get(), 1));
    }
    if header.h_refcount.get() != users {
        return Err(at().value(
            "h_refcount",
            header.h_refcount.get(),
            format!("{users}, the number of inodes that use it"),
        ));
    }
    let mut entries = Vec::new();
    parse(source, bytes, size_of::<XattrHeader>(), EntryHome::Block, at, &mut entries)?;
    check_order(&entries, at)?;
    Ok(entries)
}

/// The kernel's look-up in a block ends at the first entry that is behind what it looks for; e2fsck
/// lets any order pass.
fn check_order(entries: &[StoredXattr<'_>], at: impl Fn() -> Location) -> Result<()> {
    let Some(pair) = entries.windows(2).find(|pair| pair[1].key() < pair[0].key()) else { return Ok(()) };
    let [before, hidden] = [pair[0], pair[1]].map(|xattr| disk::full_name(xattr.index, xattr.name));
    Err(at()
        .wrong(format!("have {hidden} behind {before}, where the kernel does not find it"))
        .with_remedy("remove each of them and set it again with debugfs (ea_get -f, ea_rm, ea_set -f)"))
}

/// Reads a list of entries that starts at `first`, and adds them to others; values are counted from the start
/// of `area`.
fn parse<'a>(
    source: &Source<'_>,
    area: &'a [u8],
    first: usize,
    home: EntryHome,
    at: impl Fn() -> Location,
    found: &mut Vec<StoredXattr<'a>>,
) -> Result<()> {
    let mut values = SmallVec::<[Range<usize>; 8]>::new();
    let mut offset = first;
    while !disk::is_end(area, offset) {
        let Some(entry) = area.get(offset..).and_then(view::<XattrEntry>) else {
            return Err(at().wrong("have no end"));
        };
        let name_start = offset + size_of::<XattrEntry>();
        let next = offset + disk::entry_size(entry.e_name_len.into());
        let (Some(name), true) =
            (area.get(name_start..name_start + usize::from(entry.e_name_len)), next < area.len())
        else {
            return Err(at().wrong("have no end"));
        };
        check_name(entry, name, home, &at)?;
        let inode = value_inode(source, entry, &at)?;
        let size = if inode.is_some() { 0 } else { entry.e_value_size.get() as usize };
        let value = if size == 0 {
            &[][..]
        } else {
            let start = usize::from(entry.e_value_offs.get());
            // Kernel and e2fsck count the padding behind a value, too.
            let padded = (size <= area.len()).then(|| start..start + disk::value_size(size));
            let padded = padded.filter(|padded| padded.end <= area.len()).ok_or_else(|| {
                at().value("e_value_size", entry.e_value_size.get(), "a value within the inode or block")
            })?;
            values.push(padded);
            &area[start..start + size]
        };
        if inode.is_none() {
            check_hash(entry, name, value, home, &at)?;
        }
        let value = inode.map_or(StoredValue::Here(value), StoredValue::Inode);
        found.push(StoredXattr { index: entry.e_name_index, name, value });
        offset = next;
    }
    check_overlaps(&mut values, offset + disk::END_SIZE, at)
}

/// Checks that values lie neither in each other nor in the entries, which end at an offset.
fn check_overlaps(values: &mut [Range<usize>], mut end: usize, at: impl Fn() -> Location) -> Result<()> {
    values.sort_unstable_by_key(|range| range.start);
    for range in values {
        if range.start < end {
            return Err(at().value(
                "e_value_offs",
                range.start as u64,
                format!("{end} or more, where nothing else lies"),
            ));
        }
        end = range.end;
    }
    Ok(())
}

fn check_name(entry: &XattrEntry, name: &[u8], home: EntryHome, at: &impl Fn() -> Location) -> Result<()> {
    let index = entry.e_name_index;
    let is_inline_data = home == EntryHome::Body && name == disk::INLINE_DATA_NAME;
    if index == 0 || index > disk::INDEX_MAX || (index == disk::INDEX_SYSTEM && !is_inline_data) {
        return Err(at()
            .value("e_name_index", index, "a namespace of this filesystem's features")
            .with_remedy("remove this xattr with debugfs's ea_rm, or the file"));
    }
    if name.contains(&0) {
        return Err(at().wrong("have a name with a NUL byte"));
    }
    // The kernel lists such names, but opens none.
    if disk::prefix(index).ends_with('.') == name.is_empty() {
        let name = disk::full_name(index, name);
        return Err(at()
            .wrong(format!("have the name '{name}', which has a part too many or too few"))
            .with_remedy("remove it with debugfs's ea_rm"));
    }
    if is_inline_data && index == disk::INDEX_SYSTEM && entry.e_value_inum.get() != 0 {
        return Err(at().value("e_value_inum", entry.e_value_inum.get(), "0 for inline data"));
    }
    Ok(())
}

/// The inode that holds the value of an entry, if it does not lie beside it.
fn value_inode(
    source: &Source<'_>,
    entry: &XattrEntry,
    at: &impl Fn() -> Location,
) -> Result<Option<ValueInode>> {
    let (number, size) = (entry.e_value_inum.get(), entry.e_value_size.get());
    if number == 0 {
        return Ok(None);
    }
    if !source.features().incompat.contains(Incompat::EA_INODE) {
        return Err(at().value("e_value_inum", number, "0 without the ea_inode feature"));
    }
    if size == 0 {
        // The kernel does not open an inode with such an xattr, which e2fsck lets pass.
        return Err(at()
            .value("e_value_size", size, format!("1 to {}, since the value has an inode", disk::VALUE_MAX))
            .with_remedy("remove this xattr with debugfs's ea_rm"));
    }
    if size as usize > disk::VALUE_MAX {
        return Err(at().value("e_value_size", size, format!("1 to {}", disk::VALUE_MAX)));
    }
    Ok(Some(ValueInode { number: InodeNr(number), size, hash: entry.e_hash.get() }))
}

fn check_hash(
    entry: &XattrEntry,
    name: &[u8],
    value: &[u8],
    home: EntryHome,
    at: &impl Fn() -> Location,
) -> Result<()> {
    let found = entry.e_hash.get();
    if found == 0 && home == EntryHome::Body {
        return Ok(());
    }
    let expected = disk::entry_hash(name, value, false);
    if found == expected || found == disk::entry_hash(name, value, true) {
        return Ok(());
    }
    Err(at().corrupt(Problem::Checksum { found, expected }))
}
