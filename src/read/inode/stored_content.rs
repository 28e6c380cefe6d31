//! What an inode holds, and where it has it.

use crate::map::{FileMap, InlineParts};
use crate::tree::{Kind, NodeId, Text};

/// What an inode holds, by its type.
#[derive(Clone, Copy, Debug)]
pub(super) enum InodeContent {
    /// Names.
    Directory,
    /// So many bytes.
    Regular(u64),
    /// The target of a symlink.
    Symlink,
    /// A device's major and minor number.
    Device(u32, u32),
    /// Nothing: a FIFO or a socket.
    Empty,
}

impl InodeContent {
    /// What a node holds, as far as the inode says it.
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

/// The content of an inode, in its blocks or its body.
pub(super) struct StoredContent<'a> {
    /// What it is.
    pub content: InodeContent,
    /// The target of a symlink, or content in the inode.
    pub parts: Option<InlineParts<'a>>,
    /// Its blocks.
    pub map: FileMap,
}

impl<'a> StoredContent<'a> {
    /// Content in blocks.
    pub(super) fn in_blocks(content: InodeContent, map: FileMap) -> Self {
        Self { content, parts: None, map }
    }

    /// Content that takes no room.
    pub(super) fn empty(content: InodeContent) -> Self {
        Self::in_blocks(content, FileMap::default())
    }

    /// Content in the inode.
    pub(super) fn in_inode(content: InodeContent, parts: InlineParts<'a>) -> Self {
        Self { parts: Some(parts), ..Self::empty(content) }
    }
}
