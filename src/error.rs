//! What can go wrong, each with its place and what to do next.
//!
//! Three kinds are kept apart, since they ask for different things: an image that is *damaged* or
//! *unclean* (run e2fsck), one that is sound but uses what this version does not handle
//! (*unsupported*), and trouble with reading or writing files (*I/O*).

use std::fmt;

use thiserror::Error;

use crate::units::{BlockNr, GroupNr, InodeNr};

/// The result of every fallible call of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image was refused, or could not be written.
#[derive(Debug, Error)]
pub enum Error {
    /// Reading the input or writing the output failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The image is sound, as far as it was read, but it uses something that is not handled.
    #[error("{what}{}; {remedy}", place(.at))]
    Unsupported {
        /// Where it is.
        at: Box<Location>,
        /// What is not handled, by the name that the field's tools give it.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The image needs e2fsck or a mount before its tree is certain.
    #[error("{state}; {remedy}")]
    Unclean {
        /// The state that the superblock or the journal tells of.
        state: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A structure is not as the format demands.
    #[error("{at}: {problem}; {remedy}")]
    Corrupt {
        /// Where it is.
        at: Box<Location>,
        /// What is wrong there.
        problem: Problem,
        /// What to do.
        remedy: &'static str,
    },
    /// The canonical layout needs more room than the image has.
    #[error("{}", too_few_blocks("image", ", with --size or before,", (*needed, *available, *bytes)))]
    DoesNotFit {
        /// How many blocks the smallest filesystem has that holds everything; at least so many where none is known.
        needed: u64,
        /// How many there are.
        available: u64,
        /// The bytes of that filesystem; `None` if none is known.
        bytes: Option<u64>,
    },
    /// The canonical form needs more inodes than the image has, which come by whole groups.
    #[error("{}", too_few("inodes", *needed, *available, &larger_for_inodes("image larger, with --size or before,", *bytes)))]
    TooFewInodes {
        /// How many the canonical form needs.
        needed: u64,
        /// How many there are.
        available: u64,
        /// How large the filesystem has to be for so many, in bytes; `None` if none can have them.
        bytes: Option<u64>,
    },
    /// Any of these, in a filesystem of a disk.
    #[error("{name}: {}", in_partition(error, *offset))]
    Partition {
        /// The partition.
        name: String,
        /// Where it begins on the disk, in bytes.
        offset: u64,
        /// What is wrong in it.
        error: Box<Error>,
    },
    /// The options ask for something that this image can't hold.
    #[error("{0}")]
    Options(String),
    /// This program contradicts itself: a defect, whatever the image.
    #[error("internal error: {0}; please report this, with the image if you can")]
    Internal(String),
}

/// What does not fit, and what to do.
fn too_few(unit: &str, needed: u64, available: u64, remedy: &str) -> String {
    let missing = needed.saturating_sub(available);
    format!(
        "the canonical form needs {needed} {unit}, but there are {available}: {missing} too few; {remedy} and try again"
    )
}

/// What is said of too few blocks: of what is to be larger, and by what means.
fn too_few_blocks(what: &str, means: &str, (needed, available, bytes): (u64, u64, Option<u64>)) -> String {
    match bytes {
        // Room does not simply grow with the size: metadata of more groups cuts free space into more pieces.
        Some(bytes) if needed <= available => format!(
            "the canonical form fits into {needed} blocks, but not into {available}; make the {what} larger{means} or \
             {bytes} bytes large, and try again"
        ),
        Some(bytes) => {
            too_few("blocks", needed, available, &format!("make the {what} larger{means} to {bytes} bytes,"))
        }
        None => too_few("blocks", needed, available, &format!("make the {what} larger{means}")),
    }
}

/// What to do about too few inodes: of what is to be larger, and how large.
fn larger_for_inodes(what: &str, bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("make the {what} to {bytes} bytes or more (inodes come by block groups),"),
        None => "make the image anew with more of them (mke2fs -N)".to_owned(),
    }
}

/// An error in a filesystem of a disk, which e2fsck has to be told of, and which keeps its size.
fn in_partition(error: &Error, offset: u64) -> String {
    match error {
        Error::Corrupt { remedy, .. } | Error::Unclean { remedy, .. } if remedy.contains("e2fsck") => {
            format!("{error}; e2fsck takes IMAGE?offset={offset} for it")
        }
        Error::DoesNotFit { needed, available, bytes } => {
            too_few_blocks("partition", ", and the filesystem with resize2fs,", (*needed, *available, *bytes))
        }
        Error::TooFewInodes { needed, available, bytes } => {
            let remedy = larger_for_inodes("partition larger, and the filesystem with resize2fs,", *bytes);
            too_few("inodes", *needed, *available, &remedy)
        }
        _ => error.to_string(),
    }
}

fn place(at: &Location) -> String {
    if at.is_nowhere() { String::new() } else { format!(" ({at})") }
}

/// A name from an image, fit for a message: what is not UTF-8 is replaced, and control characters
/// are escaped, so that no image can play tricks on a terminal.
pub fn shown(name: &[u8]) -> String {
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
pub struct Location {
    /// The kind of structure.
    pub structure: Structure,
    /// The inode that it belongs to.
    pub inode: Option<InodeNr>,
    /// A path of that inode, where one is known.
    pub path: Option<String>,
    /// The block that it lies in.
    pub block: Option<BlockNr>,
    /// The block group that it belongs to.
    pub group: Option<GroupNr>,
}

impl Location {
    /// A place of which only the kind is known.
    pub fn of(structure: Structure) -> Self {
        Self { structure, inode: None, path: None, block: None, group: None }
    }

    /// The same place, in an inode.
    #[must_use]
    pub fn inode(mut self, inode: InodeNr) -> Self {
        self.inode = Some(inode);
        self
    }

    /// The same place, in a block.
    #[must_use]
    pub fn block(mut self, block: BlockNr) -> Self {
        self.block = Some(block);
        self
    }

    /// The same place, in a group.
    #[must_use]
    pub fn group(mut self, group: GroupNr) -> Self {
        self.group = Some(group);
        self
    }

    fn is_nowhere(&self) -> bool {
        self.structure == Structure::Image && self.inode.is_none() && self.group.is_none()
    }

    /// An error about this place.
    pub fn corrupt(self, problem: Problem) -> Error {
        let remedy = match self.structure {
            // It may not open the image, and an image of one group has no backup.
            Structure::Superblock => {
                "run e2fsck -f on the image, if need be with -b and the block of a backup superblock; if that \
                 does not help, make the image anew"
            }
            _ => "run e2fsck -f on the image",
        };
        Error::Corrupt { at: Box::new(self), problem, remedy }
    }

    /// An error about this place, in words.
    pub fn wrong(self, words: impl Into<String>) -> Error {
        self.corrupt(Problem::Other(words.into()))
    }

    /// An error about a number at this place.
    pub fn value(self, what: &'static str, found: impl Into<u64>, expected: impl fmt::Display) -> Error {
        self.corrupt(Problem::Value { what, found: found.into(), expected: expected.to_string() })
    }

    /// An error about something at this place that is not handled.
    pub fn unsupported(self, what: impl Into<String>, remedy: &'static str) -> Error {
        Error::Unsupported { at: Box::new(self), what: what.into(), remedy }
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
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// The same error about damage, with another remedy: for what e2fsck does not see, or leaves.
    #[must_use]
    pub fn with_remedy(mut self, words: &'static str) -> Self {
        if let Self::Corrupt { remedy, .. } = &mut self {
            *remedy = words;
        }
        self
    }

    /// The inode that the error is about, if it names one without a path.
    pub(crate) fn inode_without_path(&self) -> Option<InodeNr> {
        match self {
            Self::Corrupt { at, .. } | Self::Unsupported { at, .. } if at.path.is_none() => at.inode,
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
        let error = Error::DoesNotFit { needed: 10, available: 7, bytes: Some(10240) };
        let said = error.to_string();
        assert!(
            said.contains("3 too few") && said.contains("larger, with --size or before, to 10240 bytes"),
            "{said}"
        );
        let error = Error::DoesNotFit { needed: 7, available: 10, bytes: Some(7168) };
        assert!(
            error.to_string().contains("into 7 blocks, but not into 10; make the image larger"),
            "{error}"
        );
        let inodes = |bytes| Error::TooFewInodes { needed: 33, available: 32, bytes }.to_string();
        let said = inodes(Some(8_500_224));
        assert!(
            said.contains("32: 1 too few; make the image larger") && said.contains("8500224 bytes"),
            "{said}"
        );
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
        assert!(
            small.contains("5: 2 too few; make the partition larger") && !small.contains("--size"),
            "{small}"
        );
        assert_eq!(shown(Error::Options("no".to_owned())), "partition 2: no");
    }
}
