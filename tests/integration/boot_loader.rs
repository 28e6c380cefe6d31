//! The boot-loader inode, which has a number but no name.

use std::fs;
use std::path::Path;

use crate::support::image::{debugfs, debugfs_read};
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canonical, fskeys, gate, judge, refused, same_bytes, tree};

const OPTIONS: [&str; 4] = ["-t", "ext4", "-b", "1024"];

/// Moves the inode of a file, which has one extent, to the boot loader's.
fn move_by_debugfs(image: &Path, path: &str) {
    let stat = debugfs_read(image, &format!("stat {path}\n"));
    let number = |word: &str| -> u64 {
        let rest = stat.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {stat}"));
        let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().expect("digits");
        digits.parse().unwrap_or_else(|e| panic!("{word} in {stat}: {e}"))
    };
    let first = debugfs_read(image, &format!("bmap {path} 0\n"));
    let first: u64 = first.lines().last().expect("a line").trim().parse().expect("a block");
    let (inode, size, blocks) = (number("Inode:"), number("Size:"), number("Blockcount:"));
    let count = size.div_ceil(1024);
    let mut script = format!(
        "set_inode_field <5> mode 0100600\nset_inode_field <5> links_count 1\nset_inode_field <5> size {size}\n\
         set_inode_field <5> blocks {blocks}\nset_inode_field <5> flags 0x80000\n\
         set_inode_field <5> mtime @{}\nset_inode_field <5> extra_isize 32\n",
        tree::SOME_TIME
    );
    // Header, and one extent: first logical block, length, high and low half of the first block.
    let words = [0x1_F30A, 4, 0, 0, count, first];
    for (slot, word) in words.iter().enumerate() {
        script += &format!("set_inode_field <5> block[{slot}] {word}\n");
    }
    script += &format!(
        "unlink {path}\nclri <{inode}>\nfreei <{inode}>\nset_inode_field <2> mtime @{}\n",
        tree::SOME_TIME
    );
    debugfs(image, &script);
}

#[test]
fn its_file_is_kept() {
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::plain(&source);
    let loader = lab.path("loader");
    fs::write(&loader, tree::noise(5, 9000)).expect("writing");
    let [image, other] = ["first.img", "second.img"].map(|name| lab.mke2fs_d(name, "24M", &OPTIONS, &source));
    let without = canonical(&image, &[]);
    debugfs(&image, &format!("write {} loader\n", loader.display()));
    move_by_debugfs(&image, "loader");
    // Elsewhere, and with more of a past.
    debugfs(&other, &format!("mkdir clutter\nmknod pipe p\nwrite {} x\nrm pipe\n", loader.display()));
    debugfs(&other, &format!("write {} loader\nrm x\nrmdir clutter\n", loader.display()));
    move_by_debugfs(&other, "loader");
    let output = canonical(&image, &["--verify"]);
    same_bytes(&output, &canonical(&other, &[]));
    let copy = lab.path("copy");
    debugfs_read(&output, &format!("dump <5> {}\n", copy.display()));
    assert!(fs::read(copy).expect("reading") == fs::read(loader).expect("reading"));
    judge::same_by_debugfs(&without, &output);
    assert!(debugfs_read(&output, "stat <5>\n").contains("Links: 1"));
    assert!(debugfs_read(&without, "stat <5>\n").contains("Links: 0"));
    if gate(&[Need::Mounts]) {
        judge::kernel_works(&output).expect("a mount for changes");
    }
}

#[test]
fn the_kernel_swaps_it_in_and_out() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::plain(&source);
    let image = lab.mke2fs_d("in.img", "24M", &OPTIONS, &source);
    let mounted = Mounted::read_write(&image).expect("a mount");
    let file = mounted.path().join("loader");
    fs::write(&file, tree::noise(5, 9000)).expect("writing");
    fskeys::fskeys(&["swap-boot", file.to_str().expect("a path in UTF-8")]);
    assert!(fs::read(&file).expect("reading").is_empty(), "nothing was swapped");
    mounted.unmount();
    let output = canonical(&image, &[]);

    let mounted = Mounted::read_write(&output).expect("a mount");
    fskeys::fskeys(&["swap-boot", mounted.path().join("loader").to_str().expect("a path in UTF-8")]);
    assert!(fs::read(mounted.path().join("loader")).expect("reading") == tree::noise(5, 9000));
    mounted.unmount();
}

#[test]
fn what_is_not_a_file_and_names_for_it_are_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("loader"), tree::noise(5, 9000)).expect("writing");
    let clean = lab.mke2fs_d("in.img", "16M", &OPTIONS, &source);
    move_by_debugfs(&clean, "loader");
    canonical(&clean, &[]);
    for (name, command, words) in [
        ("folder", "set_inode_field <5> mode 040755", "not a regular file"),
        ("named", "link <5> name", "inode 5, which is not in use"),
        ("links", "set_inode_field <5> links_count 2", "i_links_count"),
    ] {
        let image = lab.copy(&clean, name);
        debugfs(&image, &format!("{command}\n"));
        refused(&image, &[], 4, &[words]);
    }
}
