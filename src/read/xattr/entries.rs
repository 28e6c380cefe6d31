//! Reads lists of xattr entries, in the body of an inode or in a block.

use std::ops::Range;

use smallvec::SmallVec;

use crate::error::{Location, Problem, Result, Structure};
use crate::map::DecodedInode;
use crate::ondisk::features::{Compat, Incompat};
use crate::ondisk::inode::{BASE_SIZE, EXTRA_WITH_CHECKSUM};
use crate::ondisk::xattr::{self as disk, XattrEntry};
use crate::ondisk::{le32, view};
use crate::source::Source;
use crate::units::InodeNr;

/// An xattr as stored in the image. A canonical set is sorted by name index, name length and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoredXattr<'a> {
    /// The name index, which encodes the prefix of the name.
    pub index: u8,
    /// The name without its prefix.
    pub name: &'a [u8],
    /// The value.
    pub value: StoredValue<'a>,
}

/// The value of an xattr, or a reference to its EA inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StoredValue<'a> {
    /// A value in the same inode body or block.
    Here(&'a [u8]),
    /// A value in an EA inode.
    Inode(EaInodeRef),
}

/// The reference of an entry to an EA inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EaInodeRef {
    /// The number of the EA inode.
    pub number: InodeNr,
    /// The length of the value in bytes.
    pub size: u32,
    /// `e_hash`, which covers the name and the checksum of the value.
    pub hash: u32,
}

impl StoredXattr<'_> {
    /// Returns the key by which xattrs are sorted.
    pub(crate) fn key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), self.name)
    }

    /// Returns the reference to the EA inode, if the xattr has one.
    pub(crate) fn inode(&self) -> Option<EaInodeRef> {
        match self.value {
            StoredValue::Inode(inode) => Some(inode),
            StoredValue::Here(_) => None,
        }
    }

    /// Returns whether this is `system.data`. Its value is inline file content, not an xattr of the tree.
    fn is_inline_data(&self) -> bool {
        self.index == disk::INDEX_SYSTEM && self.name == disk::INLINE_DATA_NAME
    }
}

/// The location of a list of entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum XattrArea {
    /// The body of an inode, where hashes can be missing.
    Body,
    /// An xattr block.
    Block,
}

/// Reads the xattrs in the body of an inode. Adds the xattrs of the tree to `list`, and returns the value of
/// `system.data`, which is inline data.
pub(crate) fn in_body<'a>(
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
    parse(source, entries, 0, XattrArea::Body, at, list)?;
    let mut inline_data = None;
    while let Some(index) = list[first..].iter().position(StoredXattr::is_inline_data) {
        // Inline data is never in an EA inode.
        let StoredValue::Here(value) = list.remove(first + index).value else { continue };
        if inline_data.replace(value).is_some() {
            return Err(at().wrong("have two values for system.data"));
        }
    }
    if list.len() > first && !source.features().has(Compat::EXT_ATTR) {
        return Err(at().wrong("exist without the ext_attr feature"));
    }
    Ok(inline_data)
}

