//! What is rewritten, and where it came from.

/// Where something in an image came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// mke2fs took it at random.
    Random,
    /// The time at which the image was made.
    Clock,
    /// A mount left it.
    Mount,
    /// Files that were deleted left it.
    Deleted,
    /// The order in which files were written.
    Order,
    /// How the program that wrote it stores things.
    Writer,
    /// The options ask for something else.
    Options,
    /// All else that has to change, as checksums and counts do.
    Consequence,
}

impl Cause {
    /// A word for programs.
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

    /// The cause in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Random => "chosen at random by mke2fs",
            Self::Clock => "taken from the clock",
            Self::Mount => "left by a mount",
            Self::Deleted => "left by deleted files",
            Self::Order => "the order in which files were written",
            Self::Writer => "choices of the program that wrote it",
            Self::Options => "what the options ask for",
            Self::Consequence => "what all this comes down to",
        }
    }
}

/// What canonicalizing rewrites in a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The partition, or where on the disk the filesystem begins; `None` if it is the whole image.
    pub name: Option<String>,
    /// Warnings of reading it, in words.
    pub warnings: Vec<String>,
    /// What is rewritten, in the order of the causes.
    pub findings: Vec<Finding>,
}

/// Something that is rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it came from.
    pub cause: Cause,
    /// A word for programs.
    pub kind: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// How many of it there are.
    pub count: u64,
    /// The first of them, or of the groups that they come in.
    pub examples: Vec<String>,
    /// Whether there would be more examples.
    pub more: bool,
}
