//! `compare`: whether two images have one canonical form, and if not, why not.

mod diff;
mod html;
mod json;
mod text;

use std::fs;
use std::path::Path;

use anyhow::Result;
use ext4_canon::compare::{self, Extra, PathDifference, compare};
use ext4_canon::disk::{self, Disk, DiskComparison, Selection};
use ext4_canon::{Input, occupancy};

use self::html::Maps;
use crate::cli::args::{CompareTask, Verbosity};
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Usage};
use crate::cli::image::Image;
use crate::cli::json::HeadJson;
use crate::cli::output::Output;
use crate::cli::runner::{Outcome, Runner};
use crate::cli::target::Target;

/// The largest files whose lines are compared, in bytes.
const LARGEST_TEXT: usize = 1 << 20;

/// Compares two images.
pub fn run(runner: &Runner<'_>, task: &CompareTask) -> Result<Outcome> {
    let (one, other) = (runner.open(&task.inputs[0])?, runner.open(&task.inputs[1])?);
    // For a file that is given twice, one map is enough: nothing of it has to be read twice.
    let is_one = one.is(&other.metadata) && task.inputs[0].journal == task.inputs[1].journal;
    let images = if is_one { [&one, &one] } else { [&one, &other] };
    let inputs = task.inputs.each_ref().map(|files| files.path.as_path());
    let page = task.html.as_deref().map(|file| target(file, images)).transpose()?;
    let disks = disks(runner, images)?;
    let ignored = runner.settings.verbosity > Verbosity::Quiet || task.html.is_some();
    let extra = Extra { ignored, texts: task.diff.then_some(LARGEST_TEXT) };
    let comparing = Comparing { runner, inputs, images, disks: &disks, extra };
    let outcome = match disks.each_ref().map(|disk| disk.named) {
        [true, true] => comparing.filesystems(page)?,
        [false, false] => comparing.whole_disks(page)?,
        [one_is_named, _] => {
            let words = "only one of the two images is a disk with partitions: use --partition to choose a filesystem";
            return Err(Usage::new(words)).about(inputs[usize::from(one_is_named)]);
        }
    };
    drop(disks);
    runner.drop_both(one, other);
    Ok(outcome)
}

