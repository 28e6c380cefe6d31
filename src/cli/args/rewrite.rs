//! Rewrites command lines that the parser would misunderstand: options before a command, and command names of
//! other programs.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::Command;

/// Words that users are likely to try, and the command lines that they probably mean.
const OTHER_WORDS: [(&str, &str); 13] = [
    ("canonicalise", "ext4-canon IN OUT"),
    ("canonicalize", "ext4-canon IN OUT"),
    ("check", "ext4-canon --check IN"),
    ("cmp", "ext4-canon compare A B"),
    ("diff", "ext4-canon compare A B"),
    ("hash", "ext4-canon digest IN"),
    ("help", "ext4-canon --help"),
    ("list", "ext4-canon ls IN"),
    ("sha256", "ext4-canon digest IN"),
    ("sha256sum", "ext4-canon digest IN"),
    ("tree", "ext4-canon ls IN"),
    ("verify", "ext4-canon --verify IN OUT"),
    ("why", "ext4-canon explain IN"),
];

/// Moves the name of a command to the front, and turns `help` into `--help`.
///
/// The first argument is the name of the program. For a file with the name of a command, the user must type
/// `./name`.
pub fn reordered(command: &Command, mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first == "help") {
        let is_known = |name: &OsString| command.get_subcommands().any(|known| name == known.get_name());
        if arguments.get(2).is_none_or(is_known) {
            arguments.remove(1);
            arguments.truncate(2);
            arguments.push("--help".into());
        }
        return arguments;
    }
    if let Some(place) = command_place(command, &arguments) {
        let name = arguments.remove(place);
        arguments.insert(1, name);
    }
    arguments
}

/// Returns the index of a command name that comes after options. The values of options don't count as names.
fn command_place(command: &Command, arguments: &[OsString]) -> Option<usize> {
    let is_command = |word: &OsStr| command.get_subcommands().any(|known| word == known.get_name());
    let mut place = 1;
    while let Some(word) = arguments.get(place) {
        if is_command(word) {
            return Some(place);
        }
        let text = word.to_str().filter(|text| text.starts_with('-') && *text != "-" && *text != "--")?;
        place += if takes_next(command, text) { 2 } else { 1 };
    }
    None
}

/// Returns whether the value of an option is the next argument.
fn takes_next(command: &Command, option: &str) -> bool {
    let name = option.trim_start_matches('-');
    let options = command.get_arguments().chain(command.get_subcommands().flat_map(Command::get_arguments));
    let mut named = options.filter(|known| match option.strip_prefix("--") {
        Some(long) => known.get_long() == Some(long),
        None => known.get_short().is_some_and(|short| name.ends_with(short)),
    });
    named.any(|known| known.get_action().takes_values())
}

/// Returns the command line that was probably meant, if the first of several arguments is one of the words in
/// the table, and no file has this name.
pub fn meant(arguments: &[OsString]) -> Option<&'static str> {
    let first = arguments.get(1)?;
    let (_, meant) = OTHER_WORDS.iter().find(|(word, _)| first == word)?;
    (arguments.len() > 2 && !Path::new(first).exists()).then_some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parser::command;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn commands_may_follow_options() {
        for (typed, expected) in [
            ("x -q compare a b", "x compare -q a b"),
            ("x --threads 2 --json digest a", "x digest --threads 2 --json a"),
            ("x --threads=2 ls a", "x ls --threads=2 a"),
            ("x compare a b", "x compare a b"),
            ("x a compare", "x a compare"),
            ("x -- compare a", "x -- compare a"),
            ("x - compare", "x - compare"),
            ("x --label ls a b", "x --label ls a b"),
            ("x ./compare a", "x ./compare a"),
            ("x help compare", "x compare --help"),
            ("x help", "x --help"),
            ("x help unknown", "x help unknown"),
        ] {
            assert_eq!(reordered(&command(), words(typed)), words(expected), "{typed}");
        }
    }

    #[test]
    fn words_of_other_programs_are_known() {
        assert_eq!(meant(&words("x check a.img")), Some("ext4-canon --check IN"));
        assert_eq!(meant(&words("x help unknown")), Some("ext4-canon --help"));
        assert_eq!(meant(&words("x check")), None);
        assert_eq!(meant(&words("x a.img b.img")), None);
    }
}
