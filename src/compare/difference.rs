//! Differences of two images: of a path, and of the filesystems' settings.

/// A difference of two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathDifference {
    /// The path, escaped like names; of one with more than 4096 bytes, the end.
    pub path: String,
    /// What differs.
    pub attribute: Attribute,
    /// The full name of the xattr.
    pub name: Option<String>,
    /// The values on both sides, in words; `None` where there is none.
    pub values: [Option<String>; 2],
    /// How the bytes differ, where they do.
    pub content: Option<ContentDifference>,
    /// All bytes of both files, where size or content differs and they were asked for.
    pub texts: Option<Box<[Vec<u8>; 2]>>,
}

/// What can differ of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Attribute {
    /// Whether there is such a path. The values are types.
    Presence,
    /// The type.
    Type,
    /// The permission bits.
    Mode,
    /// The owner.
    Uid,
    /// The group.
    Gid,
    /// The project id.
    Project,
    /// The size in bytes.
    Size,
    /// The bytes, as far as both sides have them.
    Content,
    /// Which blocks are holes, where that counts.
    Allocation,
    /// The target of a symlink.
    Target,
    /// The numbers of a device.
    Device,
    /// An xattr.
    Xattr,
    /// The time.
    Mtime,
    /// The flags.
    Flags,
    /// Which other path is the same inode. The values are the first such paths.
    HardLink,
    /// The number of the inode, where that counts.
    Inode,
    /// The hash of an encrypted name.
    NameHash,
}

impl Attribute {
    /// The name that reports give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Project => "project",
            Self::Size => "size",
            Self::Content => "content",
            Self::Allocation => "allocation",
            Self::Target => "target",
            Self::Device => "device",
            Self::Xattr => "xattr",
            Self::Mtime => "mtime",
            Self::Flags => "flags",
            Self::HardLink => "hardlink",
            Self::Inode => "inode",
            Self::NameHash => "name hash",
        }
    }
}

/// How the bytes of two files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentDifference {
    /// The offset of the first byte that differs.
    pub first: u64,
    /// The number of bytes that differ.
    pub bytes: u64,
}

/// A difference of two filesystems.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingDifference {
    /// What differs.
    pub name: String,
    /// The values on both sides.
    pub values: [String; 2],
    /// How to align them; empty where nothing can.
    pub option: String,
}
