//! The fields of an image's parts, as targets for damage.

use std::mem::offset_of;

use ext4_canon::internals::ondisk::dir_entry::{self, DirEntry};
use ext4_canon::internals::ondisk::group_descriptor::GroupDescriptor;
use ext4_canon::internals::ondisk::htree::{self, DxCountLimit, DxEntry, DxRootInfo};
use ext4_canon::internals::ondisk::inode::{self, Inode};
use ext4_canon::internals::ondisk::jbd2::JournalSuperblock;
use ext4_canon::internals::ondisk::superblock::Superblock;
use ext4_canon::internals::ondisk::{Field, extent, le16, le32, mmp, view, xattr};

use super::{Anatomy, Kind, Part, ROOT_INFO};

impl Anatomy {
    /// Returns the fields of a part, as offsets in the image and sizes, both in bytes.
    pub fn fields(&self, image: &[u8], part: &Part) -> Vec<(usize, usize)> {
        let named = |fields: &[Field]| {
            fields
                .iter()
                .filter(|field| field.offset + field.size <= part.length)
                .map(|field| (part.start + field.offset, field.size))
                .collect::<Vec<_>>()
        };
        let bytes = image.get(part.start..part.start + part.length).unwrap_or_default();
        match part.kind {
            Kind::Superblock => named(Superblock::FIELDS),
            Kind::Descriptor(_) => named(GroupDescriptor::FIELDS),
            Kind::Inode(_) => {
                let mut fields = named(Inode::FIELDS);
                let root = part.start + inode::I_BLOCK;
                let extents = le16(image, root) == Some(extent::MAGIC);
                let words = if extents {
                    extent_fields(root, extent::ROOT_MAX.into())
                } else {
                    words(root, inode::I_BLOCK_SIZE)
                };
                for field in words {
                    fields.extend([field, field]);
                }
                let extra = usize::from(le16(bytes, inode::BASE_SIZE).unwrap_or(0));
                let xattrs = inode::BASE_SIZE + extra;
                if bytes.len() > inode::BASE_SIZE && le32(bytes, xattrs) == Some(xattr::MAGIC) {
                    fields.extend(xattr_fields(bytes, xattrs + xattr::IBODY_HEADER_SIZE, part.start));
                }
                fields
            }
            Kind::Extents(..) => {
                let entries = le16(bytes, offset_of!(extent::ExtentHeader, eh_entries)).unwrap_or(0);
                extent_fields(part.start, usize::from(entries).min(part.length / extent::ENTRY_SIZE - 1))
            }
            Kind::Directory(_, _, first) => directory_fields(bytes, part.start, first),
            Kind::Xattrs => {
                let mut fields = named(xattr::XattrHeader::FIELDS);
                fields.extend(xattr_fields(bytes, size_of::<xattr::XattrHeader>(), part.start));
                fields
            }
            Kind::Mmp => named(mmp::MmpStruct::FIELDS),
            Kind::JournalSuperblock => named(JournalSuperblock::FIELDS),
            Kind::Indirect
            | Kind::Orphans(..)
            | Kind::JournalBlock
            | Kind::Quota
            | Kind::FastCommits
            | Kind::Bitmap => {
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(16, |last| last + 8);
                words(part.start, used.min(part.length))
            }
        }
    }
}

fn words(start: usize, length: usize) -> Vec<(usize, usize)> {
    (start..start + length).step_by(4).map(|at| (at, 4)).collect()
}

/// Returns the fields of a structure at a byte offset of the image.
fn at(start: usize, fields: &[Field]) -> impl Iterator<Item = (usize, usize)> {
    fields.iter().map(move |field| (start + field.offset, field.size))
}

fn extent_fields(node: usize, entries: usize) -> Vec<(usize, usize)> {
    let mut fields: Vec<_> = at(node, extent::ExtentHeader::FIELDS).collect();
    for entry in (1..=entries).map(|index| node + index * extent::ENTRY_SIZE) {
        fields.extend(at(entry, extent::Extent::FIELDS));
        fields.push((entry + offset_of!(extent::ExtentIndex, ei_leaf_lo), 4));
    }
    fields
}

fn xattr_fields(area: &[u8], first: usize, start: usize) -> Vec<(usize, usize)> {
    const ENTRY: usize = size_of::<xattr::XattrEntry>();
    let mut fields = Vec::new();
    let mut offset = first;
    while !xattr::is_end(area, offset) && offset + ENTRY <= area.len() && fields.len() < 200 {
        let entry = start + offset;
        fields.extend(at(entry, xattr::XattrEntry::FIELDS));
        fields.push((entry + ENTRY, 1));
        let length = area[offset + offset_of!(xattr::XattrEntry, e_name_len)];
        offset += xattr::entry_size(length.into());
    }
    fields.push((start + offset, xattr::END_SIZE));
    fields
}

fn directory_fields(block: &[u8], start: usize, first: bool) -> Vec<(usize, usize)> {
    const ENTRY: usize = size_of::<DirEntry>();
    let mut fields = Vec::new();
    let mut offset = 0;
    while let Some(entry) = block.get(offset..).and_then(view::<DirEntry>) {
        fields.extend(at(start + offset, DirEntry::FIELDS));
        fields.push((start + offset + ENTRY, 1));
        let length = dir_entry::decode_rec_len(entry.rec_len, block.len());
        if length < ENTRY {
            break;
        }
        offset += length;
    }
    if has_index(block, first) {
        let head = if first { htree::ROOT_HEAD } else { htree::NODE_HEAD };
        if first {
            fields.extend((ROOT_INFO..htree::ROOT_HEAD).map(|at| (start + at, 1)));
        }
        fields.extend(at(start + head, DxCountLimit::FIELDS));
        let count = le16(block, head + offset_of!(DxCountLimit, count)).unwrap_or(0).min(16);
        let entries = (0..usize::from(count)).map(|index| start + head + index * htree::ENTRY_SIZE);
        fields.extend(entries.flat_map(|entry| at(entry, DxEntry::FIELDS)));
    }
    fields
}

/// Returns whether a directory block looks like the root or an interior node of an index.
fn has_index(block: &[u8], first: bool) -> bool {
    if first {
        let info = block.get(ROOT_INFO..).and_then(view::<DxRootInfo>);
        info.is_some_and(|info| usize::from(info.info_length) == size_of::<DxRootInfo>())
    } else {
        le16(block, offset_of!(DirEntry, rec_len)) == u16::try_from(block.len()).ok()
    }
}
