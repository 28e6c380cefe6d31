//! `cat`: a regular file of an image.

use std::ffi::OsStr;
use std::io::{Write as _, stdout};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ext4_canon::content::FileContent;
use ext4_canon::ondisk::inode::InodeFlags;
use ext4_canon::source::Source;
use ext4_canon::tree::Tree;
use ext4_canon::view::View;
use ext4_canon::{text, with_tree};
use serde::Serialize;

use crate::cli::args::CatTask;
use crate::cli::console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Usage};
use crate::cli::json::{self, HeadJson};
use crate::cli::refusal::Refusal;
use crate::cli::runner::{Outcome, Runner};

#[derive(Serialize)]
struct CatJson {
    #[serde(flatten)]
    head: HeadJson,
    size: u64,
    text: Option<String>,
}

/// Larger files are not put into JSON, in bytes.
const LARGEST_IN_JSON: usize = 1 << 20;

/// Prints a file.
pub fn run(runner: &Runner<'_>, task: &CatTask) -> Result<Outcome> {
    let image = runner.open(&task.input)?;
    let settings = runner.settings;
    let result = runner.read_filesystem(&image, |filesystem| {
        with_tree(filesystem, &settings.options, &runner.progress, |source, reading| {
            runner.warn_about(&image.path, &reading.warnings);
            Ok(print(source, &reading.tree, task, settings.json))
        })
    });
    Ok(Outcome::new(ExitCode::Done, result??))
}

/// Prints a file, or returns it as JSON.
fn print(source: &Source<'_>, tree: &Tree, task: &CatTask, for_json: bool) -> Result<Vec<u8>> {
    let file = find(source, tree, &task.path)
        .with_context(|| text::escaped_text(task.path.as_bytes()))
        .about(&task.input.path)?;
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

/// The regular file at a path.
fn find<'s, 'a>(source: &'s Source<'a>, tree: &'s Tree, path: &OsStr) -> Result<FileContent<'s, 'a>> {
    let Some(id) = tree.resolve(path.as_bytes()) else {
        bail!(Usage::new("there is no such path in the image"));
    };
    let Some(file) = FileContent::of(View { source, tree }, id) else {
        bail!(Usage::new("is not a regular file"));
    };
    if tree.node(id).flags.contains(InodeFlags::ENCRYPT) {
        bail!(Refusal::Unsupported("is encrypted, and no key is at hand".to_owned()));
    }
    Ok(file)
}
