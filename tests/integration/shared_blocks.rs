//! Files that share blocks get separate copies.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::image::{debugfs, debugfs_read};
use crate::support::{Lab, canonical, judge, refused, same_bytes, tree};

const OPTIONS: [&str; 6] = ["-t", "ext4", "-b", "1024", "-O", "^resize_inode"];

/// Makes a tree with files that are equal in all or some of their blocks.
fn tree_with_twins(lab: &Lab) -> PathBuf {
    let source = lab.plain_tree();
    for name in ["twin1", "twin2", "twin3"] {
        fs::write(source.join(name), Dice::noise(3, 20_000)).expect("writing");
    }
    let mut longer = Dice::noise(3, 20_480);
    longer[20_000..].fill(0);
    longer.extend(Dice::noise(4, 5000));
    fs::write(source.join("longer"), longer).expect("writing");
    tree::set_all_mtimes(&source);
    source
}

fn blocks(image: &Path, path: &str, count: u64) -> Vec<u64> {
    let number = |block| {
        let text = debugfs_read(image, &format!("bmap {path} {block}\n"));
        text.lines().last().expect("a line").trim().parse().expect("a number")
    };
    (0..count).map(number).collect()
}

/// Makes a file of 20 blocks and one extent share the blocks of a different file, like e2fsdroid does.
fn share(image: &Path, file: &str, with: &str) {
    let (own, other) = (blocks(image, file, 20), blocks(image, with, 20));
    assert!(own.iter().zip(own[0]..).all(|(block, expected)| *block == expected), "not one extent");
    let mut script = format!("set_inode_field {file} block[5] {}\n", other[0]);
    script += &format!("freeb {} 20\n", own[0]);
    debugfs(image, &script);
}

/// Makes an image with three equal files that share their blocks.
fn shared(lab: &Lab, name: &str, size: &str, source: &Path) -> PathBuf {
    let image = lab.mke2fs_d(name, size, &OPTIONS, source);
    debugfs(&image, "feature shared_blocks\n");
    share(&image, "twin2", "twin1");
    share(&image, "twin3", "twin1");
    // e2fsck corrects the count of free blocks, and keeps the shared blocks.
    judge::repair(&image, &[]).with_code(1);
    assert_eq!(blocks(&image, "twin3", 20), blocks(&image, "twin1", 20));
    judge::fsck_silent(&image).expect("an image without faults");
    image
}

#[test]
fn each_file_gets_its_own_blocks() {
    let lab = Lab::new();
    let source = tree_with_twins(&lab);
    let image = shared(&lab, "shared.img", "16M", &source);
    let never = lab.mke2fs_d("never.img", "16M", &OPTIONS, &source);
    let unshared = lab.copy(&image, "unshared.img");
    judge::repair(&unshared, &["-E", "unshare_blocks"]);
    assert_ne!(blocks(&unshared, "twin2", 1), blocks(&image, "twin2", 1), "test precondition failed");
    let output = canonical(&image, &["--verify"]);
    same_bytes(&output, &canonical(&never, &[]));
    same_bytes(&output, &canonical(&unshared, &[]));
    assert_ne!(blocks(&output, "twin2", 1), blocks(&output, "twin1", 1));
}

#[test]
fn what_does_not_fit_is_told_by_how_much() {
    let lab = Lab::new();
    let source = tree_with_twins(&lab);
    let image = shared(&lab, "in.img", "16M", &source);
    // Fill all free blocks with one file.
    let free = debugfs_read(&image, "show_super_stats -h\n");
    let free: usize = free
        .lines()
        .find_map(|line| line.strip_prefix("Free blocks:"))
        .and_then(|text| text.trim().parse().ok())
        .expect("a number");
    let filler = lab.path("filler");
    fs::write(&filler, vec![1; (free - 24) * 1024]).expect("writing");
    debugfs(&image, &format!("write {} filler\n", filler.display()));
    refused(&image, &[], 3, &["blocks, but there are 16384: ", " too few; make the image larger"]);
}

#[test]
fn only_content_of_files_may_be_shared() {
    let lab = Lab::new();
    let source = tree_with_twins(&lab);
    let image = shared(&lab, "in.img", "16M", &source);
    canonical(&image, &[]);
    // Shared blocks are refused without the feature, and also if one owner is not a regular file.
    let without = lab.copy(&image, "without.img");
    debugfs(&without, "feature -shared_blocks\n");
    refused(&without, &[], 4, &["(/twin2), block map", "is also claimed by inode"]);
    let folder = lab.copy(&image, "folder.img");
    let [block] = blocks(&folder, "sizes", 1)[..] else { panic!("no block") };
    debugfs(&folder, &format!("set_inode_field twin2 block[5] {}\n", block.saturating_sub(3)));
    refused(&folder, &[], 4, &["(/sizes), block map", "is also claimed by inode"]);
}
