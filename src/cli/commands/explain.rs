//! `explain`: what of an image canonicalizing rewrites, by where it came from.

use std::fmt::Write as _;

use anyhow::Result;
use ext4_canon::disk::Disk;
use ext4_canon::explain::{Finding, explain};
use serde::Serialize;

use super::{Ended, Head, Work, json};
use crate::cli::args::Given;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::About as _;

#[derive(Serialize)]
struct Json<'j> {
    #[serde(flatten)]
    head: Head,
    input: String,
    findings: Vec<JsonFinding<'j>>,
    warnings: &'j [String],
}

#[derive(Serialize)]
struct JsonFinding<'j> {
    cause: &'static str,
    kind: &'static str,
    what: &'static str,
    count: u64,
    examples: &'j [String],
}

/// Of a disk.
#[derive(Serialize)]
struct JsonDisk<'j> {
    #[serde(flatten)]
    head: Head,
    input: String,
    filesystems: Vec<JsonFilesystem<'j>>,
}

#[derive(Serialize)]
struct JsonFilesystem<'j> {
    name: &'j str,
    findings: Vec<JsonFinding<'j>>,
    warnings: &'j [String],
}

/// What was found in a filesystem.
struct Explained {
    /// Where in a disk it lies.
    name: Option<String>,
    warnings: Vec<String>,
    findings: Vec<Finding>,
}

/// Explains an image, with so many examples of everything.
pub fn run(work: &Work<'_>, given: &Given, examples: usize) -> Result<Ended> {
    let (input, image) = (&given.path, work.open_given(given)?);
    let disk = given.disk(&image, &work.setting.selection)?;
    let mut all = Vec::new();
    for part in &disk.parts {
        let options = &work.setting.options;
        let filesystem = disk.filesystem(part);
        let result = work.pool.install(|| explain(&filesystem, options, examples, &work.progress));
        image.unchanged()?;
        let (warnings, findings) = result.map_err(|error| Disk::error(part, error)).about(input)?;
        all.push(Explained { name: part.name.clone(), warnings, findings });
    }
    if work.setting.json {
        let text = report(input.display().to_string(), &all);
        return Ok(Ended { text, ..Ended::default() });
    }
    let shown = |explained: &Explained| match &explained.name {
        Some(name) => format!("{}: {name}", input.display()),
        None => input.display().to_string(),
    };
    let remarks = all.iter().flat_map(|explained| {
        explained.warnings.iter().map(move |warning| format!("warning: {}: {warning}", shown(explained)))
    });
    let texts: Vec<_> = all.iter().map(|explained| text(&shown(explained), &explained.findings)).collect();
    Ok(Ended { text: texts.join("\n").into_bytes(), remarks: remarks.collect(), ..Ended::default() })
}

fn report(input: String, all: &[Explained]) -> Vec<u8> {
    let head = Head::new("explain", "done", ExitCode::Done);
    match all {
        [one] if one.name.is_none() => {
            let findings = one.findings.iter().map(JsonFinding::of).collect();
            json(&Json { head, input, findings, warnings: &one.warnings })
        }
        all => {
            let filesystems = all.iter().map(|one| JsonFilesystem {
                name: one.name.as_deref().unwrap_or_default(),
                findings: one.findings.iter().map(JsonFinding::of).collect(),
                warnings: &one.warnings,
            });
            json(&JsonDisk { head, input, filesystems: filesystems.collect() })
        }
    }
}

impl<'j> JsonFinding<'j> {
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

fn text(input: &str, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{}: canonical, so that nothing would be rewritten\n", input);
    }
    let mut text = format!("{}: what canonicalizing rewrites\n", input);
    let mut last = None;
    // Writing to a string can't fail.
    for finding in findings {
        if last.replace(finding.cause) != Some(finding.cause) {
            let _ = writeln!(text, "\n{}:", finding.cause.words());
        }
        let _ = writeln!(text, "  {}: {}", finding.what, finding.count);
        for example in &finding.examples {
            let _ = writeln!(text, "      {example}");
        }
        if !finding.examples.is_empty() && finding.more {
            let _ = writeln!(text, "      ...");
        }
    }
    text
}
