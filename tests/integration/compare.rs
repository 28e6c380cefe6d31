//! `ext4-canon compare`: differences are named, ignored differences are listed separately, and the verdict
//! agrees with the bytes of the canonical forms.

mod hard_links;
mod mutants;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::dice::Dice;
use crate::support::image::{blocks_of, debugfs, patch, set_length};
use crate::support::{Lab, Need, canon, fill, gate, run, tool, tree};

pub(crate) const SIZE: &str = "24M";

/// Compares two images, and checks that exit code and JSON agree.
fn compare(one: &Path, other: &Path, options: &[&str]) -> Value {
    let ran = canon(["compare", "--json"]).args(options).args([one, other]).run();
    let json = ran.json();
    assert_eq!(json["exit_code"], ran.code.unwrap(), "{ran:?}");
    let status = if ran.code == Some(0) { "match" } else { "different" };
    assert_eq!((&json["status"], &json["command"]), (&status.into(), &"compare".into()), "{ran:?}");
    json
}

/// Returns the differences of two trees, each as path, attribute, and the name of an xattr.
fn tree_differences(json: &Value) -> Vec<String> {
    let words = |difference: &Value| {
        let words = ["path", "attribute", "name"].map(|key| difference[key].as_str().unwrap_or_default());
        words.join(" ").trim_end().to_owned()
    };
    json["differences"].as_array().expect("an array").iter().map(words).collect()
}

/// Returns the names of the settings that differ.
fn settings(json: &Value) -> Vec<&str> {
    json["settings"].as_array().expect("an array").iter().map(|one| one["name"].as_str().unwrap()).collect()
}

/// Returns the digests of the canonical forms.
fn digests(images: &[&Path], options: &[&str]) -> Vec<String> {
    let ran = canon(["digest"]).args(options).args(images).run().done();
    ran.stdout.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Asserts that comparing the first image with each image gives the same verdict as their digests.
fn verdicts_are_right(images: &[&Path], options: &[&str]) {
    let digests = digests(images, options);
    for (image, digest) in images.iter().zip(&digests) {
        let json = compare(images[0], image, options);
        let matches = json["status"] == "match";
        assert_eq!(matches, *digest == digests[0], "{} {options:?}: {json:#}", image.display());
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn twins_match_and_the_noise_is_named() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    let images = [
        lab.mke2fs_d("a.img", SIZE, &["-t", "ext4"], &source),
        lab.mke2fs("b.img", SIZE, &["-t", "ext4"]),
        lab.mke2fs("c.img", SIZE, &["-t", "ext4"]),
    ];
    fill::kernel(&images[1], |root| {
        let path = root.join("passing");
        fs::write(&path, Dice::noise(5, 300_000)).expect("writing");
        fs::File::open(&path).and_then(|file| file.sync_all()).expect("syncing");
        fs::remove_file(&path).expect("removing");
        fill::copy(&source, root);
    });
    fill::kernel(&images[2], |root| fill::copy_in_order(&source, root, &fill::backwards(&source)));
    let images = images.each_ref().map(PathBuf::as_path);
    verdicts_are_right(&images, &[]);
    for other in &images[1..] {
        let json = compare(images[0], other, &[]);
        assert_eq!(json["status"], "match", "{json:#}");
        let kinds = kinds(&json);
        for kind in
            ["uuid", "hash-seed", "superblock-times", "inode-times", "inode-numbers", "directory-order"]
        {
            assert!(kinds.contains_key(kind), "{kind}: {json:#}");
        }
        assert!(kinds.contains_key("placement") && kinds.contains_key("journal"), "{json:#}");
        // An image that `mke2fs -d` wrote has an empty journal.
        assert_eq!(kinds["journal"]["a"], 0);
        assert_ne!(kinds["journal"]["b"], 0);
    }
    let stale = compare(images[0], images[1], &[]);
    assert!(kinds(&stale)["free-blocks"]["b"].as_u64() >= Some(70), "{stale:#}");
    // The text output has the same content as the JSON; with --quiet, there is none.
    let ran = canon(["compare"]).args(&images[..2]).run();
    let first = format!("{} and {}: match\n", images[0].display(), images[1].display());
    assert!(ran.code == Some(0) && ran.stdout.starts_with(&first), "{ran:?}");
    let (noise, rest): (Vec<_>, Vec<_>) =
        ran.stdout.lines().skip(1).partition(|line| line.starts_with("ignored: "));
    assert!(
        !noise.is_empty() && noise.iter().any(|line| line.ends_with("(from the clock or a fixed time)")),
        "{ran:?}"
    );
    assert_eq!(rest.len(), 3, "only the circumstances: {ran:?}");
    let ran = canon(["compare", "--quiet"]).args(&images[..2]).run().done().without_a_word();
    assert_eq!(ran.stdout, "");
}

#[test]
fn places_of_metadata_do_not_matter_and_are_named() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("file"), "text").unwrap();
    let all = ["-t", "ext4", "-b", "4096"];
    let one = lab.mke2fs_d("one.img", SIZE, &all, &source);
    let packed = [&all[..], &["-E", "packed_meta_blocks=1"]].concat();
    let other = lab.mke2fs_d("other.img", SIZE, &packed, &source);
    let json = compare(&one, &other, &[]);
    assert_eq!((&json["status"], &kinds(&json)["group-metadata"]["count"]), (&"match".into(), &1.into()));
    assert!(!kinds(&compare(&one, &one, &[])).contains_key("group-metadata"));
}

