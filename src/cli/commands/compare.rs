//! `compare`: whether two images have one canonical form, and if not, why not.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use ext4_canon::compare::{self, Attribute, Comparison, Detail, Difference, Extra, Ignored, compare};
use ext4_canon::disk::{self, Disk, Part, Selection};
use ext4_canon::{Input, occupancy};
use serde::Serialize;

use super::{Ended, Head, Work, json};
use crate::cli::args::{Given, Setting, Telling};
use crate::cli::diff::unified;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Usage};
use crate::cli::html::{self, Maps};
use crate::cli::input::Image;
use crate::cli::output::Output;
use crate::cli::target::Target;

/// The largest files whose lines are compared, in bytes.
const LARGEST_TEXT: usize = 1 << 20;

#[derive(Serialize)]
struct Json<'j> {
    #[serde(flatten)]
    head: Head,
    inputs: [Cow<'j, str>; 2],
    #[serde(flatten)]
    comparison: JsonComparison<'j>,
}

/// Of two disks.
#[derive(Serialize)]
struct JsonDisk<'j> {
    #[serde(flatten)]
    head: Head,
    inputs: [Cow<'j, str>; 2],
    disk: Vec<JsonSetting<'j>>,
    filesystems: Vec<JsonFilesystem<'j>>,
}

#[derive(Serialize)]
struct JsonFilesystem<'j> {
    name: &'j str,
    #[serde(flatten)]
    comparison: JsonComparison<'j>,
}

#[derive(Serialize)]
struct JsonComparison<'j> {
    paths: u64,
    bytes_compared: u64,
    differences: Vec<JsonDifference<'j>>,
    settings: Vec<JsonSetting<'j>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Vec<JsonIgnored<'j>>>,
    warnings: &'j [Vec<String>; 2],
}

#[derive(Serialize)]
struct JsonDifference<'j> {
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
}

#[derive(Serialize)]
struct JsonSetting<'j> {
    name: &'j str,
    a: &'j str,
    b: &'j str,
    option: &'j str,
}

#[derive(Serialize)]
struct JsonIgnored<'j> {
    kind: &'static str,
    what: &'static str,
    #[serde(flatten)]
    detail: JsonDetail<'j>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum JsonDetail<'j> {
    Values { a: &'j str, b: &'j str },
    Differing { count: u64 },
    Counts { a: u64, b: u64 },
}

/// Compares two images.
pub fn run(work: &Work<'_>, given: &[Given; 2], telling: &Telling) -> Result<Ended> {
    let (one, other) = (work.open_given(&given[0])?, work.open_given(&given[1])?);
    // Of a file that is given twice, one map will do: then nothing of it has to be read twice.
    let is_one = one.is(&other.metadata) && given[0].journal == given[1].journal;
    let images = if is_one { [&one, &one] } else { [&one, &other] };
    let inputs = given.each_ref().map(|given| given.path.as_path());
    let page = telling.html.as_deref().map(|file| target(file, images)).transpose()?;
    let disks = disks(given, images, &work.setting.selection)?;
    let ignored = !work.setting.quiet || telling.html.is_some();
    let extra = Extra { ignored, texts: telling.diff.then_some(LARGEST_TEXT) };
    let ended = if disks.iter().all(|disk| disk.named) {
        filesystems(work, inputs, images, &disks, page, extra)?
    } else if disks.iter().any(|disk| disk.named) {
        let words =
            "only one of the two images is a disk with partitions: use --partition to choose a filesystem";
        return Err(Usage::new(words)).about(inputs[usize::from(disks[0].named)]);
    } else {
        whole_disks(work, inputs, images, &disks, page, extra)?
    };
    drop(disks);
    // To unmap what was read takes a while, and need not be done for one after the other.
    work.pool.join(|| drop(one), || drop(other));
    Ok(ended)
}

/// The filesystems of both that are meant. A partition of one may be compared with the other, if that is a filesystem.
fn disks<'i>(given: &[Given; 2], images: [&'i Image; 2], selection: &Selection) -> Result<[Disk<'i>; 2]> {
    let all = Selection { partitions: Vec::new(), ..selection.clone() };
    let is_filesystem = images.map(|image| {
        !selection.partitions.is_empty()
            && Disk::of(&image.input(), &all).is_ok_and(|disk| disk.table.is_none())
    });
    let other_is_disk = is_filesystem[0] != is_filesystem[1];
    let disk = |side: usize| {
        given[side].disk(images[side], if other_is_disk && is_filesystem[side] { &all } else { selection })
    };
    Ok([disk(0)?, disk(1)?])
}

