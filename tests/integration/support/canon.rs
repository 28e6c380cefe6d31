//! The one way in which tests run the tool, which checks on every image what holds for all.

use std::path::{Path, PathBuf};

use super::contents::{differences, digest_of};
use super::tools::{Ran, tool, try_run};
use super::{judge, listing};

fn ext4_canon(input: &Path, output: &Path, options: &[&str]) -> Ran {
    let mut command = tool(env!("CARGO_BIN_EXE_ext4-canon"));
    try_run(command.arg(input).arg(output).args(options))
}

/// The output for `image`, beside it, unless it is refused; the input must be untouched.
pub fn rewritten(image: &Path, options: &[&str]) -> Result<PathBuf, Ran> {
    let output = unused(image);
    let before = digest_of(image);
    let ran = ext4_canon(image, &output, options);
    assert_eq!(before, digest_of(image), "{}: the input was changed", image.display());
    if ran.code == Some(0) { Ok(output) } else { Err(ran) }
}

/// Demands that canonicalizing an output again, with such options, changes nothing.
pub fn unchanged(output: &Path, options: &[&str]) {
    let again = unused(output);
    let ran = ext4_canon(output, &again, options);
    assert!(ran.code == Some(0), "{} {options:?}, the second time: {ran:#?}", output.display());
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
    let output =
        rewritten(image, options).unwrap_or_else(|ran| panic!("{} {options:?}: {ran:#?}", image.display()));
    assert_eq!(output.metadata().expect("an output").len(), image.metadata().expect("an input").len());
    unchanged(&output, options);
    sound(&output);
    output
}

/// The digest of an image's tree.
pub fn tree_digest(image: &Path, options: &[&str]) -> String {
    super::run(tool(env!("CARGO_BIN_EXE_ext4-canon")).args(["digest", "--tree"]).args(options).arg(image))
        [..64]
        .to_owned()
}

/// The message with which `image` is refused with exit code `code`; there must be no output, and
/// the input must be untouched.
pub fn refused(image: &Path, options: &[&str], code: i32) -> String {
    let output = unused(image);
    let before = digest_of(image);
    let files = || std::fs::read_dir(image.parent().expect("a folder")).expect("a folder").count();
    let count = files();
    let ran = ext4_canon(image, &output, options);
    assert!(ran.code == Some(code), "{} {options:?}: not {code}: {ran:#?}", image.display());
    assert!(!output.exists(), "{}: an output in spite of a refusal", output.display());
    assert_eq!(count, files(), "something was left behind");
    assert_eq!(before, digest_of(image), "{}: the input was changed", image.display());
    assert!(!ran.stderr.trim().is_empty(), "{}: refused without a word", image.display());
    ran.stderr
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
        try_run(tool(env!("CARGO_BIN_EXE_ext4-canon")).arg("compare").arg(a).arg(b)).stdout
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
