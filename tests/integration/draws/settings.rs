//! Random settings of the output, which the input does not have.

use std::path::Path;

use super::checks::{Images, done, is_too_small, ran, same_trees};
use super::{Draw, Notes};
use crate::support::canon::{sound, tree_digest, unchanged};
use crate::support::dice::Dice;
use crate::support::{judge, same_bytes};

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
        ];
        words.extend(["--features", dice.one(&lists)]);
    }
    if dice.chance(30) {
        words.extend(["--block-size", dice.one(&["1024", "2048", "4096", "16384", "65536"])]);
    }
    if dice.chance(20) {
        words.extend(["--inode-size", dice.one(&["256", "512"])]);
    }
    if dice.chance(30) {
        words.extend(["--inodes", "min"]);
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
    unchanged(&output, &words);
    let Some(links) = words.iter().position(|word| *word == "--hard-links") else {
        same_trees(&images.first, &output, &draw.choices);
        there_and_back(draw, images, &output, notes);
        return Some("other settings");
    };
    // The tree has other hard links, so it can't be compared with that of the input.
    let times = draw.choices.words.iter().map(String::as_str).filter(|word| !word.is_empty());
    let _ = times;
    let policy = &words[links..links + 2];
    assert_eq!(tree_digest(&output, policy), tree_digest(&images.first, policy), "{words:?}");
    Some("other settings and hard links")
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
