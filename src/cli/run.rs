//! The main job: from validated arguments to files and messages.

use std::fs::File;
use std::io::{IsTerminal as _, stdout};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, bail};
use ext4_canon::disk::Disk;
use ext4_canon::policy::SizePolicy;
use ext4_canon::{Difference, Error, Input, Report};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::args::{Job, Task, Voice};
use super::bmap;
use super::exit_code::ExitCode;
use super::failure::{About as _, Internal, Usage};
use super::format::Format;
use super::guard;
use super::input::{Image, data_ranges};
use super::map::Map;
use super::mounted::System;
use super::output::Output;
use super::progress::Progress;
use super::report;
use super::signals;
use super::sink::FileSink;
use super::sparse;
use super::stream::StreamSink;
use super::target::Target;

/// As many differences are told as fit on a screen together.
const MOST_DIFFERENCES: usize = 10;

/// Error context for standard output.
const WRITING: &str = "writing the output";

/// How a job ended well.
#[derive(Debug)]
pub enum Ending {
    /// The canonical image is in its place.
    Written {
        /// Its name, as it was given.
        output: PathBuf,
        /// Whether it was read again.
        verified: bool,
        /// What was done, in each filesystem.
        reports: Vec<PartReport>,
    },
    /// The image was compared with its canonical form.
    Checked {
        /// Where they differ: the first places.
        differences: Vec<Difference>,
        /// Whether there are more.
        more: bool,
        /// What would have been done, in each filesystem.
        reports: Vec<PartReport>,
    },
}

/// The library's report of a filesystem.
#[derive(Debug)]
pub struct PartReport {
    /// Where in a disk it lies.
    pub name: Option<String>,
    /// What was done there.
    pub report: Report,
}

impl Ending {
    /// The library's reports.
    pub fn reports(&self) -> &[PartReport] {
        match self {
            Self::Written { reports, .. } | Self::Checked { reports, .. } => reports,
        }
    }

    /// What is worth telling, with the filesystem that it is about.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.reports().iter().flat_map(|PartReport { name, report }| {
            report.warnings.iter().map(move |warning| match name {
                Some(name) => format!("{name}: {warning}"),
                None => warning.clone(),
            })
        });
        warnings.collect()
    }
}

/// Reports with the names of their filesystems.
fn named(disk: &Disk<'_>, reports: Vec<Report>) -> Vec<PartReport> {
    let names = disk.parts.iter().map(|part| part.name.clone());
    names.zip(reports).map(|(name, report)| PartReport { name, report }).collect()
}

/// Does a job and tells how it went; returns the exit code.
pub fn run(job: &Job) -> ExitCode {
    let mut warnings = Vec::new();
    let ended = guard::caught(&job.input, || perform(job, &mut warnings));
    signals::unless_ending();
    report::tell(job, &warnings, &ended)
}

/// Does a job; adds to `warnings` what is worth telling even if it fails.
fn perform(job: &Job, warnings: &mut Vec<String>) -> Result<Ending> {
    // A pool of its own: the global one listens to the environment.
    let threads = job.threads.or_else(|| thread::available_parallelism().ok());
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads.map_or(1, std::num::NonZero::get))
        .build()
        .context("starting threads")
        .about(&job.input)?;
    let image = Image::with_journal(&job.input, job.journal.as_deref())?;
    warnings.extend(image.warnings());
    if image.mounts.unknown() && job.voice == Voice::Verbose {
        warnings.push(
            "/proc or /sys can't be read, so it is not known whether an image is mounted: make sure that none is"
                .to_owned(),
        );
    }
    let progress = Progress::new(job.voice > Voice::Quiet);
    let disk = Disk::of(&image.input(), &job.selection);
    image.unchanged()?;
    let disk = disk.about(&image.path)?;
    let work = Work { job, image: &image, disk: &disk, pool: &pool, progress: &progress };
    let ended = match &job.task {
        Task::Check => check_image(&work),
        Task::Write { output: Some(output), .. } if job.streams() => stream_image(&work, output),
        Task::Write { output, verify, sync } => {
            let target = match output {
                Some(output) => Target::beside(output, &image)?,
                None => Target::in_place(&image)?,
            };
            write_image(&work, target, *verify, *sync)
        }
    };
    pool.install(|| image.release());
    ended
}

/// What a job needs.
struct Work<'w> {
    job: &'w Job,
    image: &'w Image,
    disk: &'w Disk<'w>,
    pool: &'w ThreadPool,
    progress: &'w Progress,
}

fn check_image(work: &Work<'_>) -> Result<Ending> {
    let Work { job, image, disk, pool, progress } = work;
    // One more than is told, to know whether there are more.
    let result = pool.install(|| disk.check(&job.options, job.around, MOST_DIFFERENCES + 1, *progress));
    image.unchanged()?;
    let (reports, mut differences) = result.about(&image.path)?;
    let more = differences.len() > MOST_DIFFERENCES;
    differences.truncate(MOST_DIFFERENCES);
    Ok(Ending::Checked { differences, more, reports: named(disk, reports) })
}

