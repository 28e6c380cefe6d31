//! The main command: writes the canonical form of an image.

use std::fs::File;
use std::io::{IsTerminal as _, stdout};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ext4_canon::{Disk, FORM_VERSION, FilesystemReport, Input};
use serde::Serialize;

use super::reports::{self, ReportsJson};
use crate::cli::args::{CanonicalizeTask, Verbosity};
use crate::cli::bmap;
use crate::cli::console::STANDARD_OUTPUT;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Internal, Usage};
use crate::cli::format::Format;
use crate::cli::image::{Image, data_ranges};
use crate::cli::json::{self, HeadJson};
use crate::cli::map::Map;
use crate::cli::mounted::System;
use crate::cli::output::Output;
use crate::cli::runner::{Outcome, Runner};
use crate::cli::sink::OutputSink;
use crate::cli::sparse;
use crate::cli::stream::StreamSink;
use crate::cli::target::{Target, is_reference};

/// Error contexts for operations on the output.
const WRITING: &str = "writing the output";
const READING_AGAIN: &str = "reading it again";

#[derive(Debug, Serialize)]
struct CanonicalizeJson<'c> {
    #[serde(flatten)]
    head: HeadJson,
    input: String,
    output: String,
    verified: bool,
    #[serde(flatten)]
    reports: ReportsJson<'c>,
}

/// A complete canonical image under its final name.
struct Written {
    /// The name from the command line.
    output: PathBuf,
    verified: bool,
    reports: Vec<FilesystemReport>,
}

/// Writes the canonical form of an image.
pub fn run(runner: &Runner<'_>, task: &CanonicalizeTask) -> Result<Outcome> {
    let image = runner.open(&task.input)?;
    let disk = runner.disk(&image, &runner.settings.selection)?;
    let writer = Writer { runner, task, image: &image, disk: &disk };
    let written = match &task.output {
        Some(output) if task.streams() => writer.to_standard_output(output),
        Some(output) => Target::beside(output, &image).and_then(|target| writer.to_file(target)),
        None => Target::in_place(&image).and_then(|target| writer.to_file(target)),
    };
    runner.install(|| image.release());
    let written = written?;
    runner.add(reports::warnings(&written.reports));
    let input = &task.input.path;
    let verbosity = runner.settings.verbosity;
    let text = if runner.settings.json {
        written.json(input, &runner.warnings())
    } else if verbosity > Verbosity::Quiet {
        written.summary(input, verbosity).into_bytes()
    } else {
        Vec::new()
    };
    Ok(Outcome::new(ExitCode::Done, text))
}

impl Written {
    fn json(&self, input: &Path, warnings: &[String]) -> Vec<u8> {
        json::text(&CanonicalizeJson {
            head: HeadJson::new("canonicalize", "written", ExitCode::Done),
            input: input.display().to_string(),
            output: self.output.display().to_string(),
            verified: self.verified,
            reports: ReportsJson::of(&self.reports, warnings),
        })
    }

    fn summary(&self, input: &Path, verbosity: Verbosity) -> String {
        let (input, output) = (input.display(), self.output.display());
        let verified = if self.verified { ", verified" } else { "" };
        let mut lines = vec![format!("{output}: canonical form {FORM_VERSION} of {input}{verified}")];
        lines.extend(reports::lines(&self.reports, verbosity == Verbosity::Verbose));
        lines.push(String::new());
        lines.join("\n")
    }
}

/// The writer of a canonical image.
struct Writer<'w> {
    runner: &'w Runner<'w>,
    task: &'w CanonicalizeTask,
    image: &'w Image,
    disk: &'w Disk<'w>,
}

