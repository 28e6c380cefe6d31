//! `cat`: a regular file of an image.

use std::ffi::OsStr;
use std::io::{self, Write as _, stdout};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ext4_canon::content::FileContent;
use ext4_canon::ondisk::inode::InodeFlags;
use ext4_canon::read::Reading;
use ext4_canon::source::Source;
use ext4_canon::view::View;
use ext4_canon::{Error, with_tree, words};
use serde::Serialize;

use super::{Ended, Head, Work, json};
use crate::cli::failure::{Code, Failure};
use crate::cli::subcommands::Given;

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
    /// There is no such file, for this reason.
    Refused(Code, &'static str),
    /// Standard output failed.
    Failed(io::Error),
}

/// Larger files are not put into JSON, in bytes.
const LARGEST_IN_JSON: usize = 1 << 20;

/// Prints a file.
pub fn run(work: &Work<'_>, given: &Given, path: &OsStr) -> Result<Ended, Failure> {
    let (input, image) = (&given.path, work.open_given(given)?);
    let (part, filesystem) = given.filesystem(&image, work.setting)?;
    let options = &work.setting.options;
    let result = work.pool.install(|| {
        with_tree(&filesystem, options, &work.progress, |source, reading| {
            work.warn(input, &reading.warnings);
            Ok(print(source, reading, path, work.setting.json))
        })
    });
    image.unchanged()?;
    match result.map_err(|error: Error| given.failure(&part, error))? {
        Outcome::Printed => Ok(Ended::default()),
        Outcome::Kept(size, bytes) => {
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = json(&Json { head: Head::new("cat", "done", 0), size, text });
            Ok(Ended { text, ..Ended::default() })
        }
        Outcome::Refused(code, reason) => {
            let path = words::escaped_text(path.as_bytes());
            Err(Failure { code, message: format!("{}: {path}: {reason}", input.display()) })
        }
        Outcome::Failed(error) => Err(Failure::io(Path::new("standard output"), "writing", &error)),
    }
}

fn print(source: &Source<'_>, reading: &Reading, path: &OsStr, for_json: bool) -> Outcome {
    let tree = &reading.tree;
    let Some(id) = tree.resolve(path.as_bytes()) else {
        return Outcome::Refused(Code::Usage, "there is no such path in the image");
    };
    let Some(file) = FileContent::of(View { source, tree }, id) else {
        return Outcome::Refused(Code::Usage, "is not a regular file");
    };
    if tree.node(id).flags.contains(InodeFlags::ENCRYPT) {
        return Outcome::Refused(Code::Unsupported, "is encrypted, and no key is at hand");
    }
    if for_json {
        return Outcome::Kept(file.size, file.bytes(LARGEST_IN_JSON));
    }
    let mut out = stdout().lock();
    match file.each_part(|bytes| out.write_all(bytes)).and_then(|()| out.flush()) {
        // Who closes a pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Outcome::Failed(error),
        _ => Outcome::Printed,
    }
}
