//! Defines the tasks of the program, which are the validated arguments.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ext4_canon::{Options, Selection};

use crate::cli::format::Format;

/// The argument that means standard input as an input, and standard output as an output.
pub const STANDARD: &str = "-";

/// The action that the command line requests.
#[derive(Debug)]
pub enum Invocation {
    /// Prints a text that is generated from the parser.
    Generate(Generate),
    /// Runs a command.
    Run(Box<Task>),
}

/// A text that can be generated from the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generate {
    /// Man page
    Man,
    /// The text of the man page in Markdown
    Markdown,
    /// Completion script for bash
    Bash,
    /// Completion script for zsh
    Zsh,
    /// Completion script for fish
    Fish,
}

/// A command with all its options.
#[derive(Debug)]
pub struct Task {
    /// The options that commands have in common.
    pub settings: Settings,
    /// The command, with its specific options.
    pub command: Command,
}

/// The options that commands have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The options of the library, apart from the settings of `like`.
    pub options: Options,
    /// The image whose settings the output gets.
    pub like: Option<PathBuf>,
    /// The selected filesystems of an image.
    pub selection: Selection,
    /// The number of threads; `None` for one thread per processor.
    pub threads: Option<NonZeroUsize>,
    /// Whether to print JSON.
    pub json: bool,
    /// The amount of output.
    pub verbosity: Verbosity,
    /// Whether to show a progress bar.
    pub progress: bool,
}

/// The amount of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Print only errors and severe warnings.
    Quiet,
    /// Also print all warnings and a summary.
    Normal,
    /// Also print all counts.
    Verbose,
}

/// A command with its specific options. Each command has a module in `commands`.
#[derive(Debug)]
pub enum Command {
    /// Writes a canonical image.
    Canonicalize(CanonicalizeTask),
    /// Compares an image with its canonical form.
    Check(ImageFiles),
    /// Prints or checks digests.
    Digest(DigestTask),
    /// Compares two images.
    Compare(CompareTask),
    /// Shows the changes that canonicalizing would make, grouped by cause.
    Explain(ExplainTask),
    /// Lists a file tree.
    Ls(LsTask),
    /// Prints a file.
    Cat(CatTask),
}

/// An image, and the device of its external journal.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    /// Image
    #[arg(value_name = "IN")]
    pub path: PathBuf,

    /// Device of the external journal to recover IN from; it is only read
    #[arg(long, value_name = "DEVICE")]
    pub journal: Option<PathBuf>,
}

/// The options of the main command.
#[derive(Debug, PartialEq, Eq)]
pub struct CanonicalizeTask {
    /// The input image.
    pub input: ImageFiles,
    /// The name of the output; `None` to replace the image.
    pub output: Option<PathBuf>,
    /// Whether to verify the output by reading it again.
    pub verify: bool,
    /// Whether to flush the output to its disk.
    pub sync: bool,
    /// The format of the output.
    pub format: Format,
    /// The name of the bmap file to write.
    pub bmap: Option<PathBuf>,
}

/// The options of `digest`.
#[derive(Debug)]
pub struct DigestTask {
    /// The kind of digest.
    pub of: DigestOf,
    /// The images; with `check`, the lists of digests.
    pub inputs: Vec<PathBuf>,
    /// The device of the external journal; allowed only with a single image.
    pub journal: Option<PathBuf>,
    /// Whether to check digests.
    pub check: bool,
}

/// The kind of digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOf {
    /// A digest of the canonical image.
    Image,
    /// A digest of the file tree only.
    Tree,
}

/// The options of `compare`.
#[derive(Debug)]
pub struct CompareTask {
    /// The images.
    pub inputs: [ImageFiles; 2],
    /// Whether to print unified diffs of text files.
    pub diff: bool,
    /// The name of the HTML page to write.
    pub html: Option<PathBuf>,
    /// The maximum number of paths, or groups of paths, in the text; 0 for all.
    pub limit: usize,
    /// When to colour the text.
    pub color: Color,
    /// Whether the report contains the SHA-256 of both files.
    pub digests: bool,
}

/// The value of `--color`, which decides when a text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The options of `explain`.
#[derive(Debug)]
pub struct ExplainTask {
    /// The image.
    pub input: ImageFiles,
    /// The maximum number of examples for each finding.
    pub examples: usize,
}

/// The options of `ls`.
#[derive(Debug)]
pub struct LsTask {
    /// The image.
    pub input: ImageFiles,
    /// The path in the image at which the listing starts.
    pub path: OsString,
    /// Whether to print digests of the content of files.
    pub digests: bool,
}

/// The options of `cat`.
#[derive(Debug)]
pub struct CatTask {
    /// The image.
    pub input: ImageFiles,
    /// The path of the file in the image.
    pub path: OsString,
}

impl Command {
    /// Returns the name of the command in JSON. `--check` is an option of the main command.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Canonicalize(_) | Self::Check(_) => "canonicalize",
            Self::Digest(_) => "digest",
            Self::Compare(_) => "compare",
            Self::Explain(_) => "explain",
            Self::Ls(_) => "ls",
            Self::Cat(_) => "cat",
        }
    }

    /// Returns the first file on the command line, for messages.
    pub fn first_path(&self) -> &Path {
        match self {
            Self::Canonicalize(CanonicalizeTask { input, .. })
            | Self::Check(input)
            | Self::Explain(ExplainTask { input, .. })
            | Self::Ls(LsTask { input, .. })
            | Self::Cat(CatTask { input, .. })
            | Self::Compare(CompareTask { inputs: [input, _], .. }) => &input.path,
            Self::Digest(DigestTask { inputs, .. }) => inputs.first().map_or(Path::new(""), |path| path),
        }
    }

    /// Returns whether this is the main command. Its JSON contains the image and the warnings even after an
    /// error.
    pub fn is_main_job(&self) -> bool {
        matches!(self, Self::Canonicalize(_) | Self::Check(_))
    }

    /// Returns whether an image is written to standard output, which must then contain no other output.
    pub fn streams(&self) -> bool {
        matches!(self, Self::Canonicalize(task) if task.streams())
    }
}

impl CanonicalizeTask {
    /// Returns whether the output is standard output.
    pub fn streams(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.as_os_str() == STANDARD)
    }
}

impl DigestOf {
    /// Returns the name of this kind in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Tree => "tree",
        }
    }
}
