//! What can go wrong, each with its place and what to do next.
//!
//! Three kinds are kept apart, since they ask for different things: an image that is *damaged* or
//! *unclean* (run e2fsck), one that is sound but uses what this version does not handle
//! (*unsupported*), and trouble with reading or writing files (*I/O*).

use std::fmt;

use thiserror::Error;

use crate::remedy::Remedy;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// The result of every fallible call of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image was refused, or could not be written.
///
/// Its `Display` is one line: what is wrong, where it is, and after a semicolon what to do. [`Self::problem`]
/// and [`Self::remedy`] are the two parts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the input or writing the output failed.
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The image is sound, as far as it was read, but it uses something that is not handled.
    Unsupported {
        /// Where it is.
        at: Box<Location>,
        /// What is not handled, by the name that the field's tools give it.
        what: String,
        /// What to do.
        remedy: Remedy,
    },
    /// The image needs e2fsck or a mount before its tree is certain.
    Unclean {
        /// The state that the superblock or the journal tells of.
        state: String,
        /// What to do.
        remedy: Remedy,
    },
    /// A structure is not as the format demands.
    Corrupt {
        /// Where it is.
        at: Box<Location>,
        /// What is wrong there.
        problem: Problem,
        /// What to do.
        remedy: Remedy,
    },
    /// The canonical layout needs more room than the image has.
    DoesNotFit {
        /// How many blocks the smallest filesystem has that holds everything; at least so many where none is known.
        needed: u64,
        /// How many there are.
        available: u64,
        /// The bytes of that filesystem; `None` if none is known.
        bytes: Option<u64>,
    },
    /// The canonical form needs more inodes than the image has, which come by whole groups.
    TooFewInodes {
        /// How many the canonical form needs.
        needed: u64,
        /// How many there are.
        available: u64,
        /// How large the filesystem has to be for so many, in bytes; `None` if none can have them.
        bytes: Option<u64>,
    },
    /// An error in one of a disk's filesystems.
    Partition {
        /// The partition.
        name: String,
        /// Where it begins on the disk, in bytes.
        offset: u64,
        /// What is wrong in it.
        #[source]
        error: Box<Error>,
    },
    /// The options ask for something that this image can't hold.
    Options {
        /// What is asked for, and why that can't be.
        problem: String,
        /// What to do.
        remedy: Remedy,
    },
    /// This program contradicts itself: a defect, whatever the image.
    Internal(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(|_| None))
    }
}

/// Says what does not fit.
fn too_few(unit: &str, needed: u64, available: u64) -> String {
    let missing = needed.saturating_sub(available);
    format!("the canonical form needs {needed} {unit}, but there are {available}: {missing} too few")
}

fn place(at: &Location) -> String {
    if at.is_nowhere() { String::new() } else { format!(" ({at})") }
}

/// A name from an image, fit for a message: what is not UTF-8 is replaced, and control characters
/// are escaped, so that no image can play tricks on a terminal.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for character in String::from_utf8_lossy(name).chars() {
        if character == '/' {
            // Only encrypted names have them; in a path they would look like its own.
            text.push_str("\\x2f");
        } else if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// What is wrong with a structure.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A magic number is not the one that the format fixes.
    #[error("bad magic {found:#x}, expected {expected:#x}")]
    Magic {
        /// What is there.
        found: u64,
        /// What should be.
        expected: u64,
    },
    /// A checksum does not match the bytes that it covers.
    #[error("bad checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// What is stored.
        found: u32,
        /// What the bytes give.
        expected: u32,
    },
    /// A number is outside its range.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// The field's name.
        what: &'static str,
        /// What is there.
        found: u64,
        /// The values that would be right.
        expected: String,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// The kinds of structure that a message can name.
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
    /// A block of an extent tree.
    ExtentBlock,
    /// A block of a block map.
    IndirectBlock,
    /// A directory.
    Directory,
    /// An xattr in the inode, or a block of them.
    Xattr,
    /// An inode that holds the value of an xattr.
    EaInode,
    /// The journal.
    Journal,
    /// The orphan file.
    OrphanFile,
    /// A quota file.
    QuotaFile,
    /// The block of multiple mount protection.
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
            Self::EaInode => "value of an xattr",
            Self::Journal => "journal",
            Self::OrphanFile => "orphan file",
            Self::QuotaFile => "quota file",
            Self::Mmp => "MMP block",
        }
    }
}

/// A place in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The kind of structure.
    pub structure: Structure,
    /// The inode that it belongs to.
    pub inode: Option<u32>,
    /// A path of that inode, where one is known.
    pub path: Option<String>,
    /// The block that it lies in.
    pub block: Option<u64>,
    /// The block group that it belongs to.
    pub group: Option<u32>,
}

