//! Formats the report of `compare` as an HTML page. It is a single file that loads nothing from the network
//! and works without JavaScript.

mod maps;
mod markup;
mod tree;

use ext4_canon::compare::{Detail, FilesystemComparison, SettingDifference};

use indicatif::HumanCount;

use self::markup::{Escaped, line, named};
use super::settings;
use super::text::Report;

pub use maps::CELLS;

/// The content security policy. It allows only the inline style and the inline script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/filter.js");

/// Returns the HTML page.
pub fn page(report: &Report<'_>) -> String {
    let filesystems = &report.comparison.filesystems;
    let names = report.inputs.map(|input| input.to_string_lossy().into_owned());
    let names = names.each_ref().map(String::as_str);
    let verdict = if report.comparison.is_match() { "match" } else { "differ" };
    let [one, other] = names.map(Escaped);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{one} and {other}: {verdict}</title>\n\
         <style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>{one} and {other}: <span id=\"verdict\" class=\"{verdict}\">{verdict}</span></h1>\n",
        tree::filter_rules(filesystems)
    );
    summary(&mut page, report, names);
    all_settings(&mut page, report);
    tree::section(&mut page, report);
    ignored(&mut page, filesystems);
    page.push_str("<section id=\"maps\">\n<h2>Block maps</h2>\n");
    maps::legend(&mut page);
    for filesystem in filesystems {
        for (name, maps) in names.iter().zip(filesystem.block_maps.iter().flatten()) {
            maps::both(&mut page, &named(filesystem, name), maps);
        }
    }
    page.push_str("</section>\n</main>\n");
    line(&mut page, format_args!("<script>\n{SCRIPT}</script>\n</body>\n</html>"));
    page
}

/// Appends the counts, and the options, versions and digests of the comparison.
fn summary(page: &mut String, report: &Report<'_>, names: [&str; 2]) {
    let filesystems = &report.comparison.filesystems;
    let total = |of: &dyn Fn(&FilesystemComparison) -> u64| -> u64 { filesystems.iter().map(of).sum() };
    let (paths, settings) = report.counts();
    let rows = [
        ("Paths that differ", paths as u64),
        ("Settings that differ", settings as u64),
        ("Paths that both have", total(&|comparison| comparison.paths)),
        ("Bytes of content compared", total(&|comparison| comparison.bytes)),
    ];
    line(page, format_args!("<dl id=\"summary\">"));
    for (name, count) in rows {
        line(page, format_args!("<dt>{name}</dt><dd>{}</dd>", HumanCount(count)));
    }
    let digests = report.evidence.digests.as_ref();
    for (side, image) in ["A", "B"].into_iter().enumerate() {
        let digest = digests.map_or(String::new(), |digests| format!("<br>SHA-256 {}", digests[side]));
        line(page, format_args!("<dt>{image}</dt><dd>{}{digest}</dd>", Escaped(names[side])));
    }
    line(page, format_args!("<dt>Compared by</dt><dd>{}</dd>\n</dl>", Escaped(&report.evidence.words())));
}

/// Appends the settings that differ. Each cause comes with its consequences and the cure.
fn all_settings(page: &mut String, report: &Report<'_>) {
    let mut rows = setting_rows(&report.comparison.settings, str::to_owned);
    for filesystem in &report.comparison.filesystems {
        rows.extend(setting_rows(&filesystem.settings, |name| named(filesystem, name)));
    }
    let table = Table {
        id: "settings",
        title: "Filesystems",
        nothing: "No setting differs: equal trees would give equal images.",
        heads: &["What differs", "A", "B", "Cure"],
    };
    table.add_to(page, rows);
}

fn setting_rows(all: &[SettingDifference], named: impl Fn(&str) -> String) -> Vec<String> {
    let mut rows = Vec::new();
    let row = |class: &str, name: &str, [one, other]: &[String; 2]| {
        format!(
            "<td{class}>{}</td><td><del>{}</del></td><td><ins>{}</ins></td>",
            Escaped(&named(name)),
            Escaped(one),
            Escaped(other)
        )
    };
    for group in settings::groups(all) {
        for (index, (name, values)) in settings::lines(&group.causes).into_iter().enumerate() {
            let cure = if index == 0 { Escaped(group.cure()).to_string() } else { String::new() };
            rows.push(format!("{}<td>{cure}</td>", row("", &name, values)));
        }
        let cause = group.causes.first().map_or_else(String::new, |cause| named(&cause.name));
        for SettingDifference { name, values, .. } in &group.consequences {
            let follows = format!("<td>follows from {}</td>", Escaped(&cause));
            rows.push(row(" class=\"follows\"", name, values) + &follows);
        }
    }
    rows
}

fn ignored(page: &mut String, filesystems: &[FilesystemComparison]) {
    let all = filesystems
        .iter()
        .flat_map(|filesystem| filesystem.ignored.iter().flatten().map(move |ignored| (filesystem, ignored)));
    let rows = all.map(|(filesystem, ignored)| {
        let values = match &ignored.detail {
            Detail::Values(values) => values.clone(),
            Detail::Differing(count) => [count, count].map(u64::to_string),
            Detail::Counts(counts) => counts.map(|count| count.to_string()),
        };
        let values = values.map(|value| format!("<td>{}</td>", Escaped(&value)));
        let what = named(filesystem, ignored.what);
        format!("<td>{}</td>{}<td>{}</td>", Escaped(&what), values.concat(), ignored.cause.words())
    });
    let rows: Vec<_> = rows.collect();
    let table = Table {
        id: "ignored",
        title: "Ignored differences",
        nothing: "There are none.",
        heads: &["What differs", "A", "B", "Cause"],
    };
    table.add_to(page, rows);
}

/// A section of the page that contains a table.
struct Table<'t> {
    id: &'static str,
    title: &'static str,
    /// The text to show instead of an empty table.
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
