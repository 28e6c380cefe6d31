//! Sizes, requests that can't be met, and the advice that messages give about settings.

use std::fs;

use super::{PROFILES, TIMES, source, with, words};
use crate::support::canon::{rewritten, unchanged};
use crate::support::contents::sha256;
use crate::support::disk::disk;
use crate::support::fields::superblock;
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canon, gate, refused, run, same_bytes, tool};

/// The verdict with `--size` is that of the outputs.
#[test]
fn compare_takes_a_size() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let [one, other] = [("a.img", "16M"), ("b.img", "24M")]
        .map(|(name, size)| lab.mke2fs_d(name, size, &["-t", "ext4", "-b", "1024"], &source));
    for (options, equal) in [
        ("--profile ext4 --size 48M", true),
        ("--profile ext2 --size min", true),
        ("--profile ext4 --size +8M", false),
        ("--profile ext4", false),
        ("--size min", false),
        ("--size 64M", false),
        ("--like", true),
        ("--size min --like", true),
    ] {
        let mut options = words(options);
        if options.ends_with(&["--like"]) {
            options.push(one.to_str().expect("UTF-8"));
        }
        let outputs = [&one, &other].map(|image| sha256(&with(image, &options)));
        let options = [&TIMES[..], &options].concat();
        assert_eq!(outputs[0] == outputs[1], equal, "{options:?}");
        let ran = canon(["compare", "--json", "--no-digests"]).args(&options).args([&one, &other]).run();
        assert_eq!(ran.code, Some(i32::from(!equal)), "{options:?}: {ran:#?}");
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(json["settled"], equal, "{options:?}");
    }
    let ran = canon(["compare", "--size", "min", "--no-digests"]).args([&one, &other]).run().with_code(1);
    assert!(ran.stdout.contains("cure: add --profile ext4 or --like A"), "{ran:#?}");
}

/// If the last group of a size has no room, the number of inodes follows from the remaining groups.
#[test]
fn a_size_with_a_useless_last_group_is_kept() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let image =
        lab.mke2fs_d("in.img", "132120K", &["-t", "ext4", "-b", "1024", "-O", "^has_journal"], &source);
    for profile in PROFILES {
        let options = [&TIMES[..], &["--profile", profile]].concat();
        let output = with(&image, &options[TIMES.len()..]);
        // Without spare inodes, ext4-min has room in the last group.
        let blocks = if profile == "ext4-min" { 33030 } else { 32768 };
        assert_eq!(superblock(&output).get("s_blocks_count_lo"), blocks, "{profile}");
        unchanged(&output, &options);
    }
}

/// A profile has one inode for each 16 KiB, so the least size is known.
#[test]
fn a_size_with_enough_inodes_is_named() {
    let lab = Lab::in_memory();
    let source = lab.folder("many");
    for index in 0..9000 {
        fs::write(source.join(index.to_string()), "").expect("writing");
    }
    let image = lab.mke2fs_d("in.img", "64M", &["-t", "ext4", "-N", "10000"], &source);
    for profile in ["ext4", "ext2"] {
        let words = refused(&image, &["--profile", profile], 3, &["4915 too few"]);
        let size = words.split("--size ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a size");
        let bytes: u64 = size.parse().expect("a number");
        with(&image, &["--profile", profile, "--size", size]);
        let less = (bytes - (1 << 20)).to_string();
        refused(&image, &["--profile", profile, "--size", &less], 3, &["too few"]);
    }
}

