//! The ioctls of fscrypt, fs-verity, casefolding, the boot loader and growth, by a small program in C.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{run, tool};

/// The program, made when it is first asked for. It is static, so that it runs in the emulated
/// kernel too.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/fskeys.c");
        let new = folder.join(format!("fskeys.{}", std::process::id()));
        run(tool("cc").args(["-O", "-Wall", "-Werror", "-static", "-o"]).arg(&new).arg(source));
        let program = folder.join("fskeys");
        std::fs::rename(new, &program).expect("renaming");
        program
    })
}

/// Runs a command of it that has to succeed; returns what it printed.
pub fn fskeys(arguments: &[&str]) -> String {
    run(tool(program().to_str().expect("a path in UTF-8")).args(arguments)).trim().to_owned()
}
