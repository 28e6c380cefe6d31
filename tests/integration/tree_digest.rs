//! `digest --tree`, `ls` and `cat`: their output does not depend on the filesystem that contains the tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::image::debugfs;
use crate::support::kernel::Mounted;
use crate::support::listing::{paths, same_tree};
use crate::support::tools::project;
use crate::support::{Lab, Need, canon, fill, gate, run, tool, tree};

fn counted_tree_digest(image: &Path) -> String {
    let ran = canon(["digest", "--tree"]).arg(image).run().done();
    // mke2fs and debugfs don't update quotas.
    assert!(ran.stderr.lines().all(|line| line.ends_with("; recomputed")), "{ran:?}");
    ran.stdout.split(' ').next().expect("a digest").to_owned()
}

fn text(image: &Path) -> String {
    canon(["ls", "--digests"]).arg(image).run().done().stdout
}

fn sha256_of(lab: &Lab, text: &str) -> String {
    let file = lab.path("text");
    fs::write(&file, text).expect("writing");
    crate::support::contents::sha256(&file)
}

#[test]
fn one_tree_has_one_digest_whatever_holds_it() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    // mke2fs 1.47 drops trailing zeros of files with inline_data.
    fs::remove_file(source.join("sizes/gaps")).unwrap();
    let ways: [(&str, &[&str]); 5] = [
        ("12M", &["-t", "ext2", "-b", "1024", "-I", "128"]),
        ("16M", &["-t", "ext3", "-b", "2048"]),
        ("24M", &["-t", "ext4", "-b", "4096"]),
        ("24M", &["-t", "ext4", "-O", "inline_data,bigalloc,^metadata_csum", "-L", "label"]),
        ("30M", &["-t", "ext4", "-O", "^extent,^64bit,project,quota,^flex_bg,ea_inode,casefold"]),
    ];
    let mut digests = Vec::new();
    for (number, (size, options)) in ways.iter().enumerate() {
        let image = lab.mke2fs_d(&format!("{number}.img"), size, options, &source);
        digests.push(counted_tree_digest(&image));
        assert_eq!(sha256_of(&lab, &text(&image)), digests[number]);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "{digests:?}");
    // Every attribute of the tree affects the digest.
    let image = lab.mke2fs_d("changed.img", "24M", ways[2].1, &source);
    for change in [
        "sif /sizes/1 mode 0100600\n",
        "sif /sizes/1 uid 5\n",
        "sif /sizes/1 gid 5\n",
        "sif /sizes/1 mtime @5\n",
        "sif /sizes/1 mtime_extra 400\n",
        "sif /sizes/70000 size 69999\n",
        "sif /empty flags 0x80040\n",
        "ea_set /empty user.x y\n",
        "symlink /new target\n",
        "rm /links/long59\n",
    ] {
        debugfs(&image, change);
        digests.push(counted_tree_digest(&image));
    }
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_second_implementation_on_a_mounted_tree_agrees() {
    if !gate(&[Need::Mounts, Need::Program("python3")]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    let image = lab.mke2fs_d("a.img", "24M", &["-t", "ext4"], &source);
    let copied = lab.mke2fs("b.img", "32M", &["-t", "ext3", "-b", "1024", "-I", "256"]);
    fill::kernel(&copied, |root| {
        fill::copy(&source, root);
        fs::remove_dir(root.join("lost+found")).expect("removing");
        run(tool("chattr").arg("+dA").arg(root.join("sizes/1")));
        run(tool("chattr").arg("+S").arg(root.join("empty")));
        tree::set_mtime(&root.join("sizes/4096"), -2, 250_000_000);
    });
    for image in [&image, &copied] {
        let mounted = Mounted::read_only(image).expect("mounting");
        let script = project("tests/tree_digest.py");
        let python = |more: &[&str]| {
            let mut command = tool("python3");
            run(command.arg(&script).args(more).arg(mounted.path()))
        };
        same_tree(&python(&["--text"]), &text(image));
        assert_eq!(python(&[]).trim_end(), counted_tree_digest(image));
        mounted.unmount();
    }
}

/// The example in the specification, made with the commands given there.
#[test]
fn the_example_of_the_specification_is_true() {
    let lab = Lab::new();
    let source = lab.folder("tree");
    fs::write(source.join("a file"), "hello\n").unwrap();
    fs::hard_link(source.join("a file"), source.join("b")).unwrap();
    symlink("b", source.join("c")).unwrap();
    run(tool("chmod").arg("644").arg(source.join("b")));
    run(tool("chmod").arg("755").arg(&source));
    for name in ["a file", "c", ""] {
        tree::set_mtime(&source.join(name), 1_600_000_000, 0);
    }
    let image = lab.mke2fs_d("image", "4M", &["-t", "ext4"], &source);
    for path in ["<2>", "/b", "/c"] {
        debugfs(&image, &format!("sif {path} uid 0\nsif {path} gid 0\n"));
    }
    let document = include_str!("../../docs/tree-digest.md");
    let example: String = text(&image).lines().map(|line| format!("    {line}\n")).collect();
    assert!(document.contains(&example), "{example}");
    assert!(
        document.contains(&format!("    {}\n", counted_tree_digest(&image))),
        "{}",
        counted_tree_digest(&image)
    );
}

#[test]
fn lists_of_digests_of_trees_can_be_checked() {
    let lab = Lab::new();
    let image = lab.plain_image("a.img", "16M", &["-t", "ext4"]);
    let list = lab.path("list");
    fs::write(&list, canon(["digest", "--tree"]).arg(&image).run().done().stdout).unwrap();
    // Replace it with a different filesystem of the same name.
    lab.plain_image("a.img", "12M", &["-t", "ext2", "-b", "1024"]);
    canon(["digest", "--tree", "--check"]).arg(&list).run().done().printing(&[": OK\n"]);
    canon(["digest", "--check"]).arg(&list).run().with_code(1).printing(&[": FAILED\n"]);
    let json = canon(["digest", "--tree", "--json"]).arg(&image).run().done().json();
    assert_eq!((&json["of"], &json["status"]), (&"tree".into(), &"done".into()));
}

#[test]
fn files_are_printed_as_they_are() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    // mke2fs 1.47 drops trailing zeros of files with inline_data.
    fs::remove_file(source.join("sizes/gaps")).unwrap();
    symlink("/sizes/../links", source.join("way")).unwrap();
    symlink("way/z-first", source.join("shortcut")).unwrap();
    for options in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"], &["-t", "ext4", "-O", "inline_data"]]
    {
        let image = lab.mke2fs_d("a.img", "16M", options, &source);
        let cat = |path: &Path| canon(["cat"]).arg(&image).arg(path).output();
        let files: Vec<_> = paths(&source).into_iter().filter(|path| source.join(path).is_file()).collect();
        assert!(files.len() > 100, "{files:?}");
        for path in files {
            let output = cat(&path);
            assert!(output.status.success(), "{}: {output:?}", path.display());
            assert!(output.stdout == fs::read(source.join(&path)).unwrap(), "{}", path.display());
        }
        assert_eq!(cat(Path::new("/shortcut")).stdout, b"two names");
        for (path, words) in [
            ("/nothing", "/nothing: there is no such path in the image"),
            ("/sizes", "/sizes: is not a regular file"),
            ("/sizes/1/x", "/sizes/1/x: there is no such path in the image"),
        ] {
            let ran = canon(["cat"]).arg(&image).arg(path).run().refusing(2, &[words]);
            assert_eq!(ran.stdout, "", "{ran}");
        }
    }
}

