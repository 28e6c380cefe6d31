//! The report of `compare` as an HTML page: a single file that loads nothing from the network and works
//! without JavaScript.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ext4_canon::compare::{
    BlockMaps, Cell, Comparison, Detail, FilesystemComparison, Occupancy, PathDifference, SettingDifference,
    Use,
};

use crate::cli::remedy;

/// The number of cells in a map, and in a row of a map.
pub const CELLS: u64 = 64 * 24;
const COLUMNS: usize = 64;
/// The size of a cell, in units of the SVG.
const SIDE: usize = 10;
/// The maximum number of differences on the page. More are only counted, because browsers are slow with large
/// tables.
const MOST_ROWS: usize = 20_000;

/// The content security policy. It allows only the inline style and the inline script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/filter.js");

/// Adds the name of the filesystem to a text, if there may be several.
fn named(filesystem: &FilesystemComparison, what: &str) -> String {
    filesystem.name.as_ref().map_or_else(|| what.to_owned(), |name| format!("{name}: {what}"))
}

/// Escaped that is escaped for HTML content and attribute values.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Returns the page. `words` describes a difference, and returns its unified diff if there is one.
pub fn page(
    names: [&str; 2],
    comparison: &Comparison,
    words: impl Fn(&PathDifference) -> (String, Option<String>),
) -> String {
    let Comparison { settings: around, filesystems, .. } = comparison;
    let (class, verdict) = if comparison.is_match() { ("match", "match") } else { ("differ", "differ") };
    let [one, other] = names.map(Escaped);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{one} and {other}: {verdict}</title>\n\
         <style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{one} and {other}: <span id=\"verdict\" class=\"{class}\">{verdict}</span></h1>\n",
        filter_rules(filesystems)
    );
    summary(&mut page, around, filesystems);
    differences(&mut page, filesystems, words);
    settings(&mut page, names, comparison);
    ignored(&mut page, names, filesystems);
    page.push_str("<section id=\"maps\">\n<h2>Block maps</h2>\n");
    legend(&mut page);
    for filesystem in filesystems {
        for (name, maps) in names.iter().zip(filesystem.block_maps.iter().flatten()) {
            both_maps(&mut page, &named(filesystem, name), maps);
        }
    }
    page.push_str("</section>\n</main>\n");
    line(&mut page, format_args!("<script>\n{SCRIPT}</script>\n</body>\n</html>"));
    page
}

/// Appends a line. Writing to a string can't fail.
fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
    page.push('\n');
}

/// Counts the differences in each attribute.
fn attributes(filesystems: &[FilesystemComparison]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for difference in filesystems.iter().flat_map(|filesystem| &filesystem.differences) {
        *counts.entry(difference.attribute.name()).or_default() += 1;
    }
    counts
}

/// Converts a name to a CSS class or identifier.
fn slug(name: &str) -> String {
    name.replace(' ', "-")
}

/// Returns CSS rules that hide the rows not selected by the filter.
fn filter_rules(filesystems: &[FilesystemComparison]) -> String {
    let rule = |name: &&str| {
        let slug = slug(name);
        format!("body:has(#only-{slug}:checked) tr.difference:not(.{slug}) {{ display: none; }}\n")
    };
    attributes(filesystems).keys().map(rule).collect()
}

fn summary(page: &mut String, around: &[SettingDifference], filesystems: &[FilesystemComparison]) {
    let total = |of: &dyn Fn(&FilesystemComparison) -> u64| -> u64 { filesystems.iter().map(of).sum() };
    let paths = total(&|comparison| comparison.paths);
    let bytes = total(&|comparison| comparison.bytes);
    line(
        page,
        format_args!(
            "<dl id=\"summary\">\n<dt>Differences of the trees</dt><dd>{}</dd>\n\
             <dt>Differences of the filesystems</dt><dd>{}</dd>\n<dt>Paths that both have</dt><dd>{paths}</dd>\n\
             <dt>Bytes of content compared</dt><dd>{bytes}</dd>\n</dl>",
            total(&|comparison| comparison.differences.len() as u64),
            total(&|comparison| comparison.settings.len() as u64) + around.len() as u64
        ),
    );
}

