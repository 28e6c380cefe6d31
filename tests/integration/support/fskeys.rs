//! A small C program for the ioctls of fscrypt, fs-verity, casefolding, the boot loader inode and online
//! resizing.

use std::path::PathBuf;

use super::tools::compiled;
use super::{run, tool};

/// Compiles the program and returns its path. It is static, so that it also runs in the emulated machine.
pub fn program() -> PathBuf {
    compiled("fskeys", &["-static"])
}

/// Runs a command of the program, asserts that it succeeds, and returns its output.
pub fn fskeys(arguments: &[&str]) -> String {
    run(tool(program()).args(arguments)).trim().to_owned()
}
