//! What is printed: a summary for people, or JSON for programs, and messages on stderr.

use std::path::Path;

use anyhow::Result;
use ext4_canon::{FORM_VERSION, Report};
use indicatif::HumanBytes;
use serde::Serialize;
use uuid::Uuid;

use super::args::{Job, Voice};
use super::commands::{Head, JsonError};
use super::console;
use super::exit_code::ExitCode;
use super::failure;
use super::run::{Ending, PartReport};

/// The JSON report. Fields may be added; those here keep their meaning.
#[derive(Debug, Serialize)]
struct Json<'a> {
    /// With the status `written`, `canonical`, `not-canonical` or `error`.
    #[serde(flatten)]
    head: Head,
    input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<JsonDifference<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_differences: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<JsonReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystems: Option<Vec<JsonFilesystem<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JsonError>,
}

#[derive(Debug, Serialize)]
struct JsonDifference<'a> {
    offset: u64,
    what: &'a str,
}

/// A filesystem of a disk.
#[derive(Debug, Serialize)]
struct JsonFilesystem<'a> {
    name: &'a str,
    report: JsonReport,
}

#[derive(Debug, Serialize)]
struct JsonReport {
    image_bytes: u64,
    block_size: u64,
    old_uuid: String,
    new_uuid: String,
    inodes: u64,
    inodes_renumbered: u64,
    times_changed: u64,
    directories: u64,
    directories_indexed: u64,
    data_blocks: u64,
    blocks_moved: u64,
    blocks_punched: u64,
    stale_blocks: u64,
    stale_bytes: u64,
    transactions: u64,
    blocks_replayed: u64,
    blocks_revoked: u64,
    fast_commit_records: u64,
    orphans_dropped: u64,
    orphans_truncated: u64,
    bytes_written: u64,
}

impl From<&Report> for JsonReport {
    fn from(report: &Report) -> Self {
        Self {
            image_bytes: report.image_bytes,
            block_size: report.block_size,
            old_uuid: Uuid::from_bytes(report.old_uuid).to_string(),
            new_uuid: Uuid::from_bytes(report.new_uuid).to_string(),
            inodes: report.inodes,
            inodes_renumbered: report.inodes_renumbered,
            times_changed: report.times_changed,
            directories: report.directories,
            directories_indexed: report.directories_indexed,
            data_blocks: report.data_blocks,
            blocks_moved: report.blocks_moved,
            blocks_punched: report.blocks_punched,
            stale_blocks: report.stale_blocks,
            stale_bytes: report.stale_bytes,
            transactions: report.transactions,
            blocks_replayed: report.blocks_replayed,
            blocks_revoked: report.blocks_revoked,
            fast_commit_records: report.fast_commit_records,
            orphans_dropped: report.orphans_dropped,
            orphans_truncated: report.orphans_truncated,
            bytes_written: report.bytes_written,
        }
    }
}

/// Prints how a job ended, in the way that the job asks for, and what is worth a warning besides the reports;
/// returns the exit code.
pub fn tell(job: &Job, warnings: &[String], ended: &Result<Ending>) -> ExitCode {
    let code = exit_code(ended);
    let mut warnings = warnings.to_vec();
    warnings.extend(ended.as_ref().map(Ending::warnings).unwrap_or_default());
    let mut lines = Vec::new();
    if job.voice > Voice::Quiet {
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    }
    lines.extend(ended.as_ref().err().map(failure::line));
    for line in lines {
        console::tell(&line);
    }
    let text = match ended {
        _ if job.json => json(&job.input, warnings, ended, code),
        Ok(ending) if job.voice > Voice::Quiet => summary(job, ending),
        _ => String::new(),
    };
    if job.streams() {
        console::tell_bytes(text.as_bytes());
        return code;
    }
    match console::print(text.as_bytes()) {
        Ok(()) => code,
        Err(error) => {
            console::tell(&format!("standard output: {error}"));
            ExitCode::Io
        }
    }
}

fn exit_code(ended: &Result<Ending>) -> ExitCode {
    match ended {
        Err(error) => failure::code(error),
        Ok(Ending::Checked { differences, .. }) if !differences.is_empty() => ExitCode::NotCanonical,
        Ok(_) => ExitCode::Done,
    }
}

