//! The invariants of all images, checked for a draw.

use std::path::{Path, PathBuf};

use super::choices::Choices;
use super::settings::settings;
use super::{Draw, Notes};
use crate::support::canon::{rewritten, sound, tree_digest, unchanged};
use crate::support::dice::Dice;
use crate::support::disk::{SECTOR, cut_out, disk};
use crate::support::image::{peek, sizes};
use crate::support::kernel::Mounted;
use crate::support::listing::{Listing, listing, same_tree};
use crate::support::ran::Ran;
use crate::support::{judge, same_bytes};

/// The images of a draw.
#[derive(Debug)]
pub struct Images {
    pub source: PathBuf,
    pub first: PathBuf,
    pub second: PathBuf,
}

/// Runs the tool, and records the command in the notes.
pub fn ran(notes: &Notes, image: &Path, options: &[&str]) -> Result<PathBuf, Ran> {
    notes.say(format!("ext4-canon {} {} OUT", options.join(" "), image.display()));
    rewritten(image, options)
}

pub fn done(notes: &Notes, image: &Path, options: &[&str]) -> PathBuf {
    ran(notes, image, options).unwrap_or_else(|ran| panic!("{options:?}: {ran:#?}"))
}

/// Returns whether the error is only that space is missing.
pub fn is_too_small(ran: &Ran) -> bool {
    let words = ["too few", "but not into", "no room for bitmaps and inode table"];
    // A size that is impossible for any filesystem is a usage error.
    ran.code == Some(3) && words.iter().any(|words| ran.stderr.contains(words))
        || ran.code == Some(2) && ran.stderr.contains("--size")
}

/// Checks all invariants for a draw; returns the names of special cases, to be counted.
pub fn demand(draw: &Draw, images: &Images, notes: &Notes) -> Vec<&'static str> {
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    let mut special = Vec::new();
    let output = match ran(notes, &images.first, &words) {
        Ok(output) => Some(output),
        Err(ran) if is_too_small(&ran) => {
            special.push("does not fit");
            None
        }
        Err(ran) => panic!("{words:?}: {ran:#?}"),
    };
    if let Some(output) = &output {
        assert_eq!(output.metadata().unwrap().len(), images.first.metadata().unwrap().len());
        unchanged(output, &words);
        sound(output);
        same_trees(&images.first, output, &draw.choices);
        special.extend(independent(draw, images, output));
    }
    meets(notes, images, output.as_deref(), &words);
    let least = smallest(draw, images, output.as_deref(), notes);
    special.extend(at_another_size(draw, images, &least, notes));
    special.extend(settings(draw, images, notes));
    if let Some(output) = &output {
        special.extend(on_a_disk(draw, images, output, notes));
    }
    special
}

pub fn same_trees(one: &Path, other: &Path, choices: &Choices) {
    let times: Vec<&str> = choices.times.iter().map(String::as_str).collect();
    assert_eq!(tree_digest(one, &times), tree_digest(other, &times), "the trees differ");
}

/// For some of the draws, checks that independent readers see the same tree.
fn independent(draw: &Draw, images: &Images, output: &Path) -> Option<&'static str> {
    let keeps_times = draw.choices.times.is_empty();
    if draw.geometry.has("mmp") || draw.share >= 30 {
        return None;
    }
    if draw.mounts && Mounted::read_only(output).is_ok() {
        let found = judge::kernel_tree(output).expect("a mount");
        if keeps_times {
            same_tree(&judge::kernel_tree(&images.first).expect("a mount"), &found);
            let large = draw.tree.large_xattrs();
            if large.is_empty() && !draw.geometry.has("project") && !draw.geometry.has("inline_data") {
                same_tree(&listing(&images.source, Listing::default()), &found);
            }
        }
        // If the kernel lacks a feature, it mounts the filesystem only read-only.
        if draw.share < 15 && Mounted::read_write(&images.second).is_ok() {
            judge::kernel_works(output).unwrap_or_else(|e| panic!("{e}"));
            return Some("kernel works on it");
        }
        return Some("kernel reads it");
    }
    // debugfs reads 60 bytes from an empty inline file, and only root can set owners.
    if keeps_times && draw.root && !draw.geometry.has("inline_data") {
        same_tree(&judge::debugfs_tree(&images.first), &judge::debugfs_tree(output));
        return Some("debugfs reads it");
    }
    None
}

/// Checks that the second image has the same canonical form.
fn meets(notes: &Notes, images: &Images, output: Option<&Path>, words: &[&str]) {
    match (output, ran(notes, &images.second, &[words, &["--verify"]].concat())) {
        (Some(output), Ok(second)) => same_bytes(output, &second),
        (None, Err(ran)) if is_too_small(&ran) => {}
        (_, result) => panic!("the second image: {result:#?}"),
    }
}

