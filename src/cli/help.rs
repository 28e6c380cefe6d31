//! Provides the texts of `--help` and the man page that don't belong to a single option. The texts of the
//! options are in `args`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use ext4_canon::FORM_VERSION;

use super::exit_code::ExitCode;

/// The maximum length, without indentation, of wrapped lines after the options in `--help`. Such lines fit on
/// a narrow terminal.
const WIDTH: usize = 70;

/// The first paragraph of `--help`.
pub const LONG_ABOUT: &str = "\
Rewrites an ext2, ext3 or ext4 image as the canonical image of the same file tree. Two images with equal \
trees and the same geometry become the same bytes, however they were made. IN is only read. OUT is a sparse \
image of the same size, unless --size is given. It appears when it is complete.";

/// All forms of the command line.
pub const USAGES: [&str; 8] = [
    "ext4-canon [OPTIONS] IN OUT",
    "ext4-canon [OPTIONS] --in-place IN",
    "ext4-canon [OPTIONS] --check IN",
    "ext4-canon digest [OPTIONS] IN...",
    "ext4-canon compare [OPTIONS] A B",
    "ext4-canon explain [OPTIONS] IN",
    "ext4-canon ls [OPTIONS] IN [PATH]",
    "ext4-canon cat [OPTIONS] IN PATH",
];

/// The state of OUT after each exit code.
pub const EXIT_NOTE: &str =
    "If the code is not 0, OUT did not change, unless only printing the report failed.";

/// Example commands, each with a description.
pub const EXAMPLES: [(&str, &str); 3] = [
    ("ext4-canon rootfs.img canonical.img", "rewrite an image"),
    ("SOURCE_DATE_EPOCH=1700000000 ext4-canon --in-place --verify rootfs.img", "as the last step of a build"),
    ("ext4-canon --check canonical.img && echo canonical", "check whether an image is canonical"),
];

/// The description of the SOURCE_DATE_EPOCH variable.
pub const ENVIRONMENT: &str =
    "Used if --source-date-epoch is not given. No other variable affects the output.";

/// The description of temporary files and links.
pub const FILES: &str = "\
The output is written in the directory of its final name. If the filesystem supports it, the file has no name \
until it is complete. Otherwise, and while it replaces another file, its name is .ext4-canon-*.tmp. Such a file \
can be removed if a crash or SIGKILL left it. If OUT is a symbolic link, its target is replaced. Other hard \
links to that file keep the old content.";

/// Returns the version of the program and the version of the canonical form. The output depends on both.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} (canonical form {FORM_VERSION})", env!("CARGO_PKG_VERSION")));
    &VERSION
}

/// Returns the text after `Usage:`, one usage per line.
pub fn usage() -> String {
    USAGES.join("\n       ")
}

/// Returns the text after the options in `--help`.
pub fn after() -> &'static str {
    static AFTER: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::from("Exit codes:\n");
        for code in ExitCode::ALL {
            // Writing to a string can't fail.
            let _ = writeln!(text, "  {:>2}  {}", code.number(), wrapped(code.meaning(), WIDTH, "      "));
        }
        let _ = write!(text, "{}\n\nExamples:\n", wrapped(EXIT_NOTE, WIDTH, ""));
        for (example, what) in EXAMPLES {
            let _ = writeln!(text, "  {example}\n      {what}");
        }
        text
    });
    &AFTER
}

/// Breaks text into lines of at most `width` characters. Indents all lines except the first.
pub fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join(&format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_form() {
        assert_eq!(version(), format!("{} (canonical form 1)", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_help_has_every_exit_code() {
        for code in ExitCode::ALL {
            let line = format!("{}  {}", code.number(), wrapped(code.meaning(), WIDTH, "      "));
            assert!(after().contains(&line), "{line}");
        }
    }
}
