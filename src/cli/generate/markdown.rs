//! Formats the reference page in Markdown.

use std::fmt::Write as _;

use super::page::{Block, Page, Part, Section, Term};
use crate::cli::help::wrapped;

/// The maximum length of a line in characters.
const WIDTH: usize = 100;

/// Returns a page in Markdown.
pub fn text(page: &Page) -> String {
    let head = format!(
        "`{0} --generate markdown` writes this page. The man page (`{0} --generate man`) has the same text.",
        page.name
    );
    let mut out = format!("# Command line\n\n{}\n", wrapped(&head, WIDTH, ""));
    page.sections.iter().for_each(|section| add_section(&mut out, section));
    out
}

// Writing to a string can't fail.
fn add_section(out: &mut String, section: &Section) {
    let _ = writeln!(out, "\n## {}", section.title);
    for block in &section.blocks {
        out.push('\n');
        match block {
            Block::Paragraph(text) => {
                let _ = writeln!(out, "{}", filled(text, ""));
            }
            Block::Usages(usages) => usages.iter().for_each(|usage| {
                let _ = writeln!(out, "    {usage}");
            }),
            Block::Terms(terms) => terms.iter().for_each(|term| add_term(out, term)),
        }
    }
}

fn add_term(out: &mut String, term: &Term) {
    let _ = writeln!(out, "- {}\\\n  {}", head(&term.head), filled(&term.text, "  "));
    for (name, text) in &term.values {
        let _ = writeln!(out, "  - `{name}`: {}", filled(text, "    "));
    }
}

/// Returns the head of a term in Markdown. An option and its value become one code span.
fn head(parts: &[Part]) -> String {
    let mut head = String::new();
    for part in parts {
        match part {
            Part::Literal(word) => head.push_str(&code(word)),
            Part::Value(name) if head.ends_with('`') => {
                head.pop();
                let _ = write!(head, " {name}`");
            }
            Part::Value(name) => head.push_str(&code(name)),
            Part::Plain(text) => head.push_str(text),
        }
    }
    head
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Breaks running text into lines. Indents all lines except the first.
fn filled(text: &str, indent: &str) -> String {
    let words: Vec<_> = text.split(' ').map(marked).collect();
    wrapped(&words.join(" "), WIDTH - indent.len(), indent)
}

/// Returns a word of running text in Markdown: options as code, pages of the documentation as links, and all
/// other words unchanged.
fn marked(word: &str) -> String {
    let start = word.find(|character| character != '(').unwrap_or(0);
    let (before, rest) = word.split_at(start);
    let end = rest.rfind(|character| !",.;:)]".contains(character)).map_or(0, |last| last + 1);
    let (inner, after) = rest.split_at(end);
    let inner = match inner {
        "-" => code(inner),
        option if option.starts_with("--") => code(option),
        pattern if pattern.contains(['*', '<', '|']) => code(pattern),
        page if page.starts_with("docs/") => {
            let name = page.trim_start_matches("docs/");
            format!("[{name}]({name})")
        }
        other => other.to_owned(),
    };
    [before, &inner, after].concat()
}

#[cfg(test)]
mod tests {
    use super::super::page::page;
    use super::*;

    #[test]
    fn words_are_marked() {
        for (word, expected) in [
            ("plain,", "plain,"),
            ("(-", "(`-`"),
            ("--size", "`--size`"),
            ("--offset]", "`--offset`]"),
            (".ext4-canon-*.tmp.", "`.ext4-canon-*.tmp`."),
            ("docs/tree-digest.md.", "[tree-digest.md](tree-digest.md)."),
            ("...", "..."),
        ] {
            assert_eq!(marked(word), expected);
        }
    }

    #[test]
    fn lines_are_short() {
        let text = text(&page());
        for line in text.lines().filter(|line| !line.starts_with("- `") && !line.starts_with("    ")) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(text.contains("\n- `--uuid <content|keep|UUID>` [default: content]\\\n  UUID of"), "{text}");
        assert!(text.contains("\n  - `clamp`: Set mtimes"), "{text}");
    }
}
