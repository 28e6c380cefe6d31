//! Images that LKL's cptofs wrote, as testdata/README.md describes.

use std::path::Path;

use crate::support::{Lab, canon, canonical, same_bytes};

const EPOCH: [&str; 2] = ["--source-date-epoch", "1735689600"];

/// Returns the lines of `ls --digests`.
fn listed(image: &Path, options: &[&str]) -> Vec<String> {
    let ran = canon(["ls", "--digests"]).args(options).arg(image).run().done();
    ran.stdout.lines().map(str::to_owned).collect()
}

/// Returns the lines in which two trees differ.
fn differing_lines<'t>(one: &'t [String], other: &'t [String]) -> Vec<[&'t str; 2]> {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other).filter(|(one, other)| one != other);
    pairs.map(|(one, other)| [one.as_str(), other.as_str()]).collect()
}

#[test]
fn with_an_epoch_both_orders_of_copying_become_one_image() {
    let lab = Lab::new();
    let images = ["cptofs-one", "cptofs-two", "mke2fs-links-split"].map(|name| lab.shipped(name));
    let outputs = images.each_ref().map(|image| canonical(image, &EPOCH));
    for (image, output) in images.iter().zip(&outputs) {
        same_bytes(&outputs[0], output);
        // The only difference in the tree is the root's mtime.
        let (before, after) = (listed(image, &[]), listed(output, &[]));
        assert!(before.len() > 306, "{before:#?}");
        let [[_, root]] = differing_lines(&before, &after)[..] else { panic!("not one line differs") };
        assert_eq!(root, ". type=dir mode=0755 uid=0 gid=0 time=1735689600.000000000");
        // The tree digest applies the same rule.
        assert_eq!(differing_lines(&listed(image, &EPOCH), &listed(output, &EPOCH)).len(), 0);
        canon(["--check"]).args(EPOCH).arg(output).run().done();
    }
    // Without an epoch, the root keeps the time of LKL's clock.
    let [one, two] = [&images[0], &images[1]].map(|image| listed(image, &[]));
    let differing = differing_lines(&one, &two);
    assert!(differing.len() == 1 && differing[0][0].contains(" time=0."), "{differing:?}");
    let kept = [&EPOCH[..], &["--mtime", "keep"]].concat();
    assert!(listed(&outputs[0], &kept) != listed(&images[0], &kept));
    assert_eq!(listed(&images[0], &kept)[1], one[1]);
}

#[test]
fn their_journals_are_replayed_and_the_outputs_verified() {
    let lab = Lab::new();
    for name in ["cptofs-one", "cptofs-two"] {
        let (image, output) = (lab.shipped(name), lab.path("out.img"));
        let json = canon(["--json", "--verify"]).args(EPOCH).args([&image, &output]).run().done().json();
        assert_eq!(
            (&json["report"]["transactions"], &json["verified"]),
            (&1.into(), &true.into()),
            "{json:#}"
        );
    }
}

#[test]
fn compare_and_explain_know_whose_the_time_of_the_root_is() {
    let lab = Lab::new();
    let [one, two] = ["cptofs-one", "cptofs-two"].map(|name| lab.shipped(name));
    let compare = |options: &[&str]| {
        let ran = canon(["compare", "--json"]).args(options).args([&one, &two]).run();
        (ran.code, ran.json())
    };
    let (code, json) = compare(&[]);
    let differences = json["differences"].as_array().expect("an array");
    assert_eq!((code, differences.len()), (Some(1), 1), "{json:#}");
    assert_eq!((&differences[0]["path"], &differences[0]["attribute"]), (&"/".into(), &"mtime".into()));
    let (code, json) = compare(&EPOCH);
    assert_eq!(code, Some(0), "{json:#}");
    let ignored = json["ignored"].as_array().expect("an array");
    assert!(ignored.iter().any(|ignored| ignored["kind"] == "inode-times"), "{json:#}");

    let json = canon(["explain", "--json"]).args(EPOCH).arg(&one).run().done().json();
    let findings = json["findings"].as_array().expect("an array");
    let set = findings.iter().find(|finding| finding["kind"] == "clamped-times").expect("a time that is set");
    assert_eq!((&set["count"], &set["examples"]), (&1.into(), &serde_json::json!(["/"])), "{json:#}");
}
