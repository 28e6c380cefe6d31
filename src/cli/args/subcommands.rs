//! Arguments of the subcommands: as typed, then as validated.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand as Clap};
use ext4_canon::{Options, Selection, SizePolicy};

use super::place::{AroundArgs, LengthArgs, PlaceArgs, SizeArgs};
use super::policy::PolicyArgs;
use super::task::{
    CatTask, Command, CompareTask, DigestOf, DigestTask, ExplainTask, ImageFiles, LsTask, STANDARD, Settings,
    Task, Verbosity,
};
use super::values::threads;

/// What else can be done, as typed.
#[derive(Clap, Debug)]
pub enum Subcommand {
    /// Print the SHA-256 of the canonical form of images, without writing it
    ///
    /// The output is that of sha256sum. Exit code 1: with --check, a digest is another.
    Digest(DigestArgs),

    /// Say whether two images have one canonical form, and if not, what differs
    ///
    /// Nothing is written. Exit code 0: they have; 1: they differ. What differs is listed by path; then
    /// what differs of the filesystems themselves, each with the option that would align them; then what
    /// differs but does not matter.
    Compare(CompareArgs),

    /// Say what of an image canonicalizing rewrites, by where it came from
    Explain(ExplainArgs),

    /// List the tree of an image, as it is read
    ///
    /// The format is that of mtree(5), with all attributes of each path; docs/tree-digest.md has the details.
    Ls(LsArgs),

    /// Print a regular file of an image
    Cat(CatArgs),
}

/// Options of all subcommands.
#[derive(Args, Debug)]
struct CommonArgs {
    /// Take an image although its superblock or journal says that errors were found; everything that
    /// carries content is checked all the same
    #[arg(long)]
    ignore_error_state: bool,

    /// How many threads to use; the output does not depend on it [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,

    /// Print JSON to standard output, also of a failure
    #[arg(long)]
    json: bool,
}

/// Options of those for which it counts what is canonical.
#[derive(Args, Debug)]
struct CanonicalArgs {
    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// An image that is read alone, and where in it a filesystem lies.
#[derive(Args, Debug)]
struct ImagePlace {
    #[command(flatten)]
    files: ImageFiles,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    length: LengthArgs,
}

/// `digest`, as typed.
#[derive(Args, Debug)]
pub struct DigestArgs {
    /// Images; with --check, files with digests of images
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<PathBuf>,

    /// Of the tree alone: it does not depend on features, geometry and size of the image; see
    /// docs/tree-digest.md
    #[arg(long)]
    tree: bool,

    /// The device of an external journal, to recover IN from, which has to be the only image
    #[arg(long, value_name = "DEVICE")]
    journal: Option<PathBuf>,

    /// Read digests and names from files (- is standard input), as this command and sha256sum print them, and
    /// check them
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

    /// With --check, say nothing of images that have their digest
    #[arg(short, long)]
    quiet: bool,
}

/// `compare`, as typed.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// An image
    #[arg(value_name = "A")]
    one: PathBuf,

    /// Another image
    #[arg(value_name = "B")]
    other: PathBuf,

    /// The device of an external journal, to recover A from; it is never written to
    #[arg(long, value_name = "DEVICE")]
    journal_a: Option<PathBuf>,

    /// The device of an external journal, to recover B from
    #[arg(long, value_name = "DEVICE")]
    journal_b: Option<PathBuf>,

    /// Print unified diffs of texts up to 1 MiB
    #[arg(long)]
    diff: bool,

    /// Write the report as a page to FILE, with a map of what lies where in both images and in their
    /// canonical forms
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    length: LengthArgs,

    #[command(flatten)]
    around: AroundArgs,

    #[command(flatten)]
    canonical: CanonicalArgs,

    /// Print nothing (or only JSON), and leave out what does not matter
    #[arg(short, long)]
    quiet: bool,
}

/// `explain`, as typed.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    #[command(flatten)]
    input: ImagePlace,

    /// Print up to so many examples of everything
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,

    /// Print everything
    #[arg(long, conflicts_with = "examples")]
    all: bool,

    #[command(flatten)]
    canonical: CanonicalArgs,
}

/// `ls`, as typed.
#[derive(Args, Debug)]
pub struct LsArgs {
    #[command(flatten)]
    input: ImagePlace,

    /// Print a digest of the content of each file, too: then the SHA-256 of the listing is what digest --tree prints
    #[arg(long)]
    digests: bool,

    #[command(flatten)]
    canonical: CanonicalArgs,
}

/// `cat`, as typed.
#[derive(Args, Debug)]
pub struct CatArgs {
    #[command(flatten)]
    input: ImagePlace,

    /// The file; symlinks are followed as if the image were the root filesystem
    #[arg(value_name = "PATH")]
    file: OsString,

    #[command(flatten)]
    common: CommonArgs,
}

impl Subcommand {
    /// Validates; `variable` is the value of [`super::policy::EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// In words.
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
            Self::Ls(typed) => {
                let mut settings = typed.canonical.settings(variable, Verbosity::Normal)?;
                settings.selection = typed.input.place.selection(typed.input.length);
                let command = Command::Ls(LsTask { input: typed.input.files, digests: typed.digests });
                Ok(Task { settings, command })
            }
            Self::Cat(typed) => Ok(typed.validate()),
        }
    }
}

impl DigestArgs {
    fn validate(self, variable: Option<&OsStr>) -> Result<Task> {
        let mut settings = self.canonical.settings(variable, quiet_if(self.quiet))?;
        (settings.selection, settings.options.size) = self.place.with_size(&self.size)?;
        self.around.set(&mut settings.options);
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
        settings.selection = self.place.selection(self.length);
        self.around.set(&mut settings.options);
        let inputs = [
            ImageFiles { path: self.one, journal: self.journal_a },
            ImageFiles { path: self.other, journal: self.journal_b },
        ];
        let command = Command::Compare(CompareTask { inputs, diff: self.diff, html: self.html });
        Ok(Task { settings, command })
    }
}

impl CatArgs {
    fn validate(self) -> Task {
        let CommonArgs { threads, json, ignore_error_state } = self.common;
        let settings = Settings {
            options: Options::new().ignore_error_state(ignore_error_state),
            selection: self.input.place.selection(self.input.length),
            threads,
            json,
            verbosity: Verbosity::Normal,
            // It would be drawn into the file, on a terminal.
            progress: false,
        };
        let command = Command::Cat(CatTask { input: self.input.files, path: self.file });
        Task { settings, command }
    }
}

impl CanonicalArgs {
    fn settings(self, variable: Option<&OsStr>, verbosity: Verbosity) -> Result<Settings> {
        let CommonArgs { ignore_error_state, threads, json } = self.common;
        let options = self.policy.options(variable, ignore_error_state)?;
        let selection = Selection::all();
        let progress = verbosity > Verbosity::Quiet;
        Ok(Settings { options, selection, threads, json, verbosity, progress })
    }
}

fn quiet_if(quiet: bool) -> Verbosity {
    if quiet { Verbosity::Quiet } else { Verbosity::Normal }
}
