//! Defines the error types of the command line, and determines the message and exit code of every error.
//!
//! The binary uses [`anyhow::Error`]. Context names the file and the operation that failed. The first error
//! in the chain that has an exit code determines the exit code of the process.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use anyhow::Context;
use ext4_canon::Error;
use thiserror::Error as ThisError;

use super::exit_code::ExitCode;
use super::refusal::Refusal;
use super::remedy;

/// An invalid command line, such as a directory where an image is expected.
#[derive(Debug, ThisError)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// Creates the error. `reason` is the message, followed by a semicolon and the remedy.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A bug in this program.
#[derive(Debug, ThisError)]
#[error("{0}; please report this")]
pub struct Internal(String);

impl Internal {
    /// Creates the error with a message.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A trait for results, to add the file that an error is about. Every message begins with this file.
pub trait About<T> {
    /// Adds `path` as context to the error, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the error of `self`, with the context.
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

/// Returns the exit code of the first error in the chain that has an exit code.
pub fn code(error: &anyhow::Error) -> ExitCode {
    // Every error chain should end with one of the types in `code_of`; any other type is a bug.
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
        // The library can add variants. Until they get an exit code here, they count as bugs.
        _ => ExitCode::Internal,
    }
}

/// The text of an error message: the problem and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The problem: the file, the operation that failed, and the reason.
    pub problem: String,
    /// The remedy, if one is known.
    pub remedy: Option<String>,
}

impl Message {
    /// Returns the message for the chain of an error, like `{:#}`.
    ///
    /// Some errors of the library and of other crates already contain the text of their source. Then the
    /// source is left out. Errors of the command line have their remedy after the first semicolon.
    pub fn of(error: &anyhow::Error) -> Self {
        let (mut problem, mut remedy) = (String::new(), None);
        let mut last = String::new();
        for cause in error.chain() {
            let of_library = cause.downcast_ref::<Error>();
            let words = match of_library {
                Some(error) => {
                    remedy = error.remedy().map(|remedy| remedy.in_words(remedy::option));
                    error.problem()
                }
                None if has_remedy(cause) => {
                    let words = cause.to_string();
                    match words.split_once("; ") {
                        Some((problem, found)) => {
                            remedy = Some(found.to_owned());
                            problem.to_owned()
                        }
                        None => words,
                    }
                }
                None => cause.to_string(),
            };
            if problem.is_empty() {
                problem.push_str(&words);
            } else if last != words && !last.ends_with(&format!(": {words}")) {
                problem.push_str(": ");
                problem.push_str(&words);
            }
            // An error of the library already contains the text of its sources.
            if of_library.is_some() {
                break;
            }
            last = words;
        }
        if remedy.is_none() && is_missing_file(error) {
            remedy = Some("check the name of the file".to_owned());
        }
        Self { problem, remedy }
    }

    /// Returns the problem and the remedy in one line.
    pub fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.problem),
            None => self.problem.clone(),
        }
    }

    /// Returns the lines for standard error: the problem, then the remedy on a second line.
    pub fn lines(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}\n  {remedy}", self.problem),
            None => self.problem.clone(),
        }
    }
}

/// Returns whether the only cause of an error is that a file does not exist.
pub fn is_missing_file(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

/// Returns whether an error is a [`Usage`], [`Internal`] or [`Refusal`]. Messages of these types contain the
/// remedy after a semicolon.
fn has_remedy(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<Usage>() || cause.is::<Internal>() || cause.is::<Refusal>()
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
        // An image that contains only the magic number of a superblock.
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
            assert_eq!(Message::of(&failure).line(), format!("a.img: {words}"));
        }
    }

    #[test]
    fn every_error_of_the_command_line_has_its_code_in_any_context() {
        let cases: [(anyhow::Error, ExitCode); 5] = [
            (Usage::new("no").into(), ExitCode::Usage),
            (Internal::new("no").into(), ExitCode::Internal),
            (Refusal::Damaged("no".to_owned()).into(), ExitCode::Damaged),
            (Refusal::Unsupported("no".to_owned()).into(), ExitCode::Unsupported),
            (io::Error::from(io::ErrorKind::PermissionDenied).into(), ExitCode::Io),
        ];
        for (error, expected) in cases {
            let failure = error.context("doing it").context("a.img");
            assert_eq!(code(&failure), expected, "{failure:#}");
            assert_eq!(Message::of(&failure).line(), format!("{failure:#}"));
        }
        let missing = anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound)).context("a.img");
        assert_eq!(Message::of(&missing).remedy.as_deref(), Some("check the name of the file"));
        assert_eq!(code(&anyhow::anyhow!("of no known type")), ExitCode::Internal);
    }

    #[test]
    fn nothing_is_said_twice() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let failure = Err::<(), _>(Error::Io { doing: "writing".to_owned(), source: full() })
            .about(Path::new("a.img"))
            .unwrap_err();
        assert_eq!(Message::of(&failure).line(), format!("a.img: writing: {}", full()));
    }
}
