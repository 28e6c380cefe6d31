//! Damages, each refused with a message that names structure and place.

use std::fs;
use std::path::Path;

use crate::support::image::{debugfs, debugfs_read, inode_offset, patch, peek};
use crate::support::{Lab, canonical, refused, tree};

/// An image with files, folders, an index and an extent tree of more than its root.
fn image(lab: &Lab, options: &[&str]) -> std::path::PathBuf {
    let source = lab.folder("source");
    tree::plain(&source);
    let mut comb = vec![0; 40 << 10];
    for block in (0..40).step_by(2) {
        comb[block << 10..(block + 1) << 10].fill(7);
    }
    fs::write(source.join("comb"), comb).expect("writing");
    let options = [&["-b", "1024"], options].concat();
    lab.mke2fs_d("in.img", "8M", &options, &source)
}

/// A number that debugfs prints after a word.
fn number(image: &Path, command: &str, word: &str) -> u64 {
    let text = debugfs_read(image, &format!("{command}\n"));
    let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {text}"));
    let digits: String =
        rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|e| panic!("{word} in {text}: {e}"))
}

/// The first block of a file.
fn first_block(image: &Path, path: &str) -> u64 {
    number(image, &format!("bmap {path} 0"), "\n")
}

/// Demands that a damage is refused with a message that holds all of `words`.
fn damaged(options: &[&str], damage: impl FnOnce(&Path), words: &[&str]) {
    let lab = Lab::new();
    let image = image(&lab, options);
    canonical(&image, &[]);
    damage(&image);
    refused(&image, &[], 4, words);
}

/// Flips one bit.
fn flip(image: &Path, offset: u64) {
    let [byte] = peek(image, offset);
    patch(image, offset, &[byte ^ 0x10]);
}

const CHECKED: &[&str] = &["-t", "ext4"];
const UNCHECKED: &[&str] = &["-t", "ext4", "-O", "^metadata_csum,^64bit"];
const MAPPED: &[&str] = &["-t", "ext2"];

#[test]
fn superblock() {
    damaged(CHECKED, |image| flip(image, 1024 + 0x54), &["superblock", "checksum"]);
    damaged(UNCHECKED, |image| patch(image, 1024 + 0x18, &[9]), &["superblock"]);
    damaged(UNCHECKED, |image| patch(image, 1024 + 0x28, &[0, 0, 0, 0]), &["superblock", "inodes"]);
    damaged(UNCHECKED, |image| patch(image, 1024 + 0x20, &[1, 0, 0, 0]), &["superblock", "group"]);
}

#[test]
fn group_descriptor() {
    damaged(CHECKED, |image| flip(image, 2048 + 8), &["group 0", "descriptor", "checksum"]);
    damaged(UNCHECKED, |image| patch(image, 2048 + 8, &[0xFF; 4]), &["group 0", "descriptor"]);
}

#[test]
fn inode() {
    damaged(
        CHECKED,
        |image| flip(image, inode_offset(image, "/sizes/1") + 4),
        &["inode ", "/sizes/1", "checksum"],
    );
    damaged(
        UNCHECKED,
        |image| debugfs(image, "set_inode_field sizes/1 mode 0150644\n").truncate(0),
        &["inode ", "/sizes/1"],
    );
    damaged(
        UNCHECKED,
        |image| debugfs(image, "set_inode_field sizes/1 links_count 7\n").truncate(0),
        &["inode ", "/sizes/1", "link", "7"],
    );
}

#[test]
fn extent_tree() {
    // The block below the root of the tree, by its number.
    let index = |image: &Path| number(image, "stat /comb", "(ETB0):");
    damaged(CHECKED, |image| flip(image, index(image) * 1024 + 30), &["/comb", "extent block", "checksum"]);
    damaged(
        UNCHECKED,
        |image| flip(image, index(image) * 1024),
        &["/comb", "extent block", "magic", "0xf30a"],
    );
    // The first extent of a leaf, past the end of the image.
    damaged(UNCHECKED, |image| patch(image, index(image) * 1024 + 20, &[0xFF; 4]), &["/comb", "block"]);
    // Two files with one block.
    damaged(
        UNCHECKED,
        |image| {
            let block = u32::try_from(first_block(image, "/sizes/1")).expect("a block");
            patch(image, inode_offset(image, "/sizes/1023") + 0x28 + 20, &block.to_le_bytes());
        },
        &["/sizes/", "block"],
    );
}

#[test]
fn block_map() {
    damaged(
        MAPPED,
        |image| patch(image, inode_offset(image, "/sizes/1") + 0x28, &[0xFF, 0xFF, 0, 0]),
        &["inode ", "/sizes/1", "65535"],
    );
    // A block of the first group's inode table.
    damaged(
        MAPPED,
        |image| {
            let table = u32::try_from(number(image, "show_super_stats", "inode table at")).expect("a block");
            patch(image, inode_offset(image, "/sizes/1") + 0x28, &table.to_le_bytes());
        },
        &["inode ", "/sizes/1"],
    );
}

#[test]
fn directory() {
    damaged(CHECKED, |image| flip(image, first_block(image, "/links") * 1024 + 13), &["/links", "checksum"]);
    // Entries that end before the block does, or point nowhere.
    damaged(
        UNCHECKED,
        |image| patch(image, first_block(image, "/links") * 1024 + 4, &[3, 0]),
        &["/links", "block"],
    );
    damaged(
        UNCHECKED,
        |image| patch(image, first_block(image, "/links") * 1024 + 24, &[0xFF, 0xFF, 0xFF, 0]),
        &["/links", "inode"],
    );
    damaged(UNCHECKED, |image| debugfs(image, "link deep deep/er/loop\n").truncate(0), &["deep"]);
}

#[test]
fn xattrs() {
    let with_xattr = |image: &Path| {
        debugfs(image, &format!("ea_set sizes/1 user.large {}\n", "v".repeat(300)));
        number(image, "stat /sizes/1", "File ACL:") * 1024
    };
    damaged(
        CHECKED,
        |image| {
            let block = with_xattr(image);
            flip(image, block + 900);
        },
        &["inode ", "/sizes/1", "xattr", "checksum"],
    );
    damaged(
        UNCHECKED,
        |image| {
            let block = with_xattr(image);
            patch(image, block, &[0; 4]);
        },
        &["inode ", "/sizes/1", "xattr", "magic"],
    );
}

/// What is redundant is made anew, and the output is as if nothing had happened.
#[test]
fn redundant_structures_are_made_anew() {
    let lab = Lab::new();
    let image = image(&lab, CHECKED);
    let before = canonical(&image, &[]);
    let bitmap = number(&image, "show_super_stats", "block bitmap at");
    debugfs(
        &image,
        "set_super_value free_blocks_count 5\nset_block_group 0 free_inodes_count 3\n\
         set_block_group 0 checksum calc\n",
    );
    patch(&image, bitmap * 1024, &[0; 100]);
    crate::support::same_bytes(&before, &canonical(&image, &[]));
}

#[test]
fn a_file_cut_short() {
    let lab = Lab::new();
    let image = image(&lab, CHECKED);
    fs::File::options().write(true).open(&image).and_then(|file| file.set_len(5 << 20)).expect("a length");
    let words = "truncated: the filesystem needs 8 MiB, but the file or partition has 5 MiB; copy it again";
    refused(&image, &[], 4, &[words]);
}
