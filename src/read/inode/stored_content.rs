//! Defines the content of an inode, which is in its blocks or in its body.

use crate::map::{FileMap, InlineParts};
use crate::tree::{Kind, NodeId, Text};

/// The content of an inode, by its file type.
#[derive(Clone, Copy, Debug)]
pub(super) enum InodeContent {
    /// Directory entries.
    Directory,
    /// A regular file with this size in bytes.
    Regular(u64),
    /// The target of a symlink.
    Symlink,
    /// The major and minor number of a device.
    Device(u32, u32),
    /// No content: a FIFO or a socket.
    Empty,
}

impl InodeContent {
    /// Returns the kind of the node, with the values that are already known.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Directory => Kind::Directory { first: 0, count: 0, parent: NodeId::ROOT },
            Self::Regular(size) => Kind::Regular { size, first: 0, count: 0, inline: None },
            Self::Symlink => Kind::Symlink(Text::default()),
            Self::Device(major, minor) => Kind::Device { major, minor },
            Self::Empty => Kind::Empty,
        }
    }
}

/// The content of an inode, in its blocks or in its body.
pub(super) struct StoredContent<'a> {
    /// The content, by file type.
    pub content: InodeContent,
    /// The inline data, or the target of a symlink.
    pub parts: Option<InlineParts<'a>>,
    /// The blocks of the inode.
    pub map: FileMap,
}

impl<'a> StoredContent<'a> {
    /// Creates content that is stored in blocks.
    pub(super) fn in_blocks(content: InodeContent, map: FileMap) -> Self {
        Self { content, parts: None, map }
    }

    /// Creates content that needs no space.
    pub(super) fn empty(content: InodeContent) -> Self {
        Self::in_blocks(content, FileMap::default())
    }

    /// Creates content that is stored in the inode.
    pub(super) fn in_inode(content: InodeContent, parts: InlineParts<'a>) -> Self {
        Self { parts: Some(parts), ..Self::empty(content) }
    }
}
