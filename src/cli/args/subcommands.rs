//! Defines and validates the arguments of the subcommands.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand as Clap};
use ext4_canon::{Options, Selection, SizePolicy};

use super::place::{AroundArgs, LengthArgs, PlaceArgs, SizeArgs};
use super::policy::{PolicyArgs, TreeArgs};
use super::task::{
    CatTask, Color, Command, CompareTask, DigestOf, DigestTask, ExplainTask, ImageFiles, LsTask, STANDARD,
    Settings, Task, Verbosity,
};
use super::values::threads;

/// A subcommand, as typed.
#[derive(Clap, Debug)]
pub enum Subcommand {
    /// Print the SHA-256 of the canonical form of images, without writing it
    ///
    /// The output has the format of sha256sum. With --check, the exit code is 1 if a digest does not match.
    Digest(DigestArgs),

    /// Check whether two images have the same canonical form, and list the differences
    ///
    /// Nothing is written. Exit code 0: the canonical forms are the same; 1: they differ. The report lists
    /// differences between the filesystems, then differences by path, each with what to do, then ignored
    /// differences.
    Compare(CompareArgs),

    /// Show what canonicalizing would change, grouped by cause
    Explain(ExplainArgs),

    /// List the file tree of an image, or a subtree
    ///
    /// The format is mtree(5), with all attributes of each path; see docs/tree-digest.md.
    Ls(LsArgs),

    /// Print a regular file from an image
    Cat(CatArgs),
}

/// The options of all subcommands.
#[derive(Args, Debug)]
struct CommonArgs {
    /// Accept an image whose superblock or journal records errors; every structure that affects the tree is
    /// still checked
    #[arg(long)]
    ignore_error_state: bool,

    /// Number of threads; the output does not depend on it [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,

    /// Print JSON to standard output, even if the command fails
    #[arg(long)]
    json: bool,
}

/// The options of the subcommands that depend on the canonical form.
#[derive(Args, Debug)]
struct CanonicalArgs {
    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// A single input image, and the location of a filesystem in it.
#[derive(Args, Debug)]
struct ImagePlace {
    #[command(flatten)]
    files: ImageFiles,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    length: LengthArgs,
}

/// The arguments of `digest`, as typed.
#[derive(Args, Debug)]
pub struct DigestArgs {
    /// Images, or with --check, lists of digests
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<PathBuf>,

    /// Digest only the file tree, regardless of features, geometry and size of the image; see
    /// docs/tree-digest.md
    #[arg(long, conflicts_with_all = ["uuid", "label", "holes", "table", "rewrite_uuids", "allow_stale_uuids", "zero_gaps"])]
    tree: bool,

    /// Device of the external journal to recover IN from; allowed only with a single image
    #[arg(long, value_name = "DEVICE")]
    journal: Option<PathBuf>,

    /// Read digests and names from files (- is standard input) in the format of this command and of
    /// sha256sum, and check them
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    size: SizeArgs,

    #[command(flatten)]
    around: AroundArgs,

    #[command(flatten)]
    canonical: CanonicalArgs,

    /// Print only warnings about possible data loss or boot failure; with --check, also leave out images
    /// whose digest matches
    #[arg(short, long)]
    quiet: bool,
}

/// The arguments of `compare`, as typed.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// First image
    #[arg(value_name = "A")]
    one: PathBuf,

    /// Second image
    #[arg(value_name = "B")]
    other: PathBuf,

    /// Device of the external journal to recover A from; it is only read
    #[arg(long, value_name = "DEVICE")]
    journal_a: Option<PathBuf>,

    /// Device of the external journal to recover B from; it is only read
    #[arg(long, value_name = "DEVICE")]
    journal_b: Option<PathBuf>,

    /// Print unified diffs of text files up to 1 MiB
    #[arg(long)]
    diff: bool,

    /// Write the report as an HTML page to FILE (- prints the page instead of the text), with block maps of
    /// both images and of their canonical forms
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Maximum number of paths, or groups of paths, in the text; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,

    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    color: Color,

    /// Leave out the SHA-256 of both files, which is faster
    #[arg(long)]
    no_digests: bool,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    size: SizeArgs,

    #[command(flatten)]
    around: AroundArgs,

    #[command(flatten)]
    canonical: CanonicalArgs,

    /// Print nothing (or only JSON); skip ignored differences and digests
    #[arg(short, long)]
    quiet: bool,
}

/// The arguments of `explain`, as typed.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    input: ImagePlace,

    /// Maximum number of examples for each finding
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,

    /// Print all examples
    #[arg(long, conflicts_with = "examples")]
    all: bool,

    #[command(flatten)]
    canonical: CanonicalArgs,
}

/// The arguments of `ls`, as typed.
#[derive(Args, Debug)]
pub struct LsArgs {
    #[command(flatten)]
    input: ImagePlace,

    /// List only this path and all paths below it; symlinks are resolved as if the image were the root
    /// filesystem
    #[arg(value_name = "PATH", default_value = "/")]
    start: OsString,

    /// Also print a digest of each file's content; the SHA-256 of a listing of the whole tree is then the
    /// digest that digest --tree prints
    #[arg(long)]
    digests: bool,