#[test]
fn noise_that_no_file_of_the_tree_has_is_named() {
    let lab = Lab::new();
    let source = lab.folder("source");
    std::os::unix::fs::symlink("t".repeat(100), source.join("link")).expect("a symlink");
    let one = lab.mke2fs_d("one.img", SIZE, &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum"], &source);
    let other = lab.copy(&one, "other.img");
    assert_eq!(compare(&one, &other, &[])["ignored"], Value::Array(Vec::new()));
    debugfs(&other, "set_inode_field <7> generation 77\nset_inode_field <9> ctime 77\nrmdir lost+found\n");
    patch(&other, blocks_of(&other, "/link")[0] * 4096 + 4000, b"stale");
    let json = compare(&one, &other, &[]);
    let kinds = kinds(&json);
    assert_eq!(json["status"], "match", "{json:#}");
    assert_eq!(kinds["reserved-inodes"]["count"], 2, "{json:#}");
    for kind in ["lost-found", "symlink-slack"] {
        assert_eq!((&kinds[kind]["a"], &kinds[kind]["b"]), (&0.into(), &1.into()), "{json:#}");
    }
}

/// Returns the ignored differences by kind.
fn kinds(json: &Value) -> BTreeMap<&str, &Value> {
    let ignored = json["ignored"].as_array().expect("an array");
    ignored.iter().map(|one| (one["kind"].as_str().unwrap(), one)).collect()
}

/// Options for images of one tree that differ in a setting, and the names of the settings that are reported.
const SETTINGS: [(&[&str], &[&str]); 20] = [
    (&["-L", "other"], &["label"]),
    (&["-m", "3"], &["reserved blocks"]),
    (&["-e", "panic"], &["behaviour on errors"]),
    (&["-E", "stride=8"], &["RAID stride"]),
    (&["-E", "stripe_width=8"], &["RAID stripe width"]),
    (&["-J", "size=5"], &["blocks of the journal"]),
    (&["-G", "8"], &["groups in a flex group"]),
    (&["-O", "^has_journal"], &["feature has_journal"]),
    (&["-O", "^metadata_csum"], &["feature metadata_csum"]),
    (&["-O", "^64bit"], &["feature 64bit", "reserved descriptor blocks"]),
    (&["-O", "^dir_nlink"], &["feature dir_nlink"]),
    (&["-O", "large_dir"], &["feature large_dir"]),
    (&["-O", "inline_data"], &["feature inline_data"]),
    (&["-O", "ea_inode"], &["feature ea_inode"]),
    (&["-O", "casefold"], &["feature casefold"]),
    (&["-O", "mmp"], &["feature mmp"]),
    (&["-N", "4096"], &["inodes per group"]),
    (&["-O", "quota"], &["feature quota"]),
    (&["-E", "resize=1000000"], &["reserved descriptor blocks"]),
    (&["-U", "01234567-89ab-cdef-0123-456789abcdef", "-E", "lazy_itable_init=0"], &[]),
];

#[test]
fn settings_are_named_with_the_option_that_aligns_them() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    // mke2fs 1.47 drops trailing zeros of files with inline_data.
    fs::remove_file(source.join("sizes/gaps")).unwrap();
    let all = ["-t", "ext4", "-O", "^orphan_file"];
    let base = lab.mke2fs_d("base.img", SIZE, &all, &source);
    let mut images = vec![base.clone()];
    for (number, (options, expected)) in SETTINGS.iter().enumerate() {
        let image = lab.mke2fs_d(&format!("{number}.img"), SIZE, &[&all, *options].concat(), &source);
        let json = compare(&base, &image, &["--quiet"]);
        assert_eq!(tree_differences(&json), [""; 0], "{options:?}");
        assert_eq!(settings(&json), *expected, "{options:?}: {json:#}");
        if !expected.is_empty() {
            let option = json["settings"][0]["option"].as_str().unwrap();
            assert!(option.contains("mke2fs") && option.contains(options[0]), "{json:#}");
        }
        assert!(json.get("ignored").is_none());
        images.push(image);
    }
    let images: Vec<_> = images.iter().map(PathBuf::as_path).collect();
    verdicts_are_right(&images, &[]);
    // Options can remove differences, or add some.
    verdicts_are_right(&images, &["--label", "one"]);
    assert_eq!(compare(&base, images[1], &["--label", "one"])["status"], "match");
    let json = compare(&base, images.last().unwrap(), &["--uuid", "keep"]);
    assert_eq!(settings(&json), ["UUID"]);
}

