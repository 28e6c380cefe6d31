//! What the command says of itself: the long help, the man page, completions.

use std::fmt::Write as _;
use std::io::{self, Write as _, stdout};
use std::sync::LazyLock;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use ext4_canon::FORM_VERSION;

use super::args::{Generate, command};
use super::failure::Code;

/// The first lines of `--help`.
pub const LONG_ABOUT: &str = "\
Rewrites an ext2, ext3 or ext4 image as the canonical image of the same file tree: two images \
that hold the same files, in a filesystem of the same geometry, become the same bytes, however \
they were made. IN is only read. The output is a fresh, sparse image of the same size, unless \
--size asks for another; it is \
complete or absent.";

/// When what the man page says was last looked through.
const PAGE_DATE: &str = "2026-11-27";

/// Every way to begin.
const USAGES: [&str; 8] = [
    "ext4-canon [OPTIONS] IN OUT",
    "ext4-canon [OPTIONS] --in-place IN",
    "ext4-canon [OPTIONS] --check IN",
    "ext4-canon digest [OPTIONS] IN...",
    "ext4-canon compare [OPTIONS] A B",
    "ext4-canon explain [OPTIONS] IN",
    "ext4-canon ls [OPTIONS] IN",
    "ext4-canon cat [OPTIONS] IN PATH",
];

/// Every way to end.
const EXIT_CODES: [(u8, &str); 7] = [
    (0, "done; with --check: IN is canonical; compare: A and B have one canonical form"),
    (
        Code::NotCanonical as u8,
        "--check says that IN is not canonical; digest --check, that a digest is another; compare, that A \
         and B differ",
    ),
    (
        Code::Usage as u8,
        "usage: wrong options, IN and OUT are one file, or a file of a kind that can't be IN or OUT \
         (directory, socket, device)",
    ),
    (
        Code::Unsupported as u8,
        "unsupported: not an ext2, ext3 or ext4 image, a feature that this version does not handle, or a \
         canonical form that does not fit into the image",
    ),
    (Code::Damaged as u8, "the image is damaged, or was not cleanly unmounted: run e2fsck first"),
    (Code::Io as u8, "a file can't be read or written, or IN was changed meanwhile"),
    (Code::Internal as u8, "internal error: a bug, please report it"),
];

const EXIT_NOTE: &str =
    "Where the code is not 0, OUT is as it was before, unless only printing the report failed.";

const EXAMPLES: [(&str, &str); 3] = [
    ("ext4-canon rootfs.img canonical.img", "rewrite an image"),
    ("SOURCE_DATE_EPOCH=1700000000 ext4-canon --in-place --verify rootfs.img", "as the last step of a build"),
    ("ext4-canon --check canonical.img && echo canonical", "see whether there is anything to do"),
];

const ENVIRONMENT: &str =
    "Used where --source-date-epoch is not given. No other variable has a say in the output.";

const FILES: &str = "\
The output is written beside its final name. It has no name until it is complete where the filesystem \
allows that; elsewhere, and for the moment in which it replaces another file, its name is .ext4-canon-*.tmp. \
If such a file is left after a crash or a SIGKILL, it can be removed. Where OUT is a symbolic link, the file \
that it points to is replaced; other hard links to that file keep the old one.";

/// The program's version, and that of the canonical form, on which the bytes depend.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} (canonical form {FORM_VERSION})", env!("CARGO_PKG_VERSION")));
    &VERSION
}

/// What follows `Usage:`, one below the other.
pub fn usage() -> String {
    USAGES.join("\n       ")
}

/// What follows the options in `--help`.
pub fn after() -> &'static str {
    static AFTER: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::from("Exit codes:\n");
        for (code, meaning) in EXIT_CODES {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  {code:>2}  {}", wrapped(meaning, "      "));
        }
        let _ = write!(text, "{}\n\nExamples:\n", wrapped(EXIT_NOTE, ""));
        for (example, what) in EXAMPLES {
            let _ = writeln!(text, "  {example}\n      {what}");
        }
        text
    });
    &AFTER
}

/// Breaks text into lines for a narrow terminal; all but the first are indented.
fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 70;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{indent}"))
}

/// Prints something generated; returns the exit code.
pub fn generate(what: Generate) -> u8 {
    let text = match what {
        Generate::Man => man_page().expect("memory takes all that is written"),
        Generate::Bash => completions(Shell::Bash),
        Generate::Zsh => completions(Shell::Zsh),
        Generate::Fish => completions(Shell::Fish),
    };
    match stdout().write_all(&text).and_then(|()| stdout().flush()) {
        Ok(()) => 0,
        Err(_) => Code::Io as u8,
    }
}

/// What the generator gets wrong in bash: options of subcommands, where the program's name has a hyphen.
const BASH: [(&str, &str); 1] = [("ext4__subcmd__canon", "ext4__canon")];

/// In fish: values of options in front of a subcommand, and options behind IN.
const FISH: [(&str, &str); 2] = [
    (
        "    argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd 2>/dev/null\n",
        "    argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd 2>/dev/null\n    \
         # The last option may still lack its value.\n    \
         or argparse -s (__fish_ext4_canon_global_optspecs) -- $cmd[1..-2] 2>/dev/null\n",
    ),
    ("    if set -q argv[1]\n", "    if contains -- \"$argv[1]\" digest compare explain ls cat\n"),
];

