//! Images that differ in one attribute: it is reported, and nothing else.

use std::fs;
use std::path::Path;

use super::{SIZE, compare, settings, tree_differences, verdicts_are_right};
use crate::support::image::{blocks_of, debugfs, flip};
use crate::support::{Lab, Need, fill, gate, tree};

/// A change to a copy of the image.
enum Change {
    /// debugfs commands.
    Debugfs(&'static str),
    /// A change with the kernel.
    Kernel(fn(&Path)),
    /// A changed byte at this index of a file.
    Byte(&'static str, usize),
}

use Change::{Byte, Debugfs, Kernel};

/// Sets owner and mtime of an inode to those of `/links/short`.
macro_rules! like_links_short {
    ($path:literal) => {
        concat!("sif ", $path, " uid 70000\nsif ", $path, " gid 80000\nsif ", $path, " mtime @1600000000\n")
    };
}

/// Sets fields of an inode to the values that all files of the base have.
macro_rules! ordinary {
    ($path:literal, $mode:literal) => {
        concat!(
            "sif ",
            $path,
            " uid 0\nsif ",
            $path,
            " gid 0\nsif ",
            $path,
            " mode ",
            $mode,
            "\nsif ",
            $path,
            " mtime @1600000000\nsif ",
            $path,
            " mtime_extra 0\n"
        )
    };
}

/// All mutants, with the differences that must be reported.
const MUTANTS: &[(Change, &[&str])] = &[
    (Debugfs("sif /sizes/1 mode 0100600\n"), &["/sizes/1 mode"]),
    (Debugfs("sif /modes/755 mode 0104755\n"), &["/modes/755 mode"]),
    (Debugfs("sif /empty mode 041755\n"), &["/empty mode"]),
    (Debugfs("sif <2> mode 040700\n"), &["/ mode"]),
    (Debugfs("sif /sizes/60 uid 77\n"), &["/sizes/60 uid"]),
    (Debugfs("sif /sizes/60 uid 70077\n"), &["/sizes/60 uid"]),
    (Debugfs("sif /links/short uid 70001\n"), &["/links/short uid"]),
    (Debugfs("sif <2> uid 5\n"), &["/ uid"]),
    (Debugfs("sif /fifo gid 77\n"), &["/another-fifo gid"]),
    (Debugfs("sif /empty gid 70077\n"), &["/empty gid"]),
    (Debugfs("sif /sizes/1 mtime @1234567890\n"), &["/sizes/1 mtime"]),
    (Debugfs("sif /sizes/1 mtime_extra 400\n"), &["/sizes/1 mtime"]),
    (Debugfs("sif /links/long1000 mtime @1234567890\n"), &["/links/long1000 mtime"]),
    (Debugfs("sif /many mtime @1234567890\n"), &["/many mtime"]),
    (Debugfs("sif /null mtime @1\n"), &["/null mtime"]),
    (Debugfs("sif /sizes/1 flags 0x80010\n"), &["/sizes/1 flags"]),
    (Debugfs("sif /sizes/1025 flags 0x80060\n"), &["/sizes/1025 flags"]),
    (Debugfs("sif /empty flags 0xA0080\n"), &["/empty flags"]),
    (Debugfs("sif /sizes/59 projid 42\n"), &["/sizes/59 project"]),
    (Debugfs("sif /deep projid 42\n"), &["/deep project"]),
    (Debugfs("ea_set /sizes/4096 user.new value\n"), &["/sizes/4096 xattr user.new"]),
    (Debugfs("ea_set /sizes/1 user.small other\n"), &["/sizes/1 xattr user.small"]),
    (Debugfs("ea_rm /sizes/1 user.empty\n"), &["/sizes/1 xattr user.empty"]),
    (Debugfs("ea_set /sizes/59 trusted.binary x\n"), &["/sizes/59 xattr trusted.binary"]),
    (Debugfs("ea_set /sizes/60 security.capability x\n"), &["/sizes/60 xattr security.capability"]),
    (Debugfs("ea_set /sizes/1024 user.shared x\n"), &["/sizes/1024 xattr user.shared"]),
    (Kernel(another_acl), &["/names/-dash xattr system.posix_acl_access"]),
    (Kernel(another_default_acl), &["/deep xattr system.posix_acl_default"]),
    (Byte("/sizes/70000", 0), &["/sizes/70000 content"]),
    (Byte("/sizes/70000", 69_999), &["/sizes/70000 content"]),
    (Byte("/sizes/1", 0), &["/sizes/1 content"]),
    (Kernel(a_byte_in_a_hole), &["/sizes/gaps content"]),
    (Debugfs("sif /sizes/70000 size 69999\n"), &["/sizes/70000 size"]),
    (Debugfs("sif /sizes/zeros size 30001\n"), &["/sizes/zeros size"]),
    (
        Debugfs(concat!("rm /links/short\nsymlink /links/short shirt\n", like_links_short!("/links/short"))),
        &["/links/short target"],
    ),
    (Byte("/links/long60", 59), &["/links/long60 target"]),
    (Debugfs("sif /null block[0] 0x104\n"), &["/null device"]),
    (Debugfs("sif /disk block[1] 0x30100\n"), &["/disk device"]),
    (Debugfs(concat!("rm /socket\nmknod socket p\n", ordinary!("/socket", "010640"))), &["/socket type"]),
    (Debugfs(concat!("rm /null\nmknod null b 1 3\n", ordinary!("/null", "060640"))), &["/null type"]),
    (Debugfs("symlink /links/added target\n"), &["/links/added presence"]),
    (Debugfs("mkdir /new\n"), &["/new presence"]),
    (Debugfs("rm /sizes/zeros\n"), &["/sizes/zeros presence"]),
    (Debugfs("rmdir /empty\n"), &["/empty presence"]),
    (Debugfs("ln /sizes/0 /sizes/00\nunlink /sizes/0\n"), &["/sizes/0 presence", "/sizes/00 presence"]),
    (Debugfs("ln /sizes/1 /0-another\nsif /sizes/1 links_count 2\n"), &["/0-another presence"]),
    (Debugfs("rm /same/b\nln /same/a /same/b\nsif /same/a links_count 2\n"), &["/same/b hardlink"]),
];

fn another_acl(root: &Path) {
    replace_xattr(&root.join("names/-dash"), "system.posix_acl_access", &tree::acl_of(6, 5));
}

fn another_default_acl(root: &Path) {
    replace_xattr(&root.join("deep"), "system.posix_acl_default", &tree::acl(5));
}

fn replace_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::REPLACE).expect("an xattr");
}

