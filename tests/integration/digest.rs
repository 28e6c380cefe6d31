//! `ext4-canon digest`: the SHA-256 of what would be written.

use std::fs;
use std::path::Path;

use crate::support::contents::sha256;
use crate::support::ran::Ran;
use crate::support::{Lab, canon, canonical, run, tool, tree};

fn digest(arguments: &[&Path]) -> Ran {
    canon(["digest"]).args(arguments).run()
}

/// Two images of one tree, made with other UUIDs and inodes.
fn twins(lab: &Lab, options: &[&str]) -> [std::path::PathBuf; 2] {
    let from = lab.folder("from");
    tree::plain(&from);
    tree::set_all_mtimes(&from);
    let random = [options, &["-U", "random"]].concat();
    [lab.mke2fs_d("a.img", "16M", options, &from), lab.mke2fs_d("b.img", "16M", &random, &from)]
}

#[test]
fn the_digest_is_that_of_the_canonical_image() {
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"], &["-t", "ext3", "-b", "2048"]] {
        let lab = Lab::new();
        let [a, b] = twins(&lab, options);
        let ran = digest(&[&a, &b]);
        let ran = ran.done().without_a_word();
        let expected = sha256(&canonical(&a, &[]));
        let lines = format!("{expected}  {}\n{expected}  {}\n", a.display(), b.display());
        assert_eq!(ran.stdout, lines, "{options:?}");
        // Options count as for the main job.
        let epoch = ["--source-date-epoch", "1000000000", "--label", "x"].map(Path::new);
        let ran = digest(&[&epoch[..], &[&a]].concat());
        let expected = sha256(&canonical(&a, &["--source-date-epoch", "1000000000", "--label", "x"]));
        assert_eq!(ran.stdout, format!("{expected}  {}\n", a.display()));
    }
}

#[test]
fn what_sha256sum_accepts_is_checked() {
    let lab = Lab::new();
    let [a, b] = twins(&lab, &["-t", "ext4"]);
    let output = canonical(&a, &[]);
    let list = lab.path("list");
    // sha256sum and this command write and read one format.
    fs::write(&list, run(tool("sha256sum").arg(&output))).unwrap();
    assert_eq!(digest(&[&output]).stdout, fs::read_to_string(&list).unwrap());
    fs::write(&list, digest(&[&a, &b]).stdout).unwrap();
    let check = |more: &[&str]| canon(["digest", "--check"]).args(more).arg(&list).run();
    let ran = check(&[]);
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{}: OK\n{}: OK\n", a.display(), b.display())));
    assert_eq!(check(&["--quiet"]).stdout, "");
    // Both forms of sha256sum are read, comments left out, and lists from standard input.
    let digest_of = |line: &str| line[..64].to_owned();
    let tagged: String = fs::read_to_string(&list)
        .unwrap()
        .lines()
        .map(|line| format!("# one\nSHA256 ({}) = {}\n", &line[66..], digest_of(line)))
        .collect();
    fs::write(lab.path("tagged"), &tagged).unwrap();
    let tagged_list = fs::File::open(lab.path("tagged")).unwrap();
    let ran = canon(["digest", "--check", "-"]).stdin(tagged_list).run();
    assert_eq!((ran.code, ran.stdout), (Some(0), check(&[]).stdout), "{tagged}");

    // A line that is none is told of, and the others are checked all the same.
    let good = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("nonsense\n{}", good.replace('\n', "\r\n"))).unwrap();
    let ran = check(&[]);
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{}: OK\n{}: OK\n", a.display(), b.display())));
    assert!(ran.stderr.contains(": 1 line is left out; line 1: expected 64 "), "{}", ran.stderr);
    let json = check(&["--json"]).json();
    assert_eq!((&json["status"], &json["malformed_lines"]), (&"match".into(), &1.into()));
    fs::write(&list, good).unwrap();

    // A tree with one file more is another.
    let more = lab.folder("more");
    fs::write(more.join("file"), "more").unwrap();
    let other = lab.mke2fs_d("b.img", "16M", &["-t", "ext4"], &more);
    let ran = check(&["--quiet"]);
    assert_eq!((ran.code, ran.stdout), (Some(1), format!("{}: FAILED\n", other.display())));
    assert_eq!(ran.stderr, "1 of 2 digests did NOT match\n");
    let json = check(&["--json"]).json();
    assert_eq!((&json["status"], &json["schema"]), (&"different".into(), &1.into()));
    assert_eq!(json["images"][1]["matches"], false);

    // What can't be read is no difference, and does not hide the others.
    fs::write(&other, "no image").unwrap();
    let ran = check(&[]).with_code(3).saying(&["too short"]);
    assert!(ran.stdout.starts_with(&format!("{}: OK\n", a.display())), "{ran:?}");
    fs::write(&list, "nonsense\n").unwrap();
    check(&[]).refusing(2, &["no digests found"]);
}