fn write_image(work: &Work<'_>, target: Target, verified: bool, sync: bool) -> Result<Ending> {
    let Work { job, image, disk, pool, progress } = work;
    let output = Output::create(target, image)?;
    // Another size is known when the plan is made.
    let most = if job.options.size == SizePolicy::Keep { image.length } else { u64::MAX };
    let sink = FileSink::new(output.file(), most).sharing(image.file());
    let result = pool.install(|| disk.canonicalize(&job.options, job.around, &sink, *progress));
    image.unchanged()?;
    let reports = result.about(if sink.failed() { output.shown() } else { &image.path })?;
    output.set_length(disk.output_bytes(&reports))?;
    if verified {
        verify_output(work, &output)?;
    }
    let shown = output.shown().to_owned();
    let sparse = match job.format {
        Format::Raw => None,
        Format::Sparse => Some(sparse_output(work, &output, sink.used())?),
    };
    let bmap = match &job.bmap {
        Some(path) => {
            let target = bmap_target(work, &output, path)?;
            Some(Output::with_bytes(target, bmap_text(work, &output, sink.used())?.as_bytes())?)
        }
        None => None,
    };
    let output = match sparse {
        Some(sparse) => sparse,
        None => output,
    };
    let mut warnings = output.finish(sync)?;
    if let Some(bmap) = bmap {
        warnings.extend(bmap.finish(sync)?);
    }
    let mut reports = named(disk, reports);
    // About the whole output; there is one report at least.
    if let Some(first) = reports.first_mut() {
        first.report.warnings.extend(warnings);
    }
    Ok(Ending::Written { output: shown, verified, reports })
}

/// Where the bmap file goes: neither to the image nor to its canonical form.
fn bmap_target(work: &Work<'_>, output: &Output, path: &Path) -> Result<Target> {
    let target = Target::beside(path, work.image)?;
    if output.goes_to(&target) {
        return Err(Usage::new("is the output; give another name for the bmap file")).about(path);
    }
    Ok(target)
}

fn bmap_text(work: &Work<'_>, output: &Output, used: Vec<Range<u64>>) -> Result<String> {
    let map = map_output(output)?;
    let text = work.pool.install(|| bmap::text(map.bytes(), &used));
    map.readable().context("reading it again").about(output.shown())?;
    Ok(text)
}

/// The same output as an Android sparse image.
fn sparse_output(work: &Work<'_>, output: &Output, used: Vec<Range<u64>>) -> Result<Output> {
    let map = map_output(output)?;
    let sparse = output.another(work.image)?;
    sparse::write(sparse.file(), map.bytes(), &used).about(output.shown())?;
    map.readable().context("reading it again").about(output.shown())?;
    Ok(sparse)
}

fn map_output(output: &Output) -> Result<Map> {
    let map = output.length().and_then(|length| Map::new(output.file(), length));
    map.context("mapping it into memory").about(output.shown())
}

/// Writes to standard output.
fn stream_image(work: &Work<'_>, output: &Path) -> Result<Ending> {
    let Work { job, image, disk, pool, progress } = work;
    let shown = Path::new("standard output");
    let out = standard_output(image).about(shown)?;
    let sink = StreamSink::new(out);
    let result = pool.install(|| disk.stream(&job.options, job.around, &sink, *progress));
    image.unchanged()?;
    let reports = result.about(if sink.failed() { shown } else { &image.path })?;
    sink.finish(disk.output_bytes(&reports)).context(WRITING).about(shown)?;
    Ok(Ending::Written { output: output.to_owned(), verified: false, reports: named(disk, reports) })
}

/// Standard output, unless the image can't be written there.
fn standard_output(image: &Image) -> Result<File> {
    if stdout().is_terminal() {
        bail!(Usage::new("is a terminal; redirect it, or give the name of a file"));
    }
    let out = File::from(stdout().as_fd().try_clone_to_owned().context(WRITING)?);
    let metadata = out.metadata().context(WRITING)?;
    if let Some(places) = System::default().mounts(Path::new("standard output"), &metadata).places() {
        bail!(Usage::new(format!("is mounted {places}; unmount it, or redirect elsewhere")));
    }
    if image.is(&metadata) {
        bail!(Usage::new("is the input; use --in-place to replace it, or redirect elsewhere"));
    }
    Ok(out)
}

fn verify_output(work: &Work<'_>, output: &Output) -> Result<()> {
    let Work { job, image, disk, pool, progress } = work;
    let map = map_output(output)?;
    let written = Input::sparse(map.bytes(), data_ranges(output.file(), map.bytes().len() as u64));
    let result = pool.install(|| disk.verify(&written, &job.options, job.around, *progress));
    image.unchanged()?;
    map.readable().context("reading it again").about(output.shown())?;
    let Err(error) = result else { return Ok(()) };
    // The input was read without complaint before, so whatever is wrong was done here. The remedy that the library
    // knows, e2fsck, is meant for inputs.
    let what = match &error {
        Error::Corrupt { at, problem, .. } => format!("{at}: {problem}"),
        other => other.to_string(),
    };
    Err(Internal::new(format!("verification failed, and nothing was kept: {what}"))).about(output.shown())
}
