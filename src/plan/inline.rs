//! Finds nodes whose content can be inline, and computes how much room the content needs in the inode.

use super::numbering::Numbering;
use super::pack;
use crate::geometry::Geometry;
use crate::ondisk::dir_entry::{INLINE_PARENT_SIZE, entry_size};
use crate::ondisk::extent;
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{FAST_SYMLINK_LIMIT, I_BLOCK_SIZE, InodeFlags};
use crate::ondisk::xattr as disk;
use crate::survey::{Survey, UNWRITTEN};
use crate::tree::{Kind, NodeId, Tree};

/// The size of the `system.data` entry without its value, in bytes.
pub(super) const DATA_ENTRY_SIZE: usize = disk::entry_size(disk::INLINE_DATA_NAME.len());

/// The room for directory entries in `i_block`, in bytes.
const HEAD_ROOM: usize = I_BLOCK_SIZE - INLINE_PARENT_SIZE;

/// The two lists of entries of an inline directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineLists {
    /// For each entry, whether it is in the list in `i_block`.
    pub in_head: Box<[bool]>,
    /// The length in bytes of the second list, the value of `system.data`.
    pub value_len: usize,
}

/// Nodes whose content can be inline if the xattrs leave enough room.
#[derive(Debug)]
pub(super) struct InlineCandidates<'p> {
    tree: &'p Tree,
    survey: &'p Survey,
    /// The maximum length in bytes of the value of `system.data`; `None` if inline content is not possible.
    room: Option<usize>,
    /// Directories that can't be inline because `i_block` would look like an extent tree, in the order of the
    /// nodes.
    lookalikes: Vec<NodeId>,
}

impl<'p> InlineCandidates<'p> {
    /// Creates the candidates. `body_room` is the number of bytes for xattrs in an inode.
    pub(super) fn new(geometry: &Geometry, tree: &'p Tree, survey: &'p Survey, body_room: usize) -> Self {
        let feature = geometry.features.has(Incompat::INLINE_DATA);
        let room = body_room.checked_sub(DATA_ENTRY_SIZE).filter(|_| feature);
        Self { tree, survey, room, lookalikes: Vec::new() }
    }

    /// Excludes inline directories whose `i_block` would look like an extent tree. `i_block` begins with the
    /// inode number of the parent. e2fsck can mistake this number for an extent header, depending on the
    /// inode number in the first entry. `inline` returns whether a node is currently inline. Returns whether
    /// a directory was excluded.
    pub(super) fn leave_out_lookalikes(
        &mut self,
        inline: impl Fn(NodeId) -> bool,
        numbering: &Numbering,
    ) -> bool {
        let begins_like_one = |id: NodeId| {
            let Kind::Directory { parent, .. } = self.tree.node(id).kind else { return false };
            let parent = numbering.number_of(parent).0.to_le_bytes();
            if parent[..2] != extent::MAGIC.to_le_bytes() || !inline(id) {
                return false;
            }
            let lists = self.lists(id);
            let first = lists.and_then(|lists| lists.in_head.iter().position(|in_head| *in_head));
            let number = first.map_or(0, |first| numbering.number_of(self.tree.entries_of(id)[first].node).0);
            extent::resembles_root(&[parent, number.to_le_bytes()].concat())
        };
        let found: Vec<_> = self.tree.ids().filter(|id| begins_like_one(*id)).collect();
        let any = !found.is_empty();
        self.lookalikes.extend(found);
        self.lookalikes.sort_unstable();
        any
    }

    /// Returns whether inline content is impossible, so that there are no candidates.
    pub(super) fn is_empty(&self) -> bool {
        self.room.is_none()
    }

    /// Returns the length in bytes of the value of `system.data`, or `None` if the node's content can't be
    /// inline.
    pub(super) fn value_len(&self, id: NodeId) -> Option<usize> {
        let room = self.room?;
        let node = self.tree.node(id);
        if self.tree.boot_loader == Some(id)
            || node.flags.intersects(InodeFlags::ENCRYPT | InodeFlags::VERITY)
        {
            return None;
        }
        let beyond_i_block = |size: u64| {
            let value = usize::try_from(size).ok()?.saturating_sub(I_BLOCK_SIZE);
            (value <= room).then_some(value)
        };
        match node.kind {
            Kind::Directory { .. } => self.lists(id).map(|lists| lists.value_len),
            Kind::Regular { size, .. } => beyond_i_block(size).filter(|_| self.is_one_block(id)),
            Kind::Symlink(target) => {
                let size = self.tree.text(target).len() as u64;
                beyond_i_block(size).filter(|_| size >= FAST_SYMLINK_LIMIT)
            }
            Kind::Device { .. } | Kind::Empty => None,
        }
    }

    /// Returns whether a file has exactly one stored block and may be inline. Swap files, and files whose
    /// content e2fsck would mistake for an extent tree, must be stored in blocks.
    fn is_one_block(&self, id: NodeId) -> bool {
        let mut blocks = self.survey.stored(self.tree).blocks_of(id);
        matches!((blocks.next(), blocks.next()), (Some((0, 1, state)), None) if state != UNWRITTEN)
            && !self.survey.is_swap_file(id)
            && !self.survey.looks_like_extents(id)
    }

    /// Returns the lists of a directory if it can be inline. The list in `i_block` is as full as possible,
    /// which makes the second list as short as possible. The second list needs room that xattrs also need.
    ///
    /// The kernel does not mount an inline root directory, and e2fsck requires blocks in `lost+found`.
    pub(super) fn lists(&self, id: NodeId) -> Option<InlineLists> {
        let never =
            matches!(id, NodeId::ROOT | NodeId::LOST_FOUND) || self.lookalikes.binary_search(&id).is_ok();
        let room = self.room.filter(|_| !never)?;
        let entries = self.tree.entries_of(id);
        if entries.len() * entry_size(1) > HEAD_ROOM + room {
            return None;
        }
        let sizes: Vec<usize> =
            entries.iter().map(|entry| entry_size(self.tree.text(entry.name).len())).collect();
        let total: usize = sizes.iter().sum();
        if total > HEAD_ROOM + room {
            return None;
        }
        let (in_head, taken) = pack::fullest(&sizes, HEAD_ROOM);
        let value_len = total - taken;
        (value_len <= room).then(|| InlineLists { in_head: in_head.into(), value_len })
    }
}
