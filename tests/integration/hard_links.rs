//! The option `--hard-links`: trees with and without hard links become equal.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use serde_json::Value;

use crate::support::canon::{rewritten, sound, tree_digest, unchanged};
use crate::support::image::{debugfs, inode_of};
use crate::support::tree::{SOME_TIME, make_node, set_mtime, set_xattr};
use crate::support::{Lab, canon, canonical, refused, run, same_bytes, tool};

const SPLIT: [&str; 2] = ["--hard-links", "split"];
const MERGE: [&str; 2] = ["--hard-links", "merge"];

/// Makes a tree of regular files. The names of a file are in several directories, and its first name in
/// canonical order is not the first in the order of paths.
fn linked_files(folder: &Path) {
    for name in ["a", "b", "b/deep", "z"] {
        fs::create_dir(folder.join(name)).expect("a folder");
    }
    fs::write(folder.join("m"), "few bytes").expect("writing");
    fs::write(folder.join("a/large"), [7; 70_000]).expect("writing");
    fs::write(folder.join("a/single"), "another content").expect("writing");
    set_xattr(&folder.join("a/large"), "user.name", b"value");
    for (file, names) in [("m", &["a/0", "b/deep/1", "z/2"][..]), ("a/large", &["b/large", "b/deep/large"])] {
        for name in names {
            fs::hard_link(folder.join(file), folder.join(name)).expect("a link");
        }
    }
    settle(folder);
}

/// Adds files of other types with several names, and an empty file.
fn other_links(folder: &Path) {
    symlink("target", folder.join("short")).expect("a symlink");
    symlink("target/".repeat(20), folder.join("long")).expect("a symlink");
    make_node(&folder.join("fifo"), FileType::Fifo, 0, 0);
    File::create(folder.join("empty")).expect("a file");
    for name in ["short", "long", "fifo", "empty"] {
        fs::hard_link(folder.join(name), folder.join("b").join(name)).expect("a link");
    }
    settle(folder);
}

/// Gives all paths the same mtime.
fn settle(folder: &Path) {
    run(tool("find").arg(folder).args(["-exec", "touch", "-h", "-d", "@1600000000", "{}", "+"]));
}

/// Copies a tree, in which each name becomes a separate file.
fn copied(lab: &Lab, folder: &Path) -> PathBuf {
    let copy = lab.path("copy");
    run(tool("cp").args(["-a", "--no-preserve=links"]).arg(folder).arg(&copy));
    copy
}

/// Makes an image of a tree of [`linked_files`] with links, and one without.
fn both_images(lab: &Lab, options: &[&str], others: bool) -> [PathBuf; 2] {
    let folder = lab.folder("tree");
    linked_files(&folder);
    if others {
        other_links(&folder);
    }
    let copy = copied(lab, &folder);
    let images = [("linked.img", &folder), ("copied.img", &copy)]
        .map(|(name, folder)| lab.mke2fs_d(name, "8M", options, folder));
    if others {
        // mke2fs copies each name of a symlink.
        let link = |name| format!("rm b/{name}\nln {name} b/{name}\nset_inode_field {name} links_count 2\n");
        debugfs(&images[0], &["short", "long"].map(link).concat());
    }
    images
}

/// Returns the JSON of a command that succeeds.
fn json(words: &[&str], options: &[&str], images: &[&Path]) -> Value {
    canon(words).arg("--json").args(options).args(images).run().done().json()
}

/// Returns the number of inodes that merging removes.
fn merged(image: &Path, options: &[&str]) -> u64 {
    let options = [&MERGE[..], options].concat();
    let output = image.with_extension("merged");
    let json = json(&["--verify"], &options, &[image, &output]);
    json["report"]["inodes_merged"].as_u64().expect("a number")
}