/// A size that a refusal advises is enough for blocks and inodes, and xattrs that don't fit are named.
#[test]
#[ignore = "needs root: mounts"]
fn advice_under_a_profile_is_enough() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::in_memory();
    let source = source(&lab);
    let image = lab.mke2fs_d("in.img", "48M", &["-t", "ext4", "-N", "6000"], &source);
    for options in ["--profile ext4-compat --size 600K", "--profile ext4 --block-size 65536 --size 9000K"] {
        let options = words(options);
        let said = refused(&image, &options, 3, &["too few"]);
        let size =
            said.split("--size ").nth(1).and_then(|rest| rest.split([' ', ',']).next()).expect("a size");
        with(&image, &[&options[..options.len() - 1], &[size]].concat());
    }
    let large = lab.mke2fs("xattrs.img", "16M", &["-t", "ext4", "-b", "4096"]);
    let mounted = Mounted::read_write(&large).expect("a mount");
    fs::write(mounted.path().join("file"), "x").expect("writing");
    let value = "v".repeat(3500);
    run(tool("setfattr").args(["-n", "user.k", "-v", &value]).arg(mounted.path().join("file")));
    mounted.unmount();
    let smaller = ["--block-size", "1024"];
    refused(&large, &smaller, 3, &["(/file)", "names and values of 3501 bytes", "ea_inode feature"]);
    with(&large, &[&smaller[..], &["--features", "ea_inode"]].concat());
}

/// A partition is chosen in the disk of `--like`, even if the input is a single filesystem.
#[test]
fn a_partition_of_a_disk_is_a_reference() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let [root, boot] = [("root.img", "-t ext4 -b 1024"), ("boot.img", "-t ext2 -b 2048")]
        .map(|(name, options)| lab.mke2fs_d(name, "16M", &words(options), &source));
    let path = lab.path("disk.img");
    let table = "label: dos\nstart=2MiB, size=16MiB\nstart=20MiB, size=16MiB\n";
    disk(&path, 40, table, &[(2, &root), (20, &boot)]);
    let options = ["--like", path.to_str().expect("UTF-8"), "--partition", "2"];
    same_bytes(&with(&boot, &[]), &with(&root, &options));
    canon(["compare", "-q"]).args(TIMES).args(options).args([&root, &boot]).run().done();
    // The command that compare prints works.
    let ran = canon(["compare", "--no-digests", "--partition", "2"]).args(TIMES).args([&path, &root]).run();
    let command = ran.with_code(1).stdout;
    let command =
        command.lines().find_map(|line| line.strip_prefix("to give B the settings of A: ext4-canon "));
    let command = command.expect("a command").replace(" OUT", "");
    let words: Vec<&str> = command.split(' ').collect();
    let output = lab.path("output.img");
    canon(["-q"]).args(&words).arg(&output).run().done();
    same_bytes(&with(&boot, &[]), &output);
}

/// Requests that mke2fs refuses, too.
#[test]
fn requests_that_no_filesystem_can_have_are_refused() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("in.img", "40M", &["-t", "ext4", "-b", "1024"], &source);
    let bare = lab.mke2fs_d("bare.img", "40M", &["-t", "ext2", "-b", "1024"], &source);
    for (from, options, made, words) in [
        (&image, "--inodes 163840", "-t ext4 -b 1024 -N 163840", "use a different --inodes"),
        (&image, "--journal-size 20M", "-t ext4 -b 1024 -J size=20", "more than half of the"),
        (&image, "--journal-size 1T", "-t ext4 -b 1024 -J size=1048576", "use a different --journal-size"),
        (&image, "--features ^extent", "-t ext4 -O ^extent,64bit", "add extent or ^64bit to --features"),
        (
            &image,
            "--features sparse_super2,^sparse_super",
            "-t ext4 -O sparse_super2,^sparse_super",
            "add sparse_super or ^resize_inode to --features",
        ),
        (&bare, "--journal-size 4M", "-t ext2 -O ^has_journal,orphan_file", "add has_journal to --features"),
    ] {
        refused(from, &options.split(' ').collect::<Vec<_>>(), 2, &[words]);
        lab.try_mke2fs("made.img", "40M", &made.split(' ').collect::<Vec<_>>(), None).expect_err(made);
    }
    for (size, fits) in [("19M", true), ("20M", false)] {
        let by_mke2fs = ["-t", "ext4", "-b", "1024", "-J", &format!("size={}", &size[..2])];
        assert_eq!(lab.try_mke2fs("made.img", "40M", &by_mke2fs, None).is_ok(), fits, "{size}");
        let ours = ["--features", "has_journal", "--journal-size", size];
        assert_eq!(rewritten(&bare, &ours).is_ok(), fits, "{size}");
    }
}
