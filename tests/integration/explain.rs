//! `ext4-canon explain`: it lists every change with its cause, and none for a canonical image.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::dice::Dice;
use crate::support::image::{debugfs, patch};
use crate::support::{Lab, Need, canon, canonical, fill, gate};

fn explain(image: &Path, options: &[&str]) -> Value {
    canon(["explain", "--json"]).args(options).arg(image).run().done().json()
}

/// Returns the cause and the count of each kind of finding.
fn findings(json: &Value) -> BTreeMap<&str, (&str, u64)> {
    let findings = json["findings"].as_array().expect("an array").iter();
    findings
        .map(|finding| {
            let [kind, cause] = ["kind", "cause"].map(|key| finding[key].as_str().expect("a word"));
            (kind, (cause, finding["count"].as_u64().expect("a number")))
        })
        .collect()
}

/// Returns the examples of a kind of finding.
fn examples<'j>(json: &'j Value, kind: &str) -> Vec<&'j str> {
    let findings = json["findings"].as_array().expect("an array");
    let finding = findings.iter().find(|finding| finding["kind"] == kind).expect("a finding");
    finding["examples"].as_array().expect("an array").iter().filter_map(Value::as_str).collect()
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such() {
    let lab = Lab::new();
    let seed = "hash_seed=73000000-1111-2222-3333-444444444444";
    let image = lab.mke2fs("a.img", "8M", &["-t", "ext4", "-E", seed]);
    debugfs(&image, "set_super_value last_mounted /some/where\n");
    let json = explain(&image, &[]);
    assert_eq!(examples(&json, "seeds"), ["s_hash_seed is 73000000111122223333444444444444"]);
    assert!(examples(&json, "mounts").contains(&"s_last_mounted is \"/some/where\""), "{json:#}");
}

#[test]
fn of_a_canonical_image_there_is_nothing_to_tell() {
    let lab = Lab::new();
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext2", "-b", "1024", "-I", "128"],
        &["-t", "ext3", "-b", "2048"],
        &["-t", "ext4", "-O", "inline_data,metadata_csum_seed,mmp,quota,bigalloc"],
    ] {
        let image = lab.plain_image("a.img", "24M", options);
        let output = canonical(&image, &[]);
        assert!(!findings(&explain(&image, &[])).is_empty(), "{options:?}");
        let json = explain(&output, &[]);
        assert_eq!(json["findings"], Value::Array(Vec::new()), "{options:?}: {json:#}");
        canon(["explain"]).arg(&output).run().done().printing(&["already canonical"]);
        // Any changed byte is found, at least as a block that would change.
        patch(&output, output.metadata().unwrap().len() - 100, b"x");
        assert!(!findings(&explain(&output, &[])).is_empty(), "{options:?}");
    }
}

#[test]
fn what_mke2fs_chose_and_what_the_clock_said_are_told_apart() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("a.img", "24M", &["-t", "ext4"], &source);
    let json = explain(&image, &[]);
    let found = findings(&json);
    for (kind, cause) in [
        ("uuid", "random"),
        ("seeds", "random"),
        ("superblock-times", "clock"),
        ("inode-times", "clock"),
        ("structures", "consequence"),
    ] {
        assert_eq!(found.get(kind).map(|found| found.0), Some(cause), "{kind}: {json:#}");
    }
    for kind in ["journal", "free-blocks", "unused-inodes", "mounts", "orphans", "directory-slack"] {
        assert!(!found.contains_key(kind), "{kind}: {json:#}");
    }
    let json = explain(&image, &["--source-date-epoch", "1000", "--label", "new"]);
    let found = findings(&json);
    assert_eq!(found["label"], ("options", 1));
    assert!(found["clamped-times"].1 > 100);
    assert_eq!(examples(&json, "label"), ["\"\" -> \"new\""]);
    assert_eq!(examples(&json, "clamped-times").len(), 3, "{json:#}");
}

#[test]
fn what_only_the_options_ask_for_is_theirs() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let output = canonical(&lab.mke2fs_d("a.img", "24M", &["-t", "ext4"], &source), &[]);
    let json = explain(&output, &["--source-date-epoch", "1"]);
    for (kind, (cause, _)) in findings(&json) {
        let expected = if kind == "structures" { "consequence" } else { "options" };
        assert_eq!(cause, expected, "{kind}: {json:#}");
    }
    assert!(findings(&json).contains_key("uuid") && findings(&json).contains_key("creation-time"));
}

#[test]
fn dots_are_printed_where_examples_are_left_out() {
    let lab = Lab::new();
    let image = lab.mke2fs("a.img", "4M", &["-t", "ext4", "-b", "1024"]);
    let output = canonical(&image, &[]);
    // Two adjacent free blocks at the end are listed as one range.
    patch(&output, (4 << 20) - 1500, &[b'x'; 1000]);
    let text = |count: &str| canon(["explain", "--examples", count]).arg(&output).run().done().stdout;
    let all = text("9");
    assert!(
        all.contains("free blocks with stale bytes: 2\n      blocks 4094 to 4095\n") && !all.contains("..."),
        "{all}"
    );
    patch(&output, (4 << 20) - 10_000, b"x");
    assert!(
        text("1").contains("free blocks with stale bytes: 3\n      block 4086\n      ...\n"),
        "{}",
        text("1")
    );
}

#[test]
#[ignore = "needs root: mounts images"]
fn mounts_and_deleted_files_are_named() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.plain_tree();
    let image = lab.mke2fs("a.img", "24M", &["-t", "ext4"]);
    fill::kernel(&image, |root| {
        for number in 0..40 {
            let path = root.join(format!("passing {number}"));
            fs::write(&path, Dice::noise(number, 20_000)).expect("writing");
            fs::File::open(&path).and_then(|file| file.sync_all()).expect("syncing");
        }
        fill::copy_in_order(&source, root, &fill::backwards(&source));
        for number in 0..40 {
            fs::remove_file(root.join(format!("passing {number}"))).expect("removing");
        }
    });
    let json = explain(&image, &[]);
    let found = findings(&json);
    for (kind, cause, least) in [
        ("mounts", "mount", 3),
        ("journal", "mount", 1),
        ("generations", "mount", 100),
        ("free-blocks", "deleted", 100),
        ("unused-inodes", "deleted", 30),
        ("directory-slack", "deleted", 1),
        ("inode-numbers", "order", 100),
        ("directory-order", "order", 1),
        ("placement", "order", 50),
        ("inode-times", "clock", 100),
        ("zeros", "writer", 1),
    ] {
        let (found_cause, count) = found.get(kind).copied().unwrap_or_else(|| panic!("{kind}: {json:#}"));
        assert!(found_cause == cause && count >= least, "{kind}: {json:#}");
    }
    // Examples name paths and places; `--all` lists all of them.
    let [few, all] = [explain(&image, &["--examples", "2"]), explain(&image, &["--all"])];
    assert_eq!(examples(&few, "inode-numbers").len(), 2);
    let numbers = examples(&all, "inode-numbers");
    assert_eq!(numbers.len() as u64, findings(&all)["inode-numbers"].1);
    assert!(numbers.contains(&"/sizes/70000"), "{numbers:?}");
    assert!(examples(&few, "free-blocks")[0].starts_with("block"), "{few:#}");

    // After canonicalization, there are no findings.
    let json = explain(&canonical(&image, &[]), &[]);
    assert_eq!(json["findings"], Value::Array(Vec::new()), "{json:#}");
}
