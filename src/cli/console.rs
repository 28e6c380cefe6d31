//! Writes to standard output and standard error.

use std::env;
use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};

use super::failure::Message;

/// The name of this program. All messages begin with it.
pub const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// The name of standard output in messages.
pub const STANDARD_OUTPUT: &str = "standard output";

/// Prints an error to standard error. Write errors are ignored: there is nowhere left to report them.
pub fn error(message: &Message) {
    let _ = writeln!(stderr(), "{PROGRAM}: error: {}", message.lines());
}

/// Prints a warning to standard error.
pub fn warn(words: &str) {
    let _ = writeln!(stderr(), "{PROGRAM}: warning: {words}");
}

/// Prints an error of the parser, with the usage of the command, to standard error.
pub fn usage(error: &clap::Error) {
    let text = error.render();
    let coloured = stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let _ = if coloured {
        write!(stderr(), "{PROGRAM}: {}", text.ansi())
    } else {
        write!(stderr(), "{PROGRAM}: {text}")
    };
}

/// Prints a line that is neither an error nor a warning to standard error.
pub fn remark(line: &str) {
    let _ = writeln!(stderr(), "{PROGRAM}: {line}");
}

/// Prints bytes to standard error. Write errors are ignored.
pub fn report(bytes: &[u8]) {
    let _ = stderr().write_all(bytes);
}

/// Prints to standard output.
///
/// # Errors
///
/// An I/O error, except if the reader closed the pipe: see [`unless_closed`].
pub fn print(bytes: &[u8]) -> io::Result<()> {
    unless_closed(stdout().write_all(bytes).and_then(|()| stdout().flush()))
}

/// Turns the error for a closed pipe into success, since the reader of the pipe needs no more output.
pub fn unless_closed(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_no_error() {
        assert!(unless_closed(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_closed(Err(io::ErrorKind::StorageFull.into())).is_err());
        assert!(unless_closed(Ok(())).is_ok());
    }
}
