//! Arguments, validated.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ext4_canon::Options;
use ext4_canon::disk::{Around, Selection};
use ext4_canon::policy::UuidPolicy;

use crate::cli::format::Format;
use crate::cli::input::STANDARD;

/// What can be generated from the parser.
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

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// The main job.
    Canonicalize(Job),
    /// Print something generated.
    Generate(Generate),
    /// A subcommand.
    Sub(Subtask),
}

/// The main job, validated.
#[derive(Debug)]
pub struct Job {
    /// The image.
    pub input: PathBuf,
    /// The device of its external journal.
    pub journal: Option<PathBuf>,
    /// Which filesystems of it are meant.
    pub selection: Selection,
    /// What happens to what is no filesystem.
    pub around: Around,
    /// In which format the output is written.
    pub format: Format,
    /// Where a bmap file goes.
    pub bmap: Option<PathBuf>,
    /// What to do with it.
    pub task: Task,
    /// What the library is to do.
    pub options: Options,
    /// How many threads, if not as many as there are processors.
    pub threads: Option<NonZeroUsize>,
    /// How much to print.
    pub voice: Voice,
    /// Whether to print JSON.
    pub json: bool,
}

impl Job {
    /// Whether the image goes to standard output, where nothing else may go then.
    pub fn streams(&self) -> bool {
        matches!(&self.task, Task::Write { output: Some(output), .. } if output.as_os_str() == STANDARD)
    }
}

/// What to do with an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Compare it with its canonical form.
    Check,
    /// Write its canonical form.
    Write {
        /// Where to, if not in its place.
        output: Option<PathBuf>,
        /// Whether to read the output again.
        verify: bool,
        /// Whether to wait for the disk.
        sync: bool,
    },
}

/// How much to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Voice {
    /// Errors.
    Quiet,
    /// Warnings and a summary.
    Normal,
    /// Everything.
    Verbose,
}

/// What all subcommands need to know.
#[derive(Debug)]
pub struct Setting {
    /// What the library is to do.
    pub options: Options,
    /// How many threads, if not as many as there are processors.
    pub threads: Option<NonZeroUsize>,
    /// Whether to print JSON.
    pub json: bool,
    /// Whether to leave out what is not needed.
    pub quiet: bool,
    /// Which filesystems of an image are meant.
    pub selection: Selection,
    /// What happens to what is no filesystem.
    pub around: Around,
}

/// A subcommand, validated.
#[derive(Debug)]
pub struct Subtask {
    /// What all of them need to know.
    pub setting: Setting,
    /// What to do.
    pub action: Action,
}

/// What a subcommand does.
#[derive(Debug)]
pub enum Action {
    /// Print or check digests.
    Digest(Digesting),
    /// Compare two images.
    Compare([Given; 2], Telling),
    /// Explain an image, with so many examples of everything.
    Explain(Given, usize),
    /// List a tree, with digests or without.
    Ls(Given, bool),
    /// Print a file.
    Cat(Given, OsString),
}

impl Subtask {
    /// The name of the subcommand.
    pub fn name(&self) -> &'static str {
        match self.action {
            Action::Digest(_) => "digest",
            Action::Compare(..) => "compare",
            Action::Explain(..) => "explain",
            Action::Ls(..) => "ls",
            Action::Cat(..) => "cat",
        }
    }
}

/// An image that is read alone.
#[derive(Args, Debug)]
pub struct Given {
    /// An image
    #[arg(value_name = "IN")]
    pub path: PathBuf,

    /// The device of an external journal, to recover IN from; it is never written to
    #[arg(long, value_name = "DEVICE")]
    pub journal: Option<PathBuf>,
}

impl Setting {
    /// Where the tree alone counts, the UUID is no part of it, and none is refused.
    pub fn for_the_tree(mut self) -> Self {
        self.options.uuid = UuidPolicy::Keep;
        self
    }
}

/// What is digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The canonical image.
    Image,
    /// The tree alone.
    Tree,
}

impl Of {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Tree => "tree",
        }
    }
}

/// What is to be digested, and how.
#[derive(Debug)]
pub struct Digesting {
    /// Of what the digests are.
    pub of: Of,
    /// The images, or the lists of images.
    pub inputs: Vec<PathBuf>,
    /// The device of the external journal of the only image.
    pub journal: Option<PathBuf>,
    /// Whether the inputs are lists.
    pub check: bool,
}

/// What is told besides the report.
#[derive(Clone, Debug)]
pub struct Telling {
    /// Unified diffs of texts.
    pub diff: bool,
    /// A page for this file.
    pub html: Option<PathBuf>,
}
