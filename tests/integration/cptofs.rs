//! Images that LKL's cptofs wrote; testdata/README.md tells how.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Lab, canon, canonical, run, same_bytes, tool};

const EPOCH: [&str; 2] = ["--source-date-epoch", "1735689600"];

fn shipped(lab: &Lab, name: &str) -> PathBuf {
    let packed = lab.path(&format!("{name}.img.xz"));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.img.xz")), &packed)
        .expect("a shipped image");
    run(tool("xz").arg("-d").arg(&packed));
    packed.with_extension("")
}

/// The lines of `ls --digests`.
fn tree(image: &Path, options: &[&str]) -> Vec<String> {
    let ran = canon(["ls", "--digests"]).args(options).arg(image).run().done();
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The lines in which two trees differ.
fn changed<'t>(one: &'t [String], other: &'t [String]) -> Vec<[&'t str; 2]> {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other).filter(|(one, other)| one != other);
    pairs.map(|(one, other)| [one.as_str(), other.as_str()]).collect()
}

#[test]
fn with_an_epoch_both_orders_of_copying_become_one_image() {
    let lab = Lab::new();
    let images = ["cptofs-one", "cptofs-two", "mke2fs-links-split"].map(|name| shipped(&lab, name));
    let outputs = images.each_ref().map(|image| canonical(image, &EPOCH));
    for (image, output) in images.iter().zip(&outputs) {
        same_bytes(&outputs[0], output);
        // Of the tree, only the root's time is another.
        let (before, after) = (tree(image, &[]), tree(output, &[]));
        assert!(before.len() > 306, "{before:#?}");
        let [[_, root]] = changed(&before, &after)[..] else { panic!("not one line differs") };
        assert_eq!(root, ". type=dir mode=0755 uid=0 gid=0 time=1735689600.000000000");
        // The tree digest follows the same rule.
        assert_eq!(changed(&tree(image, &EPOCH), &tree(output, &EPOCH)).len(), 0);
        canon(["--check"]).args(EPOCH).arg(output).run().done();
    }
    // Without an epoch, the root keeps what LKL's clock said.
    let [one, two] = [&images[0], &images[1]].map(|image| tree(image, &[]));
    let differing = changed(&one, &two);
    assert!(differing.len() == 1 && differing[0][0].contains(" time=0."), "{differing:?}");
    let kept = [&EPOCH[..], &["--mtime", "keep"]].concat();
    assert!(tree(&outputs[0], &kept) != tree(&images[0], &kept));
    assert_eq!(tree(&images[0], &kept)[1], one[1]);
}

#[test]
fn their_journals_are_replayed_and_the_outputs_verified() {
    let lab = Lab::new();
    for name in ["cptofs-one", "cptofs-two"] {
        let (image, output) = (shipped(&lab, name), lab.path("out.img"));
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
    let [one, two] = ["cptofs-one", "cptofs-two"].map(|name| shipped(&lab, name));
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