impl Location {
    /// A place of which only the kind is known.
    pub(crate) fn of(structure: Structure) -> Self {
        Self { structure, inode: None, path: None, block: None, group: None }
    }

    /// The same place, in an inode.
    #[must_use]
    pub(crate) fn inode(mut self, inode: InodeNr) -> Self {
        self.inode = Some(inode.0);
        self
    }

    /// The same place, in a block.
    #[must_use]
    pub(crate) fn block(mut self, block: BlockNr) -> Self {
        self.block = Some(block.0);
        self
    }

    /// The same place, in a group.
    #[must_use]
    pub(crate) fn group(mut self, group: GroupNr) -> Self {
        self.group = Some(group.0);
        self
    }

    fn is_nowhere(&self) -> bool {
        self.structure == Structure::Image && self.inode.is_none() && self.group.is_none()
    }

    /// An error about this place.
    pub(crate) fn corrupt(self, problem: Problem) -> Error {
        let remedy = match self.structure {
            // It may not open the image, and an image of one group has no backup.
            Structure::Superblock => Remedy::fsck(
                "run e2fsck -f on the image, if need be with -b and the block of a backup superblock; if that \
                 does not help, make the image anew",
            ),
            _ => Remedy::FSCK,
        };
        Error::Corrupt { at: Box::new(self), problem, remedy }
    }

    /// An error about this place, in words.
    pub(crate) fn wrong(self, words: impl Into<String>) -> Error {
        self.corrupt(Problem::Other(words.into()))
    }

    /// An error about a number at this place.
    pub(crate) fn value(
        self,
        what: &'static str,
        found: impl Into<u64>,
        expected: impl fmt::Display,
    ) -> Error {
        self.corrupt(Problem::Value { what, found: found.into(), expected: expected.to_string() })
    }

    /// An error about something at this place that is not handled.
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
    /// An I/O error, with what was being done.
    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// The same error about damage, with another remedy: for what e2fsck does not see, or leaves.
    #[must_use]
    pub(crate) fn with_remedy(mut self, instead: impl Into<Remedy>) -> Self {
        if let Self::Corrupt { remedy, .. } = &mut self {
            *remedy = instead.into();
        }
        self
    }

    /// An error about the options.
    pub(crate) fn options(problem: impl Into<String>, remedy: impl Into<Remedy>) -> Self {
        Self::Options { problem: problem.into(), remedy: remedy.into() }
    }

    /// Returns the whole message, as `Display` does, with the caller's words for remedies: see
    /// [`Remedy::in_words`].
    pub fn in_words(&self, option: impl Fn(&Remedy) -> Option<String>) -> String {
        match self.remedy() {
            Some(remedy) => format!("{}; {}", self.problem(), remedy.in_words(option)),
            None => self.problem(),
        }
    }

    /// Returns what went wrong, and where, without the remedy.
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

    /// Returns what to do, where that is known.
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

    /// The inode that the error is about, if it names one without a path.
    pub(crate) fn inode_without_path(&self) -> Option<InodeNr> {
        match self {
            Self::Corrupt { at, .. } | Self::Unsupported { at, .. } if at.path.is_none() => {
                at.inode.map(InodeNr)
            }
            _ => None,
        }
    }

    /// The same error, with a path for its inode.
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
            "the canonical form needs 10 blocks, but there are 7: 3 too few; make the image larger to 10240 bytes, \
             and try again"
        );
        assert_eq!(
            blocks(7, 10, Some(7168)),
            "the canonical form fits into 7 blocks, but not into 10; make the image larger or 7168 bytes large, \
             and try again"
        );
        let inodes = |bytes| Error::TooFewInodes { needed: 33, available: 32, bytes }.to_string();
        let said = inodes(Some(8_500_224));
        assert!(said.contains("32: 1 too few; make the image larger to 8500224 bytes or more"), "{said}");
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
            "partition 2: inode 12: is bad; run e2fsck -f on the image; e2fsck takes IMAGE?offset=1048576 for it"
        );
        let small = shown(Error::DoesNotFit { needed: 7, available: 5, bytes: None });
        assert!(small.contains("5: 2 too few; make the partition larger"), "{small}");
        assert_eq!(shown(Error::options("no", "try again")), "partition 2: no; try again");
    }

    #[test]
    fn sources_are_a_chain() {
        use std::error::Error as _;
        let inner = Error::io("writing", std::io::Error::other("no"));
        let outer = Error::Partition { name: "partition 2".to_owned(), offset: 0, error: Box::new(inner) };
        let causes = std::iter::successors(outer.source(), |&error| error.source());
        assert_eq!(causes.map(ToString::to_string).collect::<Vec<_>>(), ["writing: no", "no"]);
    }
}