    #[command(flatten)]
    tree: TreeArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// The arguments of `cat`, as typed.
#[derive(Args, Debug)]
pub struct CatArgs {
    #[command(flatten)]
    input: ImagePlace,

    /// Path of the file in the image; symlinks are resolved as if the image were the root filesystem
    #[arg(value_name = "PATH")]
    file: OsString,

    #[command(flatten)]
    common: CommonArgs,
}

impl Subcommand {
    /// Validates the arguments. `variable` is the value of [`super::policy::EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// A message that says which arguments are invalid.
    pub fn validate(self, variable: Option<&OsStr>) -> Result<Task> {
        match self {
            Self::Digest(typed) => typed.validate(variable),
            Self::Compare(typed) => typed.validate(variable),
            Self::Explain(typed) => {
                let mut settings = typed.canonical.settings(variable, Verbosity::Normal)?;
                settings.selection = typed.input.place.selection(typed.input.length);
                let examples = if typed.all { usize::MAX } else { typed.examples };
                let command = Command::Explain(ExplainTask { input: typed.input.files, examples });
                Ok(Task { settings, command })
            }
            Self::Ls(typed) => typed.validate(variable),
            Self::Cat(typed) => Ok(typed.validate()),
        }
    }
}

impl DigestArgs {
    fn validate(self, variable: Option<&OsStr>) -> Result<Task> {
        let mut settings = self.canonical.settings(variable, quiet_if(self.quiet))?;
        (settings.selection, settings.options.size) = self.place.with_size(&self.size)?;
        self.around.set_unless_selected(&mut settings.options, &settings.selection)?;
        let Self { inputs, journal, check, .. } = self;
        let of = if self.tree { DigestOf::Tree } else { DigestOf::Image };
        if of == DigestOf::Tree && settings.options.size != SizePolicy::Keep {
            bail!("a tree is the same in any size of its image: leave --size out");
        }
        Ok(Task { settings, command: Command::Digest(DigestTask { of, inputs, journal, check }) })
    }
}

impl CompareArgs {
    fn validate(self, variable: Option<&OsStr>) -> Result<Task> {
        if [&self.one, &self.other].iter().all(|path| path.as_os_str() == STANDARD) {
            bail!("standard input can't be both images: give a file for one of them");
        }
        let mut settings = self.canonical.settings(variable, quiet_if(self.quiet))?;
        if self.diff && self.quiet && !settings.json && self.html.is_none() {
            bail!("nothing is printed with --quiet: leave --diff out");
        }
        (settings.selection, settings.options.size) = self.place.with_size(&self.size)?;
        self.around.set_unless_selected(&mut settings.options, &settings.selection)?;
        let inputs = [
            ImageFiles { path: self.one, journal: self.journal_a },
            ImageFiles { path: self.other, journal: self.journal_b },
        ];
        if settings.json && self.html.as_ref().is_some_and(|page| page.as_os_str() == STANDARD) {
            bail!("standard output can't be both JSON and an HTML page: give a file for the page");
        }
        let has_report = !self.quiet || self.html.is_some();
        let task = CompareTask {
            inputs,
            diff: self.diff,
            html: self.html,
            limit: self.limit,
            color: self.color,
            digests: !self.no_digests && has_report,
        };
        Ok(Task { settings, command: Command::Compare(task) })
    }
}

impl LsArgs {
    fn validate(self, variable: Option<&OsStr>) -> Result<Task> {
        let options = self.tree.options(variable, self.common.ignore_error_state)?;
        let selection = self.input.place.selection(self.input.length);
        let settings = Settings { selection, ..self.common.settings(options, Verbosity::Normal) };
        let task = LsTask { input: self.input.files, path: self.start, digests: self.digests };
        Ok(Task { settings, command: Command::Ls(task) })
    }
}

impl CatArgs {
    fn validate(self) -> Task {
        let options = Options::new().ignore_error_state(self.common.ignore_error_state);
        let settings = Settings {
            selection: self.input.place.selection(self.input.length),
            // On a terminal, a progress bar would appear inside the file's content.
            progress: false,
            ..self.common.settings(options, Verbosity::Normal)
        };
        let command = Command::Cat(CatTask { input: self.input.files, path: self.file });
        Task { settings, command }
    }
}

impl CanonicalArgs {
    fn settings(self, variable: Option<&OsStr>, verbosity: Verbosity) -> Result<Settings> {
        let like = self.policy.settings.like.clone();
        let options = self.policy.options(variable, self.common.ignore_error_state)?;
        Ok(Settings { like, ..self.common.settings(options, verbosity) })
    }
}

impl CommonArgs {
    /// Converts the common options to the settings of a command that reads all filesystems of its images.
    fn settings(self, options: Options, verbosity: Verbosity) -> Settings {
        let Self { threads, json, ignore_error_state: _ } = self;
        let (selection, progress) = (Selection::all(), verbosity > Verbosity::Quiet);
        Settings { options, like: None, selection, threads, json, verbosity, progress }
    }
}

fn quiet_if(quiet: bool) -> Verbosity {
    if quiet { Verbosity::Quiet } else { Verbosity::Normal }
}