const KINDS: [&[&str]; 5] = [
    &["-t", "ext4"],
    &["-t", "ext2", "-I", "128", "-b", "1024"],
    &["-t", "ext4", "-O", "inline_data,ea_inode", "-b", "1024"],
    &["-t", "ext4", "-O", "bigalloc", "-C", "16384", "-b", "4096"],
    &["-t", "ext4", "-O", "quota,project", "-I", "256"],
];

#[test]
fn split_links_are_like_copies() {
    for options in KINDS {
        let lab = Lab::new();
        let [linked, unlinked] = both_images(&lab, options, true);
        let output = canonical(&linked, &SPLIT);
        same_bytes(&output, &canonical(&unlinked, &SPLIT));
        same_bytes(&output, &canonical(&unlinked, &[]));
        assert!(inode_of(&output, "/m") != inode_of(&output, "/z/2"));
        let report = json(&["--verify"], &SPLIT, &[&linked, &lab.path("out.img")]);
        assert_eq!(report["report"]["inodes_split"], 9, "{report:#}");
        assert_eq!(report["report"].get("inodes_merged"), None);
    }
}

#[test]
fn merged_copies_are_like_links() {
    for options in KINDS {
        let lab = Lab::new();
        let [linked, unlinked] = both_images(&lab, options, false);
        let output = canonical(&unlinked, &MERGE);
        same_bytes(&output, &canonical(&linked, &MERGE));
        same_bytes(&output, &canonical(&linked, &[]));
        assert_eq!(inode_of(&output, "/m"), inode_of(&output, "/z/2"));
        assert_eq!(merged(&unlinked, &[]), 5);
        assert_eq!(merged(&linked, &[]), 0);
    }
}

#[test]
fn the_default_keeps_links_and_reports_nothing() {
    let lab = Lab::new();
    let [linked, _] = both_images(&lab, KINDS[0], true);
    let plain = canonical(&linked, &[]);
    same_bytes(&plain, &canonical(&linked, &["--hard-links", "keep"]));
    let report = json(&[], &[], &[&linked, &lab.path("out.img")]);
    assert_eq!(
        (report["report"].get("inodes_split"), report["report"].get("inodes_merged")),
        (None, None),
        "{report:#}"
    );
    let text = |options: &[&str]| {
        canon(["--in-place"]).args(options).arg(lab.copy(&linked, "copy.img")).run().done().stdout
    };
    assert!(!text(&[]).contains("hard links"));
    assert!(text(&SPLIT).contains("  hard links    9 inodes added by a split\n"), "{}", text(&SPLIT));
    assert!(text(&MERGE).contains("  hard links    0 inodes removed by a merge\n"), "{}", text(&MERGE));
}

/// Each file differs from the first in one attribute, and an empty file equals another.
#[test]
fn files_that_differ_stay_apart() {
    let lab = Lab::new();
    let folder = lab.folder("tree");
    let names = ["first", "content", "length", "mode", "time", "xattr", "value", "flags", "owner", "last"];
    for name in names {
        fs::write(folder.join(name), [7; 5000]).expect("writing");
    }
    for name in ["empty", "other empty"] {
        File::create(folder.join(name)).expect("a file");
    }
    File::options()
        .write(true)
        .open(folder.join("content"))
        .and_then(|file| file.write_all_at(&[8], 4999))
        .expect("writing");
    fs::write(folder.join("length"), [7; 5001]).expect("writing");
    fs::set_permissions(folder.join("mode"), fs::Permissions::from_mode(0o600)).expect("a mode");
    set_xattr(&folder.join("xattr"), "user.name", b"one");
    set_xattr(&folder.join("value"), "user.name", b"two");
    settle(&folder);
    set_mtime(&folder.join("time"), SOME_TIME + 1, 0);
    let image = lab.mke2fs_d("in.img", "8M", &["-t", "ext4"], &folder);
    debugfs(&image, "set_inode_field flags flags 0x80040\nset_inode_field owner gid 77\n");
    // Only the last file equals the first one.
    assert_eq!(merged(&image, &[]), 1);
    let output = canonical(&image, &MERGE);
    assert_eq!(inode_of(&output, "/first"), inode_of(&output, "/last"));
    for name in names.iter().filter(|name| !["first", "last"].contains(name)) {
        assert!(inode_of(&output, "/first") != inode_of(&output, &format!("/{name}")), "{name}");
    }
    assert!(inode_of(&output, "/empty") != inode_of(&output, "\"/other empty\""));
    // The policy for times is applied before.
    let epoch = SOME_TIME.to_string();
    for policy in ["clamp", "set"] {
        let options = ["--source-date-epoch", &epoch, "--mtime", policy];
        assert_eq!(merged(&image, &options), 2, "{policy}");
        canonical(&image, &[&MERGE[..], &options].concat());
    }
}

