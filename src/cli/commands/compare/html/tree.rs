//! Formats the differences between the trees by path, for the page.

use std::collections::{BTreeMap, BTreeSet};

use ext4_canon::compare::{FilesystemComparison, PathDifference};

use super::markup::{Escaped, line, named, slug};
use crate::cli::commands::compare::cures;
use crate::cli::commands::compare::groups::{self, Group};
use crate::cli::commands::compare::text::{self, Report, Words};

/// The maximum number of rows on the page. Further rows are only counted, because browsers are slow with
/// large tables.
const MOST_ROWS: usize = 20_000;
/// The number of paths to name in a group of paths that differ in the same way.
const NAMED: usize = 20;

/// Returns the attributes that differ for the paths of a group.
fn attributes(group: &Group<'_>) -> BTreeSet<&'static str> {
    group.differences.iter().map(|difference| difference.attribute.name()).collect()
}

/// Returns CSS rules that hide the rows that the filter does not select.
pub fn filter_rules(filesystems: &[FilesystemComparison]) -> String {
    let all = filesystems.iter().flat_map(|filesystem| &filesystem.differences);
    let names: BTreeSet<_> = all.map(|difference| difference.attribute.name()).collect();
    let rule = |name: &str| {
        let slug = slug(name);
        format!("body:has(#only-{slug}:checked) tr.difference:not(.{slug}) {{ display: none; }}\n")
    };
    names.into_iter().map(rule).collect()
}

/// Appends the section about differences by path.
pub fn section(page: &mut String, report: &Report<'_>) {
    let filesystems = &report.comparison.filesystems;
    let all: Vec<_> = filesystems
        .iter()
        .flat_map(|filesystem| {
            groups::groups(&filesystem.differences).into_iter().map(move |group| (filesystem, group))
        })
        .collect();
    line(page, format_args!("<section id=\"differences\">\n<h2>Trees</h2>"));
    if all.is_empty() {
        line(page, format_args!("<p>The trees are equal.</p>\n</section>"));
        return;
    }
    filter(page, &all);
    line(page, format_args!("<table>\n<thead><tr><th>Path</th><th>What differs</th></tr></thead>\n<tbody>"));
    for (filesystem, group) in all.iter().take(MOST_ROWS) {
        row(page, report, filesystem, group);
    }
    line(page, format_args!("</tbody>\n</table>"));
    if all.len() > MOST_ROWS {
        line(page, format_args!("<p>{} more rows are left out; --json has all.</p>", all.len() - MOST_ROWS));
    }
    line(page, format_args!("</section>"));
}

/// Appends the controls that filter rows by attribute and by path.
fn filter(page: &mut String, all: &[(&FilesystemComparison, Group<'_>)]) {
    let (mut counts, mut total) = (BTreeMap::<_, usize>::new(), 0);
    for (_, group) in all {
        total += group.count();
        for name in attributes(group) {
            *counts.entry(name).or_default() += group.count();
        }
    }
    line(page, format_args!("<fieldset>\n<legend>Show paths that differ in</legend>"));
    let choice = |slug: &str, name: &str, count: usize, checked: &str| {
        format!(
            "<label><input type=\"radio\" name=\"only\" id=\"only-{slug}\"{checked}> {name} ({count})</label>"
        )
    };
    line(page, format_args!("{}", choice("all", "anything", total, " checked")));
    for (name, count) in counts {
        line(page, format_args!("{}", choice(&slug(name), name, count, "")));
    }
    line(page, format_args!("<label id=\"search\" hidden>path <input type=\"search\"></label>\n</fieldset>"));
}

/// Appends a row: one or more paths, and all their differences.
fn row(page: &mut String, report: &Report<'_>, filesystem: &FilesystemComparison, group: &Group<'_>) {
    let classes: Vec<_> = attributes(group).into_iter().map(slug).collect();
    let mut path = Escaped(&named(filesystem, group.path())).to_string();
    if group.paths.len() > 1 {
        let names: Vec<_> = group.paths.iter().take(NAMED).map(|path| Escaped(path).to_string()).collect();
        let more = group.paths.len() - names.len();
        let more = if more == 0 { String::new() } else { format!("<br>and {more} more") };
        path = format!(
            "<details><summary>{path} and {} more paths</summary>{}{more}</details>",
            group.paths.len() - 1,
            names.join("<br>")
        );
    } else if group.below > 0 {
        path = format!("{path} <small>with {} below it</small>", text::plural(group.below, "path"));
    }
    let changes: Vec<_> = group.differences.iter().map(|difference| change(report, difference)).collect();
    let mut cures: Vec<_> = group.causes().map(|cause| cures::cure(cause, report.options)).collect();
    cures.dedup();
    let cures = cures.iter().map(|cure| format!("<p class=\"cure\">{}</p>", Escaped(cure)));
    let cures = cures.collect::<String>();
    line(
        page,
        format_args!(
            "<tr class=\"difference {}\"><td>{path}</td><td>{}{cures}</td></tr>",
            classes.join(" "),
            changes.concat(),
        ),
    );
}

/// Formats a difference. The value in A is red, the value in B green.
fn change(report: &Report<'_>, difference: &PathDifference) -> String {
    let Words { what, values } = text::words(report.inputs, difference);
    let class = match (&values, &difference.values) {
        (None, [Some(_), None]) => " class=\"one\"",
        (None, [None, Some(_)]) => " class=\"other\"",
        _ => "",
    };
    let values = values.map_or(String::new(), |[one, other]| {
        format!(" <del>{}</del> → <ins>{}</ins>", Escaped(&one), Escaped(&other))
    });
    let words = format!("<span{class}>{}</span>{values}", Escaped(&what));
    let diff = text::diff(report.inputs, difference);
    let diff = diff.map_or(String::new(), |diff| format!("<pre>{}</pre>", coloured(&diff)));
    format!("<div>{words}{diff}</div>")
}

/// Colours the removed and the added lines of a diff.
fn coloured(diff: &str) -> String {
    let lines = diff.split_inclusive('\n').map(|line| {
        let text = Escaped(line).to_string();
        match line.as_bytes().first() {
            Some(b'-') => format!("<del>{text}</del>"),
            Some(b'+') => format!("<ins>{text}</ins>"),
            _ => text,
        }
    });
    lines.collect()
}
