//! `cat`: a regular file of an image.

use std::ffi::OsStr;
use std::io::{Write as _, stdout};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ext4_canon::content::FileContent;
use ext4_canon::ondisk::inode::InodeFlags;
use ext4_canon::read::Reading;
use ext4_canon::source::Source;
use ext4_canon::tree::Tree;
use ext4_canon::{Error, with_tree, words};
use serde::Serialize;

use super::{Ended, Head, Work, json};
use crate::cli::args::Given;
use crate::cli::console;
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{About as _, Usage};
use crate::cli::refusal::Refusal;

#[derive(Serialize)]
struct Json {
    #[serde(flatten)]
    head: Head,
    size: u64,
    text: Option<String>,
}

/// What became of the file.
enum Outcome {
    /// All of it was printed, or nobody wanted more.
    Printed,
    /// It is there for JSON: its size, and its bytes where they are not too many.
    Kept(u64, Option<Vec<u8>>),
}

/// Larger files are not put into JSON, in bytes.
const LARGEST_IN_JSON: usize = 1 << 20;

/// Prints a file.
pub fn run(work: &Work<'_>, given: &Given, path: &OsStr) -> Result<Ended> {
    let (input, image) = (&given.path, work.open_given(given)?);
    let (part, filesystem) = given.filesystem(&image, work.setting)?;
    let options = &work.setting.options;
    let result = work.pool.install(|| {
        with_tree(&filesystem, options, &work.progress, |source, reading| {
            work.warn(input, &reading.warnings);
            Ok(print(source, reading, given, path, work.setting.json))
        })
    });
    image.unchanged()?;
    match result.map_err(|error: Error| given.failure(&part, error))?? {
        Outcome::Printed => Ok(Ended::default()),
        Outcome::Kept(size, bytes) => {
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = json(&Json { head: Head::new("cat", "done", ExitCode::Done), size, text });
            Ok(Ended { text, ..Ended::default() })
        }
    }
}

fn print(
    source: &Source<'_>,
    reading: &Reading,
    given: &Given,
    path: &OsStr,
    for_json: bool,
) -> Result<Outcome> {
    let file = find(source, &reading.tree, path);
    let file = file.with_context(|| words::escaped_text(path.as_bytes())).about(&given.path)?;
    if for_json {
        return Ok(Outcome::Kept(file.size, file.bytes(LARGEST_IN_JSON)));
    }
    let mut out = stdout().lock();
    let printed = file.each_part(|bytes| out.write_all(bytes)).and_then(|()| out.flush());
    console::unless_closed(printed).context("writing").about(Path::new("standard output"))?;
    Ok(Outcome::Printed)
}

/// The regular file at a path.
fn find<'s, 'a>(source: &'s Source<'a>, tree: &'s Tree, path: &OsStr) -> Result<FileContent<'s, 'a>> {
    let Some(id) = tree.resolve(path.as_bytes()) else {
        bail!(Usage::new("there is no such path in the image"));
    };
    let Some(file) = FileContent::of(source, tree, id) else {
        bail!(Usage::new("is not a regular file"));
    };
    if tree.node(id).flags.contains(InodeFlags::ENCRYPT) {
        bail!(Refusal::Unsupported("is encrypted, and no key is at hand".to_owned()));
    }
    Ok(file)
}
