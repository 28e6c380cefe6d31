//! `--generate`: generates the man page, the same page in Markdown, and completions from the parser.

mod completions;
mod man_page;
mod markdown;
mod page;
mod patch;

use std::path::Path;

use anyhow::Result;

use super::args::Generate;
use super::console;
use super::exit_code::ExitCode;
use super::failure::{self, About as _, Message};

/// Prints the generated text.
pub fn run(what: Generate) -> ExitCode {
    let printed = text(what)
        .about(Path::new(env!("CARGO_PKG_NAME")))
        .and_then(|text| console::print(text.as_bytes()).about(Path::new(console::STANDARD_OUTPUT)));
    match printed {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            console::error(&Message::of(&error));
            failure::code(&error)
        }
    }
}

fn text(what: Generate) -> Result<String> {
    match what {
        Generate::Man => Ok(man_page::text(&page::page())),
        Generate::Markdown => Ok(markdown::text(&page::page())),
        Generate::Bash => completions::bash(),
        Generate::Zsh => completions::zsh(),
        Generate::Fish => completions::fish(),
    }
}
