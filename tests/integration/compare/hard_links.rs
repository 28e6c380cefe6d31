//! Hard links: differences in the groups of names that share an inode are reported, and nothing else.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{compare, tree_differences, verdicts_are_right};
use crate::support::listing::paths;
use crate::support::{Lab, canon, tree};

/// All names; on each side, the groups of names that share an inode; and the expected differences. A
/// difference is a path, and on each side the path that it is a hard link of.
type LinkCase =
    (&'static [&'static str], [&'static [&'static [&'static str]]; 2], &'static [[&'static str; 3]]);

const NONE: &str = "";

const CASES: &[LinkCase] = &[
    // A group is split, or two names are merged.
    (&["a", "b"], [&[&["a", "b"]], &[]], &[["/b", "/a", NONE]]),
    (&["a", "b"], [&[], &[&["a", "b"]]], &[["/b", NONE, "/a"]]),
    // Three names are split 2 + 1 in three ways.
    (&["a", "b", "c"], [&[&["a", "b", "c"]], &[&["a", "b"]]], &[["/c", "/a", NONE]]),
    (&["a", "b", "c"], [&[&["a", "b", "c"]], &[&["a", "c"]]], &[["/b", "/a", NONE]]),
    (&["a", "b", "c"], [&[&["a", "b", "c"]], &[&["b", "c"]]], &[["/b", "/a", NONE], ["/c", "/a", "/b"]]),
    // The groups are different, across directories.
    (
        &["d/a", "d/b", "e/a", "e/b"],
        [&[&["d/a", "d/b"], &["e/a", "e/b"]], &[&["d/a", "e/a"], &["d/b", "e/b"]]],
        &[["/d/b", "/d/a", NONE], ["/e/a", NONE, "/d/a"], ["/e/b", "/e/a", "/d/b"]],
    ),
    (
        &["d/a", "e/f/b", "z"],
        [&[], &[&["d/a", "e/f/b", "z"]]],
        &[["/e/f/b", NONE, "/d/a"], ["/z", NONE, "/d/a"]],
    ),
    // The groups are the same, and only the order of linking differs.
    (&["a", "b", "c", "d"], [&[&["a", "d"], &["b", "c"]], &[&["d", "a"], &["c", "b"]]], &[]),
];

/// Makes a directory with the names of a case, all with the same content and mtime.
fn linked_folder(lab: &Lab, name: &str, names: &[&str], groups: &[&[&str]]) -> std::path::PathBuf {
    let root = lab.folder(name);
    for name in names {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        let group = groups.iter().find(|group| group.contains(name));
        match group.and_then(|group| group.iter().map(|other| root.join(other)).find(|other| other.exists()))
        {
            Some(other) => fs::hard_link(other, &path).expect("a link"),
            None => fs::write(&path, "the same").expect("writing"),
        }
    }
    for path in paths(&root) {
        tree::set_mtime(&root.join(path), tree::SOME_TIME, 0);
    }
    tree::set_mtime(&root, tree::SOME_TIME, 0);
    root
}

#[test]
fn hard_links_are_told_by_the_first_path_of_their_group() {
    for (names, groups, expected) in CASES {
        let lab = Lab::new();
        let images = [0, 1].map(|side| {
            let from = linked_folder(&lab, ["from a", "from b"][side], names, groups[side]);
            lab.mke2fs_d(["a.img", "b.img"][side], "8M", &["-t", "ext4"], &from)
        });
        let json = compare(&images[0], &images[1], &["-q"]);
        let told: Vec<_> = json["differences"].as_array().expect("an array").iter().map(groups_of).collect();
        let expected: Vec<_> = expected.iter().map(|row| row.map(str::to_owned)).collect();
        assert_eq!(told, expected, "{names:?} {groups:?}: {json:#}");
        assert!(tree_differences(&json).iter().all(|told| told.ends_with(" hardlink")), "{json:#}");
        verdicts_are_right(&images.each_ref().map(AsRef::<Path>::as_ref), &[]);
        let words = canon(["compare"])
            .args([&images[0], &images[1]])
            .run()
            .with_code(i32::from(!expected.is_empty()))
            .stdout;
        let told = words.lines().filter(|line| line.starts_with('/') && line.contains(": hard link to "));
        let lines = expected.iter().map(|[path, one, other]| {
            let [one, other] = [one, other].map(|of| if of.is_empty() { "no path before it" } else { of });
            format!("{path}: hard link to {one} -> hard link to {other}")
        });
        let (told, lines): (Vec<_>, Vec<_>) = (told.map(str::to_owned).collect(), lines.collect());
        assert_eq!(told, lines, "{words}");
    }
}

fn groups_of(difference: &Value) -> [String; 3] {
    ["path", "a", "b"].map(|key| difference[key].as_str().unwrap_or_default().to_owned())
}
