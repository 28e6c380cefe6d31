//! Completions for shells, with the faults of the generator mended.

use anyhow::Result;
use clap_complete::Shell;

use super::patch::{replaced, split};
use crate::cli::args::command;

/// The completions for bash.
///
/// # Errors
///
/// An internal error if the generator wrote something else than what is mended here.
pub fn bash() -> Result<String> {
    mend_bash(&generated(Shell::Bash))
}

/// The completions for fish.
///
/// # Errors
///
/// As for bash.
pub fn fish() -> Result<String> {
    let names: Vec<_> = command().get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    mend_fish(&generated(Shell::Fish), &names.join(" "))
}

/// The completions for zsh.
///
/// # Errors
///
/// As for bash.
pub fn zsh() -> Result<String> {
    mend_zsh(&generated(Shell::Zsh))
}

fn generated(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "ext4-canon", &mut text);
    String::from_utf8(text).expect("names and descriptions are UTF-8")
}

/// Options of subcommands get lost where the program's name has a hyphen.
fn mend_bash(text: &str) -> Result<String> {
    replaced(text, "ext4__subcmd__canon", "ext4__canon")
}

/// Values of options in front of a subcommand are not completed, nor options after IN.
fn mend_fish(text: &str, subcommands: &str) -> Result<String> {
    let parse = "    argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd 2>/dev/null\n";
    let parse_both = "    argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd 2>/dev/null\n    \
                      # The last option may still lack its value.\n    \
                      or argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd[1..-2] 2>/dev/null\n";
    let text = replaced(text, parse, parse_both)?;
    let is_subcommand = format!("    if contains -- \"$argv[1]\" {subcommands}\n");
    replaced(&text, "    if set -q argv[1]\n", &is_subcommand)
}

/// Subcommands are looked for after IN and OUT, and not in the place of IN.
fn mend_zsh(text: &str) -> Result<String> {
    let commands = "\":: :_ext4-canon_commands\"";
    let files_or_commands =
        "': :_alternative \"files:image:_files\" \"commands:command:_ext4-canon_commands\"'";
    let text = replaced(&without_subcommand(text)?, commands, files_or_commands)?;
    replaced(&text, "$line[3]", "$line[1]")
}

/// Takes IN and OUT away from in front of subcommands, and lets OUT and all options follow what is none.
fn without_subcommand(text: &str) -> Result<String> {
    let [before, rest] = split(text, "'::input")?;
    let [_, rest] = split(rest, "\n'::output")?;
    let [output, rest] = split(rest, "\n")?;
    let [inside, after] = split(rest, "        esac\n")?;
    let mark = "    _arguments \"";
    let [_, arguments] = split(before, mark)?;
    let other = format!("            (*)\n{mark}{arguments}'::output{output}\n&& ret=0\n;;\n");
    Ok(format!("{before}{inside}{other}        esac\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also that everything that is mended is there: else the text is an error.
    #[test]
    fn completions_know_the_options() {
        for text in [bash(), zsh(), fish()] {
            let text = text.unwrap();
            assert!(text.contains("source-date-epoch") && text.contains("punch"), "{text}");
        }
    }

    #[test]
    fn what_is_mended_has_to_be_there() {
        assert!(mend_bash("").is_err());
        let (parse, names) =
            ("    argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd 2>/dev/null\n", "a b");
        assert!(mend_fish(parse, names).is_err() && mend_fish("    if set -q argv[1]\n", names).is_err());
        let whole =
            "    _arguments \"\n'::input\n'::output\n        esac\n\":: :_ext4-canon_commands\"$line[3]";
        assert!(mend_zsh(whole).is_ok());
        let marks = ["_arguments", "'::input", "'::output", "esac\n", "_ext4-canon_commands", "$line[3]"];
        for mark in marks {
            assert!(mend_zsh(&whole.replace(mark, "")).is_err(), "{mark}");
        }
    }
}