fn json(input: &Path, warnings: Vec<String>, ended: &Result<Ending>, exit_code: ExitCode) -> String {
    let status = match ended {
        Err(_) => "error",
        Ok(Ending::Written { .. }) => "written",
        Ok(Ending::Checked { differences, .. }) if differences.is_empty() => "canonical",
        Ok(Ending::Checked { .. }) => "not-canonical",
    };
    let reports = ended.as_ref().ok().map(Ending::reports);
    let whole = reports.and_then(<[_]>::first).filter(|part| part.name.is_none());
    let of_disk = reports.filter(|_| whole.is_none()).map(|parts| {
        let named = parts.iter().map(|part| JsonFilesystem {
            name: part.name.as_deref().unwrap_or_default(),
            report: JsonReport::from(&part.report),
        });
        named.collect()
    });
    let mut json = Json {
        head: Head::new("canonicalize", status, exit_code),
        input: input.display().to_string(),
        output: None,
        verified: None,
        differences: None,
        more_differences: None,
        report: whole.map(|part| JsonReport::from(&part.report)),
        filesystems: of_disk,
        warnings: Some(warnings).filter(|warnings| ended.is_ok() || !warnings.is_empty()),
        error: ended.as_ref().err().map(JsonError::of),
    };
    match ended {
        Ok(Ending::Written { output, verified, .. }) => {
            json.output = Some(output.display().to_string());
            json.verified = Some(*verified);
        }
        Ok(Ending::Checked { differences, more, .. }) => {
            json.differences = Some(
                differences.iter().map(|d| JsonDifference { offset: d.offset, what: &d.what }).collect(),
            );
            json.more_differences = Some(*more);
        }
        Err(_) => {}
    }
    serde_json::to_string_pretty(&json).expect("all keys are strings") + "\n"
}