/// Holes equal zeros, unless allocation is part of the content.
#[test]
fn holes_count_if_they_are_kept() {
    let lab = Lab::new();
    let folder = lab.folder("tree");
    let holes = File::create(folder.join("holes")).expect("a file");
    holes.write_all_at(b"end", 100_000).expect("writing");
    fs::write(folder.join("zeros"), [&[0; 100_000][..], b"end"].concat()).expect("writing");
    let mut swap = vec![0; 40_960];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(folder.join("swap"), &swap).expect("writing");
    fs::write(folder.join("swap2"), &swap).expect("writing");
    settle(&folder);
    let image = lab.mke2fs_d("in.img", "8M", &["-t", "ext4", "-b", "1024"], &folder);
    // mke2fs writes holes in place of zeros.
    debugfs(&image, "fallocate zeros 0 97\nfallocate swap 0 39\n");
    assert_eq!(merged(&image, &[]), 1, "the swap files differ");
    assert_eq!(merged(&image, &["--holes", "keep"]), 0);
    debugfs(&image, "fallocate swap2 0 39\n");
    assert_eq!(merged(&image, &[]), 2);
    assert_eq!(merged(&image, &["--holes", "keep"]), 1);
    for options in [&MERGE[..], &SPLIT, &[&MERGE[..], &["--holes", "keep"]].concat()] {
        canonical(&image, options);
    }
}

#[test]
fn all_commands_agree() {
    for option in [&SPLIT, &MERGE] {
        let lab = Lab::new();
        let [linked, unlinked] = both_images(&lab, KINDS[0], *option == SPLIT);
        let images = [&*linked, &*unlinked];
        let output = canonical(&linked, option);
        canon(["--check"]).args(option).arg(&output).run().done();
        canon(["--check"]).arg(&output).run().done();
        let changed = if *option == SPLIT { &linked } else { &unlinked };
        canon(["--check"]).args(option).arg(changed).run().with_code(1);
        let sums = canon(["digest"]).args(option).args(images).run().done().stdout;
        let sum = run(tool("sha256sum").arg(&output));
        assert!(sums.lines().all(|line| line[..64] == sum[..64]) && sums.lines().count() == 2, "{sums}");
        let digests = [&*linked, &unlinked, &output].map(|image| tree_digest(image, option));
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        assert_eq!(digests[0], tree_digest(&output, &[]));
        let listed =
            |image: &Path, options: &[&str]| canon(["ls"]).args(options).arg(image).run().done().stdout;
        assert_eq!(listed(&linked, option), listed(&output, &[]));
        assert_eq!(listed(&unlinked, option), listed(&output, &[]));

        let compared = canon(["compare"]).args(option).args(images).run().done();
        assert!(compared.stdout.contains(&option.join(" ")), "{compared}");
        let differing = canon(["compare"]).args(images).run().with_code(1);
        assert!(differing.stdout.contains("or use --hard-links split"), "{differing}");
        let page = lab.path("page.html");
        canon(["compare", "--html"]).arg(&page).args(option).args(images).run().done();

        let explained = json(&["explain"], option, &[changed]);
        let kind = if *option == SPLIT { "split-links" } else { "merged-files" };
        let findings = explained["findings"].as_array().expect("an array");
        let finding = findings.iter().find(|finding| finding["kind"] == kind).expect("a finding");
        assert_eq!(finding["count"], if *option == SPLIT { 9 } else { 5 }, "{explained:#}");
        let explained = json(&["explain"], option, &[&output]);
        assert!(!explained.to_string().contains(kind), "{explained:#}");
    }
}

