//! What the command line asks for: arguments, validated.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ext4_canon::{Options, Selection};

use crate::cli::format::Format;

/// The name that stands for standard input, or for standard output.
pub const STANDARD: &str = "-";

/// What the process is to do.
#[derive(Debug)]
pub enum Invocation {
    /// Print something generated from the parser.
    Generate(Generate),
    /// Run a command.
    Run(Box<Task>),
}

/// Everything that can be generated from the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generate {
    /// The man page
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// A command with all its options.
#[derive(Debug)]
pub struct Task {
    /// The options that several commands have.
    pub settings: Settings,
    /// The command and its own options.
    pub command: Command,
}

/// The options that several commands have.
#[derive(Debug)]
pub struct Settings {
    /// The options of the library.
    pub options: Options,
    /// Which filesystems of an image are meant.
    pub selection: Selection,
    /// How many threads, if not one for each processor.
    pub threads: Option<NonZeroUsize>,
    /// Whether to print JSON.
    pub json: bool,
    /// How much to print.
    pub verbosity: Verbosity,
    /// Whether to show a progress bar.
    pub progress: bool,
}

/// How much to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Warnings and a summary.
    Normal,
    /// Everything.
    Verbose,
}

/// A command. Each has a module in `commands`.
#[derive(Debug)]
pub enum Command {
    /// Write a canonical image.
    Canonicalize(CanonicalizeTask),
    /// Compare an image with its canonical form.
    Check(ImageFiles),
    /// Print or check digests.
    Digest(DigestTask),
    /// Compare two images.
    Compare(CompareTask),
    /// List what canonicalizing rewrites, by cause.
    Explain(ExplainTask),
    /// List a tree.
    Ls(LsTask),
    /// Print a file.
    Cat(CatTask),
}

/// An image, and the device of its external journal.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    /// An image
    #[arg(value_name = "IN")]
    pub path: PathBuf,

    /// The device of an external journal, to recover IN from; it is never written to
    #[arg(long, value_name = "DEVICE")]
    pub journal: Option<PathBuf>,
}

/// The options of the main job.
#[derive(Debug, PartialEq, Eq)]
pub struct CanonicalizeTask {
    /// The image.
    pub input: ImageFiles,
    /// The name of the output; `None` to replace the image.
    pub output: Option<PathBuf>,
    /// Whether to read the output again.
    pub verify: bool,
    /// Whether to wait for the disk.
    pub sync: bool,
    /// The format of the output.
    pub format: Format,
    /// Where a bmap file goes.
    pub bmap: Option<PathBuf>,
}

/// The options of `digest`.
#[derive(Debug)]
pub struct DigestTask {
    /// What is digested.
    pub of: DigestOf,
    /// The images; with `check`, the lists of images.
    pub inputs: Vec<PathBuf>,
    /// The device of the external journal of the only image.
    pub journal: Option<PathBuf>,
    /// Whether to check digests.
    pub check: bool,
}

/// What is digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOf {
    /// The canonical image.
    Image,
    /// The tree alone.
    Tree,
}

/// The options of `compare`.
#[derive(Debug)]
pub struct CompareTask {
    /// The images.
    pub inputs: [ImageFiles; 2],
    /// Whether to print unified diffs of texts.
    pub diff: bool,
    /// Where a page goes.
    pub html: Option<PathBuf>,
}

/// The options of `explain`.
#[derive(Debug)]
pub struct ExplainTask {
    /// The image.
    pub input: ImageFiles,
    /// How many examples to print of each finding.
    pub examples: usize,
}

/// The options of `ls`.
#[derive(Debug)]
pub struct LsTask {
    /// The image.
    pub input: ImageFiles,
    /// Whether to print digests of files.
    pub digests: bool,
}

/// The options of `cat`.
#[derive(Debug)]
pub struct CatTask {
    /// The image.
    pub input: ImageFiles,
    /// The path of the file in it.
    pub path: OsString,
}

impl Command {
    /// The name of the command in JSON. `--check` is an option of the main job.
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

    /// The first file that it is about, for messages.
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

    /// Whether it is the main job, whose JSON names the image and the warnings also after a failure.
    pub fn is_main_job(&self) -> bool {
        matches!(self, Self::Canonicalize(_) | Self::Check(_))
    }

    /// Whether an image goes to standard output, so that nothing else may go there.
    pub fn streams(&self) -> bool {
        matches!(self, Self::Canonicalize(task) if task.streams())
    }
}

impl CanonicalizeTask {
    /// Whether the output goes to standard output.
    pub fn streams(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.as_os_str() == STANDARD)
    }
}

impl DigestOf {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Tree => "tree",
        }
    }
}
