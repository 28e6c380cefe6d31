//! Defines the pieces of the output, and their content.

use super::xattr_plan::SplitId;
use crate::ondisk::quota::QuotaType;
use crate::tree::NodeId;
use crate::units::{BlockNr, GroupNr, OutputBlock};

/// The maximum size of a piece in bytes. A piece of the orphan file is a whole extent, and can be larger.
pub(super) const MAX_PIECE_BYTES: u64 = 1 << 20;

/// A range of contiguous output blocks with the same kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first block.
    pub start: OutputBlock,
    /// The offset of the content in the first block, in bytes. It is 0 except for content from smaller blocks.
    pub skipped: u32,
    /// The length in bytes of the content. The remaining bytes of the last block are zero.
    pub bytes: u64,
    /// The kind of content.
    pub content: PieceContent,
}

/// The content of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceContent {
    /// The boot sector, if it is a separate block.
    Boot,
    /// A superblock. With blocks larger than 1 KiB, the boot sector and the superblock of group 0 share a
    /// block.
    Superblock(GroupNr),
    /// Group descriptors. The number is the index of the first descriptor block.
    Descriptors(u64),
    /// A block bitmap.
    BlockBitmap(GroupNr),
    /// An inode bitmap.
    InodeBitmap(GroupNr),
    /// Inodes. The number is the index of the first inode in the group's inode table.
    InodeTable(GroupNr, u32),
    /// The double indirect block of the resize inode.
    ResizeMap,
    /// A reserved descriptor block with this index, which is an indirect block of the resize inode.
    ResizeIndirect(u64),
    /// The MMP block.
    Mmp,
    /// The journal's superblock.
    JournalSuperblock,
    /// Blocks of a quota file. The number is the first logical block.
    Quota(QuotaType, u32),
    /// Blocks of the orphan file.
    OrphanFile,
    /// An extent tree node or indirect block of a file, by its index in the layout.
    Map(MapOwner, u32),
    /// Blocks of a directory. The number is the first logical block.
    Directory(NodeId, u32),
    /// The xattr block of a split. The number is the block's reference count.
    Xattrs(SplitId, u32),
    /// The target of a symlink.
    Symlink(NodeId),
    /// Content of a regular file that is copied from the input.
    Data {
        /// The first block in the input.
        from: BlockNr,
    },
    /// Content of a regular file that is stored in the tree. The number is the first logical block.
    SmallData(NodeId, u32),
    /// The value of an EA inode: the index of the value, and the first logical block.
    EaInode(u32, u32),
}

/// The file that an extent tree or block map belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOwner {
    /// The journal.
    Journal,
    /// A quota file.
    Quota(QuotaType),
    /// The orphan file.
    OrphanFile,
    /// A node.
    Node(NodeId),
    /// An EA inode, by the index of its value.
    EaInode(u32),
}

impl Piece {
    /// Creates a piece that begins at the start of a block.
    pub(super) fn new(start: OutputBlock, bytes: u64, content: PieceContent) -> Self {
        Self { start, skipped: 0, bytes, content }
    }

    /// Returns the offset of the content in the output, in bytes.
    pub fn offset(&self, block_size: u64) -> u64 {
        self.start.0 * block_size + u64::from(self.skipped)
    }

    /// Returns the number of blocks that contain bytes of the piece.
    pub fn blocks(&self, block_size: u64) -> u64 {
        (u64::from(self.skipped) + self.bytes).div_ceil(block_size)
    }
}

impl PieceContent {
    /// Describes the content for messages.
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
            Self::Map(..) => "extent tree or block map of a file".to_owned(),
            Self::Directory(..) => "directory".to_owned(),
            Self::Xattrs(..) => "block of xattrs".to_owned(),
            Self::EaInode(..) => "EA inode".to_owned(),
            Self::Symlink(_) => "symlink".to_owned(),
            Self::Data { .. } | Self::SmallData(..) => "file content".to_owned(),
        }
    }
}