/// The report gives no advice that would be refused.
#[test]
fn a_uuid_that_has_to_stay_is_aligned_by_mke2fs_alone() {
    let lab = Lab::new();
    let stable = ["-t", "ext4", "-O", "stable_inodes"];
    let images =
        [("a.img", &stable[..]), ("b.img", &stable), ("c.img", &stable[..2]), ("d.img", &stable[..2])]
            .map(|(name, options)| lab.mke2fs(name, "4M", options));
    let uuid = |one: usize, other: usize, options: &[&str]| {
        let json = compare(&images[one], &images[other], options);
        let settings = json["settings"].as_array().expect("an array").clone();
        settings.into_iter().find(|setting| setting["name"] == "UUID").expect("a setting")
    };
    assert_eq!(uuid(0, 1, &[])["option"], "mke2fs -U UUID");
    assert_eq!(uuid(0, 1, &["--uuid", "keep"])["option"], "mke2fs -U UUID");
    assert_eq!(uuid(2, 3, &["--uuid", "keep"])["option"], "mke2fs -U UUID, or leave out --uuid keep");
    assert_eq!(uuid(0, 2, &[])["b"], "made from the content");
}

/// Settings that tune2fs can change: an option, and a value that differs from the default.
const TUNED: [(&str, &str); 9] = [
    ("-c", "33"),
    ("-i", "9d"),
    ("-r", "200"),
    ("-u", "7"),
    ("-g", "7"),
    ("-E", "hash_alg=tea"),
    ("-E", "mount_opts=nodelalloc"),
    ("-o", "journal_data"),
    ("-O", "read-only"),
];

#[test]
fn the_option_that_is_named_aligns_filesystems_that_are_there() {
    let lab = Lab::new();
    let base = lab.mke2fs("base.img", "4M", &["-t", "ext4"]);
    for (option, value) in TUNED {
        let [one, other] = ["one.img", "other.img"].map(|name| lab.copy(&base, name));
        run(tool("tune2fs").args([option, value]).arg(&one));
        let json = compare(&one, &other, &["-q"]);
        assert_eq!(settings(&json).len(), 1, "{option} {value}: {json:#}");
        let named = json["settings"][0]["option"].as_str().expect("words");
        let expected = format!("tune2fs {option} {}", value.split_once('=').map_or("", |(key, _)| key));
        assert!(named.contains(expected.trim_end()), "{option} {value}: {json:#}");
        run(tool("tune2fs").args([option, value]).arg(&other));
        assert_eq!(compare(&one, &other, &["-q"])["status"], "match", "{option} {value}");
    }
}

#[test]
fn one_tree_in_other_geometries_differs_in_nothing_but_these() {
    let lab = Lab::new();
    let one = lab.plain_image("one.img", SIZE, &["-t", "ext4", "-b", "4096"]);
    let other = lab.plain_image("other.img", "30M", &["-t", "ext2", "-b", "1024", "-I", "256"]);
    let json = compare(&one, &other, &[]);
    assert_eq!(tree_differences(&json), [""; 0], "{json:#}");
    for name in ["block size", "blocks", "feature extent", "bytes of the image"] {
        assert!(settings(&json).contains(&name), "{name}: {json:#}");
    }
    // Content is compared independent of the block size. A single changed byte in the middle of a file is
    // found.
    let place = blocks_of(&other, "/sizes/70000")[40] * 1024 + 7;
    patch(&other, place, b"\0");
    let json = compare(&one, &other, &[]);
    assert_eq!(tree_differences(&json), ["/sizes/70000 content"]);
    let difference = &json["differences"][0];
    assert_eq!((&difference["bytes"], &difference["first_byte"]), (&1.into(), &(39 * 1024 + 7).into()));
}