/// Checks the smallest size: it is valid, smaller sizes are refused, and it does not depend on how it is
/// given.
fn smallest(draw: &Draw, images: &Images, output: Option<&Path>, notes: &Notes) -> PathBuf {
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    let with = |size: &'static str| [&words[..], &["--size", size]].concat();
    let least = done(notes, &images.first, &with("min"));
    let (bytes, cluster) = sizes(&least);
    assert_eq!(least.metadata().unwrap().len(), bytes, "length of the smallest image");
    if draw.geometry.has("mmp") {
        judge::fsck_silent(&least).unwrap_or_else(|e| panic!("{e}"));
    } else {
        sound(&least);
    }
    same_trees(&images.first, &least, &draw.choices);
    unchanged(&least, &with("min"));
    let number = bytes.to_string();
    let exactly = [&words[..], &["--verify", "--size", &number]].concat();
    same_bytes(&least, &done(notes, &images.first, &exactly));
    same_bytes(&least, &done(notes, &images.second, &with("min")));
    let less = (bytes - cluster).to_string();
    match ran(notes, &images.first, &[&words[..], &["--size", &less]].concat()) {
        Err(ran) if is_too_small(&ran) => {
            follow_advice(draw, images, &ran, notes);
        }
        result => panic!("with {less} bytes, one cluster below the smallest size: {result:#?}"),
    }
    // The available space is not a monotonic function of the size, so try some smaller sizes too.
    let mut dice = Dice::new(draw.sizes.0);
    for _ in 0..2 {
        let less = (bytes - cluster).saturating_sub(dice.scaled(1, bytes / 2)).to_string();
        match ran(notes, &images.first, &[&words[..], &["--size", &less]].concat()) {
            Err(ran) if is_too_small(&ran) => {}
            result => panic!("with {less} bytes, below the smallest size: {result:#?}"),
        }
    }
    if output.is_none() {
        assert!(
            bytes > sizes(&images.first).0,
            "{bytes} bytes are enough, but the image was called too small"
        );
    }
    least
}

/// If the error about a size advises a size in bytes, checks that this size works. Returns whether there was
/// such an advice.
fn follow_advice(draw: &Draw, images: &Images, refusal: &Ran, notes: &Notes) -> bool {
    let mut sizes = refusal
        .stderr
        .split("--size ")
        .skip(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let Some(size) = sizes.find(|size| !size.is_empty()) else { return false };
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    let output = done(notes, &images.first, &[&words[..], &["--size", &size]].concat());
    same_trees(&images.first, &output, &draw.choices);
    true
}

/// Checks a different size, given in bytes or as a difference.
fn at_another_size(draw: &Draw, images: &Images, least: &Path, notes: &Notes) -> Option<&'static str> {
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    let least = sizes(least).0;
    let (size, is_more) = draw.size(least, sizes(&images.first).0);
    let options = [&words[..], &["--size", &size]].concat();
    let output = match ran(notes, &images.first, &options) {
        Ok(output) => output,
        Err(ran) if is_too_small(&ran) || ran.code == Some(2) => {
            let advised = follow_advice(draw, images, &ran, notes);
            return Some(if advised { "an advised size fits" } else { "a size is refused" });
        }
        Err(ran) => panic!("{options:?}: {ran:#?}"),
    };
    if !draw.geometry.has("mmp") {
        sound(&output);
    }
    same_trees(&images.first, &output, &draw.choices);
    unchanged(&output, if is_more { &words } else { &options });
    same_bytes(&output, &done(notes, &images.second, &options));
    None
}

/// Checks that canonicalizing the first image in a partition gives the bytes of `output`, and leaves the first
/// sectors of the disk and the last sector before the partition unchanged. Skips images of more than 64 MiB.
fn on_a_disk(draw: &Draw, images: &Images, output: &Path, notes: &Notes) -> Option<&'static str> {
    let length = output.metadata().unwrap().len();
    let table = draw.table?;
    if length > 64 << 20 {
        return None;
    }
    let disk_image = images.first.with_file_name("disk.img");
    let mebibytes = length.div_ceil(1 << 20);
    let script = format!("label: {table}\nstart=2MiB, size={mebibytes}MiB\n");
    disk(&disk_image, mebibytes + 4, &script, &[(2, &images.first)]);
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    let whole = done(notes, &disk_image, &words);
    let part = disk_image.with_extension("part");
    cut_out(&whole, 2 << 20, length, &part);
    same_bytes(output, &part);
    for at in [0, SECTOR, 2 * SECTOR, (2 << 20) - SECTOR] {
        assert_eq!(peek::<512>(&disk_image, at), peek(&whole, at), "bytes outside the partition");
    }
    Some("on a disk")
}
