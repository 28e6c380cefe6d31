//! Formats the reference page as a man page.

use roff::{Inline, Roff, bold, italic, roman};

use super::page::{Block, Page, Part, Term};

/// The date of the last review of the man page.
const PAGE_DATE: &str = "2026-11-27";

/// Returns a page as a man page.
pub fn text(page: &Page) -> String {
    let mut roff = Roff::new();
    let source = format!("{} {}", page.name, env!("CARGO_PKG_VERSION"));
    roff.control("TH", [page.name.as_str(), "1", PAGE_DATE, &source, "User Commands"]);
    roff.control("SH", ["NAME"]).text([roman(format!("{} - {}", page.name, page.about))]);
    for section in &page.sections {
        roff.control("SH", [section.title.to_uppercase().as_str()]);
        for (index, block) in section.blocks.iter().enumerate() {
            match block {
                Block::Paragraph(text) => {
                    // A heading already starts a paragraph, and formatters warn about a second start.
                    if index > 0 {
                        roff.control("PP", []);
                    }
                    roff.text([roman(text)]);
                }
                Block::Usages(usages) => lines(&mut roff, usages),
                Block::Terms(terms) => terms.iter().for_each(|term| item(&mut roff, term)),
            }
        }
    }
    roff.render()
}

fn lines(roff: &mut Roff, usages: &[&str]) {
    for (index, usage) in usages.iter().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        roff.text([bold(*usage)]);
    }
}

fn item(roff: &mut Roff, term: &Term) {
    let head = term.head.iter().enumerate().flat_map(|(index, part)| match part {
        Part::Literal(word) => vec![bold(word)],
        Part::Value(name) if index > 0 => vec![roman(" "), italic(name)],
        Part::Value(name) => vec![italic(name)],
        Part::Plain(text) => vec![roman(text)],
    });
    roff.control("TP", []).text(head.collect::<Vec<Inline>>()).text([roman(&term.text)]);
    if term.values.is_empty() {
        return;
    }
    roff.control("RS", []);
    for (name, text) in &term.values {
        roff.control("TP", []).text([bold(name)]).text([roman(text)]);
    }
    roff.control("RE", []);
}

#[cfg(test)]
mod tests {
    use super::super::page::page;
    use super::*;

    #[test]
    fn the_man_page_has_all_sections() {
        let text = text(&page());
        for heading in ["NAME", "SYNOPSIS", "OPTIONS", "\"EXT4-CANON COMPARE\"", "\"EXIT STATUS\"", "FILES"] {
            assert!(text.contains(&format!("\n.SH {heading}\n")), "{heading}");
        }
        assert!(text.contains("\n\\fB\\-\\-uuid\\fR \\fI<content|keep|UUID>\\fR [default: content]\n"));
    }
}