/// Bytes outside the filesystem that belong to the canonical form are compared.
#[test]
fn boot_sector_and_bytes_behind_the_end_count() {
    let lab = Lab::new();
    let image = lab.mke2fs("a.img", "4M", &["-t", "ext4"]);
    let [boot, longer, trailing, other] =
        ["boot", "longer", "trailing", "other"].map(|name| lab.copy(&image, name));
    patch(&boot, 100, b"x");
    for image in [&longer, &trailing, &other] {
        set_length(image, (4 << 20) + 5000);
    }
    patch(&trailing, (4 << 20) + 4999, b"x");
    patch(&other, (4 << 20) + 4999, b"y");
    for (one, two, expected) in [
        (&image, &boot, "boot sector"),
        (&image, &longer, "bytes of the image"),
        (&longer, &trailing, "bytes after the filesystem"),
        (&trailing, &other, "bytes after the filesystem"),
    ] {
        assert_eq!(settings(&compare(one, two, &[])), [expected]);
    }
    verdicts_are_right(&[&image, &boot, &longer, &trailing, &other], &[]);
    verdicts_are_right(&[&trailing, &longer, &other], &[]);
}

#[test]
fn blocks_of_zeros_count_only_where_they_are_kept() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("file"), [&[0; 40_000][..], b"end"].concat()).unwrap();
    let one = lab.mke2fs_d("one.img", "8M", &["-t", "ext4"], &source);
    let other = lab.copy(&one, "other.img");
    debugfs(&other, "fallocate /file 0 5\n");
    assert_eq!(compare(&one, &other, &[])["status"], "match");
    let json = compare(&one, &other, &["--holes", "keep"]);
    assert_eq!(tree_differences(&json), ["/file allocation"], "{json:#}");
    verdicts_are_right(&[&one, &other], &[]);
    verdicts_are_right(&[&one, &other], &["--holes", "keep"]);
}

#[test]
fn diffs_of_texts_are_shown_on_request() {
    let lab = Lab::new();
    let [one, other] = ["one", "other"].map(|name| lab.folder(name));
    let text: String = (1..30).map(|line| format!("line {line}\n")).collect();
    for (folder, text) in [(&one, text.clone()), (&other, text.replace("line 7\n", "line seven\nmore\n"))] {
        fs::write(folder.join("text"), text).unwrap();
        tree::set_all_mtimes(folder);
    }
    let [one, other] = [("one.img", &one), ("other.img", &other)]
        .map(|(name, from)| lab.mke2fs_d(name, "8M", &["-t", "ext4"], from));
    let ran = canon(["compare", "--diff"]).args([&one, &other]).run().with_code(1);
    let names = [&one, &other].map(|image| format!("{}:/text", image.display()));
    let expected = format!(
        "--- {}\n+++ {}\n@@ -4,7 +4,8 @@\n line 4\n line 5\n line 6\n-line 7\n+line seven\n+more\n line 8\n \
         line 9\n line 10\n",
        names[0], names[1]
    );
    ran.printing(&[&expected]);
    let plain = canon(["compare"]).args([&one, &other]).run().with_code(1).stdout;
    assert!(!plain.contains("@@") && plain.contains("/text: size 223 -> 232\n"), "{plain}");
    let json = compare(&one, &other, &["--diff"]);
    assert!(json["differences"][1]["diff"].as_str().unwrap().contains(&expected), "{json:#}");
}

#[test]
fn what_can_not_be_compared_is_told_by_its_name() {
    let lab = Lab::new();
    let image = lab.mke2fs("a.img", "4M", &["-t", "ext4"]);
    let broken = lab.path("broken.img");
    fs::write(&broken, "no image").unwrap();
    for images in [[&image, &broken], [&broken, &image]] {
        let ran = canon(["compare"]).args(images).run().with_code(3);
        assert!(
            ran.error().starts_with(&format!("{}: ", broken.display())) && ran.stdout.is_empty(),
            "{ran:#?}"
        );
    }
    canon(["compare"]).arg(&image).run().misused(&["required arguments were not provided", "<B>"]);
    canon(["compare"]).arg(&image).arg("-").run().refusing(2, &["-: is a character device"]);
    // An image with two names is read once.
    let link = lab.path("link");
    fs::hard_link(&image, &link).unwrap();
    assert_eq!(compare(&image, &link, &[])["status"], "match");
    run(tool("cmp").arg(&image).arg(&link));
}
