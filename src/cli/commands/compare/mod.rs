//! `compare`: whether two images have the same canonical form, and where they differ.

mod diff;
mod html;
mod json;
mod text;

use std::fs;
use std::path::Path;

use anyhow::Result;
use ext4_canon::Disk;
use ext4_canon::compare::{Comparison, Details, PathDifference};

use crate::cli::args::{CompareTask, Verbosity};
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Usage};
use crate::cli::image::Image;
use crate::cli::json::HeadJson;
use crate::cli::output::Output;
use crate::cli::runner::{Outcome, Runner};
use crate::cli::target::Target;

/// The maximum size in bytes of files for which a diff is printed.
const LARGEST_TEXT: usize = 1 << 20;

/// Compares two images.
pub fn run(runner: &Runner<'_>, task: &CompareTask) -> Result<Outcome> {
    let (one, other) = (runner.open(&task.inputs[0])?, runner.open(&task.inputs[1])?);
    // If both arguments are the same file, use one map, so that nothing is read twice.
    let is_one = one.is(&other.metadata) && task.inputs[0].journal == task.inputs[1].journal;
    let images = if is_one { [&one, &one] } else { [&one, &other] };
    let inputs = task.inputs.each_ref().map(|files| files.path.as_path());
    let page = task.html.as_deref().map(|file| target(file, images)).transpose()?;
    let disks = disks(runner, images)?;
    let ignored = runner.settings.verbosity > Verbosity::Quiet || page.is_some();
    let mut details = Details::new().ignored(ignored);
    details.texts = task.diff.then_some(LARGEST_TEXT);
    details.map_cells = page.is_some().then_some(html::CELLS);
    let options = &runner.settings.options;
    let result = runner.read(&images, || disks[0].compare(&disks[1], options, details, &runner.progress))?;
    let comparison = match result {
        Ok(comparison) => comparison,
        Err(failed) => return Err(failed.error).about(inputs[failed.side]),
    };
    let outcome = report(runner, inputs, page, &comparison)?;
    drop(disks);
    runner.drop_both(one, other);
    Ok(outcome)
}

/// Reports a comparison, as text or JSON, and optionally as an HTML page.
fn report(
    runner: &Runner<'_>,
    inputs: [&Path; 2],
    page: Option<Target>,
    comparison: &Comparison,
) -> Result<Outcome> {
    let matches = comparison.is_match();
    let mut outcome = Outcome::new(if matches { ExitCode::Done } else { ExitCode::NotCanonical }, "");
    if let Some(target) = page {
        outcome.warnings = write_page(target, inputs, comparison)?;
    }
    if runner.settings.json {
        let head = HeadJson::new("compare", if matches { "match" } else { "different" }, outcome.code);
        outcome.text = json::text(head, inputs, comparison);
    } else if runner.settings.verbosity > Verbosity::Quiet {
        let filesystems = comparison.filesystems.iter();
        outcome.warnings.extend(filesystems.flat_map(|filesystem| text::warnings(inputs, filesystem)));
        outcome.text = text::text(inputs, comparison).into_bytes();
    }
    Ok(outcome)
}

/// Opens the selected filesystems of both images. If only one image has partitions, the selected one is
/// compared with the other image.
fn disks<'i>(runner: &Runner<'_>, images: [&'i Image; 2]) -> Result<[Disk<'i>; 2]> {
    let selection = &runner.settings.selection;
    let mut all = selection.clone();
    all.partitions.clear();
    let is_filesystem = images.map(|image| {
        !selection.partitions.is_empty()
            && Disk::open(&image.input(), &all).is_ok_and(|disk| !disk.has_partitions())
    });
    let other_is_disk = is_filesystem[0] != is_filesystem[1];
    let disk = |side: usize| {
        runner.disk(images[side], if other_is_disk && is_filesystem[side] { &all } else { selection })
    };
    Ok([disk(0)?, disk(1)?])
}

/// Finds the target of the HTML page, which must not replace an image.
fn target(file: &Path, images: [&Image; 2]) -> Result<Target> {
    if let Ok(metadata) = fs::metadata(file)
        && images.iter().any(|image| image.is(&metadata))
    {
        return Err(Usage::new("is one of the images; give another name for the page")).about(file);
    }
    Target::beside(file, images[0]).and_then(|_| Target::beside(file, images[1]))
}

/// Writes the report as an HTML page, and returns warnings.
fn write_page(target: Target, inputs: [&Path; 2], comparison: &Comparison) -> Result<Vec<String>> {
    let names = inputs.map(Path::to_string_lossy);
    let words =
        |difference: &PathDifference| (text::words(inputs, difference), text::diff(inputs, difference));
    let page = html::page([&names[0], &names[1]], comparison, words);
    Output::write_all(target, page.as_bytes())
}
