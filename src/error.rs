//! Defines the errors of the library, each with a location and a remedy.
//!
//! An image can be *damaged* or *unclean* (run e2fsck), it can be sound but use a feature that this version
//! does not support (*unsupported*), or reading or writing can fail (*I/O*). Each of these cases has separate
//! variants of [`Error`], because the remedies differ.

use std::fmt;

use thiserror::Error;

use crate::remedy::Remedy;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// The result of the fallible functions of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why an image was refused or could not be written.
///
/// `Display` writes one line: the problem with its location, and after a semicolon the remedy.
/// [`Self::problem`] and [`Self::remedy`] return the two parts. The line includes the messages of the errors
/// in the fields, so `source` returns the causes of those errors.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Reading the input or writing the output failed.
    Io {
        /// The operation that failed.
        doing: String,
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// The image is sound as far as it was read, but it uses an unsupported feature.
    Unsupported {
        /// The location of the unsupported structure.
        at: Box<Location>,
        /// The unsupported feature, with its name in e2fsprogs or the kernel.
        what: String,
        /// The remedy.
        remedy: Remedy,
    },
    /// The image needs e2fsck or a mount before its tree can be read reliably.
    Unclean {
        /// The state that the superblock or the journal records.
        state: String,
        /// The remedy.
        remedy: Remedy,
    },
    /// A structure violates the on-disk format.
    Corrupt {
        /// The location of the structure.
        at: Box<Location>,
        /// The violation.
        problem: Problem,
        /// The remedy.
        remedy: Remedy,
    },
    /// The canonical layout does not fit into the filesystem. It can fit into a smaller filesystem
    /// nevertheless, because the metadata of additional groups can fragment the free space. Then `needed` is
    /// not more than `available`.
    DoesNotFit {
        /// The number of blocks of the smallest filesystem that is large enough; a lower bound if the exact
        /// number is unknown.
        needed: u64,
        /// The number of blocks of the filesystem.
        available: u64,
        /// The size in bytes of the smallest filesystem that is large enough; `None` if it is unknown.
        bytes: Option<u64>,
    },
    /// The canonical form needs more inodes than the image has. Inodes can only be added in whole block
    /// groups.
    TooFewInodes {
        /// The number of inodes that the canonical form needs.
        needed: u64,
        /// The number of inodes of the filesystem.
        available: u64,
        /// The size in bytes of a filesystem with enough inodes; `None` if no size is enough.
        bytes: Option<u64>,
    },
    /// An error in one of a disk's filesystems.
    Partition {
        /// The name of the partition.
        name: String,
        /// The offset of the filesystem on the disk, in bytes.
        offset: u64,
        /// The error in that filesystem.
        error: Box<Error>,
    },
    /// The options ask for something that is impossible for this image.
    Options {
        /// The request, and the reason why it is impossible.
        problem: String,
        /// The remedy.
        remedy: Remedy,
    },
    /// An internal contradiction. This is a bug in the program, whatever the image contains.
    Internal(String),
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => source.source(),
            Self::Partition { error, .. } => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(|_| None))
    }
}

impl Error {
    /// Returns the size in bytes that an error about too few blocks or inodes advises.
    pub(crate) fn enough_bytes(&self) -> Option<u64> {
        match self {
            Self::DoesNotFit { bytes, .. } | Self::TooFewInodes { bytes, .. } => *bytes,
            _ => None,
        }
    }

    /// Returns an error about too few blocks or inodes with different advice.
    pub(crate) fn with_enough_bytes(mut self, enough: Option<u64>) -> Self {
        if let Self::DoesNotFit { bytes, .. } | Self::TooFewInodes { bytes, .. } = &mut self {
            *bytes = enough;
        }
        self
    }
}

/// Returns the message for too few blocks or inodes.
fn too_few(unit: &str, needed: u64, available: u64) -> String {
    let missing = needed.saturating_sub(available);
    format!("the canonical form needs {needed} {unit}, but there are {available}: {missing} too few")
}

fn place(at: &Location) -> String {
    if at.is_nowhere() { String::new() } else { format!(" ({at})") }
}

