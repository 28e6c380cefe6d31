//! What lies in `packaging/`, run as the build systems run it.

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

/// Earlier than most files of the images, so that it shows.
const EPOCH: &str = "1000000000";

/// A program that finds `ext4-canon` on its path, as one of a build system does.
fn builder(program: impl AsRef<Path>) -> Command {
    let mut command = tool(program.as_ref());
    find_program(&mut command);
    command
}

/// Python with the packages that `scripts/setup test` installs.
fn python() -> Command {
    let mut command = tool("python3");
    command.env("PYTHONPATH", project("target/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Two images of one tree that differ, as they come with the source.
fn shipped_twins(lab: &Lab) -> [PathBuf; 2] {
    let [a, b] = ["mke2fs", "kernel"].map(|name| lab.shipped(name));
    assert_ne!(sha256(&a), sha256(&b));
    [a, b]
}

/// The last step of a build: gets a folder and an image that was built.
type Step<'a> = &'a dyn Fn(&Path, &Path) -> Ran;

/// Demands that `step` makes of two differing images the same file `product` in its folder, which is what `ext4-canon`
/// makes of them with `options`; and that it fails where it can't, and leaves no other product than what was built.
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
    assert!(ran.code != Some(0), "no failure: {ran:#?}");
    // The program's words, or those of a script that looks for filesystems first.
    let words = ["not an ext2, ext3 or ext4 filesystem", "no disk or ext filesystem in"];
    let said = |words: &&str| ran.stdout.contains(words) || ran.stderr.contains(words);
    assert!(words.iter().any(said), "another failure: {ran:#?}");
    let product = folder.join(product);
    assert!(!product.exists() || sha256(&product) == sha256(&garbage), "another product: {ran:#?}");
}

/// The same, where an image is replaced: `step` gets the folder with the image under the name `product`.
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

/// What `sh` makes of a line.
fn run_line(line: &str, folder: &Path) -> Ran {
    try_run(builder("sh").args(["-c", line]).current_dir(folder))
}