/// In zsh: subcommands are looked for behind IN and OUT, and not in the place of IN.
const ZSH: [(&str, &str); 2] = [
    (
        "\":: :_ext4-canon_commands\"",
        "': :_alternative \"files:image:_files\" \"commands:command:_ext4-canon_commands\"'",
    ),
    ("$line[3]", "$line[1]"),
];

fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "ext4-canon", &mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let mended: &[(&str, &str)] = match shell {
        Shell::Bash => &BASH,
        Shell::Fish => &FISH,
        Shell::Zsh => {
            text = without_subcommand(&text).unwrap_or(text);
            &ZSH
        }
        _ => &[],
    };
    for (wrong, right) in mended {
        text = text.replace(wrong, right);
    }
    text.into_bytes()
}

/// In zsh: takes IN and OUT away from in front of subcommands, and lets OUT and all options follow what is none.
fn without_subcommand(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("'::input")?;
    let (_, rest) = rest.split_once("\n'::output")?;
    let (output, rest) = rest.split_once('\n')?;
    let (inside, behind) = rest.split_once("        esac\n")?;
    let arguments = &before[before.find("    _arguments \"")?..];
    let other = format!("            (*)\n{arguments}'::output{output}\n&& ret=0\n;;\n");
    Some(format!("{before}{inside}{other}        esac\n{behind}"))
}

fn man_page() -> io::Result<Vec<u8>> {
    let man = Man::new(command());
    let mut text = Vec::new();
    let source = format!("ext4-canon {}", env!("CARGO_PKG_VERSION"));
    let mut title = Roff::new();
    title.control("TH", ["ext4-canon", "1", PAGE_DATE, &source, "User Commands"]);
    title.to_writer(&mut text)?;
    man.render_name_section(&mut text)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    for (index, usage) in USAGES.into_iter().enumerate() {
        if index > 0 {
            synopsis.control("br", []);
        }
        synopsis.text([bold(usage)]);
    }
    synopsis.to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    subcommands(&mut text)?;

    let mut page = Roff::new();
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        page.control("TP", ["4"]).text([bold(code.to_string())]).text([roman(meaning)]);
    }
    page.control("PP", []).text([roman(EXIT_NOTE)]);
    page.control("SH", ["ENVIRONMENT"]);
    page.control("TP", []).text([bold(super::args::EPOCH_VARIABLE)]).text([roman(ENVIRONMENT)]);
    page.control("SH", ["FILES"]).text([roman(FILES)]);
    page.control("SH", ["EXAMPLES"]);
    for (example, what) in EXAMPLES {
        page.control("TP", []).text([bold(example)]).text([roman(what)]);
    }
    page.control("SH", ["SEE ALSO"]).text([roman("mke2fs(8), e2fsck(8), debugfs(8), ext4(5)")]);
    page.to_writer(&mut text)?;
    // A break in front of a space is none; formatters complain of it.
    Ok(String::from_utf8_lossy(&text).replace("\n.br\n\n.br\n", "\n.sp\n").into_bytes())
}

/// The subcommands, each with its own options.
fn subcommands(text: &mut Vec<u8>) -> io::Result<()> {
    let parser = command();
    for sub in parser.get_subcommands() {
        let mut head = Roff::new();
        head.control("SH", [format!("ext4-canon {}", sub.get_name()).to_uppercase().as_str()]);
        head.text([roman(
            sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default(),
        )]);
        head.to_writer(text)?;
        let mut options = Vec::new();
        Man::new(sub.clone()).render_options_section(&mut options)?;
        // The section has its own heading, which is not wanted here.
        let body = String::from_utf8_lossy(&options).into_owned();
        let body: Vec<_> = body.lines().filter(|line| !line.starts_with(".SH")).collect();
        text.extend(body.join("\n").bytes());
        text.push(b'\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_form() {
        assert_eq!(version(), format!("{} (canonical form 1)", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_man_page_has_every_option_and_exit_code() {
        let page = String::from_utf8(man_page().unwrap()).unwrap();
        for option in command().get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(long) = option.get_long() {
                assert!(page.contains(&long.replace('-', "\\-")), "{long} is not in the man page");
            }
        }
        for (code, meaning) in EXIT_CODES {
            assert!(page.contains(&format!("\\fB{code}\\fR")), "exit code {code}");
            assert!(after().contains(&format!("{code}  {}", wrapped(meaning, "      "))));
        }
        assert!(page.contains("SOURCE_DATE_EPOCH"));
    }

    #[test]
    fn completions_know_the_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(completions(shell)).unwrap();
            assert!(text.contains("source-date-epoch") && text.contains("punch"), "{shell}");
        }
        let names: Vec<_> =
            command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let fish = String::from_utf8(completions(Shell::Fish)).unwrap();
        assert!(fish.contains(&format!("$argv[1]\" {}\n", names.join(" "))), "all that a subcommand can be");
    }
}
