//! Formats the library's reports about filesystems, as JSON and as text.

use ext4_canon::text::counted;
use ext4_canon::{FilesystemReport, Rewritten};
use indicatif::HumanBytes;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::runner::Warning;

/// Returns all warnings in the reports, with the names of the filesystems.
pub fn warnings(reports: &[FilesystemReport]) -> Vec<Warning> {
    let warnings = reports.iter().flat_map(|report| {
        let both = [(&report.warnings, false), (&report.boot_warnings, true)];
        both.into_iter().flat_map(move |(warnings, is_severe)| {
            warnings.iter().map(move |warning| {
                let text = match &report.name {
                    Some(name) => format!("{name}: {warning}"),
                    None => warning.clone(),
                };
                Warning { text, is_severe }
            })
        })
    });
    warnings.collect()
}

/// The last fields of the JSON output: the report of a single filesystem or of all filesystems of a disk, and
/// the warnings.
#[derive(Debug, Serialize)]
pub struct ReportsJson<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<CountsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filesystems: Option<Vec<NamedCountsJson<'r>>>,
    warnings: &'r [String],
}

/// The counts for a filesystem on a disk.
#[derive(Debug, Serialize)]
struct NamedCountsJson<'r> {
    name: &'r str,
    report: CountsJson,
}

impl<'r> ReportsJson<'r> {
    /// Creates the fields for reports and warnings.
    pub fn of(reports: &'r [FilesystemReport], warnings: &'r [String]) -> Self {
        if let [report @ FilesystemReport { name: None, .. }] = reports {
            return Self { report: Some(report.into()), filesystems: None, warnings };
        }
        let filesystems = reports.iter().map(|report| NamedCountsJson {
            name: report.name.as_deref().unwrap_or_default(),
            report: report.into(),
        });
        Self { report: None, filesystems: Some(filesystems.collect()), warnings }
    }
}

#[derive(Debug, Serialize)]
struct CountsJson {
    image_bytes: u64,
    block_size: u64,
    old_uuid: String,
    new_uuid: String,
    inodes: u64,
    inodes_renumbered: u64,
    times_changed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_split: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes_merged: Option<u64>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rewritten: Vec<RewrittenJson>,
}

/// A text in a boot file that was replaced.
#[derive(Debug, Serialize)]
struct RewrittenJson {
    path: String,
    line: u64,
    column: u64,
    old: String,
    new: String,
}

impl From<&Rewritten> for RewrittenJson {
    fn from(place: &Rewritten) -> Self {
        let Rewritten { path, line, column, old, new, .. } = place.clone();
        Self { path, line, column, old, new }
    }
}

impl From<&FilesystemReport> for CountsJson {
    fn from(report: &FilesystemReport) -> Self {
        Self {
            image_bytes: report.image_bytes,
            block_size: report.block_size,
            old_uuid: Uuid::from_bytes(report.old_uuid).to_string(),
            new_uuid: Uuid::from_bytes(report.new_uuid).to_string(),
            inodes: report.inodes,
            inodes_renumbered: report.inodes_renumbered,
            times_changed: report.times_changed,
            inodes_split: report.inodes_split,
            inodes_merged: report.inodes_merged,
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
            rewritten: report.rewritten.iter().map(RewrittenJson::from).collect(),
        }
    }
}

/// Formats the counts of all reports. On a disk, each filesystem has a heading with its name.
pub fn lines(reports: &[FilesystemReport], all: bool) -> Vec<String> {
    let lines = |report: &FilesystemReport| {
        let head = report.name.as_ref().map(|name| format!("{name}:"));
        head.into_iter().chain(counts(report, all)).collect::<Vec<_>>()
    };
    reports.iter().flat_map(lines).collect()
}

/// Formats the counts of a report. Leaves out counts of zero unless `all` is set.
fn counts(report: &FilesystemReport, all: bool) -> Vec<String> {
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
    for Rewritten { path, line: number, column, old, new, .. } in &report.rewritten {
        line("rewritten", Some(format!("{path}, line {number}, column {column}: {old} -> {new}")), &[]);
    }
    let details = [(report.inodes_renumbered, "renumbered"), (report.times_changed, "with a different time")];
    line("inodes", Some(report.inodes.to_string()), &details);
    let links = [(report.inodes_split, "added by a split"), (report.inodes_merged, "removed by a merge")];
    for (count, what) in links {
        if let Some(count) = count {
            line("hard links", Some(format!("{} {what}", counted(count, "inode"))), &[]);
        }
    }
    line("directories", Some(report.directories.to_string()), &[(report.directories_indexed, "indexed")]);
    let size = HumanBytes(report.data_blocks.saturating_mul(report.block_size));
    let blocks = format!("{} of {} bytes ({size})", report.data_blocks, report.block_size);
    let details = [(report.blocks_moved, "moved"), (report.blocks_punched, "of zeros became holes")];
    line("data blocks", Some(blocks), &details);
    if all || report.transactions > 0 {
        let replayed = format!("{} replayed", counted(report.transactions, "transaction"));
        let details = [
            (report.blocks_replayed, if report.blocks_replayed == 1 { "block" } else { "blocks" }),
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

/// Returns an example report about an image with a single filesystem.
#[cfg(test)]
pub fn example() -> FilesystemReport {
    let mut report = FilesystemReport::default();
    report.image_bytes = 8 << 20;
    report.block_size = 4096;
    report.new_uuid = [0x11; 16];
    report.inodes = 12;
    report.inodes_renumbered = 5;
    report.directories = 2;
    report.data_blocks = 100;
    report.stale_blocks = 3;
    report.stale_bytes = 2048;
    report.bytes_written = 1 << 20;
    report.warnings = vec!["careful".to_owned()];
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_what_happened() {
        let text = lines(&[example()], false).join("\n");
        for part in [
            "12, 5 renumbered\n",
            "100 of 4096 bytes (400.00 KiB)\n",
            "3 dropped (2.00 KiB)",
            "1.00 MiB of 8.00 MiB",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("0 moved"), "{text}");
        assert!(lines(&[example()], true).join("\n").contains("0 moved"));
    }

    #[test]
    fn filesystems_of_a_disk_have_names() {
        let named = |name: &str| {
            let mut report = example();
            report.name = Some(name.to_owned());
            report
        };
        let reports = [named("partition 1"), named("partition 2")];
        let texts: Vec<_> = warnings(&reports).into_iter().map(|warning| warning.text).collect();
        assert_eq!(texts, ["partition 1: careful", "partition 2: careful"]);
        let json = serde_json::to_value(ReportsJson::of(&reports, &[])).unwrap();
        assert_eq!((json.get("report"), &json["filesystems"][1]["name"]), (None, &"partition 2".into()));
        let json = serde_json::to_value(ReportsJson::of(&[example()], &[])).unwrap();
        assert_eq!(json["report"]["new_uuid"], "11111111-1111-1111-1111-111111111111");
        assert!(json.get("filesystems").is_none());
    }
}
