//! Findings: changes by canonicalization, and their causes.

/// The origin of something that canonicalization changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// mke2fs chose it at random.
    Random,
    /// It depends on the time at which the image was made.
    Clock,
    /// A mount left it.
    Mount,
    /// Deleted files left it.
    Deleted,
    /// It depends on the order in which files were written.
    Order,
    /// It is a choice of the program that wrote the image.
    Writer,
    /// The options change it.
    Options,
    /// It follows from other changes, such as a checksum or a count.
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
            Self::Random => "chosen at random by mke2fs",
            Self::Clock => "taken from the clock",
            Self::Mount => "left by a mount",
            Self::Deleted => "left by deleted files",
            Self::Order => "the order in which files were written",
            Self::Writer => "choices of the program that wrote it",
            Self::Options => "requested by the options",
            Self::Consequence => "total",
        }
    }
}

/// The changes by canonicalization in a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The partition, or the offset of the filesystem on the disk; `None` if it is the whole image.
    pub name: Option<String>,
    /// Warnings about the image.
    pub warnings: Vec<String>,
    /// The changes, in the order of their causes.
    pub findings: Vec<Finding>,
    /// What canonicalization keeps, although it may come from the clock: file times without an epoch.
    pub kept: Vec<Finding>,
}

/// A change by canonicalization.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// An identifier for programs.
    pub kind: &'static str,
    /// A description.
    pub what: &'static str,
    /// The number of things that change.
    pub count: u64,
    /// The first things that change, or groups of them.
    pub examples: Vec<String>,
    /// Whether there are more examples.
    pub more: bool,
}
