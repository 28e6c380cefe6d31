//! Rendering xattrs.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::Renderer;
use crate::form::EXTRA_ISIZE;
use crate::ondisk::inode::{BASE_SIZE, I_BLOCK_SIZE};
use crate::ondisk::xattr::{self as disk, XattrEntry, XattrHeader};
use crate::plan::SplitId;
use crate::tree::{NodeId, Xattr};
use crate::units::BlockNr;

impl Renderer<'_, '_> {
    /// The xattrs of a node that lie in its inode: inline content, and then those of the tree.
    pub(super) fn xattrs_in_body(&self, id: NodeId, inline: Option<&[u8]>, out: &mut [u8]) {
        let content = inline.map(|content| RawXattr {
            index: disk::INDEX_SYSTEM,
            name: disk::INLINE_DATA_NAME,
            value: &content[I_BLOCK_SIZE..],
        });
        let xattrs = self.plan.xattrs.body_part(self.tree, id).map(|xattr| self.raw(xattr));
        let mut xattrs = content.into_iter().chain(xattrs).peekable();
        if xattrs.peek().is_none() {
            return;
        }
        let area = &mut out[BASE_SIZE + usize::from(EXTRA_ISIZE)..];
        area[..disk::IBODY_HEADER_SIZE].copy_from_slice(&disk::MAGIC.to_le_bytes());
        put(xattrs, &mut area[disk::IBODY_HEADER_SIZE..], 0, false);
    }

    fn raw(&self, xattr: &Xattr) -> RawXattr<'_> {
        RawXattr { index: xattr.index, name: self.tree.text(xattr.name), value: self.tree.text(xattr.value) }
    }

    /// The block of those xattrs of a split that do not lie in the inode.
    pub(super) fn xattr_block(&self, at: BlockNr, split: SplitId, refcount: u32, out: &mut [u8]) {
        let xattrs = self.plan.xattrs.block_part(self.tree, split).map(|xattr| self.raw(xattr));
        let hashes = put(xattrs, out, size_of::<XattrHeader>(), true);
        let mut header = XattrHeader {
            h_magic: U32::new(disk::MAGIC),
            h_refcount: U32::new(refcount),
            h_blocks: U32::new(1),
            h_hash: U32::new(disk::block_hash(hashes)),
            h_checksum: U32::new(0),
            h_reserved: [U32::new(0); 3],
        };
        out[..size_of::<XattrHeader>()].copy_from_slice(header.as_bytes());
        if let Some(checksum) = self.plan.checksums.xattr_block(at, out) {
            header.h_checksum = U32::new(checksum);
            out[..size_of::<XattrHeader>()].copy_from_slice(header.as_bytes());
        }
    }
}

/// An xattr as it is stored.
struct RawXattr<'t> {
    index: u8,
    name: &'t [u8],
    value: &'t [u8],
}

/// Writes entries from an offset on, and their values from the end backwards. Returns the
/// hashes of the entries, which only those of a block store.
fn put<'t>(
    xattrs: impl Iterator<Item = RawXattr<'t>>,
    out: &mut [u8],
    first: usize,
    hashed: bool,
) -> Vec<u32> {
    let (mut next, mut end) = (first, out.len());
    let mut hashes = Vec::new();
    for RawXattr { index, name, value } in xattrs {
        let hash = disk::entry_hash(name, value, false);
        hashes.push(hash);
        end -= disk::value_size(value.len());
        out[end..end + value.len()].copy_from_slice(value);
        let offset = if value.is_empty() { 0 } else { end };
        let entry = XattrEntry {
            e_name_len: u8::try_from(name.len()).unwrap_or(u8::MAX),
            e_name_index: index,
            e_value_offs: U16::new(u16::try_from(offset).unwrap_or(u16::MAX)),
            e_value_inum: U32::new(0),
            e_value_size: U32::new(u32::try_from(value.len()).unwrap_or(u32::MAX)),
            e_hash: U32::new(if hashed { hash } else { 0 }),
        };
        let name_start = next + size_of::<XattrEntry>();
        out[next..name_start].copy_from_slice(entry.as_bytes());
        out[name_start..name_start + name.len()].copy_from_slice(name);
        next += disk::entry_size(name.len());
    }
    hashes
}
