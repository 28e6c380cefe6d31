//! `ls` of a part of a tree, and options that would have no effect.

use std::fs;
use std::os::unix::fs::symlink;

use crate::boot_loader::move_by_debugfs;
use crate::support::contents::sha256;
use crate::support::{Lab, canon};

/// Makes an image with directories, hard links, symlinks and a file in the boot-loader inode.
fn with_image() -> Lab {
    let lab = Lab::new();
    let tree = lab.folder("tree");
    fs::create_dir_all(tree.join("usr/lib/deep")).unwrap();
    fs::create_dir_all(tree.join("usr/lib.d")).unwrap();
    fs::write(tree.join("first"), "content").unwrap();
    fs::hard_link(tree.join("first"), tree.join("usr/lib/second")).unwrap();
    fs::hard_link(tree.join("first"), tree.join("usr/lib/third")).unwrap();
    fs::write(tree.join("usr/lib/deep/a file"), "text").unwrap();
    symlink("/usr/lib", tree.join("lib")).unwrap();
    symlink("../../lib/deep/../second", tree.join("usr/lib/deep/link")).unwrap();
    symlink("loop", tree.join("loop")).unwrap();
    fs::write(tree.join("loader"), [7; 3000]).unwrap();
    let image = lab.mke2fs_d("in.img", "8M", &["-t", "ext4"], &tree);
    move_by_debugfs(&image, "loader");
    lab
}

fn listed(lab: &Lab, arguments: &[&str]) -> String {
    lab.canon(&[&["ls"], arguments].concat()).run().done().stdout
}

/// The lines of a listing whose path begins with a prefix.
fn lines<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    text.lines().filter(|line| line.starts_with(prefix)).collect()
}

#[test]
fn a_path_is_listed_with_everything_below() {
    let lab = with_image();
    let all = listed(&lab, &["in.img"]);
    let part = listed(&lab, &["in.img", "/usr/lib/deep"]);
    assert_eq!(lines(&part, "."), lines(&all, "./usr/lib/deep"));
    assert!(part.starts_with("#mtree\n./usr/lib/deep type=dir "), "{part}");
    // Symlinks in the path and at its end are resolved, as for `cat`.
    for same in ["usr/lib/deep", "./usr//lib/deep/", "/lib/deep", "lib/deep/../deep", "/lib/../lib/deep/."] {
        assert_eq!(listed(&lab, &["in.img", same]), part, "{same}");
    }
    assert_eq!(listed(&lab, &["in.img", "/lib"]), listed(&lab, &["in.img", "/usr/lib"]));
    // A file has one line, with the name that was given.
    let file = listed(&lab, &["in.img", "/usr/lib/deep/link"]);
    assert!(file.starts_with("#mtree\n./usr/lib/second type=file mode=0644 "), "{file}");
    assert_eq!(file.lines().count(), 2, "{file}");
    // The whole tree has the boot loader, and no other path has it.
    for whole in ["/", ".", "usr/.."] {
        assert_eq!(listed(&lab, &["in.img", whole]), all, "{whole}");
    }
    assert!(all.contains("\n#boot-loader type=file ") && !part.contains("#boot-loader"), "{all}");
}

#[test]
fn the_first_listed_name_of_an_inode_has_its_attributes() {
    let lab = with_image();
    let all = listed(&lab, &["in.img"]);
    assert_eq!(lines(&all, "./usr/lib/second"), ["./usr/lib/second type=file hardlink=./first"]);
    let part = listed(&lab, &["in.img", "/usr/lib"]);
    assert!(lines(&part, "./usr/lib/second ")[0].contains(" mode=0644 "), "{part}");
    assert_eq!(lines(&part, "./usr/lib/third"), ["./usr/lib/third type=file hardlink=./usr/lib/second"]);
}

#[test]
fn digests_of_a_part_are_those_of_the_whole() {
    let lab = with_image();
    let all = listed(&lab, &["--digests", "in.img"]);
    let part = listed(&lab, &["--digests", "in.img", "usr/lib/deep"]);
    assert_eq!(lines(&part, "."), lines(&all, "./usr/lib/deep"));
    assert!(part.contains("./usr/lib/deep/a\\040file ") && part.contains(" content="), "{part}");
    // Only the whole listing has the digest of the tree.
    let digest = canon(["digest", "--tree"]).arg(lab.path("in.img")).run().done().stdout;
    for (text, is_whole) in [(listed(&lab, &["--digests", "in.img", "/"]), true), (part, false)] {
        fs::write(lab.path("text"), &text).unwrap();
        assert_eq!(digest.starts_with(&sha256(&lab.path("text"))), is_whole, "{text}");
    }
}

#[test]
fn json_has_the_same_paths() {
    let lab = with_image();
    let json = lab.canon(["ls", "--json", "in.img", "/lib"]).run().done().json();
    let entries = json["entries"].as_array().unwrap().iter();
    let paths: Vec<_> = entries.map(|entry| entry["path"].as_str().unwrap()).collect();
    let expected = ["", "/deep", "/deep/a file", "/deep/link", "/second", "/third"];
    assert_eq!(paths, expected.map(|path| format!("/usr/lib{path}")));
    assert_eq!(json["entries"][5]["hardlink"], "/usr/lib/second");
}

#[test]
fn a_missing_path_has_the_message_of_cat() {
    let lab = with_image();
    for path in ["/nowhere", "/usr/lib/second/below", "/loop"] {
        let words = format!("in.img: {path}: there is no such path in the image");
        for command in ["ls", "cat"] {
            let ran = lab.canon([command, "in.img", path]).run().refusing(2, &[&words]);
            assert_eq!(ran.stdout, "", "{ran}");
        }
        lab.canon(["ls", "in.img", path]).run().refusing(2, &["; give a path that ls lists"]);
    }
}

/// Every option of `ls` changes what it prints or how fast it is. Options of other commands are explained.
#[test]
fn options_without_effect_are_refused() {
    let lab = with_image();
    for option in ["--uuid=keep", "--label=x", "--holes=keep", "--table=canonical", "--zero-gaps"] {
        let name = option.split('=').next().unwrap();
        let tip = format!("tip: '{name}' is an option of 'ext4-canon IN OUT'");
        let ran = lab.canon(["ls", option, "in.img"]).run().misused(&["unexpected argument"]);
        assert!(ran.stderr.contains(&tip) && ran.stderr.contains("no effect on 'ext4-canon ls'"), "{ran}");
        let ran =
            lab.canon(["digest", "--tree", option, "in.img"]).run().misused(&["'--tree' cannot be used"]);
        assert!(ran.stderr.contains("tip: the digest of a tree does not depend on this option"), "{ran}");
    }
    let partition = ["digest", "--partition", "1", "--zero-gaps", "in.img"];
    lab.canon(partition).run().misused(&["all other bytes of a disk are ignored"]);
    let sectors = ["cat", "--offset", "0", "--sector-size", "512", "in.img", "/first"];
    lab.canon(sectors).run().misused(&["'--offset <BYTES>' cannot be used with"]);
    lab.canon(["compare", "-q", "--diff", "in.img", "in.img"]).run().misused(&["leave --diff out"]);
}