/// Returns a name from an image as text for a message.
///
/// Invalid UTF-8 is replaced and control characters are escaped, so that an image can't send escape sequences
/// to a terminal.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for character in String::from_utf8_lossy(name).chars() {
        if character == '/' {
            // Only encrypted names contain slashes. In a path, they would look like separators.
            text.push_str("\\x2f");
        } else if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// The way in which a structure violates the format.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A magic number is wrong.
    #[error("bad magic {found:#x}, expected {expected:#x}")]
    Magic {
        /// The number in the image.
        found: u64,
        /// The number that the format requires.
        expected: u64,
    },
    /// A checksum does not match the bytes that it covers.
    #[error("bad checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// The stored checksum.
        found: u32,
        /// The checksum computed from the bytes.
        expected: u32,
    },
    /// A number is not one of the valid values.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// The name of the field.
        what: &'static str,
        /// The number in the image.
        found: u64,
        /// The valid values, as text.
        expected: String,
    },
    /// Any other problem, as text.
    #[error("{0}")]
    Other(String),
}

/// The kind of structure that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Structure {
    /// The image as a whole.
    Image,
    /// The partition table of a disk.
    PartitionTable,
    /// The primary superblock.
    Superblock,
    /// A group descriptor.
    GroupDescriptor,
    /// An inode.
    Inode,
    /// The extent tree or block map of an inode.
    FileMap,
    /// An extent tree node in a block.
    ExtentBlock,
    /// An indirect block.
    IndirectBlock,
    /// A directory.
    Directory,
    /// The xattrs in an inode, or an xattr block.
    Xattr,
    /// An EA inode, which contains the value of an xattr.
    EaInode,
    /// The journal.
    Journal,
    /// The orphan file.
    OrphanFile,
    /// A quota file.
    QuotaFile,
    /// The MMP block (multiple mount protection).
    Mmp,
}

impl Structure {
    fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::PartitionTable => "partition table",
            Self::Superblock => "superblock",
            Self::GroupDescriptor => "group descriptor",
            Self::Inode => "inode",
            Self::FileMap => "block map",
            Self::ExtentBlock => "extent block",
            Self::IndirectBlock => "indirect block",
            Self::Directory => "directory",
            Self::Xattr => "xattrs",
            Self::EaInode => "EA inode",
            Self::Journal => "journal",
            Self::OrphanFile => "orphan file",
            Self::QuotaFile => "quota file",
            Self::Mmp => "MMP block",
        }
    }
}

/// A location in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The kind of structure.
    pub structure: Structure,
    /// The inode that contains the structure.
    pub inode: Option<u32>,
    /// A path of that inode, if one is known.
    pub path: Option<String>,
    /// The block that contains the structure.
    pub block: Option<u64>,
    /// The block group that contains the structure.
    pub group: Option<u32>,
}

impl Location {
    /// Creates a location with only the kind of structure.
    pub(crate) fn of(structure: Structure) -> Self {
        Self { structure, inode: None, path: None, block: None, group: None }
    }

    /// Sets the inode.
    #[must_use]
    pub(crate) fn inode(mut self, inode: InodeNr) -> Self {
        self.inode = Some(inode.0);
        self
    }

    /// Sets the path.
    #[must_use]
    pub(crate) fn path(mut self, path: String) -> Self {
        self.path = Some(path);
        self
    }

    /// Sets the block.
    #[must_use]
    pub(crate) fn block(mut self, block: BlockNr) -> Self {
        self.block = Some(block.0);
        self
    }

    /// Sets the group.
    #[must_use]
    pub(crate) fn group(mut self, group: GroupNr) -> Self {
        self.group = Some(group.0);
        self
    }

    fn is_nowhere(&self) -> bool {
        self.structure == Structure::Image && self.inode.is_none() && self.group.is_none()
    }

    /// Returns the error for damage at this location.
    pub(crate) fn corrupt(self, problem: Problem) -> Error {
        let remedy = match self.structure {
            // e2fsck can fail to open the image, and an image with one group has no backup superblock.
            Structure::Superblock => Remedy::fsck(
                "run e2fsck -f on the image, if necessary with -b and the block of a backup superblock; if \
                 that does not help, recreate the image",
            ),
            _ => Remedy::FSCK,
        };
        Error::Corrupt { at: Box::new(self), problem, remedy }
    }

