//! `ext4-canon digest`: the SHA-256 of the output that would be written.

use std::fs;
use std::path::Path;

use crate::support::contents::sha256;
use crate::support::ran::Ran;
use crate::support::{Lab, canon, canonical, run, tool, tree};

fn digest_command(arguments: &[&Path]) -> Ran {
    canon(["digest"]).args(arguments).run()
}

/// Makes two images of one tree with different UUIDs.
fn twins(lab: &Lab, options: &[&str]) -> [std::path::PathBuf; 2] {
    let from = lab.plain_tree();
    tree::set_all_mtimes(&from);
    let random = [options, &["-U", "random"]].concat();
    [lab.mke2fs_d("a.img", "16M", options, &from), lab.mke2fs_d("b.img", "16M", &random, &from)]
}

#[test]
fn the_digest_is_that_of_the_canonical_image() {
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"], &["-t", "ext3", "-b", "2048"]] {
        let lab = Lab::new();
        let [a, b] = twins(&lab, options);
        let ran = digest_command(&[&a, &b]);
        let ran = ran.done().without_a_word();
        let expected = sha256(&canonical(&a, &[]));
        let lines = format!("{expected}  {}\n{expected}  {}\n", a.display(), b.display());
        assert_eq!(ran.stdout, lines, "{options:?}");
        // The options have the same effect as those of the main command.
        let epoch = ["--source-date-epoch", "1000000000", "--label", "x"].map(Path::new);
        let ran = digest_command(&[&epoch[..], &[&a]].concat());
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
    // The format is the same as that of sha256sum.
    fs::write(&list, run(tool("sha256sum").arg(&output))).unwrap();
    assert_eq!(digest_command(&[&output]).stdout, fs::read_to_string(&list).unwrap());
    fs::write(&list, digest_command(&[&a, &b]).stdout).unwrap();
    let check = |more: &[&str]| canon(["digest", "--check"]).args(more).arg(&list).run();
    let ran = check(&[]);
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{}: OK\n{}: OK\n", a.display(), b.display())));
    assert_eq!(check(&["--quiet"]).stdout, "");
    // Both formats of sha256sum can be read, with comments, and from standard input.
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

    // An invalid line gives a warning, and the other lines are checked.
    let good = fs::read_to_string(&list).unwrap();
    fs::write(&list, format!("nonsense\n{}", good.replace('\n', "\r\n"))).unwrap();
    let ran = check(&[]);
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{}: OK\n{}: OK\n", a.display(), b.display())));
    assert!(ran.stderr.contains(": 1 line is left out; line 1: expected 64 "), "{}", ran.stderr);
    let json = check(&["--json"]).json();
    assert_eq!((&json["status"], &json["malformed_lines"]), (&"match".into(), &1.into()));
    fs::write(&list, good).unwrap();

    // The tree has an additional file.
    let more = lab.folder("more");
    fs::write(more.join("file"), "more").unwrap();
    let other = lab.mke2fs_d("b.img", "16M", &["-t", "ext4"], &more);
    let ran = check(&["--quiet"]);
    assert_eq!((ran.code, ran.stdout), (Some(1), format!("{}: FAILED\n", other.display())));
    assert_eq!(ran.stderr, "ext4-canon: 1 of 2 digests did NOT match\n");
    let json = check(&["--json"]).json();
    assert_eq!((&json["status"], &json["schema"]), (&"different".into(), &1.into()));
    assert_eq!(json["images"][1]["matches"], false);

    // A file that can't be read gives an error, and the other results are still printed.
    fs::write(&other, "no image").unwrap();
    let ran = check(&[]).with_code(3).saying(&["too short"]);
    assert!(ran.stdout.starts_with(&format!("{}: OK\n", a.display())), "{ran:?}");
    fs::write(&list, "nonsense\n").unwrap();
    check(&[]).refusing(2, &["no digests found"]);
}
