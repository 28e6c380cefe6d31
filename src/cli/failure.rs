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

use super::refusal::Refusal;

/// The exit codes other than 0. They are documented in `help`, and scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// `--check` says no, or a digest is another.
    NotCanonical = 1,
    /// The command line asks for what can't be.
    Usage = 2,
    /// The image uses what this version does not handle.
    Unsupported = 3,
    /// The image is damaged or unclean.
    Damaged = 4,
    /// A file can't be read or written.
    Io = 5,
    /// A bug of this program; the number is `EX_SOFTWARE` of sysexits.h.
    Internal = 70,
}

impl Code {
    /// The name that stands in the JSON report.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotCanonical => "not-canonical",
            Self::Usage => "usage",
            Self::Unsupported => "unsupported",
            Self::Damaged => "damaged",
            Self::Io => "io",
            Self::Internal => "internal",
        }
    }
}

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
pub fn code(error: &anyhow::Error) -> Code {
    // All errors are of the types below, at the end of their chain. One that is not has escaped attention.
    error.chain().find_map(code_of).unwrap_or(Code::Internal)
}

fn code_of(cause: &(dyn StdError + 'static)) -> Option<Code> {
    if let Some(error) = cause.downcast_ref() {
        return Some(code_of_library(error));
    }
    match cause.downcast_ref() {
        Some(Refusal::Damaged(_)) => return Some(Code::Damaged),
        Some(Refusal::Unsupported(_)) => return Some(Code::Unsupported),
        None => {}
    }
    if cause.is::<Usage>() {
        Some(Code::Usage)
    } else if cause.is::<Internal>() {
        Some(Code::Internal)
    } else if cause.is::<io::Error>() {
        Some(Code::Io)
    } else {
        None
    }
}

fn code_of_library(error: &Error) -> Code {
    match error {
        Error::Io { .. } => Code::Io,
        Error::Unsupported { .. } | Error::DoesNotFit { .. } | Error::TooFewInodes { .. } => {
            Code::Unsupported
        }
        Error::Unclean { .. } | Error::Corrupt { .. } => Code::Damaged,
        Error::Options(_) => Code::Usage,
        Error::Internal(_) => Code::Internal,
        Error::Partition { error, .. } => code_of_library(error),
    }
}

/// The chain of an error in one line, as `{:#}` prints it. Some errors, of the library as of other crates, say in
/// their own words also what their source says: then the source is not repeated.
pub fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if line.is_empty() {
            line.push_str(&words);
        } else if last != words && !last.ends_with(&format!(": {words}")) {
            line.push_str(": ");
            line.push_str(&words);
        }
        last = words;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use ext4_canon::error::{Location, Structure};

    #[test]
    fn every_error_of_the_library_has_its_code() {
        let at = || Location::of(Structure::Superblock);
        let cases = [
            (Error::io("writing", io::ErrorKind::StorageFull.into()), Code::Io),
            (at().unsupported("x", "y"), Code::Unsupported),
            (Error::DoesNotFit { unit: "blocks", needed: 2, available: 1 }, Code::Unsupported),
            (Error::Unclean { state: "not clean".to_owned(), remedy: "run e2fsck" }, Code::Damaged),
            (at().wrong("bad"), Code::Damaged),
            (Error::Options("no".to_owned()), Code::Usage),
            (Error::Internal("two owners".to_owned()), Code::Internal),
        ];
        for (error, expected) in cases {
            let words = error.to_string();
            let failure = Err::<(), _>(error).about(Path::new("a.img")).unwrap_err();
            assert_eq!(code(&failure), expected, "{words}");
            assert_eq!(line(&failure), format!("a.img: {words}"));
        }
    }

    #[test]
    fn every_error_of_the_command_line_has_its_code_behind_any_context() {
        let cases: [(anyhow::Error, Code); 5] = [
            (Usage::new("no").into(), Code::Usage),
            (Internal::new("no").into(), Code::Internal),
            (Refusal::Damaged("no".to_owned()).into(), Code::Damaged),
            (Refusal::Unsupported("no".to_owned()).into(), Code::Unsupported),
            (io::Error::from(io::ErrorKind::NotFound).into(), Code::Io),
        ];
        for (error, expected) in cases {
            let failure = error.context("doing it").context("a.img");
            assert_eq!(code(&failure), expected, "{failure:#}");
            assert_eq!(line(&failure), format!("{failure:#}"));
        }
        assert_eq!(code(&anyhow::anyhow!("of no known type")), Code::Internal);
    }

    #[test]
    fn nothing_is_said_twice() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let failure = Err::<(), _>(Error::io("writing", full())).about(Path::new("a.img")).unwrap_err();
        assert_eq!(line(&failure), format!("a.img: writing: {}", full()));
    }
}
