//! Why the command did not do what it was asked for: words for people, a code for scripts.

use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use ext4_canon::Error;

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

    fn of(error: &Error) -> Self {
        match error {
            Error::Io { .. } => Self::Io,
            Error::Unsupported { .. } | Error::DoesNotFit { .. } | Error::TooFewInodes { .. } => {
                Self::Unsupported
            }
            Error::Unclean { .. } | Error::Corrupt { .. } => Self::Damaged,
            Error::Options(_) => Self::Usage,
            Error::Internal(_) => Self::Internal,
            Error::Partition { error, .. } => Self::of(error),
        }
    }
}

/// Why the command failed.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub code: Code,
    /// One line, which begins with the file that it is about.
    pub message: String,
}

impl Failure {
    /// A file that can't be what it was given as.
    pub fn usage(path: &Path, reason: impl Display) -> Self {
        Self { code: Code::Usage, message: format!("{}: {reason}", path.display()) }
    }

    /// Something that the system would not do.
    pub fn io(path: &Path, doing: &str, error: &io::Error) -> Self {
        Self { code: Code::Io, message: format!("{}: {doing}: {error}", path.display()) }
    }

    /// What is wrong with a file whose format is the command line's business, or what the system says of it.
    pub fn of_format(path: &Path, doing: &str, error: &io::Error) -> Self {
        let code = match error.kind() {
            // That of the system has no words of its own.
            _ if error.get_ref().is_none() => return Self::io(path, doing, error),
            io::ErrorKind::InvalidData => Code::Damaged,
            io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput => Code::Unsupported,
            _ => return Self::io(path, doing, error),
        };
        Self { code, message: format!("{}: {error}", path.display()) }
    }

    /// What the library says of an image.
    pub fn of(path: &Path, error: &Error) -> Self {
        Self { code: Code::of(error), message: format!("{}: {error}", path.display()) }
    }

    /// A mistake of this program.
    pub fn internal(path: &Path, what: impl Display) -> Self {
        Self { code: Code::Internal, message: format!("{}: {what}; please report this", path.display()) }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
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
        for (error, code) in cases {
            let failure = Failure::of(Path::new("a.img"), &error);
            assert_eq!(failure.code, code, "{error}");
            assert!(failure.message.starts_with("a.img: "), "{failure}");
        }
    }
}
