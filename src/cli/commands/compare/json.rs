//! Formats the report of `compare` as JSON.

use std::borrow::Cow;
use std::path::Path;

use ext4_canon::Options;
use ext4_canon::compare::{Detail, FilesystemComparison, Ignored, SettingDifference};
use serde::Serialize;

use super::cures;
use super::text::{Report, diff};
use crate::cli::json::{self, HeadJson};

#[derive(Serialize)]
struct CompareJson<'j> {
    #[serde(flatten)]
    head: HeadJson,
    inputs: [Cow<'j, str>; 2],
    #[serde(flatten)]
    evidence: EvidenceJson<'j>,
    #[serde(flatten)]
    comparison: ComparisonJson<'j>,
}

/// The options, versions and digests of the comparison.
#[derive(Serialize)]
struct EvidenceJson<'j> {
    options: &'j [String],
    source_date_epoch: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'j [String; 2]>,
}

/// The JSON output for two disks.
#[derive(Serialize)]
struct CompareDisksJson<'j> {
    #[serde(flatten)]
    head: HeadJson,
    inputs: [Cow<'j, str>; 2],
    #[serde(flatten)]
    evidence: EvidenceJson<'j>,
    disk: Vec<SettingJson<'j>>,
    filesystems: Vec<ComparedFilesystemJson<'j>>,
}

#[derive(Serialize)]
struct ComparedFilesystemJson<'j> {
    name: &'j str,
    #[serde(flatten)]
    comparison: ComparisonJson<'j>,
}

#[derive(Serialize)]
struct ComparisonJson<'j> {
    paths: u64,
    bytes_compared: u64,
    differences: Vec<TreeDifferenceJson<'j>>,
    settings: Vec<SettingJson<'j>>,
    settled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Vec<IgnoredJson<'j>>>,
    warnings: &'j [Vec<String>; 2],
}

#[derive(Serialize)]
struct TreeDifferenceJson<'j> {
    path: &'j str,
    attribute: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'j str>,
    a: Option<&'j str>,
    b: Option<&'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    cure: &'static str,
}

#[derive(Serialize)]
struct SettingJson<'j> {
    name: &'j str,
    a: &'j str,
    b: &'j str,
    option: &'j str,
    cure: &'j str,
    #[serde(skip_serializing_if = "Option::is_none")]
    follows: Option<&'j str>,
}

#[derive(Serialize)]
struct IgnoredJson<'j> {
    cause: &'static str,
    kind: &'static str,
    what: &'static str,
    #[serde(flatten)]
    detail: IgnoredDetailJson<'j>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum IgnoredDetailJson<'j> {
    Values { a: &'j str, b: &'j str },
    Differing { count: u64 },
    Counts { a: u64, b: u64 },
}

/// Formats the report about two filesystems or two disks.
pub fn text(head: HeadJson, report: &Report<'_>) -> Vec<u8> {
    let Report { inputs, comparison, options, evidence, .. } = *report;
    let names = inputs.map(Path::to_string_lossy);
    let evidence = EvidenceJson {
        options: &evidence.options,
        source_date_epoch: evidence.epoch,
        sha256: evidence.digests.as_ref(),
    };
    if let [only @ FilesystemComparison { name: None, .. }] = &comparison.filesystems[..] {
        let comparison = comparison_json(inputs, options, only);
        return json::text(&CompareJson { head, inputs: names, evidence, comparison });
    }
    let filesystems = comparison.filesystems.iter().map(|filesystem| ComparedFilesystemJson {
        name: filesystem.name.as_deref().unwrap_or_default(),
        comparison: comparison_json(inputs, options, filesystem),
    });
    json::text(&CompareDisksJson {
        head,
        inputs: names,
        evidence,
        disk: comparison.settings.iter().map(setting_json).collect(),
        filesystems: filesystems.collect(),
    })
}

fn comparison_json<'j>(
    inputs: [&'j Path; 2],
    options: &Options,
    comparison: &'j FilesystemComparison,
) -> ComparisonJson<'j> {
    let differences = comparison.differences.iter().map(|difference| TreeDifferenceJson {
        path: &difference.path,
        attribute: difference.attribute.name(),
        name: difference.name.as_deref(),
        a: difference.values[0].as_deref(),
        b: difference.values[1].as_deref(),
        first_byte: difference.content.map(|content| content.first),
        bytes: difference.content.map(|content| content.bytes),
        diff: diff(inputs, difference),
        cure: cures::cure(difference, options),
    });
    let settings = comparison.settings.iter().map(setting_json);
    ComparisonJson {
        paths: comparison.paths,
        bytes_compared: comparison.bytes,
        differences: differences.collect(),
        settings: settings.collect(),
        settled: comparison.settled,
        ignored: comparison.ignored.as_ref().map(|ignored| ignored.iter().map(ignored_json).collect()),
        warnings: &comparison.warnings,
    }
}

fn setting_json(setting: &SettingDifference) -> SettingJson<'_> {
    let SettingDifference { name, values: [a, b], option, cure, follows, .. } = setting;
    SettingJson { name, a, b, option, cure, follows: follows.as_deref() }
}

fn ignored_json(ignored: &Ignored) -> IgnoredJson<'_> {
    let detail = match &ignored.detail {
        Detail::Values([a, b]) => IgnoredDetailJson::Values { a, b },
        Detail::Differing(count) => IgnoredDetailJson::Differing { count: *count },
        Detail::Counts([a, b]) => IgnoredDetailJson::Counts { a: *a, b: *b },
    };
    IgnoredJson { cause: ignored.cause.name(), kind: ignored.kind, what: ignored.what, detail }
}
