//! `explain`: shows the changes that canonicalizing would make in an image, grouped by cause.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use ext4_canon::explain::{Explanation, Finding};
use serde::Serialize;

use crate::cli::args::ExplainTask;
use crate::cli::exit_code::ExitCode;
use crate::cli::json::{self, HeadJson};
use crate::cli::runner::{Outcome, Runner};

#[derive(Serialize)]
struct ExplainJson<'j> {
    #[serde(flatten)]
    head: HeadJson,
    input: String,
    findings: Vec<FindingJson<'j>>,
    kept: Vec<FindingJson<'j>>,
    warnings: &'j [String],
}

#[derive(Serialize)]
struct FindingJson<'j> {
    cause: &'static str,
    kind: &'static str,
    what: &'static str,
    count: u64,
    examples: &'j [String],
}

/// The JSON output for a disk.
#[derive(Serialize)]
struct ExplainDiskJson<'j> {
    #[serde(flatten)]
    head: HeadJson,
    input: String,
    filesystems: Vec<ExplainedFilesystemJson<'j>>,
}

#[derive(Serialize)]
struct ExplainedFilesystemJson<'j> {
    name: &'j str,
    findings: Vec<FindingJson<'j>>,
    kept: Vec<FindingJson<'j>>,
    warnings: &'j [String],
}

/// Shows the changes that canonicalizing would make in an image.
pub fn run(runner: &Runner<'_>, task: &ExplainTask) -> Result<Outcome> {
    let image = runner.open(&task.input)?;
    let input = &image.path;
    let settings = runner.settings;
    let all =
        runner.read_disk(&image, |disk| disk.explain(&settings.options, task.examples, &runner.progress))?;
    if settings.json {
        return Ok(Outcome::new(ExitCode::Done, report(input, &all)));
    }
    let mut texts = Vec::new();
    for explanation @ Explanation { name, warnings, .. } in &all {
        let shown = match name {
            Some(name) => format!("{}: {name}", input.display()),
            None => input.display().to_string(),
        };
        runner.warn(warnings.iter().map(|warning| format!("{shown}: {warning}")));
        texts.push(text(&shown, explanation));
    }
    Ok(Outcome::new(ExitCode::Done, texts.join("\n")))
}

fn report(input: &Path, all: &[Explanation]) -> Vec<u8> {
    let head = HeadJson::new("explain", "done", ExitCode::Done);
    let input = input.display().to_string();
    match all {
        [one] if one.name.is_none() => {
            let [findings, kept] = FindingJson::all(one);
            json::text(&ExplainJson { head, input, findings, kept, warnings: &one.warnings })
        }
        all => {
            let filesystems = all.iter().map(|one| {
                let [findings, kept] = FindingJson::all(one);
                let name = one.name.as_deref().unwrap_or_default();
                ExplainedFilesystemJson { name, findings, kept, warnings: &one.warnings }
            });
            json::text(&ExplainDiskJson { head, input, filesystems: filesystems.collect() })
        }
    }
}

impl<'j> FindingJson<'j> {
    /// Returns the findings about changes, and the findings about kept values.
    fn all(explanation: &'j Explanation) -> [Vec<Self>; 2] {
        [&explanation.findings, &explanation.kept].map(|findings| findings.iter().map(Self::of).collect())
    }

    fn of(finding: &'j Finding) -> Self {
        Self {
            cause: finding.cause.name(),
            kind: finding.kind,
            what: finding.what,
            count: finding.count,
            examples: &finding.examples,
        }
    }
}

fn text(input: &str, explanation: &Explanation) -> String {
    let Explanation { findings, kept, .. } = explanation;
    let mut text = if findings.is_empty() {
        format!("{input}: already canonical\n")
    } else {
        format!("{input}: what canonicalizing would change, grouped by cause\n")
    };
    let mut last = None;
    // Writing to a string can't fail.
    for finding in findings {
        if last.replace(finding.cause) != Some(finding.cause) {
            let _ = writeln!(text, "\n{}:", finding.cause.words());
        }
        list(&mut text, finding);
    }
    if !kept.is_empty() {
        text.push_str("\nkept, unless SOURCE_DATE_EPOCH is set:\n");
        kept.iter().for_each(|finding| list(&mut text, finding));
    }
    text
}

/// Lists a finding with its examples.
fn list(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "  {}: {}", finding.what, finding.count);
    for example in &finding.examples {
        let _ = writeln!(text, "      {example}");
    }
    if !finding.examples.is_empty() && finding.more {
        let _ = writeln!(text, "      ...");
    }
}
