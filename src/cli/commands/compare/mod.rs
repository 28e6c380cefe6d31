//! `compare`: checks whether two images have the same canonical form, and lists the differences.

mod cures;
mod diff;
mod evidence;
mod groups;
mod html;
mod json;
mod settings;
mod text;

use std::fs;
use std::io::{IsTerminal as _, stdout};
use std::path::Path;

use anyhow::Result;
use ext4_canon::Disk;
use ext4_canon::compare::Details;

use crate::cli::args::{CompareTask, STANDARD, Settings, Verbosity};
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Usage};
use crate::cli::image::Image;
use crate::cli::json::HeadJson;
use crate::cli::output::Output;
use crate::cli::paint::Paint;
use crate::cli::runner::{Outcome, Runner};
use crate::cli::target::Target;
use evidence::Evidence;
use text::Report;

/// The maximum size in bytes of files for which a diff is printed.
const LARGEST_TEXT: usize = 1 << 20;

/// The destination of the HTML page.
enum Page {
    File(Box<Target>),
    StandardOutput,
}

/// Compares two images.
pub fn run(runner: &Runner<'_>, task: &CompareTask) -> Result<Outcome> {
    let (one, other) = (runner.open(&task.inputs[0])?, runner.open(&task.inputs[1])?);
    // If both arguments are the same file, use only the first map, so that the file is read only once.
    let are_same = one.is(&other.metadata) && task.inputs[0].journal == task.inputs[1].journal;
    let images = if are_same { [&one, &one] } else { [&one, &other] };
    let inputs = task.inputs.each_ref().map(|files| files.path.as_path());
    let page = task.html.as_deref().map(|file| page(file, images)).transpose()?;
    let disks = disks(runner, images)?;
    let ignored = runner.settings.verbosity > Verbosity::Quiet || page.is_some();
    let mut details = Details::new().ignored(ignored);
    details.texts = task.diff.then_some(LARGEST_TEXT);
    details.map_cells = page.is_some().then_some(html::CELLS);
    let Settings { options, selection, like, .. } = runner.settings;
    let progress = &runner.progress;
    let (result, digests) = runner.read(&images, || {
        let compared = || {
            let result = disks[0].compare(&disks[1], options, details, progress);
            if task.digests {
                progress.only_hashing(if are_same { one.length } else { one.length + other.length });
            }
            result
        };
        rayon::join(compared, || task.digests.then(|| evidence::digests(images, are_same, progress)))
    })?;
    let comparison = match result {
        Ok(comparison) => comparison,
        Err(failed) => return Err(failed.error).about(inputs[failed.side]),
    };
    let words = evidence::option_words(options, selection, like.as_deref());
    let evidence = Evidence { options: words, epoch: options.epoch, digests };
    let paint = Paint::new(task.color, stdout().is_terminal());
    let (comparison, evidence) = (&comparison, &evidence);
    let found = Report { inputs, comparison, options, evidence, limit: task.limit, paint };
    let outcome = report(runner, page, images, &found)?;
    drop(disks);
    runner.drop_both(one, other);
    Ok(outcome)
}

/// Reports a comparison, as text or JSON, and optionally as an HTML page.
fn report(
    runner: &Runner<'_>,
    page: Option<Page>,
    images: [&Image; 2],
    report: &Report<'_>,
) -> Result<Outcome> {
    let Report { inputs, comparison, .. } = *report;
    let matches = comparison.is_match();
    let mut outcome = Outcome::new(if matches { ExitCode::Done } else { ExitCode::NotCanonical }, "");
    match page {
        Some(Page::File(target)) => {
            outcome.warnings = Output::write_all(*target, &images, html::page(report).as_bytes())?;
        }
        Some(Page::StandardOutput) => {
            outcome.text = html::page(report).into_bytes();
            return Ok(outcome);
        }
        None => {}
    }
    if runner.settings.json {
        let head = HeadJson::new("compare", if matches { "match" } else { "different" }, outcome.code);
        outcome.text = json::text(head, report);
    } else if runner.settings.verbosity > Verbosity::Quiet {
        let filesystems = comparison.filesystems.iter();
        outcome.warnings.extend(filesystems.flat_map(|filesystem| text::warnings(inputs, filesystem)));
        outcome.text = report.text().into_bytes();
    }
    Ok(outcome)
}

/// Opens the selected filesystems of both images. If only one image has partitions, its selected partition is
/// compared with the whole other image.
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
fn page(file: &Path, images: [&Image; 2]) -> Result<Page> {
    if file.as_os_str() == STANDARD {
        return Ok(Page::StandardOutput);
    }
    if let Ok(metadata) = fs::metadata(file)
        && images.iter().any(|image| image.is(&metadata))
    {
        return Err(Usage::new("is one of the images; give a different name for the page")).about(file);
    }
    Target::beside(file, images[0])
        .and_then(|_| Target::beside(file, images[1]))
        .map(|target| Page::File(Box::new(target)))
}
