//! Renders xattrs and EA inodes.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::inode::set_size;
use super::renderer::Renderer;
use crate::form::{EXTRA_ISIZE, SPECIAL_MODE};
use crate::ondisk::inode::{BASE_SIZE, I_BLOCK_SIZE, Inode, InodeFlags};
use crate::ondisk::xattr::{self as disk, XattrEntry, XattrHeader};
use crate::plan::SplitId;
use crate::tree::{NodeId, Xattr};
use crate::units::{InodeNr, OutputBlock, fits};

impl Renderer<'_, '_> {
    /// Renders the xattrs in a node's inode: first the inline content, then the xattrs of the tree.
    pub(super) fn xattrs_in_body(&self, id: NodeId, inline: Option<&[u8]>, out: &mut [u8]) {
        let content = inline.map(|content| XattrToWrite {
            index: disk::INDEX_SYSTEM,
            name: disk::INLINE_DATA_NAME,
            value: &content[I_BLOCK_SIZE..],
            inode: None,
        });
        let xattrs = self
            .plan
            .xattrs
            .body_part(self.view.stored.tree, id)
            .map(|(xattr, value)| self.to_write(xattr, value));
        let mut xattrs = content.into_iter().chain(xattrs).peekable();
        if xattrs.peek().is_none() {
            return;
        }
        let area = &mut out[BASE_SIZE + usize::from(EXTRA_ISIZE)..];
        area[..disk::IBODY_HEADER_SIZE].copy_from_slice(&disk::MAGIC.to_le_bytes());
        put(xattrs, &mut area[disk::IBODY_HEADER_SIZE..], 0, false);
    }

    fn to_write(&self, xattr: &Xattr, outside: Option<u32>) -> XattrToWrite<'_> {
        let inode =
            outside.map(|index| (self.plan.numbering.number_of_ea_inode(index), self.ea_inode_hash(index)));
        let (name, value) = (self.view.stored.tree.text(xattr.name), self.view.stored.tree.text(xattr.value));
        XattrToWrite { index: xattr.index, name, value, inode }
    }

    fn ea_inode_hash(&self, index: u32) -> u32 {
        self.ea_inode_hashes[index as usize]
    }

    /// Sets the fields of an EA inode. Its timestamp fields contain the checksum and the reference count.
    pub(super) fn ea_inode(&self, index: u32, inode: &mut Inode) {
        let value = &self.plan.xattrs.ea_inodes[index as usize];
        let file = self.plan.layout.ea_inodes[index as usize];
        inode.i_mode = U16::new(SPECIAL_MODE);
        inode.i_links_count = U16::new(1);
        set_size(inode, self.view.stored.tree.text(value.text).len() as u64);
        self.set_blocks(inode, self.plan.layout.blocks(file));
        inode.i_block = super::map::root(self.plan, file);
        let mut flags = InodeFlags::EA_INODE;
        flags.set(InodeFlags::EXTENTS, self.plan.has_extents());
        inode.i_flags = U32::new(flags.bits());
        let [a, b, c, d, e, f, g, h] = value.references.to_le_bytes();
        inode.l_i_version = U32::from_bytes([a, b, c, d]);
        inode.i_ctime = U32::from_bytes([e, f, g, h]);
        inode.i_atime = U32::new(self.ea_inode_hash(index));
        if self.plan.geometry.has_wide_inodes() {
            inode.i_extra_isize = U16::new(EXTRA_ISIZE);
        }
    }

    /// Renders blocks of a value in an EA inode, starting with the logical block `first`.
    pub(super) fn ea_inode_blocks(&self, index: u32, first: u32, out: &mut [u8]) {
        let value = &self.plan.xattrs.ea_inodes[index as usize];
        let start = first as usize * self.plan.geometry.block_size;
        let rest = &self.view.stored.tree.text(value.text)[start..];
        let live = rest.len().min(out.len());
        out[..live].copy_from_slice(&rest[..live]);
    }

    /// Renders the xattr block at `at`. It contains the xattrs that `split` does not store in the inode body.
    pub(super) fn xattr_block(&self, at: OutputBlock, split: SplitId, refcount: u32, out: &mut [u8]) {
        let xattrs = self
            .plan
            .xattrs
            .block_part(self.view.stored.tree, split)
            .map(|(xattr, value)| self.to_write(xattr, value));
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
        if let Some(checksum) = self.checksums.xattr_block(at, out) {
            header.h_checksum = U32::new(checksum);
            out[..size_of::<XattrHeader>()].copy_from_slice(header.as_bytes());
        }
    }
}

/// An xattr to write.
struct XattrToWrite<'t> {
    index: u8,
    name: &'t [u8],
    value: &'t [u8],
    /// The number of the EA inode, and the checksum of the value, if the value is in an EA inode.
    inode: Option<(InodeNr, u32)>,
}

/// Writes entries from offset `first` upwards, and their values from the end downwards. Returns the hashes of
/// the entries if `hashed` is set, as for xattr blocks.
fn put<'t>(
    xattrs: impl Iterator<Item = XattrToWrite<'t>>,
    out: &mut [u8],
    first: usize,
    hashed: bool,
) -> Vec<u32> {
    let (mut next, mut end) = (first, out.len());
    let mut hashes = Vec::new();
    for XattrToWrite { index, name, value, inode } in xattrs {
        // The hash of an entry with an EA inode covers the checksum of the value instead of the value.
        let checksum = inode.map(|(_, checksum)| checksum.to_le_bytes());
        let hash = if hashed || inode.is_some() {
            disk::entry_hash(name, checksum.as_ref().map_or(value, |bytes| bytes), false)
        } else {
            0
        };
        if hashed {
            hashes.push(hash);
        }
        let here = if inode.is_some() { &[][..] } else { value };
        end -= disk::value_size(here.len());
        out[end..end + here.len()].copy_from_slice(here);
        let offset = if here.is_empty() { 0 } else { end };
        let entry = XattrEntry {
            e_name_len: fits(name.len(), "a name has at most 255 bytes"),
            e_name_index: index,
            e_value_offs: U16::new(fits(
                offset,
                "a value starts below the end of a block, of at most 64 KiB",
            )),
            e_value_inum: U32::new(inode.map_or(0, |(number, _)| number.0)),
            e_value_size: U32::new(fits(value.len(), "a value has at most 16 MiB")),
            e_hash: U32::new(hash),
        };
        let name_start = next + size_of::<XattrEntry>();
        out[next..name_start].copy_from_slice(entry.as_bytes());
        out[name_start..name_start + name.len()].copy_from_slice(name);
        next += disk::entry_size(name.len());
    }
    hashes
}
