//! Provides the functions that all commands share: threads, images, progress, warnings, the report and the
//! exit code.

use std::fs::Metadata;
use std::num::NonZero;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use ext4_canon::{Disk, Error, Selection};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use super::args::{self, ImageFiles, Settings, Task, Verbosity};
use super::console;
use super::exit_code::ExitCode;
use super::failure::{self, About as _, Message};
use super::guard;
use super::image::Image;
use super::json::{self, ErrorJson, HeadJson};
use super::progress::Progress;
use super::signals;

/// The result of a command.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: ExitCode,
    /// The text for standard output.
    pub text: Vec<u8>,
    /// Warnings that are not collected in the runner.
    pub warnings: Vec<String>,
    /// All errors: those after which the command continued, or the error that ended it.
    pub errors: Vec<Message>,
    /// The last line to print to standard error.
    pub remark: Option<String>,
}

impl Outcome {
    /// Creates a result with a text for standard output, and without warnings, errors or a remark.
    pub fn new(code: ExitCode, text: impl Into<Vec<u8>>) -> Self {
        Self { code, text: text.into(), warnings: Vec::new(), errors: Vec::new(), remark: None }
    }
}

/// A warning for standard error.
#[derive(Clone, Debug)]
pub struct Warning {
    /// The text.
    pub text: String,
    /// Whether the warning is printed even with `--quiet`, because it is about possible data loss or boot
    /// failure.
    pub is_severe: bool,
}

/// The environment of a command: settings, progress bar, threads and warnings.
pub struct Runner<'r> {
    /// The options of the command.
    pub settings: &'r Settings,
    /// The progress bar.
    pub progress: Progress,
    pool: ThreadPool,
    /// The metadata of the image of `--like`.
    reference: Option<Metadata>,
    /// Whether a partition was selected in the image of `--like`. An input without partitions is then one
    /// filesystem.
    partition_is_of_reference: bool,
    /// The warnings so far. They are printed at the end, even if the command fails.
    warnings: &'r Mutex<Vec<Warning>>,
}

/// The JSON output for an error.
#[derive(Serialize)]
struct FailureJson<'f> {
    #[serde(flatten)]
    head: HeadJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'f str>,
    error: ErrorJson,
}

/// Runs a command and reports the result.
pub fn run(task: &Task, perform: impl FnOnce(&Runner<'_>) -> Result<Outcome>) -> ExitCode {
    let warnings = Mutex::default();
    let about = task.command.first_path();
    let ended = guard::caught(about, || {
        let runner = Runner::new(&task.settings, &warnings).about(about)?;
        let Some(path) = &task.settings.like else { return perform(&runner) };
        let mut settings = task.settings.clone();
        let (like, reference, partition_is_of_reference) = runner.settings_of(path)?;
        settings.options = settings.options.like(like);
        let reference = Some(reference);
        perform(&Runner { settings: &settings, reference, partition_is_of_reference, ..runner })
    });
    signals::unless_ending();
    let warnings = warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcome = ended.unwrap_or_else(|error| failed(task, &warnings, &error));
    report(task, &warnings, &outcome)
}

fn failed(task: &Task, warnings: &[Warning], error: &anyhow::Error) -> Outcome {
    let code = failure::code(error);
    let text = if task.settings.json {
        let main_job = task.command.is_main_job();
        json::text(&FailureJson {
            head: HeadJson::new(task.command.name(), "error", code),
            input: main_job.then(|| task.command.first_path().display().to_string()),
            warnings: warnings.iter().filter(|_| main_job).map(|warning| warning.text.as_str()).collect(),
            error: ErrorJson::of(error),
        })
    } else {
        Vec::new()
    };
    let mut message = Message::of(error);
    let path = task.command.first_path();
    let is_word = path.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic()));
    if task.command.is_main_job() && is_word && failure::is_missing_file(error) && !path.exists() {
        // It can be a mistyped or imagined command.
        let parser = args::command();
        let names: Vec<_> = parser.get_subcommands().map(clap::Command::get_name).collect();
        message.remedy = Some(format!("there is no such file or command; commands are {}", names.join(", ")));
    }
    Outcome { errors: vec![message], ..Outcome::new(code, text) }
}

