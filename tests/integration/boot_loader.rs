//! The boot loader inode, which has a reserved number and no name.

use std::fs;
use std::path::Path;

use ext4_canon::internals::BlockNr;
use ext4_canon::internals::ondisk::extent::{Extent, ExtentHeader, ROOT_MAX};
use zerocopy::IntoBytes as _;

use crate::support::dice::Dice;
use crate::support::fields::block_size;
use crate::support::image::{block_of, debugfs, debugfs_read, number_after};
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canonical, fskeys, gate, judge, partly, refused, same_bytes, tree};

const OPTIONS: [&str; 4] = ["-t", "ext4", "-b", "1024"];

/// Moves the content of a file with one extent to the boot loader inode.
pub fn move_by_debugfs(image: &Path, path: &str) {
    let stat = debugfs_read(image, &format!("stat {path}\n"));
    let first = block_of(image, path, 0);
    let [number, size, blocks] = ["Inode:", "Size:", "Blockcount:"].map(|word| number_after(&stat, word));
    let count = size.div_ceil(block_size(image));
    let mut script = format!(
        "set_inode_field <5> mode 0100600\nset_inode_field <5> links_count 1\nset_inode_field <5> size {size}\n\
         set_inode_field <5> blocks {blocks}\nset_inode_field <5> flags 0x80000\n\
         set_inode_field <5> mtime @{}\nset_inode_field <5> extra_isize 32\n",
        tree::SOME_TIME
    );
    let [first, count] = [first, count].map(|number| u32::try_from(number).expect("32 bits"));
    let header = ExtentHeader::new(1, ROOT_MAX, 0);
    let extent = Extent::new(0, count, BlockNr(first.into()), false);
    let root = [header.as_bytes(), extent.as_bytes()].concat();
    for (slot, word) in root.as_chunks::<4>().0.iter().enumerate() {
        script += &format!("set_inode_field <5> block[{slot}] {}\n", u32::from_le_bytes(*word));
    }
    script += &format!(
        "unlink {path}\nclri <{number}>\nfreei <{number}>\nset_inode_field <2> mtime @{}\n",
        tree::SOME_TIME
    );
    debugfs(image, &script);
}

#[test]
fn its_file_is_kept() {
    let lab = Lab::new();
    let loader = lab.path("loader");
    fs::write(&loader, Dice::noise(5, 9000)).expect("writing");
    let [image, other] = ["first.img", "second.img"].map(|name| lab.plain_image(name, "24M", &OPTIONS));
    let without = canonical(&image, &[]);
    debugfs(&image, &format!("write {} loader\n", loader.display()));
    move_by_debugfs(&image, "loader");
    // Give the second image a different history, so that the file has different blocks.
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
    if partly(&[Need::Mounts]) {
        judge::kernel_works(&output).expect("a mount for changes");
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn the_kernel_swaps_it_in_and_out() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "24M", &OPTIONS);
    let mounted = Mounted::read_write(&image).expect("a mount");
    let file = mounted.path().join("loader");
    fs::write(&file, Dice::noise(5, 9000)).expect("writing");
    fskeys::fskeys(&["swap-boot", file.to_str().expect("a path in UTF-8")]);
    assert!(fs::read(&file).expect("reading").is_empty(), "nothing was swapped");
    mounted.unmount();
    let output = canonical(&image, &[]);

    let mounted = Mounted::read_write(&output).expect("a mount");
    fskeys::fskeys(&["swap-boot", mounted.path().join("loader").to_str().expect("a path in UTF-8")]);
    assert!(fs::read(mounted.path().join("loader")).expect("reading") == Dice::noise(5, 9000));
    mounted.unmount();
}

#[test]
fn what_is_not_a_file_and_names_for_it_are_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("loader"), Dice::noise(5, 9000)).expect("writing");
    let clean = lab.mke2fs_d("in.img", "16M", &OPTIONS, &source);
    move_by_debugfs(&clean, "loader");
    canonical(&clean, &[]);
    for (name, command, words) in [
        ("folder", "set_inode_field <5> mode 040755", "not a regular file"),
        ("named", "link <5> name", "inode 5, which is not in use"),
        ("links", "set_inode_field <5> links_count 2", "i_links_count is 2"),
    ] {
        let image = lab.copy(&clean, name);
        debugfs(&image, &format!("{command}\n"));
        refused(&image, &[], 4, &[words]);
    }
}
