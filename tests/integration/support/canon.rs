//! The common way to run ext4-canon in tests, and the invariants of every canonicalization.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::contents::{differences, digest_of};
use super::ran::{Ran, Running, demand};
use super::tools::{tool, try_run};
use super::{judge, listing};

/// The path of the program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ext4-canon");

/// A command that runs the program, directly or from a shell script.
#[derive(Debug)]
pub struct Canon(Command);

impl Canon {
    /// Creates a command without arguments.
    pub fn new() -> Self {
        Self(tool(PROGRAM))
    }

    /// Creates a command that runs a bash script. `$0` is the program, and further arguments are `$1` and so
    /// on.
    pub fn script(script: &str) -> Self {
        Self(tool("bash")).args(["-c", script, PROGRAM])
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Sets the working directory.
    pub fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Redirects standard input.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.0.stdin(from);
        self
    }

    /// Redirects standard output.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stdout(to);
        self
    }

    /// Runs the command and returns its result, whether it succeeds or not.
    pub fn run(mut self) -> Ran {
        try_run(&mut self.0)
    }

    /// Runs the command and returns its output as bytes.
    pub fn output(mut self) -> Output {
        self.0.output().expect("running the program")
    }

    /// Starts the command, with pipes for standard output and standard error.
    pub fn start(mut self) -> Running {
        Running::start(self.0.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }
}

/// Creates a command with these arguments.
pub fn canon(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Canon {
    Canon::new().args(arguments)
}

/// Puts the directory of the program at the start of a command's PATH.
pub fn find_program(command: &mut Command) -> &mut Command {
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
    let mut with_program = Path::new(PROGRAM).parent().expect("a folder").as_os_str().to_owned();
    with_program.push(":");
    with_program.push(path.expect("a command of `tool`"));
    command.env("PATH", with_program)
}

fn rewrite(input: &Path, output: &Path, options: &[&str]) -> Ran {
    Canon::new().args([input, output]).args(options).run()
}

/// Canonicalizes `image` into a new file in the same directory, and asserts that the input is unchanged.
/// Returns the output, or the result of the command if it fails.
pub fn rewritten(image: &Path, options: &[&str]) -> Result<PathBuf, Ran> {
    let output = unused(image);
    let before = digest_of(image);
    let ran = rewrite(image, &output, options);
    assert_eq!(before, digest_of(image), "{}: the input was changed", image.display());
    if ran.code == Some(0) { Ok(output) } else { Err(ran) }
}

/// Asserts that canonicalizing an output again, with the given options, changes nothing.
pub fn unchanged(output: &Path, options: &[&str]) {
    let again = unused(output);
    rewrite(output, &again, options).done();
    same_bytes(output, &again);
    std::fs::remove_file(again).expect("removing");
}

/// Asserts that e2fsck reports nothing and repairs nothing.
pub fn sound(output: &Path) {
    judge::fsck_silent(output).unwrap_or_else(|e| panic!("{}: {e}", output.display()));
    judge::fsck_changes_nothing(output).unwrap_or_else(|e| panic!("{}: {e}", output.display()));
}

/// Canonicalizes `image` into a new file in the same directory, and returns the output.
///
/// Asserts that the input is unchanged, that canonicalizing again changes nothing, and that e2fsck reports
/// nothing and repairs nothing.
pub fn canonical(image: &Path, options: &[&str]) -> PathBuf {
    let output = rewritten(image, options).unwrap_or_else(|ran| panic!("{ran:#?}"));
    assert_eq!(output.metadata().expect("an output").len(), image.metadata().expect("an input").len());
    unchanged(&output, options);
    sound(&output);
    output
}

/// Returns the digest of an image's tree.
pub fn tree_digest(image: &Path, options: &[&str]) -> String {
    canon(["digest", "--tree"]).args(options).arg(image).run().done().stdout[..64].to_owned()
}

/// Asserts that `image` is refused with the given exit code and a message that contains each of `words`, that
/// no output is created, and that the input is unchanged. Returns the message.
#[track_caller]
pub fn refused(image: &Path, options: &[&str], code: i32, words: &[&str]) -> String {
    let output = unused(image);
    let before = digest_of(image);
    let files = || std::fs::read_dir(image.parent().expect("a folder")).expect("a folder").count();
    let count = files();
    let ran = rewrite(image, &output, options);
    assert!(!output.exists(), "an output despite a refusal: {ran:#?}");
    assert_eq!(count, files(), "temporary files were left");
    assert_eq!(before, digest_of(image), "{}: the input was changed", image.display());
    // Words in the name of the image don't count.
    let error = ran.error();
    demand(&error.replace(image.to_str().expect("UTF-8"), ""), words, &ran);
    ran.with_code(code);
    error
}

/// Asserts that two images have equal bytes.
pub fn same_bytes(a: &Path, b: &Path) {
    let found = differences(a, b, 8);
    assert!(
        found.is_empty(),
        "{} and {} differ at {found:x?}:\n{}\n{}",
        a.display(),
        b.display(),
        listing::first_difference(&outline(a), &outline(b)),
        canon(["compare"]).args([a, b]).run().stdout
    );
}

/// Returns the output of dumpe2fs and debugfs for an image, to show a difference as text.
fn outline(image: &Path) -> String {
    let mut text = try_run(tool("dumpe2fs").arg(image)).stdout;
    for inode in 1..200 {
        text.push_str(&try_run(tool("debugfs").arg("-R").arg(format!("stat <{inode}>")).arg(image)).stdout);
        if text.ends_with("Inode: 0") {
            break;
        }
    }
    // These values are derived from all others.
    let derived = ["csum", "hecksum", "UUID"];
    let lines = text.lines().filter(|line| !derived.iter().any(|word| line.contains(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns an unused path in the directory of `image`.
fn unused(image: &Path) -> PathBuf {
    (0..)
        .map(|n| image.with_extension(format!("canon{n}")))
        .find(|path| !path.exists())
        .expect("there are many numbers")
}
