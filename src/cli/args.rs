//! Arguments: as typed, then as validated.
//!
//! The options of the main job stand beside an optional subcommand (see [`super::subcommands`]). As
//! the first argument, its name wins over an image of the same name, which can still be given as
//! `./name`.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use ext4_canon::Options;
use ext4_canon::disk::{Around, Selection};
use ext4_canon::policy::{HolePolicy, MtimePolicy, SizePolicy, UuidPolicy};
use uuid::Uuid;

use super::help;
use super::input::STANDARD;
use super::place::{AroundArgs, Format, Place, Size};
use super::subcommands::{Subcommand, Subtask};

/// The only environment variable that has a say in the output.
pub const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// More threads than any machine has: a number beyond is a slip of the keyboard.
const MOST_THREADS: usize = 4096;

/// The command line as typed.
#[derive(Debug, Parser)]
#[command(
    name = "ext4-canon",
    version = help::version(),
    about = "Rewrites an ext2, ext3 or ext4 image as the canonical image of the same file tree",
    long_about = help::LONG_ABOUT,
    override_usage = help::usage(),
    after_long_help = help::after(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
struct Typed {
    #[command(subcommand)]
    subcommand: Option<Subcommand>,

    #[command(flatten)]
    canonicalize: Canonicalize,
}

#[derive(Args, Debug)]
struct Canonicalize {
    /// The image of a filesystem or of a disk with partitions: a file or a block device; also a pipe (- is standard
    /// input) or an Android sparse image, of which a copy is stored in TMPDIR. It is never written to
    #[arg(value_name = "IN", required_unless_present = "generate")]
    input: Option<PathBuf>,

    /// The canonical image; it is replaced if it exists, and appears only when it is complete. - is standard
    /// output, which is written in order: what was sent there is worth nothing if the exit code is not 0
    #[arg(value_name = "OUT", required_unless_present_any = ["check", "in_place", "generate"])]
    output: Option<PathBuf>,

    /// Write nothing; say whether IN is canonical already (with these options), and where it is not
    #[arg(long, conflicts_with_all = ["output", "in_place", "verify"])]
    check: bool,

    /// Replace IN by its canonical form, when that is complete
    #[arg(long, conflicts_with = "output")]
    in_place: bool,

    #[command(flatten)]
    policy: Policy,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    size: Size,

    #[command(flatten)]
    around: AroundArgs,

    /// The device of an external journal, to recover IN from; it is never written to
    #[arg(long, value_name = "DEVICE")]
    journal: Option<PathBuf>,

    /// Take an image although its superblock or journal says that errors were found; everything that
    /// carries content is checked all the same
    #[arg(long)]
    ignore_error_state: bool,

    /// Read the output again before it gets its name, and compare its tree with that of IN
    #[arg(long)]
    verify: bool,

    /// The format of OUT
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,

    /// Also write a bmap file (version 2.0) for OUT, with which flashing tools leave out the free blocks of filesystems
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    bmap: Option<PathBuf>,

    /// Do not wait until the output is safe on its disk: faster, but after a power cut it may be there
    /// without its content
    #[arg(long, conflicts_with_all = ["in_place", "check"])]
    no_sync: bool,

    /// How many threads to use; the output does not depend on it [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,

    /// Print a report in JSON to standard output, also of a failure
    #[arg(long)]
    json: bool,

    /// Print errors only
    #[arg(short, long)]
    quiet: bool,

    /// Print all counts, and what was not changed
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Print the man page or a completion script
    #[arg(long, value_enum, exclusive = true, hide = true)]
    generate: Option<Generate>,
}

/// What the output is to be, which also says which images are equal.
#[derive(Args, Debug)]
pub struct Policy {
    /// The UUID of the output: content (one derived from the content), keep (that of IN), or a UUID
    #[arg(long, value_name = "content|keep|UUID", value_parser = uuid_policy, default_value = "content")]
    uuid: UuidPolicy,

    /// The time of what has no time of its own, and the latest of any, in seconds since 1970
    /// [default: the environment variable SOURCE_DATE_EPOCH, if set and not empty]
    #[arg(long, value_name = "SECONDS", value_parser = epoch, allow_negative_numbers = true)]
    source_date_epoch: Option<i64>,

    /// What happens to the times of files [default: clamp if there is an epoch, else keep]
    #[arg(long, value_enum)]
    mtime: Option<Mtime>,

    /// A new label, of at most 16 bytes; an empty one removes it
    #[arg(long)]
    label: Option<OsString>,

    /// What happens to blocks of zeros in files
    #[arg(long, value_enum, default_value_t = Holes::Punch)]
    holes: Holes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mtime {
    /// No time is later than the epoch, and the root directory's is the epoch
    Clamp,
    /// Times stay as they are
    Keep,
    /// Every time is the epoch
    Set,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Holes {
    /// They become holes
    Punch,
    /// They stay allocated where IN has them allocated
    Keep,
}

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

/// Parses a command line; `variable` is the value of [`EPOCH_VARIABLE`].
///
/// # Errors
///
/// In clap's form, which also holds what `--help` and `--version` print.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: Option<OsString>,
) -> Result<Command, clap::Error> {
    let typed = command().try_get_matches_from(arguments).and_then(|m| Typed::from_arg_matches(&m))?;
    let validated = match typed.subcommand {
        Some(subcommand) => subcommand.validate(variable.as_deref()).map(Command::Sub),
        None => typed.canonicalize.validate(variable),
    };
    validated.map_err(|error| command().error(ErrorKind::ValueValidation, format!("{error:#}")))
}

/// The parser itself, from which documentation is generated.
pub fn command() -> clap::Command {
    Typed::command()
}

impl Canonicalize {
    fn validate(self, variable: Option<OsString>) -> Result<Command> {
        if let Some(what) = self.generate {
            return Ok(Command::Generate(what));
        }
        let mut options = self.policy.options(variable.as_deref(), self.ignore_error_state)?;
        let (selection, size) = self.place.with_size(&self.size)?;
        options.size = size;
        let input = self.input.context("IN is missing")?;
        let is_standard = |path: &PathBuf| path.as_os_str() == STANDARD;
        if self.in_place && is_standard(&input) {
            bail!("standard input can't be replaced: leave --in-place out, and give OUT");
        }
        if self.verify && self.output.as_ref().is_some_and(is_standard) {
            bail!("a pipe can't be read again: leave --verify out, or write to a file");
        }
        if self.bmap.is_some() && self.output.as_ref().is_some_and(is_standard) {
            bail!("a pipe can't be read again: leave --bmap out, or write to a file");
        }
        let is_streamed = self.output.as_ref().is_some_and(is_standard);
        if self.format == Format::Sparse
            && (is_streamed || self.check || self.in_place || self.bmap.is_some())
        {
            bail!("an Android sparse image is written to a file: give OUT, and leave --bmap out");
        }
        let task = if self.check {
            Task::Check
        } else {
            // clap has seen to it that `output` is there unless `--in-place` is.
            Task::Write { output: self.output, verify: self.verify, sync: !self.no_sync }
        };
        let voice = match (self.quiet, self.verbose) {
            (true, _) => Voice::Quiet,
            (_, true) => Voice::Verbose,
            _ => Voice::Normal,
        };
        Ok(Command::Canonicalize(Job {
            input,
            journal: self.journal,
            selection,
            around: self.around.around(),
            format: self.format,
            bmap: self.bmap,
            task,
            options,
            threads: self.threads,
            voice,
            json: self.json,
        }))
    }
}

impl Policy {
    /// The library's options; `variable` is the value of [`EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// In words, where no image could have them.
    pub fn options(self, variable: Option<&OsStr>, ignore_error_state: bool) -> Result<Options> {
        let epoch = match self.source_date_epoch {
            Some(epoch) => Some(epoch),
            None => epoch_variable(variable)?,
        };
        let options = Options {
            uuid: self.uuid,
            epoch,
            mtime: match self.mtime {
                None => MtimePolicy::Auto,
                Some(Mtime::Clamp) => MtimePolicy::Clamp,
                Some(Mtime::Keep) => MtimePolicy::Keep,
                Some(Mtime::Set) => MtimePolicy::Set,
            },
            label: self.label.map(OsString::into_vec),
            holes: match self.holes {
                Holes::Punch => HolePolicy::Punch,
                Holes::Keep => HolePolicy::Keep,
            },
            ignore_error_state,
            size: SizePolicy::default(),
        };
        // What no image could hold is better said before one is read.
        options.check(true)?;
        Ok(options)
    }
}

/// An empty variable counts as unset, as build tools have it.
fn epoch_variable(variable: Option<&OsStr>) -> Result<Option<i64>> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else { return Ok(None) };
    let parsed = str::from_utf8(value.as_bytes()).ok().context("not a number").and_then(epoch);
    parsed.map(Some).with_context(|| {
        format!("invalid value '{}' of the environment variable {EPOCH_VARIABLE}", value.display())
    })
}

fn epoch(text: &str) -> Result<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(is_number, "expected a number of seconds since 1970");
    text.parse().ok().context("that is too far from 1970")
}