fn only<'d>(input: &Path, disk: &'d Disk<'_>) -> Result<&'d Part> {
    disk.only().about(input)
}

fn filesystems(
    work: &Work<'_>,
    inputs: [&Path; 2],
    images: [&Image; 2],
    disks: &[Disk<'_>; 2],
    page: Option<Target>,
    extra: Extra,
) -> Result<Ended> {
    let parts = [only(inputs[0], &disks[0])?, only(inputs[1], &disks[1])?];
    let files = [disks[0].filesystem(parts[0]), disks[1].filesystem(parts[1])];
    let options = &work.setting.options;
    let result = work.pool.install(|| compare([&files[0], &files[1]], options, extra, &work.progress));
    images.iter().try_for_each(|image| image.unchanged())?;
    let comparison = match result {
        Ok(comparison) => comparison,
        Err(failed) => {
            return Err(Disk::error(parts[failed.side], failed.error)).about(inputs[failed.side]);
        }
    };
    let mut remarks = Vec::new();
    if let Some(target) = page {
        let maps = |side: usize| maps(work, inputs[side], images[side], &files[side]);
        let part = html::Filesystem { name: None, comparison: &comparison, maps: [maps(0)?, maps(1)?] };
        remarks = write_page(target, inputs, comparison.is_match(), &[], &[part])?;
    }
    let mut ended = ended(comparison.is_match());
    ended.remarks = remarks;
    if work.setting.json {
        let comparison = report(inputs, &comparison);
        let head = head(&ended);
        ended.text = json(&Json { head, inputs: inputs.map(Path::to_string_lossy), comparison });
    } else if !work.setting.quiet {
        ended.remarks.extend(warnings(inputs, &comparison));
        let text = verdict(inputs, comparison.is_match()) + &text(inputs, &comparison);
        ended.text = text.into_bytes();
    }
    Ok(ended)
}

fn write_page(
    target: Target,
    inputs: [&Path; 2],
    matches: bool,
    around: &[compare::Setting],
    filesystems: &[html::Filesystem<'_>],
) -> Result<Vec<String>> {
    let names = inputs.map(Path::to_string_lossy);
    let told = |found: &Difference| (words(inputs, found), lines_of(inputs, found));
    let page = html::page([&names[0], &names[1]], matches, around, filesystems, told);
    Output::write_all(target, page.as_bytes())
}

fn whole_disks(
    work: &Work<'_>,
    inputs: [&Path; 2],
    images: [&Image; 2],
    disks: &[Disk<'_>; 2],
    page: Option<Target>,
    extra: Extra,
) -> Result<Ended> {
    let Setting { options, around, .. } = work.setting;
    let result =
        work.pool.install(|| disk::compare([&disks[0], &disks[1]], options, *around, extra, &work.progress));
    images.iter().try_for_each(|image| image.unchanged())?;
    let found = match result {
        Ok(found) => found,
        Err(failed) => return Err(failed.error).about(inputs[failed.side]),
    };
    let mut ended = ended(found.is_match());
    if let Some(target) = page {
        let parts = disk::twins([&disks[0], &disks[1]]).into_iter().zip(&found.filesystems);
        let parts = parts.map(|(parts, (name, comparison))| {
            let maps =
                |side: usize| maps(work, inputs[side], images[side], &disks[side].filesystem(parts[side]));
            Ok(html::Filesystem { name: Some(name), comparison, maps: [maps(0)?, maps(1)?] })
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        ended.remarks = write_page(target, inputs, found.is_match(), &found.settings, &parts)?;
    }
    if work.setting.json {
        let filesystems = found.filesystems.iter();
        let filesystems = filesystems
            .map(|(name, comparison)| JsonFilesystem { name, comparison: report(inputs, comparison) });
        ended.text = json(&JsonDisk {
            head: head(&ended),
            inputs: inputs.map(Path::to_string_lossy),
            disk: found.settings.iter().map(json_setting).collect(),
            filesystems: filesystems.collect(),
        });
    } else if !work.setting.quiet {
        let mut text = verdict(inputs, found.is_match());
        text.extend(found.settings.iter().map(|setting| setting_line("disk", setting)));
        for (name, comparison) in &found.filesystems {
            ended.remarks.extend(warnings(inputs, comparison));
            let _ = writeln!(text, "{name}: {}", match_word(comparison.is_match()));
            text.push_str(&self::text(inputs, comparison));
        }
        ended.text = text.into_bytes();
    }
    Ok(ended)
}

fn ended(matches: bool) -> Ended {
    Ended { code: if matches { ExitCode::Done } else { ExitCode::NotCanonical }, ..Ended::default() }
}

fn head(ended: &Ended) -> Head {
    Head::new("compare", if ended.code == ExitCode::Done { "match" } else { "different" }, ended.code)
}

fn match_word(matches: bool) -> &'static str {
    if matches { "match" } else { "differ" }
}

fn verdict(inputs: [&Path; 2], matches: bool) -> String {
    format!("{} and {}: {}\n", inputs[0].display(), inputs[1].display(), match_word(matches))
}

fn warnings(inputs: [&Path; 2], comparison: &Comparison) -> Vec<String> {
    let sides = inputs.iter().zip(&comparison.warnings);
    let lines = sides.flat_map(|(input, warnings)| {
        warnings.iter().map(move |warning| format!("warning: {}: {warning}", input.display()))
    });
    lines.collect()
}

/// What lies where in an image, and in its canonical form.
fn maps(work: &Work<'_>, input: &Path, image: &Image, file: &Input<'_>) -> Result<Maps> {
    let options = &work.setting.options;
    let result = work.pool.install(|| occupancy(file, options, html::CELLS, &work.progress));
    image.unchanged()?;
    let (before, after) = result.about(input)?;
    Ok(Maps { before, after: after.map_err(|error| error.to_string()) })
}

/// Where the page goes; no image may be replaced by it.
fn target(file: &Path, images: [&Image; 2]) -> Result<Target> {
    if let Ok(metadata) = fs::metadata(file)
        && images.iter().any(|image| image.is(&metadata))
    {
        return Err(Usage::new("is one of the images; give another name for the page")).about(file);
    }
    Target::beside(file, images[0]).and_then(|_| Target::beside(file, images[1]))
}

fn report<'j>(inputs: [&'j Path; 2], comparison: &'j Comparison) -> JsonComparison<'j> {
    let differences = comparison.differences.iter().map(|difference| JsonDifference {
        path: &difference.path,
        attribute: difference.attribute.name(),
        name: difference.name.as_deref(),
        a: difference.values[0].as_deref(),
        b: difference.values[1].as_deref(),
        first_byte: difference.content.map(|content| content.first),
        bytes: difference.content.map(|content| content.bytes),
        diff: lines_of(inputs, difference),
    });
    let settings = comparison.settings.iter().map(json_setting);
    let ignored = comparison.ignored.iter().map(|ignored| JsonIgnored {
        kind: ignored.kind,
        what: ignored.what,
        detail: match &ignored.detail {
            Detail::Values([a, b]) => JsonDetail::Values { a, b },
            Detail::Differing(count) => JsonDetail::Differing { count: *count },
            Detail::Counts([a, b]) => JsonDetail::Counts { a: *a, b: *b },
        },
    });
    JsonComparison {
        paths: comparison.paths,
        bytes_compared: comparison.bytes,
        differences: differences.collect(),
        settings: settings.collect(),
        ignored: comparison.looked_at_ignored.then(|| ignored.collect()),
        warnings: &comparison.warnings,
    }
}

fn json_setting(setting: &compare::Setting) -> JsonSetting<'_> {
    let [a, b] = &setting.values;
    JsonSetting { name: &setting.name, a, b, option: &setting.option }
}

fn setting_line(of: &str, setting: &compare::Setting) -> String {
    let compare::Setting { name, values: [one, other], option } = setting;
    let remedy = if option.is_empty() { String::new() } else { format!(" ({option})") };
    format!("{of}: {name} {one} -> {other}{remedy}\n")
}

fn text(inputs: [&Path; 2], comparison: &Comparison) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    for difference in &comparison.differences {
        let _ = writeln!(text, "{}: {}", difference.path, words(inputs, difference));
        text.extend(lines_of(inputs, difference));
    }
    text.extend(comparison.settings.iter().map(|setting| setting_line("filesystem", setting)));
    for Ignored { what, detail, .. } in &comparison.ignored {
        let how = match detail {
            Detail::Values([one, other]) => format!("{one} -> {other}"),
            Detail::Differing(count) => count.to_string(),
            Detail::Counts([one, other]) => format!("{one} and {other}"),
        };
        let _ = writeln!(text, "does not matter: {what}: {how}");
    }
    text
}

/// A difference in words, without the path.
fn words(inputs: [&Path; 2], difference: &Difference) -> String {
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

/// The unified diff of two texts, where there are any.
fn lines_of(inputs: [&Path; 2], difference: &Difference) -> Option<String> {
    let texts = difference.texts.as_ref()?;
    let names = inputs.map(|input| format!("{}:{}", input.display(), difference.path));
    unified([&texts[0], &texts[1]], [&names[0], &names[1]])
}
