//! Defines findings: the changes that canonicalizing makes, and their causes.

/// The origin of a value or a structure that canonicalizing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// mke2fs chose the value at random.
    Random,
    /// The value depends on the time at which the image was made.
    Clock,
    /// A mount left the value or the data in the image.
    Mount,
    /// Deleted files left the data in the image.
    Deleted,
    /// The layout depends on the order in which files were written.
    Order,
    /// The program that wrote the image chose the value or the layout.
    Writer,
    /// The options change the value.
    Options,
    /// The value, such as a checksum or a count, follows from other changes.
    Consequence,
}

impl Cause {
    /// Returns an identifier for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Clock => "clock",
            Self::Mount => "mount",
            Self::Deleted => "deleted",
            Self::Order => "order",
            Self::Writer => "writer",
            Self::Options => "options",
            Self::Consequence => "consequence",
        }
    }

    /// Returns the cause as text.
    pub fn words(self) -> &'static str {
        match self {
            Self::Random => "set by mke2fs or its options",
            Self::Clock => "from the clock or a fixed time",
            Self::Mount => "left by a mount",
            Self::Deleted => "left by deleted files",
            Self::Order => "the order in which files were written",
            Self::Writer => "choices of the program that wrote it",
            Self::Options => "requested by the options",
            Self::Consequence => "total",
        }
    }
}

/// The changes that canonicalizing makes in a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The partition, or the offset of the filesystem on the disk; `None` if it is the whole image.
    pub name: Option<String>,
    /// Warnings about the image.
    pub warnings: Vec<String>,
    /// The changes, in the order of their causes.
    pub findings: Vec<Finding>,
    /// Mtimes that canonicalizing keeps, although they seem to come from the clock.
    pub kept: Vec<Finding>,
}

/// A kind of change that canonicalizing makes, with examples.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// A fixed identifier of the kind of change, for programs.
    pub kind: &'static str,
    /// A description.
    pub what: &'static str,
    /// The number of items (such as inodes or blocks) that change.
    pub count: u64,
    /// The first items that change, or groups of items.
    pub examples: Vec<String>,
    /// Whether there are more examples.
    pub more: bool,
}
