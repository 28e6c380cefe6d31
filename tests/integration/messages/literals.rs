//! The texts of refusals in the sources.

use std::fs;
use std::path::Path;

/// The code that begins a refusal in the sources, and the character that ends it.
const MARKS: [(&str, char); 10] = [
    (".unsupported(", ')'),
    ("Error::Unclean {", '}'),
    ("Error::Unsupported {", '}'),
    ("Error::options(", ')'),
    ("refused(", ')'),
    ("let state =", ';'),
    ("const REMEDY: Remedy =", ';'),
    ("const LATER: &str =", ';'),
    ("const REBUILD: Remedy =", ';'),
    (".with_remedy(", ')'),
];

/// Returns the longest part without placeholders of each literal in the library's refusals.
pub fn of_refusals(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            // The command line has different errors, and error.rs contains tests of these.
            if path.is_dir() && name != "cli" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "error.rs" {
                let text = fs::read_to_string(&path).expect("reading");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                for (mark, end) in MARKS {
                    for (at, _) in code.match_indices(mark) {
                        found.extend(literals(&code[at + mark.len()..], end));
                    }
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Returns the literals up to the end of an expression.
fn literals(code: &str, end: char) -> Vec<String> {
    let (mut found, mut depth, mut rest) = (Vec::new(), 0, code.chars().peekable());
    while let Some(character) = rest.next() {
        match character {
            '"' => found.extend(longest_part(&literal(&mut rest))),
            c if c == end && depth == 0 => break,
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// Reads a literal after its opening quotation mark.
fn literal(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(character) = rest.next() {
        match character {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                other => text.extend(other),
            },
            other => text.push(other),
        }
    }
    text
}

/// Returns the longest part without placeholders, unless it is too short.
fn longest_part(text: &str) -> Option<String> {
    let parts = text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    let longest = parts.max_by_key(|part| part.len())?;
    (longest.len() >= 8).then(|| longest.to_owned())
}

#[test]
fn literals_are_found_whole() {
    let code = "format!(\"a long beginning {x:#x} end\"), \"with \\\n      two \\\"lines\\\"\", (1)), \"not this one\"";
    assert_eq!(literals(code, ')'), ["a long beginning ", "with two \"lines\""]);
}
