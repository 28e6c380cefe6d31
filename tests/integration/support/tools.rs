//! Running programs, and the gate for tests with special requirements.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, io, thread};

use super::ran::Ran;

/// Directories of administration programs, which may be missing from a user's PATH.
const MORE_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Creates a command with a fixed locale and time zone, and without environment variables that change images.
pub fn tool(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:{MORE_PATH}")).env("LC_ALL", "C").env("TZ", "UTC");
    for variable in ["SOURCE_DATE_EPOCH", "E2FSPROGS_FAKE_TIME", "MKE2FS_CONFIG", "E2FSCK_CONFIG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program and returns its result, whether it succeeds or not.
pub fn try_run(command: &mut Command) -> Ran {
    let output =
        command.output().unwrap_or_else(|e| panic!("{:?}: {e} (see scripts/setup)", command.get_program()));
    Ran::of(command, &output)
}

/// Runs a program, asserts that it succeeds, and returns its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    try_run(command).done().stdout
}

/// Returns the path of a file or directory in the source tree.
pub fn project(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the Rust files of a directory with their text.
pub fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("reading");
            found.push((path, text));
        }
    }
    found
}

/// Compiles one of the C programs in this directory and returns the path of the executable.
pub fn compiled(name: &str, options: &[&str]) -> PathBuf {
    // Each program is compiled once per test run.
    static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !made.contains(&program) {
        let source = project(format!("tests/integration/support/{name}.c"));
        // Replace the old executable atomically: another test run may be using it.
        let new = program.with_extension(std::process::id().to_string());
        run(tool("cc").args(["-O", "-Wall", "-Werror"]).args(options).arg("-o").arg(&new).arg(source));
        fs::rename(new, &program).expect("renaming");
        made.push(program.clone());
    }
    program
}

/// A requirement of a test beyond Rust and e2fsprogs.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Root, and loop devices that can be mounted.
    Mounts,
    /// Root, without mounts.
    Root,
    /// Root, and FUSE.
    Fuse,
    /// An installed kernel, and an emulator that can run it.
    EmulatedKernel,
    /// The Python packages that `scripts/setup test` installs.
    PythonPackages,
    /// A program in PATH.
    Program(&'static str),
}

/// Returns whether this machine meets the requirements of a test. If it returns false, the test returns
/// immediately. With `EXT4_CANON_REQUIRE_ALL=1`, it panics instead.
///
/// A test that needs root has an `#[ignore]` attribute as well, so that it is counted as ignored for a user.
pub fn gate(needs: &[Need]) -> bool {
    are_met(needs, "SKIPPED")
}

/// Like [`gate`], for a part of a test. The rest of the test runs on any machine.
pub fn partly(needs: &[Need]) -> bool {
    are_met(needs, "PARTLY")
}

/// Checks requirements. If one is not met, it writes a line that starts with `word`, once for each test: to
/// standard error, and to the file that `scripts/test` names.
fn are_met(needs: &[Need], word: &str) -> bool {
    static WRITTEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let missing: Vec<_> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return true;
    }
    let words = format!("{}: no {missing:?} here", thread::current().name().unwrap_or("test"));
    assert!(env::var_os("EXT4_CANON_REQUIRE_ALL").is_none_or(|all| all != "1"), "{words}");
    if WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).insert(words.clone()) {
        // Don't use `eprintln`: the test harness captures it for tests that pass.
        let _ = writeln!(io::stderr(), "{word} {words}");
        if let Some(list) = env::var_os("EXT4_CANON_SKIPPED") {
            let mut list = OpenOptions::new().append(true).open(list).expect("the list of skipped tests");
            writeln!(list, "{word} {words}").expect("writing");
        }
    }
    false
}

impl Need {
    fn is_met(self) -> bool {
        static MOUNTS: OnceLock<bool> = OnceLock::new();
        static KERNEL: OnceLock<bool> = OnceLock::new();
        match self {
            Self::Root => rustix::process::geteuid().is_root(),
            Self::Fuse => Self::Root.is_met() && Path::new("/dev/fuse").exists(),
            Self::Mounts => {
                Self::Root.is_met()
                    && *MOUNTS.get_or_init(|| try_run(tool("losetup").arg("--find")).code == Some(0))
            }
            Self::PythonPackages => project("target/python/bb").is_dir(),
            Self::EmulatedKernel => *KERNEL.get_or_init(super::emulated::is_there),
            Self::Program(name) => env::var("PATH")
                .unwrap_or_default()
                .split(':')
                .chain(MORE_PATH.split(':'))
                .any(|folder| Path::new(folder).join(name).is_file()),
        }
    }
}