/// The copies do not fit into the image, but into a larger one.
#[test]
fn the_size_can_follow_the_split() {
    let lab = Lab::new();
    let folder = lab.folder("tree");
    fs::write(folder.join("0"), [7; 500_000]).expect("writing");
    for number in 1..9 {
        fs::hard_link(folder.join("0"), folder.join(number.to_string())).expect("a link");
    }
    settle(&folder);
    let image = lab.mke2fs_d("in.img", "2M", &["-t", "ext4", "-O", "^has_journal"], &folder);
    let message = refused(&image, &SPLIT, 3, &["blocks, but there are", "--size"]);
    let size = message.split("--size ").nth(1).and_then(|rest| rest.split(',').next()).expect("a size");
    for size in [size, "min"] {
        let options = [&SPLIT[..], &["--size", size]].concat();
        let output = rewritten(&image, &options).expect("an output");
        sound(&output);
        unchanged(&output, &options);
        canon(["--check"]).args(options).arg(&output).run().done();
        assert_eq!(tree_digest(&output, &[]), tree_digest(&image, &SPLIT));
    }
}

/// The two copies of cptofs have lost the link.
#[test]
fn copies_of_cptofs_merge() {
    let lab = Lab::new();
    let epoch = ["--source-date-epoch", "1735689600"];
    let names = ["cptofs-one", "cptofs-two", "mke2fs-links-split"];
    let options = [&MERGE[..], &epoch].concat();
    let outputs = names.map(|name| canonical(&lab.shipped(name), &options));
    for output in &outputs {
        same_bytes(&outputs[0], output);
        assert_eq!(inode_of(output, "/usr/bin/dir"), inode_of(output, "/usr/bin/list"));
    }
    let split = canonical(&outputs[0], &[&SPLIT[..], &epoch].concat());
    same_bytes(&split, &canonical(&lab.path("cptofs-one.img"), &epoch));
}

/// 64,990 + 11 names are too many for an inode, so the second file starts the next one.
#[test]
fn an_inode_has_at_most_65000_names() {
    let lab = Lab::in_memory();
    let folder = lab.folder("tree");
    let mut count = 0;
    for (file, names) in [("1", 64_990), ("2", 11), ("3", 10)] {
        let first = folder.join(file);
        fs::write(&first, "equal").expect("writing");
        for number in 1..names {
            let part = folder.join(format!("names {}", count / 500));
            if count % 500 == 0 {
                fs::create_dir(&part).expect("a folder");
            }
            fs::hard_link(&first, part.join(format!("{file} {number}"))).expect("a link");
            count += 1;
        }
    }
    settle(&folder);
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-O", "^has_journal"], &folder);
    assert_eq!(merged(&image, &[]), 1);
    let output = canonical(&image, &MERGE);
    let [one, two, three] = ["/1", "/2", "/3"].map(|path| inode_of(&output, path));
    assert!(one != two && two == three);
    refused(&image, &SPLIT, 3, &["inodes, but there are"]);
}

#[test]
fn numbers_that_are_content_are_refused() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &["-t", "ext4", "-O", "stable_inodes"]);
    for option in [SPLIT, MERGE] {
        refused(&image, &option, 2, &["has the stable_inodes feature", "leave --hard-links out"]);
        for command in [&["ls"][..], &["digest"], &["digest", "--tree"], &["explain"], &["--check"]] {
            canon(command).args(option).arg(&image).run().refusing(2, &["has the stable_inodes feature"]);
        }
    }
    canonical(&image, &["--hard-links", "keep"]);
}
