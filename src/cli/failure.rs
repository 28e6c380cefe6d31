//! Why the command failed: the errors that are the command line's own, the words for people, and the exit code.
//!
//! The error type of the binary is [`anyhow::Error`]. Context says with which file what was done; the first error of
//! the chain that has an exit code decides it.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use anyhow::Context;
use ext4_canon::Error;
use thiserror::Error as ThisError;

use super::exit_code::ExitCode;
use super::refusal::Refusal;
use super::remedy;

/// The command line asks for something impossible, such as a file that can't be what it was given as.
#[derive(Debug, ThisError)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// With the reason, in words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A bug of this program.
#[derive(Debug, ThisError)]
#[error("{0}; please report this")]
pub struct Internal(String);

impl Internal {
    /// With what happened, in words.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Adds the file that an error is about, which every message begins with.
pub trait About<T> {
    /// The same result, whose error is about `path`.
    ///
    /// # Errors
    ///
    /// The error that there was.
    fn about(self, path: &Path) -> anyhow::Result<T>;
}

impl<T, E> About<T> for Result<T, E>
where
    Self: Context<T, E>,
{
    fn about(self, path: &Path) -> anyhow::Result<T> {
        self.with_context(|| path.display().to_string())
    }
}

/// The exit code for an error: that of the first in the chain which has one.
pub fn code(error: &anyhow::Error) -> ExitCode {
    // All errors are of the types below, at the end of their chain. One that is not has escaped attention.
    error.chain().find_map(code_of).unwrap_or(ExitCode::Internal)
}

fn code_of(cause: &(dyn StdError + 'static)) -> Option<ExitCode> {
    if let Some(error) = cause.downcast_ref() {
        return Some(code_of_library(error));
    }
    match cause.downcast_ref() {
        Some(Refusal::Damaged(_)) => return Some(ExitCode::Damaged),
        Some(Refusal::Unsupported(_)) => return Some(ExitCode::Unsupported),
        None => {}
    }
    if cause.is::<Usage>() {
        Some(ExitCode::Usage)
    } else if cause.is::<Internal>() {
        Some(ExitCode::Internal)
    } else if cause.is::<io::Error>() {
        Some(ExitCode::Io)
    } else {
        None
    }
}

fn code_of_library(error: &Error) -> ExitCode {
    match error {
        Error::Io { .. } => ExitCode::Io,
        Error::Unsupported { .. } | Error::DoesNotFit { .. } | Error::TooFewInodes { .. } => {
            ExitCode::Unsupported
        }
        Error::Unclean { .. } | Error::Corrupt { .. } => ExitCode::Damaged,
        Error::Options { .. } => ExitCode::Usage,
        Error::Partition { error, .. } => code_of_library(error),
        // Errors that have no exit code of their own yet count as defects, as `Internal` does.
        _ => ExitCode::Internal,
    }
}

/// The chain of an error in one line, as `{:#}` prints it. Some errors, of the library as of other crates, say in
/// their own words also what their source says: then the source is not repeated.
pub fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let of_library = cause.downcast_ref::<Error>();
        let words = match of_library {
            Some(error) => error.in_words(remedy::option),
            None => cause.to_string(),
        };
        if line.is_empty() {
            line.push_str(&words);
        } else if last != words && !last.ends_with(&format!(": {words}")) {
            line.push_str(": ");
            line.push_str(&words);
        }
        // It has the words of its sources.
        if of_library.is_some() {
            break;
        }
        last = words;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use ext4_canon::{Disk, Input, Options, Selection, Silent};

    #[test]
    fn every_error_of_the_library_has_its_code() {
        let of_image = |bytes: &[u8]| {
            let disk = Disk::open(&Input::new(bytes), &Selection::all())?;
            disk.digest(&Options::new(), &Silent)
        };
        // Nothing but the magic number of a superblock.
        let mut damaged = [0; 8192];
        damaged[1024 + 0x38..][..2].copy_from_slice(&[0x53, 0xef]);
        let cases = [
            (
                Error::Io { doing: "writing".to_owned(), source: io::ErrorKind::StorageFull.into() },
                ExitCode::Io,
            ),
            (of_image(&[0; 8192]).unwrap_err(), ExitCode::Unsupported),
            (Error::DoesNotFit { needed: 2, available: 1, bytes: None }, ExitCode::Unsupported),
            (
                Error::Unclean { state: "not clean".to_owned(), remedy: "run e2fsck".into() },
                ExitCode::Damaged,
            ),
            (of_image(&damaged).unwrap_err(), ExitCode::Damaged),
            (Error::Options { problem: "no".to_owned(), remedy: "say yes".into() }, ExitCode::Usage),
            (Error::Internal("two owners".to_owned()), ExitCode::Internal),
        ];
        for (error, expected) in cases {
            let words = error.in_words(remedy::option);
            let failure = Err::<(), _>(error).about(Path::new("a.img")).unwrap_err();
            assert_eq!(code(&failure), expected, "{words}");
            assert_eq!(line(&failure), format!("a.img: {words}"));
        }
    }

    #[test]
    fn every_error_of_the_command_line_has_its_code_behind_any_context() {
        let cases: [(anyhow::Error, ExitCode); 5] = [
            (Usage::new("no").into(), ExitCode::Usage),
            (Internal::new("no").into(), ExitCode::Internal),
            (Refusal::Damaged("no".to_owned()).into(), ExitCode::Damaged),
            (Refusal::Unsupported("no".to_owned()).into(), ExitCode::Unsupported),
            (io::Error::from(io::ErrorKind::NotFound).into(), ExitCode::Io),
        ];
        for (error, expected) in cases {
            let failure = error.context("doing it").context("a.img");
            assert_eq!(code(&failure), expected, "{failure:#}");
            assert_eq!(line(&failure), format!("{failure:#}"));
        }
        assert_eq!(code(&anyhow::anyhow!("of no known type")), ExitCode::Internal);
    }

    #[test]
    fn nothing_is_said_twice() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let failure = Err::<(), _>(Error::Io { doing: "writing".to_owned(), source: full() })
            .about(Path::new("a.img"))
            .unwrap_err();
        assert_eq!(line(&failure), format!("a.img: writing: {}", full()));
    }
}