fn summary(job: &Job, ending: &Ending) -> String {
    let input = job.input.display();
    let mut lines = Vec::new();
    match ending {
        Ending::Written { output, verified, reports } => {
            let verified = if *verified { ", verified" } else { "" };
            lines.push(format!("{}: canonical form {FORM_VERSION} of {input}{verified}", output.display()));
            lines.extend(all_counts(reports, job.voice == Voice::Verbose));
        }
        Ending::Checked { differences, more, reports } => {
            if differences.is_empty() {
                lines.push(format!("{input}: canonical (form {FORM_VERSION})"));
            } else {
                lines.push(format!("{input}: not canonical (form {FORM_VERSION}); it differs in"));
                lines.extend(
                    differences
                        .iter()
                        .map(|d| format!("  byte {:>14} {:#014x}  {}", d.offset, d.offset, d.what)),
                );
                if *more {
                    lines.push("  and further places".to_owned());
                }
            }
            if job.voice == Voice::Verbose {
                lines.extend(all_counts(reports, true));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The counts of all reports; those of a disk under the names of its filesystems.
fn all_counts(reports: &[PartReport], all: bool) -> Vec<String> {
    let lines = |PartReport { name, report }: &PartReport| {
        let head = name.as_ref().map(|name| format!("{name}:"));
        head.into_iter().chain(counts(report, all)).collect::<Vec<_>>()
    };
    reports.iter().flat_map(lines).collect()
}

/// The counts of a report, in lines; those of what did not happen only if `all` are wanted.
fn counts(report: &Report, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, total: Option<String>, details: &[(u64, &str)]| {
        let details = details.iter().filter(|(count, _)| all || *count > 0);
        let details = details.map(|(count, what)| format!("{count} {what}"));
        let parts: Vec<_> = total.into_iter().chain(details).collect();
        if !parts.is_empty() {
            lines.push(format!("  {name:<14}{}", parts.join(", ")));
        }
    };
    let (old, new) = (Uuid::from_bytes(report.old_uuid), Uuid::from_bytes(report.new_uuid));
    if old == new {
        line("UUID", Some(format!("{new} (as before)")), &[]);
    } else {
        line("UUID", Some(format!("{new} (was {old})")), &[]);
    }
    let details = [(report.inodes_renumbered, "renumbered"), (report.times_changed, "with another time")];
    line("inodes", Some(report.inodes.to_string()), &details);
    line("directories", Some(report.directories.to_string()), &[(report.directories_indexed, "indexed")]);
    let blocks = format!("{} of {} bytes", report.data_blocks, report.block_size);
    let details = [(report.blocks_moved, "moved"), (report.blocks_punched, "of zeros became holes")];
    line("data blocks", Some(blocks), &details);
    if all || report.transactions > 0 {
        let replayed = format!("{} transactions replayed", report.transactions);
        let details = [
            (report.blocks_replayed, "blocks"),
            (report.blocks_revoked, "blocks revoked"),
            (report.fast_commit_records, "fast-commit records"),
        ];
        line("journal", Some(replayed), &details);
    }
    line("orphans", None, &[(report.orphans_dropped, "dropped"), (report.orphans_truncated, "truncated")]);
    if all || report.stale_blocks > 0 {
        let dropped = format!("{} dropped ({})", report.stale_blocks, HumanBytes(report.stale_bytes));
        line("stale blocks", Some(dropped), &[]);
    }
    let written = format!(
        "{} of {}, the rest is holes",
        HumanBytes(report.bytes_written),
        HumanBytes(report.image_bytes)
    );
    line("written", Some(written), &[]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Task;
    use crate::cli::failure::{About as _, Internal, Usage};
    use ext4_canon::Difference;

    fn job(voice: Voice) -> Job {
        Job {
            input: "in.img".into(),
            journal: None,
            selection: ext4_canon::disk::Selection::default(),
            around: ext4_canon::disk::Around::default(),
            format: crate::cli::format::Format::Raw,
            bmap: None,
            task: Task::Check,
            options: ext4_canon::Options::default(),
            threads: None,
            voice,
            json: false,
        }
    }

    fn report() -> Report {
        Report {
            image_bytes: 8 << 20,
            block_size: 4096,
            new_uuid: [0x11; 16],
            inodes: 12,
            inodes_renumbered: 5,
            directories: 2,
            data_blocks: 100,
            stale_blocks: 3,
            stale_bytes: 2048,
            bytes_written: 1 << 20,
            warnings: vec!["careful".to_owned()],
            ..Report::default()
        }
    }

    fn part() -> PartReport {
        PartReport { name: None, report: report() }
    }

    fn written() -> Ending {
        Ending::Written { output: "out.img".into(), verified: true, reports: vec![part()] }
    }

    fn checked(count: u64, more: bool) -> Ending {
        let difference = |offset| Difference { offset, what: "inode table of group 3".to_owned() };
        Ending::Checked { differences: (0..count).map(difference).collect(), more, reports: vec![part()] }
    }

    #[test]
    fn the_summary_counts_what_happened() {
        let text = summary(&job(Voice::Normal), &written());
        assert!(text.starts_with("out.img: canonical form 1 of in.img, verified\n"), "{text}");
        for part in
            ["12, 5 renumbered\n", "100 of 4096 bytes\n", "3 dropped (2.00 KiB)", "1.00 MiB of 8.00 MiB"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(summary(&job(Voice::Verbose), &written()).contains("0 moved"));
    }

    #[test]
    fn a_check_says_where_and_whether_there_is_more() {
        assert_eq!(summary(&job(Voice::Normal), &checked(0, false)), "in.img: canonical (form 1)\n");
        let text = summary(&job(Voice::Normal), &checked(2, true));
        assert_eq!(text.matches("inode table of group 3").count(), 2, "{text}");
        assert!(text.ends_with("further places\n"));
    }

    #[test]
    fn exit_codes_follow_the_ending() {
        assert_eq!(exit_code(&Ok(written())), ExitCode::Done);
        assert_eq!(exit_code(&Ok(checked(0, false))), ExitCode::Done);
        assert_eq!(exit_code(&Ok(checked(1, false))), ExitCode::NotCanonical);
        assert_eq!(exit_code(&Err(Internal::new("x").into())), ExitCode::Internal);
    }

    #[test]
    fn json_holds_everything() {
        let value = |ended: Result<Ending>| {
            let warnings = ended.as_ref().map(Ending::warnings).unwrap_or_default();
            let text = json(Path::new("in.img"), warnings, &ended, exit_code(&ended));
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let done = value(Ok(written()));
        assert_eq!(done["status"], "written");
        assert_eq!((&done["output"], &done["verified"]), (&"out.img".into(), &true.into()));
        assert_eq!(done["report"]["new_uuid"], "11111111-1111-1111-1111-111111111111");
        assert_eq!(done["warnings"][0], "careful");
        let no = value(Ok(checked(2, true)));
        assert_eq!((&no["status"], &no["exit_code"]), (&"not-canonical".into(), &1.into()));
        assert_eq!(no["differences"][1]["offset"], 1);
        let failure = value(Err(Usage::new("is a pipe")).about(Path::new("in.img")));
        assert_eq!((&failure["status"], &failure["exit_code"]), (&"error".into(), &2.into()));
        assert_eq!(failure["error"]["kind"], "usage");
        assert!(failure.get("report").is_none());
    }
}
