//! The integrations in `packaging/`, run in the way that the build systems run them.

mod bitbake;
mod debian;
mod disks;
mod github;
mod images;
mod nixos;
mod scripts;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::canon::find_program;
use crate::support::contents::sha256;
use crate::support::ran::Ran;
use crate::support::tools::project;
use crate::support::tools::try_run;
use crate::support::{Lab, canonical, tool};

/// A time before the mtimes of most files in the images, so that clamping has an effect.
const EPOCH: &str = "1000000000";

/// Creates a command with `ext4-canon` in PATH, like a program of a build system.
fn builder(program: impl AsRef<Path>) -> Command {
    let mut command = tool(program.as_ref());
    find_program(&mut command);
    command
}

/// Creates a Python command with the packages that `scripts/setup test` installs.
fn python() -> Command {
    let mut command = tool("python3");
    command.env("PYTHONPATH", project("target/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Unpacks two different images of one tree from testdata.
fn shipped_twins(lab: &Lab) -> [PathBuf; 2] {
    let [a, b] = ["mke2fs", "kernel"].map(|name| lab.shipped(name));
    assert_ne!(sha256(&a), sha256(&b));
    [a, b]
}

/// The last step of a build, which gets a directory and the image that was built.
type Step<'a> = &'a dyn Fn(&Path, &Path) -> Ran;

/// Asserts that `step` turns two different images into the same file `product` in its directory, equal to the
/// output of `ext4-canon` with `options`. Also asserts that it fails on an invalid image, and then leaves no
/// product except the image that was built.
fn makes_canonical(product: &str, options: &[&str], step: Step) {
    let lab = Lab::new();
    let images = shipped_twins(&lab);
    let expected = sha256(&canonical(&images[0], options));
    for (image, name) in images.iter().zip(["first", "second"]) {
        let folder = lab.folder(name);
        let ran = step(&folder, image);
        assert!(ran.code == Some(0), "{ran:#?}");
        assert_eq!(sha256(&folder.join(product)), expected, "{name}: {ran:#?}");
    }

    let garbage = lab.path("garbage");
    std::fs::write(&garbage, vec![0x5A; 1 << 20]).expect("writing");
    let folder = lab.folder("third");
    let ran = step(&folder, &garbage);
    assert!(ran.code != Some(0), "it should fail: {ran:#?}");
    // Either the error of the program, or the error of a script that searches for filesystems first.
    let words = ["not an ext2, ext3 or ext4 filesystem", "no disk or ext filesystem in"];
    let said = |words: &&str| ran.stdout.contains(words) || ran.stderr.contains(words);
    assert!(words.iter().any(said), "a different failure: {ran:#?}");
    let product = folder.join(product);
    assert!(!product.exists() || sha256(&product) == sha256(&garbage), "a different product: {ran:#?}");
}

/// Like [`makes_canonical`] for an image that is replaced: `step` gets the directory with the image
/// `product`.
fn replaces(product: &str, step: &dyn Fn(&Path) -> Ran) {
    makes_canonical(product, &["--source-date-epoch", EPOCH], &|folder, image| {
        std::fs::copy(image, folder.join(product)).expect("a copy");
        let ran = step(folder);
        assert_eq!(leftovers(folder), 0, "temporary files: {ran:#?}");
        ran
    });
}

fn leftovers(folder: &Path) -> usize {
    let names =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".tmp")).count()
}

/// Runs a line with `sh`.
fn run_line(line: &str, folder: &Path) -> Ran {
    try_run(builder("sh").args(["-c", line]).current_dir(folder))
}
