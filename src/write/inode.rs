//! Renders inodes.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::renderer::Renderer;
use crate::form::{EXTRA_ISIZE, SPECIAL_MODE};
use crate::ondisk::features::RoCompat;
use crate::ondisk::inode::{self as disk, FAST_SYMLINK_LIMIT, Inode, InodeFlags, LINK_MAX, Timestamp};
use crate::plan::FileLayout;
use crate::tree::{Kind, NodeId};
use crate::units::{GroupNr, InodeNr, fits};

impl Renderer<'_, '_> {
    /// Renders the used inodes of an inode table, starting with the index `first`.
    pub(super) fn inodes(&self, group: GroupNr, first: u32, out: &mut [u8]) {
        let geometry = &self.plan.geometry;
        let end = first + fits::<u32, _>(out.len() / geometry.inode_size, "a piece has at most 1 MiB");
        for used in self.plan.numbering.used_in(group).skip_while(|used| used.end <= first) {
            for index in used.start.max(first)..used.end.min(end) {
                let start = (index - first) as usize * geometry.inode_size;
                let raw = &mut out[start..start + geometry.inode_size];
                self.inode(InodeNr(group.0 * geometry.inodes_per_group + index + 1), raw);
            }
        }
    }

    fn inode(&self, number: InodeNr, out: &mut [u8]) {
        let mut inode = zeroed();
        let node = self.plan.numbering.node_of(number);
        let inline = node.and_then(|node| self.inline_content(node));
        let layout = &self.plan.layout;
        if let Some(node) = node {
            self.node_inode(node, inline.as_deref(), &mut inode);
        } else if number == InodeNr::RESIZE && layout.resize_block.is_some() {
            self.special_inode(&mut inode);
            self.resize_inode(&mut inode);
        } else if number == InodeNr::JOURNAL
            && let Some(file) = layout.journal
        {
            self.special_file(file, &mut inode);
        } else if let Some((quota, file)) = self.quota_file(number) {
            self.special_file(file, &mut inode);
            set_size(&mut inode, quota.size());
            inode.i_flags |= U32::new(InodeFlags::IMMUTABLE.bits());
        } else if let Some(index) = self.plan.numbering.value_of(number) {
            self.ea_inode(index, &mut inode);
        } else if Some(number) == self.plan.numbering.orphan_file()
            && let Some(file) = layout.orphan_file
        {
            self.special_file(file, &mut inode);
        } else {
            // A reserved inode is zero, except for its checksum.
            let reserved = number < self.plan.geometry.first_inode;
            assert!(reserved, "an inode in use has a file, unless it is reserved");
        }
        let fields = out.len().min(size_of::<Inode>());
        let live = if inode.i_extra_isize.get() == 0 { disk::BASE_SIZE } else { fields };
        out[..live].copy_from_slice(&inode.as_bytes()[..live]);
        if let Some(node) = node {
            self.xattrs_in_body(node, inline.as_deref(), out);
        }
        let with_high = inode.i_extra_isize.get() >= disk::EXTRA_WITH_CHECKSUM;
        if let Some(checksum) = self.checksums.inode(number, 0, out, with_high) {
            let [a, b, c, d] = checksum.to_le_bytes();
            inode.l_i_checksum_lo = U16::from_bytes([a, b]);
            if with_high {
                inode.i_checksum_hi = U16::from_bytes([c, d]);
            }
            out[..live].copy_from_slice(&inode.as_bytes()[..live]);
        }
    }

