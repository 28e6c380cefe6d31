//! `explain`: what of an image canonicalizing rewrites, by where it came from.

use std::fmt::Write as _;
use std::path::Path;

use ext4_canon::explain::{Finding, explain};
use serde::Serialize;

use super::{Ended, Head, Work, json};
use crate::cli::failure::Failure;
use crate::cli::subcommands::Given;

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

/// Explains an image, with so many examples of everything.
pub fn run(work: &Work<'_>, given: &Given, examples: usize) -> Result<Ended, Failure> {
    let (input, image) = (&given.path, given.open()?);
    let options = &work.setting.options;
    let result = work.pool.install(|| explain(&image.input(), options, examples, &work.progress));
    image.unchanged()?;
    let (warnings, findings) = result.map_err(|error| Failure::of(input, &error))?;
    if work.setting.json {
        let shown = findings.iter().map(|finding| JsonFinding {
            cause: finding.cause.name(),
            kind: finding.kind,
            what: finding.what,
            count: finding.count,
            examples: &finding.examples,
        });
        let (head, input) = (Head::new("explain", "done", 0), input.display().to_string());
        let text = json(&Json { head, input, findings: shown.collect(), warnings: &warnings });
        return Ok(Ended { text, ..Ended::default() });
    }
    let remarks = warnings.iter().map(|warning| format!("warning: {}: {warning}", input.display()));
    let text = text(input, &findings).into_bytes();
    Ok(Ended { text, remarks: remarks.collect(), ..Ended::default() })
}

fn text(input: &Path, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return format!("{}: canonical, so that nothing would be rewritten\n", input.display());
    }
    let mut text = format!("{}: what canonicalizing rewrites\n", input.display());
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