fn uuid_policy(text: &str) -> Result<UuidPolicy> {
    match text {
        "content" => Ok(UuidPolicy::Content),
        "keep" => Ok(UuidPolicy::Keep),
        // The parser knows other notations too; one is enough, and is what other tools print.
        _ if text.len() == 36 => Ok(UuidPolicy::Given(Uuid::try_parse(text)?.into_bytes())),
        _ => bail!("expected content, keep, or a UUID like 01234567-89ab-cdef-0123-456789abcdef"),
    }
}

/// A number of threads.
///
/// # Errors
///
/// In words, for one that no machine has.
pub fn threads(text: &str) -> Result<NonZeroUsize> {
    text.parse()
        .ok()
        .filter(|number: &NonZeroUsize| number.get() <= MOST_THREADS)
        .with_context(|| format!("expected a number from 1 to {MOST_THREADS}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parsed(words: &[&str], variable: Option<&str>) -> Result<Command, clap::Error> {
        let words = ["ext4-canon"].iter().chain(words).map(OsString::from);
        parse(words, variable.map(OsString::from))
    }

    fn job(words: &[&str]) -> Job {
        match parsed(words, None) {
            Ok(Command::Canonicalize(job)) => job,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn epoch_of(words: &[&str], variable: &str) -> Result<Option<i64>, clap::Error> {
        match parsed(words, Some(variable))? {
            Command::Canonicalize(job) => Ok(job.options.epoch),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let job = job(&["a", "b"]);
        assert_eq!(job.options, Options::default());
        assert_eq!(job.input, Path::new("a"));
        assert_eq!(job.task, Task::Write { output: Some("b".into()), verify: false, sync: true });
        assert_eq!((job.threads, job.voice, job.json), (None, Voice::Normal, false));
    }

    #[test]
    fn every_option_arrives() {
        let uuid = "01234567-89ab-cdef-0123-456789ABCDEF";
        let words = ["--uuid", uuid, "--source-date-epoch", "-12", "--mtime", "set", "--label", "root"];
        let more = ["--holes", "keep", "--threads", "3", "--verify", "--no-sync", "--json", "-q", "a", "b"];
        let job = job(&[&words[..], &more[..]].concat());
        let uuid = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
        assert_eq!(job.options.uuid, UuidPolicy::Given(uuid));
        assert_eq!(job.options.epoch, Some(-12));
        assert_eq!(job.options.mtime, MtimePolicy::Set);
        assert_eq!(job.options.label.as_deref(), Some(&b"root"[..]));
        assert_eq!(job.options.holes, HolePolicy::Keep);
        assert_eq!(job.threads, NonZeroUsize::new(3));
        assert_eq!((job.voice, job.json), (Voice::Quiet, true));
        assert_eq!(job.task, Task::Write { output: Some("b".into()), verify: true, sync: false });
    }

    #[test]
    fn one_file_is_enough_to_check_or_rewrite_in_place() {
        assert_eq!(job(&["--check", "a"]).task, Task::Check);
        assert_eq!(job(&["--in-place", "a"]).task, Task::Write { output: None, verify: false, sync: true });
        assert_eq!(
            job(&["a", "--in-place", "--verify"]).task,
            Task::Write { output: None, verify: true, sync: true }
        );
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for words in [
            &[][..],
            &["a"],
            &["a", "b", "c"],
            &["a", ""],
            &["--verify", "a", "-"],
            &["--in-place", "-"],
            &["--check", "a", "b"],
            &["--check", "--verify", "a"],
            &["--in-place", "--no-sync", "a"],
            &["--check", "--in-place", "a"],
            &["--in-place", "a", "b"],
            &["-q", "-v", "a", "b"],
            &["--threads", "0", "a", "b"],
            &["--threads", "5000", "a", "b"],
            &["--uuid", "random", "a", "b"],
            &["--uuid", "0123456789abcdef0123456789abcdef", "a", "b"],
            &["--uuid", "01234567-89ab-cdef-0123-456789abcdeg", "a", "b"],
            &["--label", "seventeen letters", "a", "b"],
            &["--mtime", "set", "a", "b"],
            &["--mtime", "clamp", "a", "b"],
            &["--source-date-epoch", "+1", "a", "b"],
            &["--source-date-epoch", "1e9", "a", "b"],
            &["--source-date-epoch", "99999999999999999999", "a", "b"],
            &["--source-date-epoch", "999999999999", "a", "b"],
            &["--generate", "man", "a"],
            &["--size", "1 MiB", "a", "b"],
            &["--size", "min", "--offset", "512", "a", "b"],
            &["--size", "1M", "--partition", "1", "a", "b"],
            &["compare", "--size", "1M", "a", "b"],
            &["digest", "--tree", "--size", "1M", "a"],
            &["--frobnicate", "a", "b"],
        ] {
            match parsed(words, None) {
                Err(error) => assert_eq!(error.exit_code(), 2, "{words:?}"),
                Ok(command) => panic!("{words:?}: {command:?}"),
            }
        }
    }

    #[test]
    fn the_variable_gives_the_epoch_unless_the_option_does() {
        assert_eq!(epoch_of(&["a", "b"], "1700000000").unwrap(), Some(1_700_000_000));
        assert_eq!(epoch_of(&["a", "b"], "").unwrap(), None);
        assert_eq!(epoch_of(&["--source-date-epoch", "5", "a", "b"], "7").unwrap(), Some(5));
        for bad in ["today", " 5", "5 ", "1.5", "99999999999999999999", "-"] {
            let error = epoch_of(&["a", "b"], bad).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(EPOCH_VARIABLE), "{error}");
        }
        let not_text = OsString::from_vec(vec![0xff]);
        assert!(epoch_variable(Some(&not_text)).is_err());
    }

    #[test]
    fn labels_are_bytes() {
        let words = [&b"ext4-canon"[..], b"--label", b"\xff\xfe", b"a", b"b"];
        let words = words.map(|word| OsString::from_vec(word.to_vec()));
        match parse(words, None) {
            Ok(Command::Canonicalize(job)) => assert_eq!(job.options.label, Some(vec![0xff, 0xfe])),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_subcommand_is_known_by_its_name_as_first_argument() {
        let name = |words: &[&str]| match parsed(words, None) {
            Ok(Command::Sub(task)) => task.name(),
            Ok(Command::Canonicalize(job)) => job.input.display().to_string().leak(),
            other => panic!("{words:?}: {other:?}"),
        };
        assert_eq!(name(&["digest", "a"]), "digest");
        assert_eq!(name(&["./digest", "b"]), "./digest");
        // Behind an option of the main job, or another argument, a name is an image.
        assert_eq!(name(&["--json", "digest", "a"]), "digest");
        assert!(matches!(parsed(&["--json", "digest", "a"], None), Ok(Command::Canonicalize(_))));
        assert_eq!(
            job(&["a", "digest"]).task,
            Task::Write { output: Some("digest".into()), verify: false, sync: true }
        );
        assert_eq!(name(&["help", "b"]), "help");
    }
}