fn differences(
    page: &mut String,
    filesystems: &[FilesystemComparison],
    words: impl Fn(&PathDifference) -> (String, Option<String>),
) {
    let all: usize = filesystems.iter().map(|filesystem| filesystem.differences.len()).sum();
    line(page, format_args!("<section id=\"differences\">\n<h2>Trees</h2>"));
    if all == 0 {
        line(page, format_args!("<p>The trees are equal.</p>\n</section>"));
        return;
    }
    line(page, format_args!("<fieldset>\n<legend>Show</legend>"));
    let choice = |slug: &str, name: &str, count: usize, checked: &str| {
        format!(
            "<label><input type=\"radio\" name=\"only\" id=\"only-{slug}\"{checked}> {name} ({count})</label>"
        )
    };
    line(page, format_args!("{}", choice("all", "all", all, " checked")));
    for (name, count) in attributes(filesystems) {
        line(page, format_args!("{}", choice(&slug(name), name, count, "")));
    }
    line(page, format_args!("<label id=\"search\" hidden>path <input type=\"search\"></label>\n</fieldset>"));
    line(page, format_args!("<table>\n<thead><tr><th>Path</th><th>What differs</th></tr></thead>\n<tbody>"));
    let differences = filesystems
        .iter()
        .flat_map(|filesystem| filesystem.differences.iter().map(move |difference| (filesystem, difference)));
    for (filesystem, difference) in differences.take(MOST_ROWS) {
        let (words, diff) = words(difference);
        let diff = diff.map_or(String::new(), |diff| format!("<pre>{}</pre>", Escaped(&diff)));
        line(
            page,
            format_args!(
                "<tr class=\"difference {}\"><td>{}</td><td>{}{diff}</td></tr>",
                slug(difference.attribute.name()),
                Escaped(&named(filesystem, &difference.path)),
                Escaped(&words)
            ),
        );
    }
    line(page, format_args!("</tbody>\n</table>"));
    if all > MOST_ROWS {
        line(page, format_args!("<p>{} more are left out; --json has all.</p>", all - MOST_ROWS));
    }
    line(page, format_args!("</section>"));
}

fn settings(page: &mut String, [one, other]: [&str; 2], comparison: &Comparison) {
    let Comparison { settings: around, filesystems, .. } = comparison;
    let around = around.iter().map(|setting| (setting.name.clone(), setting));
    let within = filesystems.iter().flat_map(|filesystem| {
        filesystem.settings.iter().map(|setting| (named(filesystem, &setting.name), setting))
    });
    let rows = around.chain(within).map(|(name, setting)| {
        let cells = [&name, &setting.values[0], &setting.values[1], &setting.option];
        cells.map(|cell| format!("<td>{}</td>", Escaped(cell))).concat()
    });
    let rows: Vec<_> = rows.collect();
    let table = Table {
        id: "settings",
        title: "Filesystems",
        nothing: "Nothing keeps equal trees from equal images.",
        heads: &["What differs", one, other, "Aligned by"],
    };
    table.add_to(page, rows);
}

fn ignored(page: &mut String, [one, other]: [&str; 2], filesystems: &[FilesystemComparison]) {
    let all = filesystems
        .iter()
        .flat_map(|filesystem| filesystem.ignored.iter().flatten().map(move |ignored| (filesystem, ignored)));
    let rows = all.map(|(filesystem, ignored)| {
        let values = match &ignored.detail {
            Detail::Values([one, other]) => format!("<td>{}</td><td>{}</td>", Escaped(one), Escaped(other)),
            Detail::Differing(count) => format!("<td colspan=\"2\">{count}</td>"),
            Detail::Counts([one, other]) => format!("<td>{one}</td><td>{other}</td>"),
        };
        format!("<td>{}</td>{values}", Escaped(&named(filesystem, ignored.what)))
    });
    let rows: Vec<_> = rows.collect();
    let table = Table {
        id: "ignored",
        title: "Ignored differences",
        nothing: "There are none.",
        heads: &["What differs", one, other],
    };
    table.add_to(page, rows);
}