fn a_byte_in_a_hole(root: &Path) {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};
    let path = root.join("sizes/gaps");
    let before = path.metadata().expect("metadata");
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.write_all_at(b"x", 30_000).expect("writing");
    drop(file);
    tree::set_mtime(&path, before.mtime(), before.mtime_nsec());
}

#[test]
#[ignore = "needs root: mounts images"]
fn every_mutant_is_named_by_its_attribute_and_nothing_else() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    fs::create_dir(source.join("same")).unwrap();
    for name in ["same/a", "same/b"] {
        fs::write(source.join(name), "the same").unwrap();
    }
    for path in ["same/a", "same/b", "socket", "null", "links/short"] {
        tree::set_mtime(&source.join(path), 1_600_000_000, 0);
    }
    let options = ["-t", "ext4", "-b", "4096", "-I", "256"];
    let base = lab.mke2fs_d("base.img", SIZE, &[&options[..], &["-O", "project"]].concat(), &source);
    // Some kernels can't mount a filesystem with the project feature.
    let mountable = lab.mke2fs_d("mountable.img", SIZE, &options, &source);
    let (mut images, mut failures) = (vec![base.clone()], Vec::new());
    for (number, (change, expected)) in MUTANTS.iter().enumerate() {
        let base = if matches!(change, Kernel(_)) { &mountable } else { &base };
        let image = lab.copy(base, &format!("{number}.img"));
        match change {
            Debugfs(commands) => {
                debugfs(&image, commands);
            }
            Kernel(work) => fill::kernel(&image, work),
            Byte(path, index) => {
                let place = blocks_of(&image, path)[index / 4096] * 4096 + (index % 4096) as u64;
                flip(&image, place);
            }
        }
        let json = compare(base, &image, &[]);
        // Compare in the other direction too.
        let back = compare(&image, base, &["-q"]);
        for json in [json, back] {
            if tree_differences(&json) != *expected || !settings(&json).is_empty() {
                failures.push(format!("mutant {number} {expected:?}: {json:#}"));
            }
        }
        images.push(image);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    images.push(mountable);
    let images: Vec<_> = images.iter().map(AsRef::as_ref).collect();
    verdicts_are_right(&images, &[]);
    verdicts_are_right(&images, &["--holes", "keep", "--source-date-epoch", "1000000000"]);
}