    fn node_inode(&self, id: NodeId, inline: Option<&[u8]>, inode: &mut Inode) {
        let node = self.view.stored.tree.node(id);
        let file = self.plan.layout.nodes[id.index()];
        inode.i_mode = U16::new(node.mode);
        let ([a, b, c, d], [e, f, g, h]) = (node.uid.to_le_bytes(), node.gid.to_le_bytes());
        (inode.i_uid, inode.l_i_uid_high) = (U16::from_bytes([a, b]), U16::from_bytes([c, d]));
        (inode.i_gid, inode.l_i_gid_high) = (U16::from_bytes([e, f]), U16::from_bytes([g, h]));
        let links = u64::from(node.links);
        // A directory with too many links for the field has link count 1 (dir_nlink).
        let links = if links > LINK_MAX && node.kind.is_directory() { 1 } else { links };
        inode.i_links_count = U16::new(fits(links, "the reader refuses files with more than 65000 names"));
        let mut flags = node.flags;
        let size = match node.kind {
            Kind::Directory { .. } => {
                let plan = self.plan.directories.of(id);
                flags.set(InodeFlags::INDEX, plan.index.is_some());
                let blocks = u64::from(plan.blocks) * self.plan.geometry.block_bytes();
                inline.map_or(blocks, |content| content.len() as u64)
            }
            Kind::Regular { size, .. } => size,
            Kind::Symlink(target) => self.view.stored.tree.text(target).len() as u64,
            Kind::Device { .. } | Kind::Empty => 0,
        };
        if let Some(content) = inline {
            flags.insert(InodeFlags::INLINE_DATA);
            inode.i_block.copy_from_slice(&content[..disk::I_BLOCK_SIZE]);
        }
        match node.kind {
            _ if inline.is_some() => {}
            Kind::Symlink(target) if size < FAST_SYMLINK_LIMIT => {
                let target = self.view.stored.tree.text(target);
                inode.i_block[..target.len()].copy_from_slice(target);
            }
            Kind::Device { major, minor } => {
                let (old, new) = disk::encode_device(major, minor);
                inode.i_block[..4].copy_from_slice(&old.to_le_bytes());
                inode.i_block[4..8].copy_from_slice(&new.to_le_bytes());
            }
            Kind::Empty => {}
            Kind::Directory { .. } | Kind::Regular { .. } | Kind::Symlink(_) => {
                flags.set(InodeFlags::EXTENTS, self.plan.has_extents());
                inode.i_block = super::map::root(self.plan, file);
            }
        }
        inode.i_flags = U32::new(flags.bits());
        set_size(inode, size);
        self.set_times(inode, node.mtime);
        if let Some(index) = self.plan.xattrs.block_index_of(id) {
            let [a, b, c, d, e, f, ..] = self.plan.layout.xattr_blocks[index].0.to_le_bytes();
            inode.i_file_acl_lo = U32::from_bytes([a, b, c, d]);
            inode.l_i_file_acl_high = U16::from_bytes([e, f]);
        }
        self.set_blocks(
            inode,
            self.plan.usage_of(self.view.stored.tree, id).bytes / self.plan.geometry.block_bytes(),
        );
        if self.plan.geometry.features.has(RoCompat::PROJECT) {
            inode.i_projid = U32::new(node.project);
        }
    }

    /// Sets the fields that are the same in all inodes outside the tree.
    fn special_inode(&self, inode: &mut Inode) {
        inode.i_mode = U16::new(SPECIAL_MODE);
        inode.i_links_count = U16::new(1);
        self.set_times(inode, Timestamp::from_seconds(self.plan.epoch));
    }

    /// Sets the fields of a file outside the tree.
    fn special_file(&self, file: FileLayout, inode: &mut Inode) {
        self.special_inode(inode);
        let extents = self.plan.layout.extents(file);
        let blocks: u64 = extents.iter().map(|extent| u64::from(extent.count)).sum();
        set_size(inode, blocks * self.plan.geometry.block_bytes());
        self.set_blocks(inode, self.plan.layout.blocks(file));
        inode.i_block = super::map::root(self.plan, file);
        let flags = if self.plan.has_extents() { InodeFlags::EXTENTS } else { InodeFlags::empty() };
        inode.i_flags = U32::new(flags.bits());
    }

    /// Sets all timestamps to `time`, the mtime of the node.
    fn set_times(&self, inode: &mut Inode, time: Timestamp) {
        let wide = self.plan.geometry.has_wide_inodes();
        let (low, extra) =
            time.encode(wide).expect("reader and options accept only times that can be stored");
        (inode.i_atime, inode.i_ctime, inode.i_mtime) = (low, low, low);
        if wide {
            inode.i_crtime = low;
            (inode.i_atime_extra, inode.i_ctime_extra) = (extra, extra);
            (inode.i_mtime_extra, inode.i_crtime_extra) = (extra, extra);
            inode.i_extra_isize = U16::new(EXTRA_ISIZE);
        }
    }

    /// Sets `i_blocks`, in units of 512-byte sectors. The HUGE_FILE flag is never needed, since a file has at
    /// most 2^32 blocks, far less than 2^48 sectors.
    pub(super) fn set_blocks(&self, inode: &mut Inode, blocks: u64) {
        let sectors = blocks * (self.plan.geometry.block_bytes() / 512);
        let [a, b, c, d, e, f, ..] = sectors.to_le_bytes();
        inode.i_blocks_lo = U32::from_bytes([a, b, c, d]);
        inode.l_i_blocks_high = U16::from_bytes([e, f]);
    }

    /// Renders the block of a symlink whose target has 60 bytes or more.
    pub(super) fn symlink_block(&self, id: NodeId, out: &mut [u8]) {
        if let Kind::Symlink(target) = self.view.stored.tree.node(id).kind {
            let target = self.view.stored.tree.text(target);
            out[..target.len()].copy_from_slice(target);
        }
    }
}

/// Returns an inode of zeros.
fn zeroed() -> Inode {
    zerocopy::transmute!([0_u8; size_of::<Inode>()])
}

pub(super) fn set_size(inode: &mut Inode, size: u64) {
    let [a, b, c, d, e, f, g, h] = size.to_le_bytes();
    inode.i_size_lo = U32::from_bytes([a, b, c, d]);
    inode.i_size_high = U32::from_bytes([e, f, g, h]);
}