/// Reads a list of entries that starts at `first`, and adds them to `found`. Offsets of values are relative
/// to the start of `area`.
pub(crate) fn parse<'a>(
    source: &Source<'_>,
    area: &'a [u8],
    first: usize,
    home: XattrArea,
    at: impl Fn() -> Location,
    found: &mut Vec<StoredXattr<'a>>,
) -> Result<()> {
    let mut values = SmallVec::<[Range<usize>; 8]>::new();
    let mut offset = first;
    while !disk::is_end(area, offset) {
        let Some(entry) = area.get(offset..).and_then(view::<XattrEntry>) else {
            return Err(at().wrong("have an attribute list that is not terminated"));
        };
        let name_start = offset + size_of::<XattrEntry>();
        let next = offset + disk::entry_size(entry.e_name_len.into());
        let (Some(name), true) =
            (area.get(name_start..name_start + usize::from(entry.e_name_len)), next < area.len())
        else {
            return Err(at().wrong("have an attribute list that is not terminated"));
        };
        check_name(entry, name, home, &at)?;
        let inode = value_inode(source, entry, &at)?;
        let size = if inode.is_some() { 0 } else { entry.e_value_size.get() as usize };
        let value = if size == 0 {
            &[][..]
        } else {
            let start = usize::from(entry.e_value_offs.get());
            // Like the kernel and e2fsck, include the padding after a value.
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

/// Checks that values do not overlap each other or the entries, which end at `end`.
fn check_overlaps(values: &mut [Range<usize>], mut end: usize, at: impl Fn() -> Location) -> Result<()> {
    values.sort_unstable_by_key(|range| range.start);
    for range in values {
        if range.start < end {
            return Err(at().value(
                "e_value_offs",
                range.start as u64,
                format!("{end} or more, past the entries and other values"),
            ));
        }
        end = range.end;
    }
    Ok(())
}

fn check_name(entry: &XattrEntry, name: &[u8], home: XattrArea, at: &impl Fn() -> Location) -> Result<()> {
    let index = entry.e_name_index;
    let is_inline_data = home == XattrArea::Body && name == disk::INLINE_DATA_NAME;
    if index == 0 || index > disk::INDEX_MAX || (index == disk::INDEX_SYSTEM && !is_inline_data) {
        return Err(at()
            .value("e_name_index", index, "a namespace of this filesystem's features")
            .with_remedy("remove this xattr with debugfs's ea_rm, or the file"));
    }
    if name.contains(&0) {
        return Err(at().wrong("have a name with a NUL byte"));
    }
    // The kernel lists such names, but can't open them.
    if disk::prefix(index).ends_with('.') == name.is_empty() {
        let name = disk::full_name(index, name);
        return Err(at()
            .wrong(format!("have the name '{name}', which does not fit its namespace"))
            .with_remedy("remove it with debugfs's ea_rm"));
    }
    if is_inline_data && index == disk::INDEX_SYSTEM && entry.e_value_inum.get() != 0 {
        return Err(at().value("e_value_inum", entry.e_value_inum.get(), "0 for inline data"));
    }
    Ok(())
}

/// Returns the reference to the EA inode of an entry, if it has one.
fn value_inode(
    source: &Source<'_>,
    entry: &XattrEntry,
    at: &impl Fn() -> Location,
) -> Result<Option<EaInodeRef>> {
    let (number, size) = (entry.e_value_inum.get(), entry.e_value_size.get());
    if number == 0 {
        return Ok(None);
    }
    if !source.features().has(Incompat::EA_INODE) {
        return Err(at().value("e_value_inum", number, "0 without the ea_inode feature"));
    }
    if size == 0 {
        // The kernel rejects an inode with such an xattr, but e2fsck accepts it.
        return Err(at()
            .value("e_value_size", size, format!("1 to {}, since the value has an inode", disk::VALUE_MAX))
            .with_remedy("remove this xattr with debugfs's ea_rm"));
    }
    if size as usize > disk::VALUE_MAX {
        return Err(at().value("e_value_size", size, format!("1 to {}", disk::VALUE_MAX)));
    }
    Ok(Some(EaInodeRef { number: InodeNr(number), size, hash: entry.e_hash.get() }))
}

fn check_hash(
    entry: &XattrEntry,
    name: &[u8],
    value: &[u8],
    home: XattrArea,
    at: &impl Fn() -> Location,
) -> Result<()> {
    let found = entry.e_hash.get();
    if found == 0 && home == XattrArea::Body {
        return Ok(());
    }
    let expected = disk::entry_hash(name, value, false);
    if found == expected || found == disk::entry_hash(name, value, true) {
        return Ok(());
    }
    Err(at().corrupt(Problem::Checksum { found, expected }))
}
