//! Renders content that is inline in the output, and content that is stored in the tree.

use std::borrow::Cow;

use super::directory::EntryFiller;
use super::renderer::Renderer;
use crate::content::FileContent;
use crate::ondisk::dir_entry::INLINE_PARENT_SIZE;
use crate::ondisk::inode::I_BLOCK_SIZE;
use crate::plan::InlineLists;
use crate::tree::{Kind, NodeId};

impl Renderer<'_, '_> {
    /// Renders blocks of a regular file that is inline in the input, starting with the logical block `first`.
    pub(super) fn small_data(&self, id: NodeId, first: u32, out: &mut [u8]) {
        let content = self.view.stored.tree.inline_of(id).expect("the piece says that the tree has it");
        // Trailing zeros are not in the tree.
        let rest = content.get(first as usize * self.plan.geometry.block_size..).unwrap_or_default();
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
    }

    /// Returns the content of a regular file that is inline in the output, so that it is shorter than a block.
    /// Trailing zeros can be missing.
    fn small_content(&self, id: NodeId) -> Cow<'_, [u8]> {
        let file = FileContent::of(self.view.view(), id).expect("only regular files have such content");
        if self.view.stored.per_block > 1 {
            let bytes = file.bytes(self.plan.geometry.block_size);
            return bytes.expect("inline content is shorter than a block").into();
        }
        // A block of zeros can be a hole.
        file.block(0).unwrap_or_default().into()
    }

    /// Returns the inline content of a node: the bytes for `i_block`, then the value of `system.data`.
    pub(super) fn inline_content(&self, id: NodeId) -> Option<Vec<u8>> {
        let mut out = vec![0; I_BLOCK_SIZE + self.plan.xattrs.inline_of(id)?];
        let content = match self.view.stored.tree.node(id).kind {
            Kind::Directory { .. } => {
                let lists = self.plan.directories.of(id).inline.as_deref()?;
                self.inline_directory(id, lists, &mut out);
                return Some(out);
            }
            Kind::Regular { .. } => self.small_content(id),
            Kind::Symlink(target) => self.view.stored.tree.text(target).into(),
            Kind::Device { .. } | Kind::Empty => return None,
        };
        // The content is not longer than planned.
        out[..content.len()].copy_from_slice(&content);
        Some(out)
    }

    /// Writes an inline directory: the inode number of the parent, the entries in `i_block`, and the entries
    /// in `system.data`.
    fn inline_directory(&self, id: NodeId, lists: &InlineLists, out: &mut [u8]) {
        let (head, value) = out.split_at_mut(I_BLOCK_SIZE);
        let (parent, head) = head.split_at_mut(INLINE_PARENT_SIZE);
        parent.copy_from_slice(&self.parent_of(id).0.to_le_bytes());
        for (in_head, list) in [(true, head), (false, value)] {
            let end = list.len();
            if end == 0 {
                continue;
            }
            let mut filler = EntryFiller::new(list, self.typed_entries());
            let entries = self.view.stored.tree.entries_of(id).iter().zip(&lists.in_head);
            for (entry, _) in entries.filter(|(_, place)| **place == in_head) {
                let mode = self.view.stored.tree.node(entry.node).mode;
                filler.add(
                    self.view.stored.tree.text(entry.name),
                    self.plan.numbering.number_of(entry.node),
                    mode,
                    None,
                );
            }
            filler.finish(end);
        }
    }
}
