//! The one way in which tests run the command, and what holds for all images that it is given.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::contents::{differences, digest_of};
use super::ran::{Ran, Running, demand};
use super::tools::{tool, try_run};
use super::{judge, listing};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ext4-canon");

/// A command line of the program, or of a shell that runs it, to be run.
#[derive(Debug)]
pub struct Canon(Command);

impl Canon {
    /// The program without arguments.
    pub fn new() -> Self {
        Self(tool(PROGRAM))
    }

    /// A script of bash, in which `$0` is the program, and further arguments are `$1` and so on.
    pub fn script(script: &str) -> Self {
        Self(tool("bash")).args(["-c", script, PROGRAM])
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs in a folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Reads standard input from a file.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.0.stdin(from);
        self
    }

    /// Writes standard output to a file.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stdout(to);
        self
    }

    /// Runs to the end, however that is.
    pub fn run(mut self) -> Ran {
        try_run(&mut self.0)
    }

    /// Runs to the end, and returns the bytes that were printed.
    pub fn output(mut self) -> Output {
        self.0.output().expect("running the program")
    }

    /// Starts it, with pipes from standard output and standard error.
    pub fn start(mut self) -> Running {
        Running::start(self.0.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }
}

/// The program with these arguments.
pub fn canon(arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Canon {
    Canon::new().args(arguments)
}

/// Lets a command find the program by its name.
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

/// The output for `image`, beside it, unless it is refused; the input must be untouched.
pub fn rewritten(image: &Path, options: &[&str]) -> Result<PathBuf, Ran> {
    let output = unused(image);
    let before = digest_of(image);
    let ran = rewrite(image, &output, options);
    assert_eq!(before, digest_of(image), "{}: the input was changed", image.display());
    if ran.code == Some(0) { Ok(output) } else { Err(ran) }
}

/// Demands that canonicalizing an output again, with such options, changes nothing.
pub fn unchanged(output: &Path, options: &[&str]) {
    let again = unused(output);
    rewrite(output, &again, options).done();
    same_bytes(output, &again);
    std::fs::remove_file(again).expect("removing");
}

/// Demands that e2fsck has neither complaints nor repairs.
pub fn sound(output: &Path) {
    judge::fsck_silent(output).unwrap_or_else(|e| panic!("{}: {e}", output.display()));
    judge::fsck_changes_nothing(output).unwrap_or_else(|e| panic!("{}: {e}", output.display()));
}

/// The canonical image of `image`, beside it.
///
/// Also demands that the input is untouched, that canonicalizing again changes nothing, and that
/// e2fsck has neither complaints nor repairs.
pub fn canonical(image: &Path, options: &[&str]) -> PathBuf {
    let output = rewritten(image, options).unwrap_or_else(|ran| panic!("{ran:#?}"));
    assert_eq!(output.metadata().expect("an output").len(), image.metadata().expect("an input").len());
    unchanged(&output, options);
    sound(&output);
    output
}

/// The digest of an image's tree.
pub fn tree_digest(image: &Path, options: &[&str]) -> String {
    canon(["digest", "--tree"]).args(options).arg(image).run().done().stdout[..64].to_owned()
}

/// Demands that `image` is refused with an exit code and a message that has all these words; returns the message.
/// There must be no output, and the input must be untouched.
#[track_caller]
pub fn refused(image: &Path, options: &[&str], code: i32, words: &[&str]) -> String {
    let output = unused(image);
    let before = digest_of(image);
    let files = || std::fs::read_dir(image.parent().expect("a folder")).expect("a folder").count();
    let count = files();
    let ran = rewrite(image, &output, options);
    assert!(!output.exists(), "an output in spite of a refusal: {ran:#?}");
    assert_eq!(count, files(), "something was left behind");
    assert_eq!(before, digest_of(image), "{}: the input was changed", image.display());
    // The name of the image proves nothing.
    let message = ran.stderr.replace(image.to_str().expect("UTF-8"), "");
    demand(&message, words, &ran);
    ran.with_code(code).stderr
}

/// Demands that two images are equal, byte for byte.
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

/// What debugfs tells of an image, to see in words where two differ.
fn outline(image: &Path) -> String {
    let mut text = try_run(tool("dumpe2fs").arg(image)).stdout;
    for inode in 1..200 {
        text.push_str(&try_run(tool("debugfs").arg("-R").arg(format!("stat <{inode}>")).arg(image)).stdout);
        if text.ends_with("Inode: 0") {
            break;
        }
    }
    // These follow from everything else.
    let derived = ["csum", "hecksum", "UUID"];
    let lines = text.lines().filter(|line| !derived.iter().any(|word| line.contains(word)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A name beside `image` that nothing has yet.
fn unused(image: &Path) -> PathBuf {
    (0..)
        .map(|n| image.with_extension(format!("canon{n}")))
        .find(|path| !path.exists())
        .expect("there are many numbers")
}