fn report(task: &Task, warnings: &[Warning], outcome: &Outcome) -> ExitCode {
    let is_quiet = task.settings.verbosity == Verbosity::Quiet;
    let shown = warnings.iter().filter(|warning| warning.is_severe || !is_quiet);
    shown.for_each(|warning| console::warn(&warning.text));
    outcome.warnings.iter().filter(|_| !is_quiet).for_each(|warning| console::warn(warning));
    outcome.errors.iter().for_each(console::error);
    outcome.remark.iter().for_each(|line| console::remark(line));
    if task.command.streams() {
        console::report(&outcome.text);
        return outcome.code;
    }
    match console::print(&outcome.text) {
        Ok(()) => outcome.code,
        Err(error) => {
            let problem = format!("{}: {error}", console::STANDARD_OUTPUT);
            console::error(&Message { problem, remedy: None });
            ExitCode::Io
        }
    }
}

impl<'r> Runner<'r> {
    fn new(settings: &'r Settings, warnings: &'r Mutex<Vec<Warning>>) -> Result<Self> {
        // Create a separate thread pool, because the global pool reads environment variables.
        let threads = settings.threads.or_else(|| thread::available_parallelism().ok());
        let pool = ThreadPoolBuilder::new().num_threads(threads.map_or(1, NonZero::get)).build();
        let pool = pool.context("starting threads")?;
        Ok(Self {
            settings,
            pool,
            progress: Progress::new(settings.progress),
            reference: None,
            partition_is_of_reference: false,
            warnings,
        })
    }

    /// Opens an image, and the device of its external journal if `files` has one.
    ///
    /// # Errors
    ///
    /// The errors of [`Image::with_journal`].
    pub fn open(&self, files: &ImageFiles) -> Result<Image> {
        let mut image = Image::with_journal(&files.path, files.journal.as_deref())?;
        image.reference.clone_from(&self.reference);
        self.warn_severely(image.warnings());
        if image.mounts.unknown() && self.settings.verbosity == Verbosity::Verbose {
            let words = "/proc or /sys can't be read, so it is not known whether an image is mounted: make sure \
                         that none is";
            self.warn([words.to_owned()]);
        }
        Ok(image)
    }

