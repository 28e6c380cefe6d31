//! The report of `compare` as text.

use std::fmt::Write as _;
use std::path::Path;

use ext4_canon::compare::{
    Attribute, Comparison, Detail, FilesystemComparison, Ignored, PathDifference, SettingDifference,
};

use super::diff::unified;

/// Returns the verdict in one word.
fn match_word(matches: bool) -> &'static str {
    if matches { "match" } else { "differ" }
}

/// Formats the report about two filesystems or two disks.
pub fn text(inputs: [&Path; 2], comparison: &Comparison) -> String {
    let mut text = verdict(inputs, comparison.is_match());
    text.extend(comparison.settings.iter().map(|found| setting("disk", found)));
    for filesystem in &comparison.filesystems {
        if let Some(name) = &filesystem.name {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name}: {}", match_word(filesystem.is_match()));
        }
        text.push_str(&lines(inputs, filesystem));
    }
    text
}

/// Formats the first line.
fn verdict(inputs: [&Path; 2], matches: bool) -> String {
    format!("{} and {}: {}\n", inputs[0].display(), inputs[1].display(), match_word(matches))
}

/// Formats the warnings about both images.
pub fn warnings(inputs: [&Path; 2], comparison: &FilesystemComparison) -> Vec<String> {
    let sides = inputs.iter().zip(&comparison.warnings);
    let lines = sides.flat_map(|(input, warnings)| {
        warnings.iter().map(move |warning| format!("{}: {warning}", input.display()))
    });
    lines.collect()
}

/// Formats a difference between settings as a line.
fn setting(of: &str, setting: &SettingDifference) -> String {
    let SettingDifference { name, values: [one, other], option, .. } = setting;
    let remedy = if option.is_empty() { String::new() } else { format!(" ({option})") };
    format!("{of}: {name} {one} -> {other}{remedy}\n")
}

/// Formats all lines about two filesystems.
fn lines(inputs: [&Path; 2], comparison: &FilesystemComparison) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    for difference in &comparison.differences {
        let _ = writeln!(text, "{}: {}", difference.path, words(inputs, difference));
        text.extend(diff(inputs, difference));
    }
    text.extend(comparison.settings.iter().map(|found| setting("filesystem", found)));
    for Ignored { what, detail, .. } in comparison.ignored.iter().flatten() {
        let line = match detail {
            Detail::Values([one, other]) => format!("{what}: {one} -> {other}"),
            Detail::Differing(count) => format!("{count} {what}"),
            Detail::Counts([one, other]) => format!("{what}: {one} and {other}"),
        };
        let _ = writeln!(text, "ignored: {line}");
    }
    text
}

/// Describes a difference, without the path.
pub fn words(inputs: [&Path; 2], difference: &PathDifference) -> String {
    let [one, other] = difference.values.each_ref().map(|value| value.as_deref());
    let only_in = |input: &Path, what: &str| format!("only in {} ({what})", input.display());
    let name = difference.attribute.name();
    match (difference.attribute, one, other) {
        (Attribute::Presence, Some(what), _) => only_in(inputs[0], what),
        (Attribute::Presence, _, Some(what)) => only_in(inputs[1], what),
        (Attribute::Content, ..) => {
            let (first, bytes) = difference.content.map_or((0, 0), |content| (content.first, content.bytes));
            let noun = if bytes == 1 { "byte differs" } else { "bytes differ" };
            format!("content, {bytes} {noun}, the first is at offset {first}")
        }
        (Attribute::Allocation, ..) => "allocation of blocks, where holes count".to_owned(),
        (Attribute::HardLink, ..) => {
            let [one, other] = [one, other].map(|first| first.unwrap_or("no path before it"));
            format!("hard link to {one} -> hard link to {other}")
        }
        _ => {
            let name = difference.name.as_ref().map_or(name.to_owned(), |xattr| format!("{name} {xattr}"));
            format!("{name} {} -> {}", one.unwrap_or("(none)"), other.unwrap_or("(none)"))
        }
    }
}

/// Returns the unified diff of two text files, if both are known.
pub fn diff(inputs: [&Path; 2], difference: &PathDifference) -> Option<String> {
    let texts = difference.texts.as_ref()?;
    let names = inputs.map(|input| format!("{}:{}", input.display(), difference.path));
    unified([&texts[0], &texts[1]], [&names[0], &names[1]])
}