    /// Returns the error for damage at this location, described as text.
    pub(crate) fn wrong(self, words: impl Into<String>) -> Error {
        self.corrupt(Problem::Other(words.into()))
    }

    /// Returns the error for an invalid number at this location.
    pub(crate) fn value(
        self,
        what: &'static str,
        found: impl Into<u64>,
        expected: impl fmt::Display,
    ) -> Error {
        self.corrupt(Problem::Value { what, found: found.into(), expected: expected.to_string() })
    }

    /// Returns the error for an unsupported feature at this location.
    pub(crate) fn unsupported(self, what: impl Into<String>, remedy: impl Into<Remedy>) -> Error {
        Error::Unsupported { at: Box::new(self), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = self.group {
            write!(f, "group {group}, ")?;
        }
        match (self.inode, &self.path) {
            (Some(inode), Some(path)) => write!(f, "inode {inode} ({path})")?,
            (Some(inode), None) => write!(f, "inode {inode}")?,
            (None, _) => f.write_str(self.structure.name())?,
        }
        if self.inode.is_some() && self.structure != Structure::Inode {
            write!(f, ", {}", self.structure.name())?;
        }
        match self.block {
            Some(block)
                if matches!(
                    self.structure,
                    Structure::ExtentBlock | Structure::IndirectBlock | Structure::Mmp
                ) =>
            {
                write!(f, " {block}")
            }
            Some(block) => write!(f, " block {block}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// Returns an I/O error. `doing` is the operation that failed.
    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// Replaces the remedy of an error that stores one, for example if e2fsck does not find or does not
    /// repair the damage.
    #[must_use]
    pub(crate) fn with_remedy(mut self, instead: impl Into<Remedy>) -> Self {
        match &mut self {
            Self::Corrupt { remedy, .. }
            | Self::Unsupported { remedy, .. }
            | Self::Unclean { remedy, .. }
            | Self::Options { remedy, .. } => *remedy = instead.into(),
            // The other errors have no remedy, or compute it from their fields.
            Self::Io { .. }
            | Self::DoesNotFit { .. }
            | Self::TooFewInodes { .. }
            | Self::Partition { .. }
            | Self::Internal(_) => {}
        }
        self
    }

    /// Returns an error about the options.
    pub(crate) fn options(problem: impl Into<String>, remedy: impl Into<Remedy>) -> Self {
        Self::Options { problem: problem.into(), remedy: remedy.into() }
    }

    /// Returns the whole message, like `Display`, but with the caller's texts for remedies: see
    /// [`Remedy::in_words`].
    pub fn in_words(&self, option: impl Fn(&Remedy) -> Option<String>) -> String {
        match self.remedy() {
            Some(remedy) => format!("{}; {}", self.problem(), remedy.in_words(option)),
            None => self.problem(),
        }
    }

    /// Returns the problem and its location, without the remedy.
    pub fn problem(&self) -> String {
        match self {
            Self::Io { doing, source } => format!("{doing}: {source}"),
            Self::Unsupported { at, what, .. } => format!("{what}{}", place(at)),
            Self::Unclean { state, .. } => state.clone(),
            Self::Corrupt { at, problem, .. } => format!("{at}: {problem}"),
            Self::DoesNotFit { needed, available, bytes: Some(_) } if needed <= available => {
                format!("the canonical form fits into {needed} blocks, but not into {available}")
            }
            Self::DoesNotFit { needed, available, .. } => too_few("blocks", *needed, *available),
            Self::TooFewInodes { needed, available, .. } => too_few("inodes", *needed, *available),
            Self::Partition { name, error, .. } => format!("{name}: {}", error.problem()),
            Self::Options { problem, .. } => problem.clone(),
            Self::Internal(what) => {
                format!("internal error: {what}; please report this, with the image if you can")
            }
        }
    }

    /// Returns the remedy, if one is known.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Io { .. } | Self::Internal(_) => None,
            Self::Unsupported { remedy, .. }
            | Self::Unclean { remedy, .. }
            | Self::Corrupt { remedy, .. }
            | Self::Options { remedy, .. } => Some(remedy.clone()),
            Self::DoesNotFit { needed, available, bytes: Some(bytes) } if needed <= available => {
                Some(Remedy::Resize { bytes: *bytes, in_partition: false })
            }
            Self::DoesNotFit { bytes, .. } => {
                Some(Remedy::Enlarge { bytes: *bytes, for_inodes: false, in_partition: false })
            }
            Self::TooFewInodes { bytes: None, .. } => Some(Remedy::MoreInodes),
            Self::TooFewInodes { bytes, .. } => {
                Some(Remedy::Enlarge { bytes: *bytes, for_inodes: true, in_partition: false })
            }
            Self::Partition { offset, error, .. } => Some(error.remedy()?.in_partition(*offset)),
        }
    }

    /// Returns the inode that the error is about, if the path of that inode is still missing.
    pub(crate) fn inode_without_path(&self) -> Option<InodeNr> {
        match self {
            Self::Corrupt { at, .. } | Self::Unsupported { at, .. } if at.path.is_none() => {
                at.inode.map(InodeNr)
            }
            _ => None,
        }
    }

    /// Sets the path of the inode.
    #[must_use]
    pub(crate) fn with_path(mut self, path: String) -> Self {
        if let Self::Corrupt { at, .. } | Self::Unsupported { at, .. } = &mut self {
            at.path = Some(path);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_structure_place_expectation_and_remedy() {
        let at = Location::of(Structure::ExtentBlock).inode(InodeNr(12)).block(BlockNr(345));
        let error =
            at.corrupt(Problem::Magic { found: 0, expected: 0xf30a }).with_path("/usr/bin/awk".into());
        assert_eq!(
            error.to_string(),
            "inode 12 (/usr/bin/awk), extent block 345: bad magic 0x0, expected 0xf30a; run e2fsck -f on the image"
        );
    }

    #[test]
    fn names_play_no_tricks_on_a_terminal() {
        assert_eq!(shown(b"a\x1b[2J\n\xc3\xa9\xff"), "a\\u{1b}[2J\\né\u{fffd}");
        assert_eq!(shown(b"../a\0"), "..\\x2fa\\u{0}");
    }

    #[test]
    fn lack_of_room_is_told_by_how_much() {
        let blocks = |needed, available, bytes| Error::DoesNotFit { needed, available, bytes }.to_string();
        assert_eq!(
            blocks(10, 7, Some(10240)),
            "the canonical form needs 10 blocks, but there are 7: 3 too few; make the image larger, to 10240 \
             bytes, and try again"
        );
        assert_eq!(
            blocks(7, 10, Some(7168)),
            "the canonical form fits into 7 blocks, but not into 10; make the image larger, or exactly 7168 \
             bytes large, and try again"
        );
        let inodes = |bytes| Error::TooFewInodes { needed: 33, available: 32, bytes }.to_string();
        let said = inodes(Some(8_500_224));
        assert!(said.contains("32: 1 too few; make the image larger, to 8500224 bytes or more"), "{said}");
        assert!(inodes(None).contains("mke2fs -N"));
    }

    #[test]
    fn a_partition_has_its_own_remedies() {
        let shown = |error| {
            Error::Partition { name: "partition 2".to_owned(), offset: 1 << 20, error: Box::new(error) }
                .to_string()
        };
        let damaged = Location::of(Structure::Inode).inode(InodeNr(12)).wrong("is bad");
        assert_eq!(
            shown(damaged),
            "partition 2: inode 12: is bad; run e2fsck -f on the image; name the filesystem \
             IMAGE?offset=1048576 for e2fsck"
        );
        let small = shown(Error::DoesNotFit { needed: 7, available: 5, bytes: None });
        assert!(small.contains("5: 2 too few; make the partition larger"), "{small}");
        assert_eq!(shown(Error::options("no", "try again")), "partition 2: no; try again");
    }

    #[test]
    fn sources_continue_after_the_message() {
        use std::error::Error as _;
        let system = std::io::Error::other(Error::options("why", "try again"));
        let inner = Error::io("writing", system);
        let outer = Error::Partition { name: "partition 2".to_owned(), offset: 0, error: Box::new(inner) };
        assert_eq!(outer.to_string(), "partition 2: writing: why; try again");
        assert!(outer.source().is_none(), "the message says it already");
    }
}
