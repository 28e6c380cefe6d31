//! Running programs, and the one gate before tests that need more than an ordinary machine.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, io, thread};

use super::ran::Ran;

/// Administrators' programs are not on everybody's path.
const MORE_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// A program, in a fixed locale and time zone, without what would change images behind our back.
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

/// Runs a program to its end, however that is.
pub fn try_run(command: &mut Command) -> Ran {
    let output =
        command.output().unwrap_or_else(|e| panic!("{:?}: {e} (see scripts/setup)", command.get_program()));
    Ran::of(command, &output)
}

/// Runs a program that has to succeed; returns what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    try_run(command).done().stdout
}

/// A program made of one of the C files beside this one.
pub fn compiled(name: &str, options: &[&str]) -> PathBuf {
    // Each is made once in a run of tests.
    static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !made.contains(&program) {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/integration/support/{name}.c"));
        // Another run may be using the one before.
        let new = program.with_extension(std::process::id().to_string());
        run(tool("cc").args(["-O", "-Wall", "-Werror"]).args(options).arg("-o").arg(&new).arg(source));
        std::fs::rename(new, &program).expect("renaming");
        made.push(program.clone());
    }
    program
}

/// What a test needs beyond Rust and e2fsprogs.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Root, and loop devices that can be mounted.
    Mounts,
    /// Root, but no mounts.
    Root,
    /// Root, and filesystems of one's own.
    Fuse,
    /// A kernel to be run in an emulated machine, and one.
    EmulatedKernel,
    /// The Python packages that `scripts/setup test` installs.
    PythonPackages,
    /// A program.
    Program(&'static str),
}

/// Whether this machine has what a test needs. A test that gets `false` returns at once; where
/// every test has to run, this panics instead.
pub fn gate(needs: &[Need]) -> bool {
    let missing: Vec<_> = needs.iter().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return true;
    }
    let words = format!("{}: no {missing:?} here", thread::current().name().unwrap_or("test"));
    assert!(env::var_os("EXT4_CANON_REQUIRE_ALL").is_none_or(|all| all != "1"), "{words}");
    // Not by eprintln, which is captured in tests that pass.
    let _ = writeln!(io::stderr(), "SKIPPED {words}");
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
            Self::PythonPackages => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bb").is_dir(),
            Self::EmulatedKernel => *KERNEL.get_or_init(super::emulated::is_there),
            Self::Program(name) => env::var("PATH")
                .unwrap_or_default()
                .split(':')
                .chain(MORE_PATH.split(':'))
                .any(|folder| Path::new(folder).join(name).is_file()),
        }
    }
}
