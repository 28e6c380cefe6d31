//! Defines the differences between two images: in a path, and in the settings of the filesystems.

/// A difference between two trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathDifference {
    /// The path, escaped. A path with more than 4096 bytes is truncated at its start.
    pub path: String,
    /// The attribute that differs.
    pub attribute: Attribute,
    /// The full name of the xattr, if the attribute is `Xattr`.
    pub name: Option<String>,
    /// The formatted values on both sides; `None` if there is no value.
    pub values: [Option<String>; 2],
    /// The difference between the bytes, if there is one.
    pub content: Option<ContentDifference>,
    /// The content of both files, if their size or content differs, and neither file is larger than the
    /// requested maximum size; otherwise `None`.
    pub texts: Option<Box<[Vec<u8>; 2]>>,
    /// Whether the contents differ only in UUIDs, PARTUUIDs or disk signatures of the images themselves.
    pub names_own: bool,
}

/// An attribute of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Attribute {
    /// Whether the path exists. The values are the file types.
    #[default]
    Presence,
    /// The file type.
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
    /// The content, up to the smaller of both sizes.
    Content,
    /// The allocation of blocks, for files whose blocks of zeros stay allocated.
    Allocation,
    /// The target of a symlink.
    Target,
    /// The numbers of a device file.
    Device,
    /// An extended attribute.
    Xattr,
    /// The modification time.
    Mtime,
    /// The inode flags.
    Flags,
    /// The first path that is a hard link to the same inode. The values are these paths.
    HardLink,
    /// The inode number, which matters with `stable_inodes`.
    Inode,
    /// The hash of an encrypted name.
    NameHash,
}

impl Attribute {
    /// Returns the name in reports.
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

/// The difference between the bytes of two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentDifference {
    /// The offset of the first byte that differs.
    pub first: u64,
    /// The number of bytes that differ.
    pub bytes: u64,
}

/// A difference between the settings of two filesystems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingDifference {
    /// The setting that differs.
    pub name: String,
    /// The values on both sides.
    pub values: [String; 2],
    /// The option that makes the settings equal; empty if there is none.
    pub option: String,
    /// The instruction that makes the settings equal, in which the images are called A and B.
    pub cure: String,
    /// The name of the setting whose difference causes this difference; `None` if there is none.
    pub follows: Option<String>,
}
