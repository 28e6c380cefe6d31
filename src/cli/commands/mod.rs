//! The subcommands: from validated arguments to text and an exit code.

mod cat;
mod compare;
mod digest;
mod explain;
mod ls;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use ext4_canon::disk::{Disk, Part, Selection};
use ext4_canon::{Error, FORM_VERSION, Input};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use super::args::{Action, Digesting, Given, Setting, Subtask};
use super::console;
use super::exit_code::ExitCode;
use super::failure::{self, About as _};
use super::guard;
use super::input::Image;
use super::progress::Progress;

/// The version of what `--json` prints; see `docs/json.md`.
const SCHEMA: u32 = 1;

/// What a subcommand works with.
struct Work<'w> {
    setting: &'w Setting,
    pool: ThreadPool,
    progress: Progress,
    /// What is worth telling of the images that were opened.
    warnings: &'w Mutex<Vec<String>>,
}

/// How a subcommand ended, if it did not fail.
#[derive(Debug)]
struct Ended {
    /// The exit code.
    code: ExitCode,
    /// For standard output.
    text: Vec<u8>,
    /// Lines for standard error.
    remarks: Vec<String>,
}

impl Default for Ended {
    fn default() -> Self {
        Self { code: ExitCode::Done, text: Vec::new(), remarks: Vec::new() }
    }
}

/// What all JSON begins with, also that of the main job.
#[derive(Debug, Serialize)]
pub struct Head {
    program: &'static str,
    version: &'static str,
    form: u32,
    schema: u32,
    command: &'static str,
    status: &'static str,
    exit_code: u8,
}

#[derive(Serialize)]
struct JsonFailure {
    #[serde(flatten)]
    head: Head,
    error: JsonError,
}

/// Why something failed.
#[derive(Debug, Serialize)]
pub struct JsonError {
    kind: &'static str,
    message: String,
}

impl JsonError {
    /// The code and the words of an error.
    pub fn of(error: &anyhow::Error) -> Self {
        Self { kind: failure::code(error).name(), message: failure::line(error) }
    }
}

/// Runs a subcommand and prints what comes of it; returns the exit code.
pub fn run(task: &Subtask) -> ExitCode {
    let about = task.action.first_path();
    let warnings = Mutex::default();
    let ended = guard::caught(about, || {
        let work = Work::new(&task.setting, about, &warnings)?;
        match &task.action {
            Action::Digest(digesting) => digest::run(&work, digesting),
            Action::Explain(input, examples) => explain::run(&work, input, *examples),
            Action::Ls(input, digests) => ls::run(&work, input, *digests),
            Action::Cat(input, path) => cat::run(&work, input, path),
            Action::Compare(inputs, telling) => compare::run(&work, inputs, telling),
        }
    });
    let ended = ended.unwrap_or_else(|error| {
        let code = failure::code(&error);
        let head = Head::new(task.name(), "error", code);
        let json = task.setting.json.then(|| json(&JsonFailure { head, error: JsonError::of(&error) }));
        Ended { code, text: json.unwrap_or_default(), remarks: vec![failure::line(&error)] }
    });
    let warnings = warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
    // `cat` is quiet in all else.
    let silent = task.setting.quiet && !matches!(task.action, Action::Cat(..));
    let warnings = warnings.iter().filter(|_| !silent).map(|warning| format!("warning: {warning}"));
    for line in warnings.chain(ended.remarks) {
        console::tell(&line);
    }
    match console::print(&ended.text) {
        Ok(()) => ended.code,
        Err(error) => {
            console::tell(&format!("standard output: {error}"));
            ExitCode::Io
        }
    }
}

impl Action {
    /// The first file that it is about, for messages.
    fn first_path(&self) -> &Path {
        match self {
            Self::Digest(Digesting { inputs, .. }) => inputs.first().map_or(Path::new(""), |path| path),
            Self::Ls(input, _) | Self::Cat(input, _) | Self::Explain(input, _) => &input.path,
            Self::Compare([one, _], _) => &one.path,
        }
    }
}

impl<'w> Work<'w> {
    fn new(setting: &'w Setting, about: &Path, warnings: &'w Mutex<Vec<String>>) -> Result<Self> {
        // A pool of its own: the global one listens to the environment.
        let threads = setting.threads.or_else(|| thread::available_parallelism().ok());
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.map_or(1, std::num::NonZero::get))
            .build()
            .context("starting threads")
            .about(about)?;
        Ok(Self { setting, pool, progress: Progress::new(!setting.quiet), warnings })
    }

    /// Opens an image, with the device of its journal; its warnings are printed in the end, also after a failure.
    fn open(&self, path: &Path, journal: Option<&Path>) -> Result<Image> {
        let image = Image::with_journal(path, journal)?;
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(image.warnings());
        Ok(image)
    }

    /// Keeps warnings about an image, to be printed in the end.
    fn warn(&self, path: &Path, warnings: &[String]) {
        let lines = warnings.iter().map(|warning| format!("{}: {warning}", path.display()));
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
    }

    fn open_given(&self, given: &Given) -> Result<Image> {
        self.open(&given.path, given.journal.as_deref())
    }
}

impl Head {
    /// For what a command ended with.
    pub fn new(command: &'static str, status: &'static str, exit_code: ExitCode) -> Self {
        let (program, version) = ("ext4-canon", env!("CARGO_PKG_VERSION"));
        Self {
            program,
            version,
            form: FORM_VERSION,
            schema: SCHEMA,
            command,
            status,
            exit_code: exit_code.number(),
        }
    }
}

/// JSON, with a line end.
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("all keys are strings");
    text.push(b'\n');
    text
}

impl Given {
    /// The filesystems of the opened image that are meant.
    ///
    /// # Errors
    ///
    /// As [`Disk::of`].
    pub fn disk<'i>(&self, image: &'i Image, selection: &Selection) -> Result<Disk<'i>> {
        let disk = Disk::of(&image.input(), selection);
        image.unchanged()?;
        disk.about(&self.path)
    }

    /// The only one that is meant.
    ///
    /// # Errors
    ///
    /// As [`Disk::of`]; a usage error if there are several.
    pub fn filesystem<'i>(&self, image: &'i Image, setting: &Setting) -> Result<(Part, Input<'i>)> {
        let disk = self.disk(image, &setting.selection)?;
        let part = disk.only().about(&self.path)?;
        Ok((part.clone(), disk.filesystem(part)))
    }

    /// What went wrong in a filesystem of the image.
    pub fn failure(&self, part: &Part, error: Error) -> anyhow::Error {
        anyhow::Error::new(Disk::error(part, error)).context(self.path.display().to_string())
    }
}