#[test]
fn listings_for_programs_say_the_same() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("a.img", "16M", &["-t", "ext4"], &source);
    debugfs(&image, "ea_set /sizes/1 user.x text\nmknod null c 1 3\n");
    let json = canon(["ls", "--json", "--digests"]).arg(&image).run().done().json();
    let entries = json["entries"].as_array().expect("an array");
    assert_eq!(entries.len(), text(&image).lines().count() - 1);
    let entry = |path: &str| entries.iter().find(|entry| entry["path"] == path).expect(path);
    let file = entry("/sizes/1");
    assert_eq!((&file["type"], &file["size"]), (&"regular file".into(), &1.into()));
    assert_eq!(file["content"].as_str().map(str::len), Some(64));
    assert_eq!(file["xattrs"][0]["name"], "user.x");
    assert_eq!(
        (&file["xattrs"][0]["value"], &file["xattrs"][0]["hex"]),
        (&"\"text\"".into(), &"74657874".into())
    );
    assert_eq!(entry("/")["mode"], "0755");
    assert_eq!(entry("/links/short")["target"], "short");
    assert_eq!((&entry("/null")["major"], &entry("/null")["minor"]), (&1.into(), &3.into()));
    assert_eq!(entry("/links/z-first")["hardlink"], "/a-second");
    assert_eq!(entry("/names/not \\xff\\xfe UTF-8")["type"], "regular file");
    // The listed times are those of the output.
    let clamped = canon(["ls", "--source-date-epoch", "1000"]).arg(&image).run().done().stdout;
    assert!(clamped.contains(" time=1000.000000000") && !clamped.contains(" time=16"), "{clamped}");
}
