//! `--check`: checks whether an image is canonical, and lists where it is not.

use std::path::Path;

use anyhow::Result;
use ext4_canon::{Difference, FORM_VERSION, FilesystemReport};
use serde::Serialize;

use super::reports::{self, ReportsJson};
use crate::cli::args::{ImageFiles, Verbosity};
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::About as _;
use crate::cli::json::{self, HeadJson};
use crate::cli::runner::{Outcome, Runner};

/// The maximum number of differences to list, so that the list fits on a screen.
const MAX_DIFFERENCES: usize = 10;

#[derive(Debug, Serialize)]
struct CheckJson<'c> {
    #[serde(flatten)]
    head: HeadJson,
    input: String,
    differences: Vec<ByteDifferenceJson<'c>>,
    more_differences: bool,
    #[serde(flatten)]
    reports: ReportsJson<'c>,
}

#[derive(Debug, Serialize)]
struct ByteDifferenceJson<'c> {
    offset: u64,
    what: &'c str,
}

/// The result of comparing an image with its canonical form.
struct Checked {
    /// The first differences.
    differences: Vec<Difference>,
    /// Whether there are more differences.
    more: bool,
    reports: Vec<FilesystemReport>,
}

/// Compares an image with its canonical form.
pub fn run(runner: &Runner<'_>, input: &ImageFiles) -> Result<Outcome> {
    let image = runner.open(input)?;
    let settings = runner.settings;
    let disk = runner.disk(&image, &settings.selection)?;
    // Request one difference more than the maximum, to find out whether there are more.
    let result =
        runner.read(&[&image], || disk.check(&settings.options, MAX_DIFFERENCES + 1, &runner.progress));
    runner.install(|| image.release());
    let (report, mut differences) = result?.about(&image.path)?;
    let more = differences.len() > MAX_DIFFERENCES;
    differences.truncate(MAX_DIFFERENCES);
    let checked = Checked { differences, more, reports: report.filesystems };
    runner.add(reports::warnings(&checked.reports));
    let text = if settings.json {
        checked.json(&input.path, &runner.warnings())
    } else if settings.verbosity > Verbosity::Quiet {
        checked.summary(&input.path, settings.verbosity).into_bytes()
    } else {
        Vec::new()
    };
    Ok(Outcome::new(checked.code(), text))
}

impl Checked {
    fn code(&self) -> ExitCode {
        if self.differences.is_empty() { ExitCode::Done } else { ExitCode::NotCanonical }
    }

    fn json(&self, input: &Path, warnings: &[String]) -> Vec<u8> {
        let status = if self.differences.is_empty() { "canonical" } else { "not-canonical" };
        let differences = self.differences.iter();
        json::text(&CheckJson {
            head: HeadJson::new("canonicalize", status, self.code()),
            input: input.display().to_string(),
            differences: differences
                .map(|d| ByteDifferenceJson { offset: d.offset, what: &d.what })
                .collect(),
            more_differences: self.more,
            reports: ReportsJson::of(&self.reports, warnings),
        })
    }

    fn summary(&self, input: &Path, verbosity: Verbosity) -> String {
        let input = input.display();
        let mut lines = Vec::new();
        if self.differences.is_empty() {
            lines.push(format!("{input}: canonical (form {FORM_VERSION})"));
        } else {
            lines.push(format!("{input}: not canonical (form {FORM_VERSION}); it differs in"));
            let places = self.differences.iter();
            lines.extend(places.map(|d| format!("  byte {:>14} {:#014x}  {}", d.offset, d.offset, d.what)));
            if self.more {
                lines.push("  and further places".to_owned());
            }
        }
        if verbosity == Verbosity::Verbose {
            lines.extend(reports::lines(&self.reports, true));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(count: u64, more: bool) -> Checked {
        let difference = |offset| {
            let mut difference = Difference::default();
            difference.offset = offset;
            difference.what = "inode table of group 3".to_owned();
            difference
        };
        let differences = (0..count).map(difference).collect();
        Checked { differences, more, reports: vec![reports::example()] }
    }

    #[test]
    fn a_check_says_where_and_whether_there_is_more() {
        let summary = |checked: Checked| checked.summary(Path::new("in.img"), Verbosity::Normal);
        assert_eq!(summary(checked(0, false)), "in.img: canonical (form 1)\n");
        let text = summary(checked(2, true));
        assert_eq!(text.matches("inode table of group 3").count(), 2, "{text}");
        assert!(text.ends_with("further places\n"));
    }

    #[test]
    fn json_and_exit_code_say_it_too() {
        assert_eq!(checked(0, false).code(), ExitCode::Done);
        assert_eq!(checked(1, false).code(), ExitCode::NotCanonical);
        let text = checked(2, true).json(Path::new("in.img"), &[]);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&json["status"], &json["exit_code"]), (&"not-canonical".into(), &1.into()));
        assert_eq!((&json["differences"][1]["offset"], &json["more_differences"]), (&1.into(), &true.into()));
        assert_eq!((&json["report"]["inodes"], &json["warnings"]), (&12.into(), &serde_json::json!([])));
    }
}
