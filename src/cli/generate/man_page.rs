//! The man page.

use anyhow::Result;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::patch::replaced;
use crate::cli::args::{EPOCH_VARIABLE, command};
use crate::cli::exit_code::ExitCode;
use crate::cli::help::{ENVIRONMENT, EXAMPLES, EXIT_NOTE, FILES, USAGES};

/// The date of the last review of the man page.
const PAGE_DATE: &str = "2026-11-27";

/// Returns the man page.
///
/// # Errors
///
/// An internal error if the generated text lacks something that is corrected here.
pub fn text() -> Result<String> {
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
    rest(&mut text)?;
    let text = String::from_utf8(text).expect("names, descriptions and what stands here are UTF-8");
    // A break before a paragraph has no effect, and formatters warn about it.
    replaced(&text, "\n.br\n\n.br\n", "\n.sp\n")
}

/// Appends the subcommands with their options.
fn subcommands(text: &mut Vec<u8>) -> Result<()> {
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
        let options = String::from_utf8(options).expect("names and descriptions are UTF-8");
        // Remove the heading of the options, since the subcommand has one.
        text.extend(replaced(&options, ".SH OPTIONS\n", "")?.bytes());
    }
    Ok(())
}

/// Appends the sections after the options.
fn rest(text: &mut Vec<u8>) -> Result<()> {
    let mut page = Roff::new();
    page.control("SH", ["EXIT STATUS"]);
    for code in ExitCode::ALL {
        page.control("TP", ["4"]).text([bold(code.number().to_string())]).text([roman(code.meaning())]);
    }
    page.control("PP", []).text([roman(EXIT_NOTE)]);
    page.control("SH", ["ENVIRONMENT"]);
    page.control("TP", []).text([bold(EPOCH_VARIABLE)]).text([roman(ENVIRONMENT)]);
    page.control("SH", ["FILES"]).text([roman(FILES)]);
    page.control("SH", ["EXAMPLES"]);
    for (example, what) in EXAMPLES {
        page.control("TP", []).text([bold(example)]).text([roman(what)]);
    }
    page.control("SH", ["SEE ALSO"]).text([roman("mke2fs(8), e2fsck(8), debugfs(8), ext4(5)")]);
    page.to_writer(text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_man_page_has_every_option_and_exit_code() {
        let page = text().unwrap();
        for option in command().get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(long) = option.get_long() {
                assert!(page.contains(&long.replace('-', "\\-")), "{long} is not in the man page");
            }
        }
        for code in ExitCode::ALL {
            let number = code.number();
            assert!(page.contains(&format!("\\fB{number}\\fR")), "exit code {number}");
        }
        assert!(page.contains("SOURCE_DATE_EPOCH"));
    }
}
