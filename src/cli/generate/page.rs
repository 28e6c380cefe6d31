//! Builds the reference page of the command line from the parser and the texts of `help`. It is printed as a
//! man page and as Markdown.

use clap::builder::Str;
use clap::{Arg, Command};

use crate::cli::args::{EPOCH_VARIABLE, command};
use crate::cli::exit_code::ExitCode;
use crate::cli::help::{ENVIRONMENT, EXAMPLES, EXIT_NOTE, FILES, USAGES};

/// A reference page of the command line.
#[derive(Debug)]
pub struct Page {
    /// The name of the program.
    pub name: String,
    /// A sentence that describes the program.
    pub about: String,
    /// The sections of the page, in order.
    pub sections: Vec<Section>,
}

/// A section of the reference page.
#[derive(Debug)]
pub struct Section {
    /// The title.
    pub title: String,
    /// The content.
    pub blocks: Vec<Block>,
}

/// A block of text in a section.
#[derive(Debug)]
pub enum Block {
    /// Running text.
    Paragraph(String),
    /// Command lines, one per line.
    Usages(Vec<&'static str>),
    /// A list of terms with descriptions.
    Terms(Vec<Term>),
}

/// A term with its description, for example an option.
#[derive(Debug)]
pub struct Term {
    /// The option or word that is described.
    pub head: Vec<Part>,
    /// The description.
    pub text: String,
    /// The possible values of an option, with their descriptions.
    pub values: Vec<(String, String)>,
}

/// A piece of the heading of an entry: words to type, a placeholder, or other text.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Words that are typed verbatim.
    Literal(String),
    /// The placeholder for a value.
    Value(String),
    /// Plain text.
    Plain(String),
}

/// Returns the reference page.
pub fn page() -> Page {
    let mut parser = command();
    // Only a built parser knows the number of values of each option.
    parser.build();
    let mut sections = vec![
        section("Synopsis", vec![Block::Usages(USAGES.to_vec())]),
        section("Description", paragraphs(&about(&parser))),
        section("Options", vec![Block::Terms(terms(&parser))]),
    ];
    sections.extend(parser.get_subcommands().map(subcommand));
    sections.extend(rest());
    let about = parser.get_about().map(ToString::to_string).unwrap_or_default();
    Page { name: parser.get_name().to_owned(), about, sections }
}

fn section(title: &str, blocks: Vec<Block>) -> Section {
    Section { title: title.to_owned(), blocks }
}

/// Returns the sections after the options.
fn rest() -> [Section; 5] {
    let term = |word: &str, text: &str| Term {
        head: vec![Part::Literal(word.to_owned())],
        text: text.to_owned(),
        values: Vec::new(),
    };
    let codes = ExitCode::ALL.map(|code| term(&code.number().to_string(), code.meaning()));
    let examples = EXAMPLES.map(|(example, what)| term(example, what));
    [
        section("Exit status", vec![Block::Terms(codes.into()), Block::Paragraph(EXIT_NOTE.to_owned())]),
        section("Environment", vec![Block::Terms(vec![term(EPOCH_VARIABLE, ENVIRONMENT)])]),
        section("Files", paragraphs(FILES)),
        section("Examples", vec![Block::Terms(examples.into())]),
        section("See also", paragraphs("mke2fs(8), e2fsck(8), debugfs(8), ext4(5)")),
    ]
}

fn subcommand(sub: &Command) -> Section {
    let title = format!("ext4-canon {}", sub.get_name());
    let usages = USAGES.into_iter().filter(|usage| usage.starts_with(&format!("{title} "))).collect();
    let mut blocks = vec![Block::Usages(usages)];
    blocks.extend(paragraphs(&about(sub)));
    blocks.push(Block::Terms(terms(sub)));
    Section { title, blocks }
}

/// Returns the description of a command: the long description if there is one, otherwise the short one.
fn about(command: &Command) -> String {
    command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default()
}

fn paragraphs(text: &str) -> Vec<Block> {
    text.split("\n\n").map(|paragraph| Block::Paragraph(paragraph.replace('\n', " "))).collect()
}

/// Returns the terms for a command: first its positional arguments, then its options.
fn terms(command: &Command) -> Vec<Term> {
    let options = command.get_arguments().filter(|argument| !argument.is_positional());
    let shown = command.get_positionals().chain(options).filter(|argument| !argument.is_hide_set());
    shown.map(term).collect()
}

fn term(argument: &Arg) -> Term {
    let help = argument.get_long_help().or(argument.get_help());
    let values = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
    let values = values.map(|value| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        (value.get_name().to_owned(), help)
    });
    let is_flag = !argument.get_action().takes_values();
    Term {
        head: head(argument),
        text: help.map(ToString::to_string).unwrap_or_default().replace('\n', " "),
        values: if is_flag { Vec::new() } else { values.collect() },
    }
}

/// Returns the head of the term for an argument: its names, the name of its value, and its default.
fn head(argument: &Arg) -> Vec<Part> {
    let mut head = Vec::new();
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    for name in short.into_iter().chain(long) {
        if !head.is_empty() {
            head.push(Part::Plain(", ".to_owned()));
        }
        head.push(Part::Literal(name));
    }
    if argument.get_action().takes_values() {
        let names = argument.get_value_names().unwrap_or_default();
        let names: Vec<_> = names.iter().map(Str::as_str).collect();
        let names = names.join(" ");
        head.push(Part::Value(if argument.is_positional() { names } else { format!("<{names}>") }));
        let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let defaults: Vec<_> = defaults.collect();
        if !defaults.is_empty() {
            head.push(Part::Plain(format!(" [default: {}]", defaults.join(","))));
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the heads of the terms in all lists.
    fn words(page: &Page) -> Vec<String> {
        let blocks = page.sections.iter().flat_map(|section| &section.blocks);
        let terms = blocks.filter_map(|block| match block {
            Block::Terms(terms) => Some(terms),
            _ => None,
        });
        let parts = terms.flatten().flat_map(|term| &term.head);
        let words = parts.filter_map(|part| match part {
            Part::Literal(word) | Part::Value(word) => Some(word.clone()),
            Part::Plain(_) => None,
        });
        words.collect()
    }

    #[test]
    fn the_page_has_every_option_and_exit_code() {
        let words = words(&page());
        let has = |word: String| assert!(words.contains(&word), "{word}");
        let parser = command();
        for command in [&parser].into_iter().chain(parser.get_subcommands()) {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                if let Some(long) = argument.get_long() {
                    has(format!("--{long}"));
                }
            }
        }
        ExitCode::ALL.into_iter().for_each(|code| has(code.number().to_string()));
        has(EPOCH_VARIABLE.to_owned());
        assert!(!words.contains(&"--generate".to_owned()));
    }

    #[test]
    fn every_command_has_its_usage() {
        for sub in page().sections.iter().filter(|section| section.title.starts_with("ext4-canon ")) {
            assert!(matches!(&sub.blocks[0], Block::Usages(usages) if usages.len() == 1), "{}", sub.title);
        }
    }
}
