//! Arguments of the subcommands: as typed, then as validated.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand as Clap};
use ext4_canon::Options;
use ext4_canon::disk::{Around, Selection};
use ext4_canon::policy::SizePolicy;

use super::place::{AroundArgs, LengthArgs, PlaceArgs, SizeArgs};
use super::policy::PolicyArgs;
use super::task::{Action, Digesting, Given, Of, Setting, Subtask, Telling};
use super::values::threads;
use crate::cli::input::STANDARD;

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
struct GivenPlace {
    #[command(flatten)]
    given: Given,

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
    input: GivenPlace,

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
    input: GivenPlace,

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
    input: GivenPlace,

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
    pub fn validate(self, variable: Option<&OsStr>) -> Result<Subtask> {
        match self {
            Self::Digest(typed) => {
                let mut setting = typed.canonical.setting(variable, typed.quiet)?;
                (setting.selection, setting.options.size) = typed.place.with_size(&typed.size)?;
                setting.around = typed.around.around();
                if typed.tree && setting.options.size != SizePolicy::Keep {
                    bail!("a tree is the same in any size of its image: leave --size out");
                }
                let DigestArgs { inputs, journal, check, .. } = typed;
                let (of, setting) =
                    if typed.tree { (Of::Tree, setting.for_the_tree()) } else { (Of::Image, setting) };
                Ok(Subtask { setting, action: Action::Digest(Digesting { of, inputs, journal, check }) })
            }
            Self::Compare(typed) => {
                if [&typed.one, &typed.other].iter().all(|path| path.as_os_str() == STANDARD) {
                    bail!("standard input can't be both images: give a file for one of them");
                }
                let inputs = [(typed.one, typed.journal_a), (typed.other, typed.journal_b)]
                    .map(|(path, journal)| Given { path, journal });
                let mut setting = typed.canonical.setting(variable, typed.quiet)?;
                setting.selection = typed.place.selection(typed.length);
                setting.around = typed.around.around();
                let telling = Telling { diff: typed.diff, html: typed.html };
                Ok(Subtask { setting, action: Action::Compare(inputs, telling) })
            }
            Self::Explain(typed) => {
                let mut setting = typed.canonical.setting(variable, false)?;
                setting.selection = typed.input.place.selection(typed.input.length);
                let examples = if typed.all { usize::MAX } else { typed.examples };
                Ok(Subtask { setting, action: Action::Explain(typed.input.given, examples) })
            }
            Self::Ls(typed) => {
                let mut setting = typed.canonical.setting(variable, false)?.for_the_tree();
                setting.selection = typed.input.place.selection(typed.input.length);
                Ok(Subtask { setting, action: Action::Ls(typed.input.given, typed.digests) })
            }
            Self::Cat(typed) => {
                let CommonArgs { threads, json, ignore_error_state } = typed.common;
                let options = Options { ignore_error_state, ..Options::default() };
                let selection = typed.input.place.selection(typed.input.length);
                let around = Around::default();
                let setting =
                    Setting { options, threads, json, quiet: true, selection, around }.for_the_tree();
                Ok(Subtask { setting, action: Action::Cat(typed.input.given, typed.file) })
            }
        }
    }
}

impl CanonicalArgs {
    fn setting(self, variable: Option<&OsStr>, quiet: bool) -> Result<Setting> {
        let CommonArgs { ignore_error_state, threads, json } = self.common;
        let options = self.policy.options(variable, ignore_error_state)?;
        let (selection, around) = (Selection::default(), Around::default());
        Ok(Setting { options, threads, json, quiet, selection, around })
    }
}
