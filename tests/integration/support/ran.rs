//! How a program ended, and what is demanded of that.

use std::fmt;
use std::process::{Child, Command, Output};

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The program and its arguments.
    pub command: String,
    /// The exit code, if it was not killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// What a command came to.
    pub fn of(command: &Command, output: &Output) -> Self {
        Self::named(words(command), output)
    }

    fn named(command: String, output: &Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { command, code: output.status.code(), stdout, stderr }
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Demands that it succeeded.
    #[track_caller]
    pub fn done(self) -> Self {
        self.with_code(0)
    }

    /// Demands that standard error has all these words.
    #[track_caller]
    pub fn saying(self, words: &[&str]) -> Self {
        demand(&self.stderr, words, &self);
        self
    }

    /// Demands that standard output has all these words.
    #[track_caller]
    pub fn printing(self, words: &[&str]) -> Self {
        demand(&self.stdout, words, &self);
        self
    }

    /// Demands that there is nothing on standard error.
    #[track_caller]
    pub fn without_a_word(self) -> Self {
        assert_eq!(self.stderr, "", "{self}");
        self
    }

    /// Demands an exit code, and that standard error has all these words in one line, besides warnings.
    #[track_caller]
    pub fn refusing(self, code: i32, words: &[&str]) -> Self {
        let lines = self.stderr.lines().filter(|line| !line.starts_with("warning: "));
        assert_eq!(lines.count(), 1, "{self}");
        self.with_code(code).saying(words)
    }

    /// Demands what the parser of the command line says of wrong arguments: an error that has all these words, and how
    /// to use the command.
    #[track_caller]
    pub fn misused(self, words: &[&str]) -> Self {
        let (error, usage) = self.stderr.split_once("\n\n").unwrap_or((&self.stderr, ""));
        assert!(error.starts_with("error: ") && usage.contains("Usage: ext4-canon"), "{self}");
        demand(error, words, &self);
        assert_eq!(self.stdout, "", "{self}");
        self.with_code(2)
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self}"))
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "{command}\nexit code: {code:?}\nstandard output: {stdout}\nstandard error: {stderr}")
    }
}

/// Demands that a text, which a program wrote, has all these words.
#[track_caller]
pub fn demand(text: &str, words: &[&str], ran: &Ran) {
    // Every text has no word, and an empty one.
    assert!(!words.is_empty() && words.iter().all(|word| !word.trim().is_empty()), "nothing is demanded");
    for word in words {
        assert!(text.contains(word), "no '{word}': {ran}");
    }
}

/// A program that runs while the test goes on.
#[derive(Debug)]
pub struct Running {
    command: String,
    pub child: Child,
}

impl Running {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        Self { command: words(command), child }
    }

    /// Waits for its end.
    pub fn end(self) -> Ran {
        let output = self.child.wait_with_output().expect("an end");
        Ran::named(self.command, &output)
    }
}

/// The program of a command, and its arguments.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
