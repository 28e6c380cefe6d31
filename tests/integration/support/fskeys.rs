//! The ioctls of fscrypt, fs-verity, casefolding, the boot loader and growth, by a small program in C.

use std::path::PathBuf;

use super::tools::compiled;
use super::{run, tool};

/// The program. It is static, so that it runs in the emulated kernel too.
pub fn program() -> PathBuf {
    compiled("fskeys", &["-static"])
}

/// Runs a command of it that has to succeed; returns what it printed.
pub fn fskeys(arguments: &[&str]) -> String {
    run(tool(program()).args(arguments)).trim().to_owned()
}
