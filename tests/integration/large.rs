//! Very large directories and files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::image::{debugfs, debugfs_read};
use crate::support::{Lab, Need, canonical, fill, gate, judge, same_bytes};

fn make_files(root: &Path, count: u32, length: usize) {
    for number in 0..count {
        fs::File::create(root.join(format!("{number:0length$}"))).expect("a file");
    }
}

/// Creates many files in a directory with the kernel, in ascending and in descending order.
fn many_files(count: u32, length: usize, size: &str, options: &[&str], levels: &str) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let images = [false, true].map(|backwards| {
        let image = lab.mke2fs(&format!("{backwards}.img"), size, options);
        fill::kernel(&image, |root| {
            make_files(root, count, length);
            if backwards {
                // Create half of the files again.
                for number in (0..count).rev().step_by(2) {
                    let path = root.join(format!("{number:0length$}"));
                    fs::remove_file(&path).expect("removing");
                    fs::File::create(&path).expect("a file");
                }
            }
        });
        image
    });
    let epoch = ["--source-date-epoch", "1700000000", "--mtime", "set"];
    let [a, b] = images.each_ref().map(|image| canonical(image, &epoch));
    same_bytes(&a, &b);
    let text = debugfs_read(&a, "htree /\n");
    assert!(text.contains(&format!("Indirect levels: {levels}")), "{}", &text[..300.min(text.len())]);
    judge::same_by_kernel(&images[0], &canonical(&images[0], &[]));
    judge::kernel_works(&a).expect("the kernel works on it");
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_directory_of_20_000_names() {
    many_files(20_000, 20, "64M", &["-t", "ext4", "-b", "1024", "-N", "21000"], "1");
}

#[test]
#[ignore = "slow; run by scripts/test where all tests have to run"]
fn a_directory_of_200_000_names() {
    many_files(200_000, 30, "256M", &["-t", "ext4", "-b", "4096", "-N", "201000", "-I", "128"], "1");
}

#[test]
#[ignore = "needs root: mounts images"]
fn an_index_of_three_levels() {
    let options = ["-t", "ext4", "-b", "1024", "-N", "49000", "-O", "large_dir", "-I", "128"];
    many_files(48_000, 250, "128M", &options, "2");
}

/// The kernel sets the link count of a directory to 1 when it exceeds 65,000.
#[test]
#[ignore = "needs root: mounts images"]
fn more_subdirectories_than_links_can_count() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-N", "66000", "-I", "128", "-O", "^has_journal"];
    let image = lab.mke2fs("in.img", "200M", &options);
    fill::kernel(&image, |root| {
        for number in 0..65_001 {
            fs::create_dir(root.join(number.to_string())).expect("a folder");
        }
    });
    let output = canonical(&image, &[]);
    assert!(debugfs_read(&output, "stat /\n").contains("Links: 1 "), "the root has too many links to count");
    judge::same_by_kernel(&image, &output);
}

/// A directory without an index is linear, in the order of names, like those in trees of debugfs.
#[test]
fn a_linear_directory_of_many_blocks() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &["-t", "ext2", "-b", "1024", "-O", "^dir_index"]);
    let mut script = String::new();
    for number in (0..900).rev() {
        writeln!(script, "mknod name{number:05} p").expect("writing to a string");
    }
    debugfs(&image, &script);
    let output = canonical(&image, &["--verify"]);
    let text = debugfs_read(&output, "ls -p /\n");
    let found: Vec<_> = text.lines().filter_map(|line| line.split('/').nth(5)).collect();
    assert_eq!(found.len(), 903);
    assert!(found[2..].is_sorted(), "{found:?}");
}
