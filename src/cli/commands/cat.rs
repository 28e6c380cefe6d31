//! `cat`: prints a regular file from an image.

use std::io::{Write as _, stdout};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use ext4_canon::FileContent;
use serde::Serialize;

use crate::cli::args::CatTask;
use crate::cli::console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::About as _;
use crate::cli::json::{self, HeadJson};
use crate::cli::runner::{Outcome, Runner};

#[derive(Serialize)]
struct CatJson {
    #[serde(flatten)]
    head: HeadJson,
    size: u64,
    text: Option<String>,
}

/// The maximum size in bytes of a file that is included in JSON.
const LARGEST_IN_JSON: usize = 1 << 20;

/// Prints a file.
pub fn run(runner: &Runner<'_>, task: &CatTask) -> Result<Outcome> {
    let image = runner.open(&task.input)?;
    let settings = runner.settings;
    let (printed, warnings) = runner.read_disk(&image, |disk| {
        disk.read_file(task.path.as_bytes(), &settings.options, &runner.progress, |file| {
            print(file, settings.json)
        })
    })?;
    runner.warn_about(&image.path, &warnings);
    Ok(Outcome::new(ExitCode::Done, printed?))
}

/// Prints a file, or returns its JSON.
fn print(file: &FileContent<'_, '_>, for_json: bool) -> Result<Vec<u8>> {
    if for_json {
        let bytes = file.bytes(LARGEST_IN_JSON);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let head = HeadJson::new("cat", "done", ExitCode::Done);
        return Ok(json::text(&CatJson { head, size: file.size, text }));
    }
    let mut out = stdout().lock();
    let printed = file.each_part(|bytes| out.write_all(bytes)).and_then(|()| out.flush());
    console::unless_closed(printed).context("writing").about(Path::new(console::STANDARD_OUTPUT))?;
    Ok(Vec::new())
}