impl Writer<'_> {
    fn to_file(&self, target: Target) -> Result<Written> {
        let Self { runner, task, image, disk } = self;
        let settings = runner.settings;
        let output = Output::create(target, image)?;
        // If the size changes, the length is known only after planning.
        let most = if settings.options.keeps_length() { image.length } else { u64::MAX };
        let sink = OutputSink::new(output.file(), most).sharing(image.file());
        let result =
            runner.read(&[image], || disk.canonicalize(&settings.options, &sink, &runner.progress))?;
        let report = result.about(if sink.failed() { output.shown() } else { &image.path })?;
        output.set_length(report.image_bytes)?;
        if task.verify {
            self.verify(&output)?;
        }
        let shown = output.shown().to_owned();
        let sparse = match task.format {
            Format::Raw => None,
            Format::Sparse => Some(self.sparse(&output, &sink.used())?),
        };
        let bmap = task.bmap.as_ref().map(|path| self.bmap(&output, path, &sink.used())).transpose()?;
        let mut warnings = sparse.unwrap_or(output).finish(task.sync)?;
        if let Some(bmap) = bmap {
            warnings.extend(bmap.finish(task.sync)?);
        }
        let mut reports = report.filesystems;
        // These warnings are about the whole output, so add them to the first report. There is at least one
        // report.
        if let Some(first) = reports.first_mut() {
            first.warnings.extend(warnings);
        }
        Ok(Written { output: shown, verified: task.verify, reports })
    }

    fn to_standard_output(&self, output: &Path) -> Result<Written> {
        let Self { runner, image, disk, .. } = self;
        let settings = runner.settings;
        let shown = Path::new(STANDARD_OUTPUT);
        let sink = StreamSink::new(standard_output(image).about(shown)?);
        let result =
            runner.read(&[image], || disk.canonicalize(&settings.options, &sink, &runner.progress))?;
        let report = result.about(if sink.failed() { shown } else { &image.path })?;
        sink.finish(report.image_bytes).context(WRITING).about(shown)?;
        Ok(Written { output: output.to_owned(), verified: false, reports: report.filesystems })
    }

    /// Reads the output again, and compares its trees with the trees of the image.
    fn verify(&self, output: &Output) -> Result<()> {
        let Self { runner, image, disk, .. } = self;
        let settings = runner.settings;
        let map = map(output)?;
        let written = Input::sparse(map.bytes(), data_ranges(output.file(), map.bytes().len() as u64));
        let result = runner.read(&[image], || disk.verify(&written, &settings.options, &runner.progress))?;
        map.readable().context(READING_AGAIN).about(output.shown())?;
        let Err(error) = result else { return Ok(()) };
        // The input was read without an error, so this is a bug in this program. Leave out the library's
        // remedy (e2fsck), since it is meant for inputs.
        let what = error.problem();
        Err(Internal::new(format!("verification failed, and nothing was kept: {what}"))).about(output.shown())
    }

    /// Converts the output to an Android sparse image.
    fn sparse(&self, output: &Output, used: &[Range<u64>]) -> Result<Output> {
        let map = map(output)?;
        let sparse = output.another(self.image)?;
        sparse::write(sparse.file(), map.bytes(), used).about(output.shown())?;
        map.readable().context(READING_AGAIN).about(output.shown())?;
        Ok(sparse)
    }

    /// Writes the bmap file of the output, which must replace neither the image nor the output.
    fn bmap(&self, output: &Output, path: &Path, used: &[Range<u64>]) -> Result<Output> {
        let target = Target::beside(path, self.image)?;
        if output.goes_to(&target) {
            return Err(Usage::new("is the output; give a different name for the bmap file")).about(path);
        }
        let map = map(output)?;
        let text = self.runner.install(|| bmap::text(map.bytes(), used));
        map.readable().context(READING_AGAIN).about(output.shown())?;
        Output::with_bytes(target, &[self.image], text.as_bytes())
    }
}

fn map(output: &Output) -> Result<Map> {
    let map = output.length().and_then(|length| Map::new(output.file(), length));
    map.context("mapping it into memory").about(output.shown())
}

/// Returns standard output, after checking that an image may be written there.
fn standard_output(image: &Image) -> Result<File> {
    if stdout().is_terminal() {
        bail!(Usage::new("is a terminal; redirect it, or give the name of a file"));
    }
    let out = File::from(stdout().as_fd().try_clone_to_owned().context(WRITING)?);
    let metadata = out.metadata().context(WRITING)?;
    if let Some(places) = System::default().mounts(Path::new(STANDARD_OUTPUT), &metadata).places() {
        bail!(Usage::new(format!("is mounted {places}; unmount it, or redirect elsewhere")));
    }
    if is_reference(&metadata, image) {
        bail!(Usage::new("is the image of --like; redirect elsewhere"));
    }
    if image.is(&metadata) {
        bail!(Usage::new("is the input; use --in-place to replace it, or redirect elsewhere"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Written {
        let reports = vec![reports::example()];
        Written { output: "out.img".into(), verified: true, reports }
    }

    #[test]
    fn the_summary_begins_with_the_output() {
        let text = written().summary(Path::new("in.img"), Verbosity::Normal);
        assert!(text.starts_with("out.img: canonical form 1 of in.img, verified\n"), "{text}");
        assert!(text.contains("12, 5 renumbered\n") && text.ends_with("the rest is holes\n"), "{text}");
        assert!(written().summary(Path::new("in.img"), Verbosity::Verbose).contains("0 moved"));
    }

    #[test]
    fn json_holds_everything() {
        let text = written().json(Path::new("in.img"), &["careful".to_owned()]);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&json["status"], &json["exit_code"]), (&"written".into(), &0.into()));
        assert_eq!((&json["output"], &json["verified"]), (&"out.img".into(), &true.into()));
        assert_eq!(json["report"]["new_uuid"], "11111111-1111-1111-1111-111111111111");
        assert_eq!(json["warnings"][0], "careful");
    }
}
