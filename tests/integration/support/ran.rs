//! Results of programs, and assertions about them.

use std::fmt;
use std::process::{Child, Command, Output};

/// The result of a program that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The program and its arguments.
    pub command: String,
    /// The exit code, or `None` if a signal killed the program.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Creates a result from a command and its output.
    pub fn of(command: &Command, output: &Output) -> Self {
        Self::named(words(command), output)
    }

    fn named(command: String, output: &Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { command, code: output.status.code(), stdout, stderr }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that the exit code is 0.
    #[track_caller]
    pub fn done(self) -> Self {
        self.with_code(0)
    }

    /// Asserts that standard error contains each of `words`.
    #[track_caller]
    pub fn saying(self, words: &[&str]) -> Self {
        demand(&self.stderr, words, &self);
        self
    }

    /// Asserts that standard output contains each of `words`.
    #[track_caller]
    pub fn printing(self, words: &[&str]) -> Self {
        demand(&self.stdout, words, &self);
        self
    }

    /// Asserts that standard error is empty.
    #[track_caller]
    pub fn without_a_word(self) -> Self {
        assert_eq!(self.stderr, "", "{self}");
        self
    }

    /// Asserts the exit code, and that standard error is one line, apart from warnings, that contains each of
    /// `words`.
    #[track_caller]
    pub fn refusing(self, code: i32, words: &[&str]) -> Self {
        demand(&self.error(), words, &self);
        self.with_code(code)
    }

    /// The only error, in one line: what is wrong, and after a semicolon what to do.
    #[track_caller]
    pub fn error(&self) -> String {
        // Errors of the argument parser show the usage.
        let text = self.stderr.split("\n\nUsage: ").next().unwrap_or_default();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("ext4-canon: warning: ")).collect();
        let (first, rest) = lines.split_first().unwrap_or_else(|| panic!("no error: {self}"));
        let problem = first.strip_prefix("ext4-canon: error: ").unwrap_or_else(|| panic!("no error: {self}"));
        match rest {
            [] => problem.to_owned(),
            [remedy] if remedy.starts_with("  ") => format!("{problem}; {}", remedy.trim_start()),
            _ => panic!("several errors: {self}"),
        }
    }

    /// Asserts that the argument parser reported a usage error: an error with each of `words`, followed by
    /// the usage.
    #[track_caller]
    pub fn misused(self, words: &[&str]) -> Self {
        let (error, usage) = self.stderr.split_once("\n\n").unwrap_or((&self.stderr, ""));
        assert!(error.starts_with("ext4-canon: error: ") && usage.contains("Usage: ext4-canon"), "{self}");
        demand(error, words, &self);
        assert_eq!(self.stdout, "", "{self}");
        self.with_code(2)
    }

    /// Parses standard output as JSON.
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

/// Asserts that `text`, the output of a program, contains each of `words`.
#[track_caller]
pub fn demand(text: &str, words: &[&str], ran: &Ran) {
    // An empty list or an empty word would match any text.
    assert!(!words.is_empty() && words.iter().all(|word| !word.trim().is_empty()), "no words to search for");
    for word in words {
        assert!(text.contains(word), "no '{word}': {ran}");
    }
}

/// A program that runs concurrently with the test.
#[derive(Debug)]
pub struct Running {
    command: String,
    pub child: Child,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        Self { command: words(command), child }
    }

    /// Waits until the program ends.
    pub fn end(self) -> Ran {
        let output = self.child.wait_with_output().expect("an end");
        Ran::named(self.command, &output)
    }
}

/// Returns the program and its arguments as text.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