/// A section with a table.
struct Table<'t> {
    id: &'static str,
    title: &'static str,
    /// The text that replaces an empty table.
    nothing: &'static str,
    heads: &'t [&'t str],
}

impl Table<'_> {
    fn add_to(&self, page: &mut String, rows: Vec<String>) {
        let Self { id, title, nothing, heads } = self;
        line(page, format_args!("<section id=\"{id}\">\n<h2>{title}</h2>"));
        if rows.is_empty() {
            line(page, format_args!("<p>{nothing}</p>\n</section>"));
            return;
        }
        let heads: String = heads.iter().map(|head| format!("<th>{}</th>", Escaped(head))).collect();
        line(page, format_args!("<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>"));
        for row in rows {
            line(page, format_args!("<tr>{row}</tr>"));
        }
        line(page, format_args!("</tbody>\n</table>\n</section>"));
    }
}

fn legend(page: &mut String) {
    let keys = Use::ALL
        .map(|what| format!("<li><span class=\"key {}\"></span>{}</li>", slug(what.name()), what.name()));
    line(page, format_args!("<ul class=\"legend\">{}</ul>", keys.concat()));
}

fn both_maps(page: &mut String, name: &str, maps: &BlockMaps) {
    line(page, format_args!("<div class=\"maps\">"));
    figure(page, &format!("{name}, before"), &maps.before);
    match &maps.after {
        Ok(after) => figure(page, &format!("{name}, canonical"), after),
        Err(error) => {
            let words = error.in_words(remedy::option);
            line(page, format_args!("<p>No canonical form: {}</p>", Escaped(&words)));
        }
    }
    line(page, format_args!("</div>"));
}

fn figure(page: &mut String, caption: &str, map: &Occupancy) {
    let rows = map.cells.len().div_ceil(COLUMNS);
    line(
        page,
        format_args!(
            "<figure>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            COLUMNS * SIDE,
            rows * SIDE,
            Escaped(caption)
        ),
    );
    let uses: Vec<Use> = map.cells.iter().map(main_use).collect();
    for (row, uses) in uses.chunks(COLUMNS).enumerate() {
        let mut first = 0;
        for run in uses.chunk_by(|one, other| one == other) {
            let blocks = [first, first + run.len()].map(|cell| {
                ((row * COLUMNS + cell) as u64).saturating_mul(map.blocks_per_cell).min(map.blocks)
            });
            line(
                page,
                format_args!(
                    "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{SIDE}\"><title>blocks {} to {}: {}</title></rect>",
                    slug(run[0].name()),
                    first * SIDE,
                    row * SIDE,
                    run.len() * SIDE,
                    blocks[0],
                    blocks[1] - 1,
                    run[0].name()
                ),
            );
            first += run.len();
        }
    }
    let total = map.total();
    let counts = Use::ALL.map(|what| format!("{} {}", what.name(), total[what as usize]));
    line(
        page,
        format_args!(
            "</svg>\n<figcaption><strong>{}</strong>: {} blocks of content in {} stretches ({})</figcaption>\n</figure>",
            Escaped(caption),
            total[Use::File as usize],
            map.fragments,
            counts.join(", ")
        ),
    );
}

/// Returns the use that a cell is drawn with: that of most of its blocks. Free blocks count only if there are
/// no others.
fn main_use(cell: &Cell) -> Use {
    let used = Use::ALL.into_iter().filter(|what| *what != Use::Free && cell[*what as usize] > 0);
    used.max_by_key(|what| cell[*what as usize]).unwrap_or(Use::Free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_markup() {
        assert_eq!(
            Escaped("<script>alert('1&2')</script>\"").to_string(),
            "&lt;script&gt;alert(&#39;1&amp;2&#39;)&lt;/script&gt;&quot;"
        );
    }

    #[test]
    fn a_cell_is_drawn_as_what_most_of_it_is() {
        let mut cell = Cell::default();
        assert_eq!(main_use(&cell), Use::Free);
        cell[Use::Free as usize] = 90;
        cell[Use::File as usize] = 6;
        cell[Use::Stale as usize] = 4;
        assert_eq!(main_use(&cell), Use::File);
    }
}
