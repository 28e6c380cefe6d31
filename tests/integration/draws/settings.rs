//! Random settings of the output, which the input does not have.

use std::path::Path;

use super::checks::{Images, done, is_too_small, ran, same_trees};
use super::{Draw, Notes};
use crate::support::canon::{sound, tree_digest, unchanged};
use crate::support::dice::Dice;
use crate::support::tools::try_run;
use crate::support::{judge, same_bytes, tool};

/// Returns options for settings: a profile, or changes of single settings.
fn options(dice: &mut Dice) -> Vec<&'static str> {
    let mut words = Vec::new();
    if dice.chance(50) {
        words.extend(["--profile", dice.one(&["ext4", "ext4-compat", "ext2", "ext4-min"])]);
    }
    if words.is_empty() || dice.chance(30) {
        let lists = [
            "^metadata_csum,^has_journal",
            "^64bit,^extent,^metadata_csum,^metadata_csum_seed,^bigalloc",
            "^resize_inode",
            "^flex_bg",
            "inline_data",
            "ea_inode,large_dir",
            "sparse_super2",
            "quota",
            "^orphan_file,^fast_commit",
            "^dir_index",
            "bigalloc",
            "^metadata_csum,uninit_bg",
            "project,quota",
            "orphan_file,metadata_csum_seed",
            "fast_commit",
            "meta_bg,^resize_inode",
            "^huge_file,^dir_nlink,^extra_isize",
        ];
        words.extend(["--features", dice.one(&lists)]);
    }
    if dice.chance(30) {
        words.extend(["--block-size", dice.one(&["1024", "2048", "4096", "16384", "65536"])]);
    }
    if dice.chance(20) {
        words.extend(["--inode-size", dice.one(&["128", "256", "512"])]);
    }
    if dice.chance(30) {
        words.extend(["--inodes", dice.one(&["min", "min", "500", "3000"])]);
    }
    if words.contains(&"bigalloc") && dice.chance(50) {
        words.extend(["--cluster-size", dice.one(&["16384", "65536"])]);
    }
    if dice.chance(10) {
        words.extend(["--journal-size", dice.one(&["2M", "5M"])]);
    }
    if dice.chance(15) {
        words.extend(["--reserved", dice.one(&["0", "1%", "12.5%", "77"])]);
    }
    if dice.chance(50) {
        words.extend(["--size", "min"]);
    }
    if dice.chance(25) {
        words.extend(["--hard-links", dice.one(&["split", "merge"])]);
    }
    words
}

/// For half of the draws, checks that both images have the same output with other settings, and that it has
/// their tree.
pub fn settings(draw: &Draw, images: &Images, notes: &Notes) -> Option<&'static str> {
    if draw.share % 2 == 1 {
        return None;
    }
    let mut dice = Dice::new(draw.sizes.0 ^ 0x5E77);
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    if dice.chance(25) {
        return like(images, &words, &mut dice, notes);
    }
    let words = [words, options(&mut dice)].concat();
    let output = match ran(notes, &images.first, &words) {
        Ok(output) => output,
        Err(one) if is_too_small(&one) || [Some(2), Some(3)].contains(&one.code) => {
            let other = ran(notes, &images.second, &words).expect_err("only one image is refused");
            assert_eq!(one.code, other.code, "{one:#?}\n{other:#?}");
            return Some(if is_too_small(&one) { "settings do not fit" } else { "settings are refused" });
        }
        Err(ran) => panic!("{words:?}: {ran:#?}"),
    };
    same_bytes(&output, &done(notes, &images.second, &[&words[..], &["--verify"]].concat()));
    if draw.geometry.has("mmp") {
        judge::fsck_silent(&output).unwrap_or_else(|e| panic!("{e}"));
    } else {
        sound(&output);
    }
    // A number of inodes or of reserved blocks is that before the size changes.
    if !words.contains(&"min") || !words.iter().any(|word| ["--inodes", "--reserved"].contains(word)) {
        unchanged(&output, &words);
    }
    let Some(links) = words.iter().position(|word| *word == "--hard-links") else {
        same_trees(&images.first, &output, &draw.choices);
        there_and_back(draw, images, &output, notes);
        return Some("other settings");
    };
    // The tree has other hard links, so it can't be compared with that of the input.
    let times: Vec<&str> = draw.choices.times.iter().map(String::as_str).collect();
    let policy = [&times[..], &words[links..links + 2]].concat();
    assert_eq!(tree_digest(&output, &policy), tree_digest(&images.first, &policy), "{words:?}");
    Some("other settings and hard links")
}

/// Options of the filesystems for `--like`.
const REFERENCES: [&str; 8] = [
    "-t ext4",
    "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg -N 3000",
    "-t ext4 -b 4096 -I 512 -O inline_data,ea_inode",
    "-t ext4 -b 2048 -O bigalloc -C 16384 -N 3000",
    "-t ext4 -b 1024 -O meta_bg,^resize_inode,sparse_super2 -g 4096",
    "-t ext4 -O quota,project,orphan_file -m 0",
    "-t ext3 -b 2048 -I 256 -N 3000",
    "-t ext2 -b 4096 -I 256 -N 3000",
];

/// Checks that both images have the same output with the settings of a third one.
fn like(images: &Images, words: &[&str], dice: &mut Dice, notes: &Notes) -> Option<&'static str> {
    let reference = images.first.with_extension("reference");
    let length = images.first.metadata().expect("an image").len().next_multiple_of(65536);
    set_length_of_new(&reference, length);
    let options: Vec<&str> = dice.one(&REFERENCES).split(' ').collect();
    let made = try_run(tool("mke2fs").args(["-q", "-F"]).args(options).arg(&reference));
    if made.code != Some(0) {
        return Some("no reference of this size");
    }
    let words = [words, &["--like", reference.to_str().expect("UTF-8")]].concat();
    match ran(notes, &images.first, &words) {
        Ok(output) => {
            same_bytes(&output, &done(notes, &images.second, &[&words[..], &["--verify"]].concat()));
            sound(&output);
            unchanged(&output, &words);
            Some("like a reference")
        }
        Err(one) if is_too_small(&one) || [Some(2), Some(3)].contains(&one.code) => {
            let other = ran(notes, &images.second, &words).expect_err("only one image is refused");
            assert_eq!(one.code, other.code, "{one:#?}\n{other:#?}");
            Some("a reference is refused")
        }
        Err(ran) => panic!("{words:?}: {ran:#?}"),
    }
}

fn set_length_of_new(path: &Path, length: u64) {
    std::fs::File::create(path).and_then(|file| file.set_len(length)).expect("a file");
}

/// Checks that the settings of the input bring the output back to the input's canonical form.
fn there_and_back(draw: &Draw, images: &Images, output: &Path, notes: &Notes) {
    let words: Vec<&str> = draw.choices.words.iter().map(String::as_str).collect();
    // These depend on more than the tree and the settings.
    if words.iter().any(|word| ["--holes", "--label", "--uuid"].contains(word)) {
        return;
    }
    let reference = images.first.to_str().expect("UTF-8");
    let back = [&words[..], &["--like", reference]].concat();
    match (ran(notes, output, &back), ran(notes, &images.first, &words)) {
        (Ok(back), Ok(direct)) => same_bytes(&direct, &back),
        (Err(one), Err(other)) => assert_eq!(one.code, other.code),
        (one, other) => panic!("{one:#?}\n{other:#?}"),
    }
}