    /// Returns the selected filesystems of an image.
    ///
    /// # Errors
    ///
    /// The errors of [`Disk::open`] and of [`Image::unchanged`].
    pub fn disk<'i>(&self, image: &'i Image, selection: &Selection) -> Result<Disk<'i>> {
        let disk = if self.partition_is_of_reference && !Self::has_partitions(image) {
            Disk::open(&image.input(), &Selection::all())
        } else {
            Disk::open(&image.input(), selection)
        };
        image.unchanged()?;
        disk.about(&image.path)
    }

    /// Returns whether an image is a disk with partitions.
    fn has_partitions(image: &Image) -> bool {
        Disk::open(&image.input(), &Selection::all()).is_ok_and(|disk| disk.has_partitions())
    }

    /// Reads the settings of the filesystem in an image, and returns them with the metadata of the file and
    /// whether a partition was selected in it.
    ///
    /// # Errors
    ///
    /// The errors of [`Image::open`], of [`Disk::settings`] and of [`Image::unchanged`].
    fn settings_of(&self, path: &Path) -> Result<(ext4_canon::Settings, Metadata, bool)> {
        let image = Image::open(path, "reference")?;
        self.warn_severely(image.warnings());
        let mut disk = self.disk(&image, &Selection::all())?;
        let partitions = &self.settings.selection.partitions;
        let is_selected = disk.has_partitions() && !partitions.is_empty();
        if is_selected {
            let selection = partitions.iter().fold(Selection::all(), Selection::partition);
            disk = self.disk(&image, &selection)?;
        }
        let settings = self.read(&[&image], || disk.settings(&self.progress))?.about(&image.path)?;
        Ok((settings, image.metadata.clone(), is_selected))
    }

    /// Calls the library on the thread pool. Returns an error instead of the result if an image was modified
    /// during the call.
    ///
    /// # Errors
    ///
    /// The errors of [`Image::unchanged`].
    pub fn read<T: Send>(&self, images: &[&Image], call: impl FnOnce() -> T + Send) -> Result<T> {
        let result = self.pool.install(call);
        images.iter().try_for_each(|image| image.unchanged())?;
        Ok(result)
    }

    /// Calls the library with the selected filesystems of an image.
    ///
    /// # Errors
    ///
    /// The errors of `call`, of [`Disk::open`] and of [`Image::unchanged`].
    pub fn read_disk<T: Send>(
        &self,
        image: &Image,
        call: impl FnOnce(&Disk<'_>) -> Result<T, Error> + Send,
    ) -> Result<T> {
        let disk = self.disk(image, &self.settings.selection)?;
        self.read(&[image], || call(&disk))?.about(&image.path)
    }

    /// Runs a function on the thread pool.
    pub fn install<T: Send>(&self, call: impl FnOnce() -> T + Send) -> T {
        self.pool.install(call)
    }

    /// Drops two large values in parallel.
    pub fn drop_both<T: Send>(&self, one: T, other: T) {
        self.pool.join(|| drop(one), || drop(other));
    }

    /// Adds warnings. They are printed at the end, unless `--quiet` is given.
    pub fn warn(&self, warnings: impl IntoIterator<Item = String>) {
        self.add(warnings.into_iter().map(|text| Warning { text, is_severe: false }));
    }

    /// Adds warnings that are printed even with `--quiet`.
    pub fn warn_severely(&self, warnings: impl IntoIterator<Item = String>) {
        self.add(warnings.into_iter().map(|text| Warning { text, is_severe: true }));
    }

    /// Adds warnings, each of which is severe or not.
    pub fn add(&self, warnings: impl IntoIterator<Item = Warning>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(warnings);
    }

    /// Adds warnings about a file.
    pub fn warn_about(&self, path: &Path, warnings: &[String]) {
        self.warn(warnings.iter().map(|warning| format!("{}: {warning}", path.display())));
    }

    /// Returns the texts of all warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.iter().map(|warning| warning.text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::args::{Invocation, parse};
    use crate::cli::failure::Usage;

    fn task(words: &[&str]) -> Task {
        let words = ["ext4-canon"].iter().chain(words).map(OsString::from);
        match parse(words, None) {
            Ok(Invocation::Run(task)) => *task,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failure_has_its_line_and_its_json() {
        let failed = |words: &[&str]| {
            let error = Err::<(), _>(Usage::new("is a socket")).about(Path::new("a.img")).unwrap_err();
            let outcome =
                failed(&task(words), &[Warning { text: "careful".to_owned(), is_severe: false }], &error);
            assert_eq!(
                (outcome.code, outcome.errors.iter().map(Message::line).collect::<Vec<_>>()),
                (ExitCode::Usage, vec!["a.img: is a socket".to_owned()])
            );
            outcome.text
        };
        assert_eq!(failed(&["--check", "a.img"]), b"");
        let json = |words: &[&str]| -> serde_json::Value { serde_json::from_slice(&failed(words)).unwrap() };
        let main = json(&["--json", "--check", "a.img"]);
        assert_eq!((&main["command"], &main["status"]), (&"canonicalize".into(), &"error".into()));
        assert_eq!((&main["exit_code"], &main["error"]["kind"]), (&2.into(), &"usage".into()));
        assert_eq!((&main["input"], &main["warnings"][0]), (&"a.img".into(), &"careful".into()));
        let other = json(&["ls", "--json", "a.img"]);
        assert_eq!(
            (&other["command"], &other["error"]["message"]),
            (&"ls".into(), &"a.img: is a socket".into())
        );
        assert_eq!((other.get("input"), other.get("warnings")), (None, None));
    }

    #[test]
    fn a_panic_in_a_command_has_its_exit_code() {
        assert_eq!(run(&task(&["-q", "--check", "a.img"]), |_| panic!("no")), ExitCode::Internal);
    }
}
