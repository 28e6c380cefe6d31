//! Reads a single inode of the tree: its fields, the xattrs in its body, and its content.

mod content;
mod file_size;
mod inline_data;
mod stored_content;
mod symlink;
mod verity;

use super::claims::Claim;
use super::inodes::{Inodes, ListRange, NewInode, ReadInode};
use super::xattr::entries::in_body;
use crate::error::Result;
use crate::map::{Budget, DecodedInode, FileMap, RawInode, check_fields};
use crate::ondisk::features::RoCompat;
use crate::ondisk::inode::{self as disk, InodeFlags, Timestamp};
use crate::source::Source;
use crate::tree::Node;
use crate::units::InodeNr;
use stored_content::{InodeContent, StoredContent};

/// A reader for inodes of the tree, which collects the results.
pub(super) struct InodeReader<'r, 'a> {
    source: &'r Source<'a>,
    budget: &'r Budget,
    /// The inodes that were read.
    pub inodes: Inodes<'a>,
    /// The claims on the blocks of these inodes, except the content of regular files.
    pub claims: Vec<Claim>,
}

impl<'r, 'a> InodeReader<'r, 'a> {
    /// Creates a reader that appends to `inodes`.
    pub(super) fn new(source: &'r Source<'a>, budget: &'r Budget, inodes: Inodes<'a>) -> Self {
        Self { source, budget, inodes, claims: Vec::new() }
    }

    /// Reads an inode, and appends it to `inodes`. `orphan` says whether it is an orphan.
    ///
    /// # Errors
    ///
    /// `Corrupt` or `Unsupported`, with the inode.
    pub(super) fn read(&mut self, raw: &RawInode<'a>, orphan: bool) -> Result<()> {
        let (source, inode) = (self.source, raw.decode());
        check_fields(source, &inode, orphan)?;
        let (inline_data, xattrs) = self.inodes.add_xattrs(|list| in_body(source, &inode, list))?;
        self.inodes.stray_inline_data +=
            usize::from(inline_data.is_some() && !inode.fields.flags().contains(InodeFlags::INLINE_DATA));
        let inline = inline_data::parts(source, &inode, inline_data)?;
        let StoredContent { content, parts, mut map } = content::read(source, self.budget, &inode, inline)?;
        let xattr_block = inode.xattr_block(source)?;
        let is_regular = matches!(content, InodeContent::Regular(_));
        self.claim(&inode, &map, is_regular);
        let cluster = source.geometry.blocks_per_cluster;
        let blocks = map.blocks(cluster) + u64::from(xattr_block.is_some()) * cluster;
        if is_regular && parts.is_none() {
            let dropped = |run| self.claims.push(Claim::of_content(inode.number, &run));
            file_size::settle(source, &inode, orphan, &mut map, dropped)?;
        }
        let node = node(source, &inode, content);
        let inode = ReadInode {
            number: inode.number,
            generation: inode.fields.i_generation.get(),
            links: inode.fields.i_links_count.get(),
            mode: node.mode,
            indexed: inode.fields.flags().contains(InodeFlags::INDEX),
            replayed: source.fast_commits().inodes.contains_key(&inode.number),
            runs: ListRange::default(),
            xattrs,
            parts: ListRange::default(),
            xattr_block_or_zero: xattr_block.unwrap_or_default(),
            charged: is_charged(&inode),
            blocks,
            sectors: inode.sectors(source),
        };
        self.inodes.push(NewInode { inode, node, runs: &map.runs, parts })
    }

    /// Claims the blocks of an inode, except the content of a regular file, which the file's runs already
    /// claim.
    fn claim(&mut self, inode: &DecodedInode<'_>, map: &FileMap, is_regular: bool) {
        if !is_regular {
            self.claims.extend(map.runs.iter().map(|run| Claim::of_content(inode.number, run)));
        }
        self.claims.extend(Claim::of_nodes(inode.number, map));
    }
}

/// Returns the node of an inode, without its links and its xattrs.
fn node(source: &Source<'_>, inode: &DecodedInode<'_>, content: InodeContent) -> Node {
    let fields = &inode.fields;
    let has_projects = source.features().has(RoCompat::PROJECT);
    Node {
        mode: fields.i_mode.get(),
        uid: fields.uid(),
        gid: fields.gid(),
        project: if has_projects { fields.i_projid.get() } else { 0 },
        flags: fields.flags() & (InodeFlags::USER | InodeFlags::STRUCTURAL),
        mtime: Timestamp::decode(fields.i_mtime, fields.i_mtime_extra),
        links: 0,
        xattrs: None,
        kind: content.kind(),
    }
}

/// Returns whether quotas count an inode, as in e2fsck. They don't count the boot loader and symlinks with
/// inline data.
fn is_charged(inode: &DecodedInode<'_>) -> bool {
    inode.number != InodeNr::BOOT_LOADER
        && !(inode.fields.format() == disk::S_IFLNK && inode.fields.flags().contains(InodeFlags::INLINE_DATA))
}