/// The filesystems of both that are meant. A partition of one may be compared with the other, if that is a filesystem.
fn disks<'i>(runner: &Runner<'_>, images: [&'i Image; 2]) -> Result<[Disk<'i>; 2]> {
    let selection = &runner.settings.selection;
    let all = Selection { partitions: Vec::new(), ..selection.clone() };
    let is_filesystem = images.map(|image| {
        !selection.partitions.is_empty()
            && Disk::of(&image.input(), &all).is_ok_and(|disk| disk.table.is_none())
    });
    let other_is_disk = is_filesystem[0] != is_filesystem[1];
    let disk = |side: usize| {
        runner.disk(images[side], if other_is_disk && is_filesystem[side] { &all } else { selection })
    };
    Ok([disk(0)?, disk(1)?])
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

/// Everything that a comparison takes.
struct Comparing<'c> {
    runner: &'c Runner<'c>,
    inputs: [&'c Path; 2],
    images: [&'c Image; 2],
    disks: &'c [Disk<'c>; 2],
    extra: Extra,
}

impl Comparing<'_> {
    /// Compares the only filesystem of each image.
    fn filesystems(&self, page: Option<Target>) -> Result<Outcome> {
        let Self { runner, inputs, images, disks, extra } = self;
        let only = |side: usize| disks[side].only().about(inputs[side]);
        let parts = [only(0)?, only(1)?];
        let files = [disks[0].filesystem(parts[0]), disks[1].filesystem(parts[1])];
        let options = &runner.settings.options;
        let result =
            runner.read(images, || compare([&files[0], &files[1]], options, *extra, &runner.progress))?;
        let comparison = match result {
            Ok(comparison) => comparison,
            Err(failed) => {
                return Err(Disk::error(parts[failed.side], failed.error)).about(inputs[failed.side]);
            }
        };
        let matches = comparison.is_match();
        let mut outcome = outcome(matches);
        if let Some(target) = page {
            let maps = [self.maps(0, &files[0])?, self.maps(1, &files[1])?];
            let filesystem = html::Filesystem { name: None, comparison: &comparison, maps };
            outcome.remarks = self.write_page(target, matches, &[], &[filesystem])?;
        }
        if runner.settings.json {
            outcome.text = json::of_filesystems(head(&outcome), *inputs, &comparison);
        } else if runner.settings.verbosity > Verbosity::Quiet {
            outcome.remarks.extend(text::warnings(*inputs, &comparison));
            outcome.text = text::of_filesystems(*inputs, &comparison).into_bytes();
        }
        Ok(outcome)
    }

    /// Compares two disks: filesystem by filesystem, and what is around them.
    fn whole_disks(&self, page: Option<Target>) -> Result<Outcome> {
        let Self { runner, inputs, images, disks, extra } = self;
        let (options, around) = (&runner.settings.options, runner.settings.around);
        let result = runner.read(images, || {
            disk::compare([&disks[0], &disks[1]], options, around, *extra, &runner.progress)
        })?;
        let comparison = match result {
            Ok(comparison) => comparison,
            Err(failed) => return Err(failed.error).about(inputs[failed.side]),
        };
        let mut outcome = outcome(comparison.is_match());
        if let Some(target) = page {
            let filesystems = self.compared_filesystems(&comparison)?;
            let matches = comparison.is_match();
            outcome.remarks = self.write_page(target, matches, &comparison.settings, &filesystems)?;
        }
        if runner.settings.json {
            outcome.text = json::of_disks(head(&outcome), *inputs, &comparison);
        } else if runner.settings.verbosity > Verbosity::Quiet {
            let filesystems = comparison.filesystems.iter();
            let warnings = filesystems.flat_map(|(_, comparison)| text::warnings(*inputs, comparison));
            outcome.remarks.extend(warnings);
            outcome.text = text::of_disks(*inputs, &comparison).into_bytes();
        }
        Ok(outcome)
    }

    /// The filesystems of disks, for the page.
    fn compared_filesystems<'f>(&self, comparison: &'f DiskComparison) -> Result<Vec<html::Filesystem<'f>>> {
        let twins = disk::twins([&self.disks[0], &self.disks[1]]);
        let filesystems = twins.into_iter().zip(&comparison.filesystems);
        let filesystems = filesystems.map(|(parts, (name, comparison))| {
            let maps = |side: usize| self.maps(side, &self.disks[side].filesystem(parts[side]));
            Ok(html::Filesystem { name: Some(name), comparison, maps: [maps(0)?, maps(1)?] })
        });
        filesystems.collect()
    }

    /// What is stored where in an image, and in its canonical form.
    fn maps(&self, side: usize, filesystem: &Input<'_>) -> Result<Maps> {
        let runner = self.runner;
        let options = &runner.settings.options;
        let result = runner
            .read(&[self.images[side]], || occupancy(filesystem, options, html::CELLS, &runner.progress))?;
        let (before, after) = result.about(self.inputs[side])?;
        Ok(Maps { before, after: after.map_err(|error| error.to_string()) })
    }

    /// Writes the report as a page; returns warnings.
    fn write_page(
        &self,
        target: Target,
        matches: bool,
        around: &[compare::SettingDifference],
        filesystems: &[html::Filesystem<'_>],
    ) -> Result<Vec<String>> {
        let names = self.inputs.map(Path::to_string_lossy);
        let words = |difference: &PathDifference| {
            (text::words(self.inputs, difference), text::diff(self.inputs, difference))
        };
        let page = html::page([&names[0], &names[1]], matches, around, filesystems, words);
        Output::write_all(target, page.as_bytes())
    }
}

/// The outcome, without a text as yet.
fn outcome(matches: bool) -> Outcome {
    Outcome::new(if matches { ExitCode::Done } else { ExitCode::NotCanonical }, "")
}

fn head(outcome: &Outcome) -> HeadJson {
    let status = if outcome.code == ExitCode::Done { "match" } else { "different" };
    HeadJson::new("compare", status, outcome.code)
}
