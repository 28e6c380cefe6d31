//! Parses the command line.
//!
//! The main command and all subcommands (see [`super::subcommands`]) share one parser. If the first argument
//! that is not an option is the name of a subcommand, it selects the subcommand. For an image with such a
//! name, the user must type `./name`.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use super::canonicalize::CanonicalizeArgs;
use super::rewrite::{meant, reordered};
use super::subcommands::Subcommand;
use super::task::Invocation;
use super::tips::with_tip;
use crate::cli::help;

/// The command line, as typed.
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
    canonicalize: CanonicalizeArgs,
}

/// Parses a command line. `variable` is the value of [`super::policy::EPOCH_VARIABLE`].
///
/// # Errors
///
/// An error of clap. `--help` and `--version` also return their texts as errors.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variable: Option<OsString>,
) -> Result<Invocation, clap::Error> {
    // Build the parser only once: building takes about a tenth of the time for a small image.
    let mut parser = command();
    let arguments = reordered(&parser, arguments.into_iter().collect());
    if let Some(meant) = meant(&arguments) {
        let word = arguments[1].display();
        let words =
            format!("there is no file '{word}', and no command of this name; did you mean '{meant}'?");
        return Err(parser.error(ErrorKind::InvalidSubcommand, words));
    }
    let first = arguments.get(1).cloned();
    let parsed = parser.try_get_matches_from_mut(arguments);
    let typed = parsed.and_then(|found| Typed::from_arg_matches(&found)).map_err(|error| {
        let subcommand = first.and_then(|first| parser.find_subcommand(first));
        let name = subcommand.map(|subcommand| subcommand.get_name().to_owned());
        with_tip(error, &mut parser, name.as_deref())
    })?;
    let validated = match typed.subcommand {
        Some(subcommand) => {
            subcommand.validate(variable.as_deref()).map(|task| Invocation::Run(Box::new(task)))
        }
        None => typed.canonicalize.validate(variable.as_deref()),
    };
    validated.map_err(|error| command().error(ErrorKind::ValueValidation, format!("{error:#}")))
}

/// Returns clap's definition of the parser, from which documentation is generated.
pub fn command() -> clap::Command {
    Typed::command()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::os::unix::ffi::OsStringExt as _;
    use std::path::Path;

    use ext4_canon::{HardLinkPolicy, HolePolicy, MtimePolicy, Options, UuidPolicy};

    use super::*;
    use crate::cli::args::{
        CanonicalizeTask, Command, EPOCH_VARIABLE, ImageFiles, Settings, Task, Verbosity,
    };
    use crate::cli::format::Format;

    fn parsed(words: &[&str], variable: Option<&str>) -> Result<Invocation, clap::Error> {
        let words = ["ext4-canon"].iter().chain(words).map(OsString::from);
        parse(words, variable.map(OsString::from))
    }

    fn task(words: &[&str]) -> Task {
        match parsed(words, None) {
            Ok(Invocation::Run(task)) => *task,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    fn canonicalize(words: &[&str]) -> CanonicalizeTask {
        match task(words).command {
            Command::Canonicalize(task) => task,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    /// Returns the task for an input and an output without options.
    fn plain(output: Option<&str>) -> CanonicalizeTask {
        CanonicalizeTask {
            input: ImageFiles { path: "a".into(), journal: None },
            output: output.map(Into::into),
            verify: false,
            sync: true,
            format: Format::Raw,
            bmap: None,
        }
    }

    fn epoch_of(words: &[&str], variable: &str) -> Result<Option<i64>, clap::Error> {
        match parsed(words, Some(variable))? {
            Invocation::Run(task) => Ok(task.settings.options.epoch),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let settings = task(&["a", "b"]).settings;
        assert_eq!(settings.options, Options::default());
        assert_eq!(settings.verbosity, Verbosity::Normal);
        assert_eq!((settings.threads, settings.json, settings.progress), (None, false, true));
        assert_eq!(canonicalize(&["a", "b"]), plain(Some("b")));
    }

    #[test]
    fn every_option_arrives() {
        let uuid = "01234567-89ab-cdef-0123-456789ABCDEF";
        let words = ["--uuid", uuid, "--source-date-epoch", "-12", "--mtime", "set", "--label", "root"];
        let more = ["--holes", "keep", "--threads", "3", "--verify", "--no-sync", "--json", "-q", "a", "b"];
        let links = ["--hard-links", "merge"];
        let words = [&words[..], &links, &more[..]].concat();
        let Settings { options, threads, json, verbosity, progress, .. } = task(&words).settings;
        let uuid = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
        assert_eq!(options.uuid, UuidPolicy::Given(uuid));
        assert_eq!(options.epoch, Some(-12));
        assert_eq!(options.mtime, MtimePolicy::Set);
        assert_eq!(options.label.as_deref(), Some(&b"root"[..]));
        assert_eq!((options.holes, options.hard_links), (HolePolicy::Keep, HardLinkPolicy::Merge));
        assert_eq!(threads, NonZeroUsize::new(3));
        assert_eq!((verbosity, json, progress), (Verbosity::Quiet, true, false));
        let expected = CanonicalizeTask { verify: true, sync: false, ..plain(Some("b")) };
        assert_eq!(canonicalize(&words), expected);
    }

    #[test]
    fn one_file_is_enough_to_check_or_rewrite_in_place() {
        let checked = task(&["--check", "a"]).command;
        assert!(matches!(&checked, Command::Check(files) if *files == plain(None).input), "{checked:?}");
        assert_eq!(canonicalize(&["--in-place", "a"]), plain(None));
        let expected = CanonicalizeTask { verify: true, ..plain(None) };
        assert_eq!(canonicalize(&["a", "--in-place", "--verify"]), expected);
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
            &["--offset", "512", "--sector-size", "512", "a", "b"],
            &["--offset", "512", "--table", "canonical", "a", "b"],
            &["--offset", "512", "--zero-gaps", "a", "b"],
            &["explain", "--size", "1M", "a"],
            &["--rewrite-uuids", "--allow-stale-uuids", "a", "b"],
            &["compare", "--partition", "1", "--zero-gaps", "a", "b"],
            &["compare", "-q", "--diff", "a", "b"],
            &["digest", "--partition", "1", "--table", "canonical", "a"],
            &["ls", "--offset", "512", "--sector-size", "512", "a"],
            &["ls", "a", "/etc", "/usr"],
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
        assert!(parse(["ext4-canon", "a", "b"].map(OsString::from), Some(not_text)).is_err());
    }

    #[test]
    fn labels_are_bytes() {
        let words = [&b"ext4-canon"[..], b"--label", b"\xff\xfe", b"a", b"b"];
        let words = words.map(|word| OsString::from_vec(word.to_vec()));
        match parse(words, None) {
            Ok(Invocation::Run(task)) => assert_eq!(task.settings.options.label, Some(vec![0xff, 0xfe])),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_subcommand_is_known_by_its_name_as_first_argument() {
        assert_eq!(task(&["digest", "a"]).command.name(), "digest");
        assert_eq!(canonicalize(&["./digest", "b"]).input.path, Path::new("./digest"));
        // Options may precede the name of a subcommand. After the first image, such a name is an image.
        assert_eq!(task(&["--json", "digest", "a"]).command.name(), "digest");
        assert_eq!(canonicalize(&["a", "digest"]), plain(Some("digest")));
        assert_eq!(canonicalize(&["./help", "b"]).input.path, Path::new("./help"));
    }
}
