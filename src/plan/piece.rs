//! A piece of the output, and what it holds.

use super::xattr_plan::SplitId;
use crate::ondisk::quota::QuotaType;
use crate::tree::NodeId;
use crate::units::{BlockNr, GroupNr, OutputBlock};

/// The most bytes of a piece.
pub(super) const MAX_PIECE_BYTES: u64 = 1 << 20;

/// Consecutive blocks of the output with one kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first block.
    pub start: OutputBlock,
    /// Bytes from its start on; up to the end of the last block, they are zero.
    pub bytes: u64,
    /// What the blocks hold.
    pub content: PieceContent,
}

/// What the blocks of a piece hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceContent {
    /// The boot sector, where it has a block of its own.
    Boot,
    /// A superblock, in group 0 of larger blocks behind the boot sector.
    Superblock(GroupNr),
    /// Group descriptors, from the descriptor block of this index on.
    Descriptors(u64),
    /// A block bitmap.
    BlockBitmap(GroupNr),
    /// An inode bitmap.
    InodeBitmap(GroupNr),
    /// Inodes, from this index in the group's table on.
    InodeTable(GroupNr, u32),
    /// The double indirect block of the resize inode.
    ResizeMap,
    /// A reserved descriptor block, which is an indirect block of the resize inode.
    ResizeIndirect(u64),
    /// The block of multiple mount protection.
    Mmp,
    /// The journal's superblock.
    JournalSuperblock,
    /// Blocks of a quota file, from this logical one on.
    Quota(QuotaType, u32),
    /// Blocks of the orphan file.
    OrphanFile,
    /// A block of a file's own map, by its place among them.
    Map(MapOwner, u32),
    /// Blocks of a directory, from this logical one on.
    Directory(NodeId, u32),
    /// The xattrs of a split for the block, and how many inodes share them.
    Xattrs(SplitId, u32),
    /// The target of a symlink.
    Symlink(NodeId),
    /// Content of a regular file, copied from the input.
    Data {
        /// The first block that is copied.
        from: BlockNr,
    },
    /// Content of a regular file that lies in the tree.
    SmallData(NodeId),
    /// A value of an xattr, by its index, from this logical block on.
    Value(u32, u32),
}

/// Whose map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOwner {
    /// The journal's.
    Journal,
    /// A quota file's.
    Quota(QuotaType),
    /// The orphan file's.
    OrphanFile,
    /// A node's.
    Node(NodeId),
    /// That of a value of an xattr, by its index.
    Value(u32),
}

impl PieceContent {
    /// What it is, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Boot => "boot sector".to_owned(),
            Self::Superblock(GroupNr(0)) => "superblock".to_owned(),
            Self::Superblock(group) => format!("backup superblock of group {group}"),
            Self::Descriptors(_) => "group descriptors".to_owned(),
            Self::BlockBitmap(group) => format!("block bitmap of group {group}"),
            Self::InodeBitmap(group) => format!("inode bitmap of group {group}"),
            Self::InodeTable(group, _) => format!("inode table of group {group}"),
            Self::ResizeMap | Self::ResizeIndirect(_) => "resize inode".to_owned(),
            Self::Mmp => "MMP block".to_owned(),
            Self::JournalSuperblock => "journal superblock".to_owned(),
            Self::Quota(kind, _) => format!("{} quota file", kind.word()),
            Self::OrphanFile => "orphan file".to_owned(),
            Self::Map(..) => "block map of a file".to_owned(),
            Self::Directory(..) => "directory".to_owned(),
            Self::Xattrs(..) => "block of xattrs".to_owned(),
            Self::Value(..) => "value of an xattr".to_owned(),
            Self::Symlink(_) => "symlink".to_owned(),
            Self::Data { .. } | Self::SmallData(_) => "file content".to_owned(),
        }
    }
}
