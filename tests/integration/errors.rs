//! Damage that is refused with a message that names structure and place.

use std::fs;
use std::path::Path;

use crate::support::fields::{self, Structure, block_size, descriptor, entry_at, extent, node_below_root};
use crate::support::image::{block_of, debugfs, flip, patch, set_length};
use crate::support::{Lab, canonical, judge, refused, same_bytes};

/// Makes an image with files, directories, an index, and an extent tree that is deeper than its root.
fn sound_image(lab: &Lab, options: &[&str]) -> std::path::PathBuf {
    let source = lab.plain_tree();
    let mut comb = vec![0; 40 << 10];
    for block in (0..40).step_by(2) {
        comb[block << 10..(block + 1) << 10].fill(7);
    }
    fs::write(source.join("comb"), comb).expect("writing");
    let options = [&["-b", "1024"], options].concat();
    lab.mke2fs_d("in.img", "8M", &options, &source)
}

/// Asserts that damage is refused with a message that contains each of `words`.
fn damage_is_refused(options: &[&str], damage: impl FnOnce(&Path), words: &[&str]) {
    let lab = Lab::new();
    let image = sound_image(&lab, options);
    canonical(&image, &[]);
    damage(&image);
    refused(&image, &[], 4, words);
}

/// Offsets of directory entries in a block: `.`, `..`, and the first of the others. Each of the first two has
/// 12 bytes.
const DOT: u64 = 0;
const DOT_DOT: u64 = 12;
const FIRST_NAME: u64 = 24;

const CHECKED: &[&str] = &["-t", "ext4"];
const UNCHECKED: &[&str] = &["-t", "ext4", "-O", "^metadata_csum,^64bit"];
const MAPPED: &[&str] = &["-t", "ext2"];

#[test]
fn superblock() {
    damage_is_refused(
        CHECKED,
        |image| fields::superblock(image).flip("s_first_ino"),
        &["superblock: bad checksum"],
    );
    for (field, value, words) in [
        ("s_log_block_size", 9, "superblock: s_log_block_size is 9"),
        ("s_inodes_per_group", 0, "superblock: s_inodes_per_group is 0"),
        ("s_blocks_per_group", 1, "superblock: s_blocks_per_group is 1"),
    ] {
        damage_is_refused(UNCHECKED, |image| fields::superblock(image).set(field, value), &[words]);
    }
}

#[test]
fn group_descriptor() {
    damage_is_refused(
        CHECKED,
        |image| descriptor(image, 0).flip("bg_inode_table_lo"),
        &["group 0, group descriptor", "bad checksum"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| descriptor(image, 0).fill("bg_inode_table_lo", 0xFF),
        &["group 0, group descriptor", "bg_inode_table is 4294967295"],
    );
}

#[test]
fn inode() {
    damage_is_refused(
        CHECKED,
        |image| fields::inode(image, "/sizes/1").flip("i_size_lo"),
        &["(/sizes/1): bad checksum"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| _ = debugfs(image, "set_inode_field sizes/1 mode 0150644\n"),
        &["(/sizes/1): the type in i_mode is 13"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| _ = debugfs(image, "set_inode_field sizes/1 links_count 7\n"),
        &["(/sizes/1): i_links_count is 7, expected 1"],
    );
}

#[test]
fn extent_tree() {
    damage_is_refused(
        CHECKED,
        |image| extent(image, node_below_root(image, "/comb").start, 1).flip("ee_start_hi"),
        &["(/comb), extent block", "bad checksum"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| node_below_root(image, "/comb").flip("eh_magic"),
        &["(/comb), extent block", "bad magic 0xf31a, expected 0xf30a"],
    );
    // The first extent of a leaf is past the end of the filesystem.
    damage_is_refused(
        UNCHECKED,
        |image| extent(image, node_below_root(image, "/comb").start, 0).fill("ee_start_lo", 0xFF),
        &["(/comb), extent block", "ee_start is 4294967295"],
    );
    // Two files share a block.
    damage_is_refused(
        UNCHECKED,
        |image| {
            let block = block_of(image, "/sizes/1", 0);
            fields::inode(image, "/sizes/1023").extent(0).set("ee_start_lo", block);
        },
        &["(/sizes/1023), ", "is also claimed by inode"],
    );
}

#[test]
fn block_map() {
    damage_is_refused(
        MAPPED,
        |image| fields::inode(image, "/sizes/1").set_word("i_block", 0, 0xFFFF),
        &["(/sizes/1), block map: a block number is 65535"],
    );
    // The file has a block of the first group's inode table.
    damage_is_refused(
        MAPPED,
        |image| {
            let table = descriptor(image, 0).get32("bg_inode_table_lo");
            fields::inode(image, "/sizes/1").set_word("i_block", 0, table);
        },
        &["(/sizes/1), block map", "is also claimed by filesystem metadata"],
    );
}

#[test]
fn directory() {
    damage_is_refused(
        CHECKED,
        |image| flip(image, entry_at(image, "/links", DOT_DOT).at("inode") + 1),
        &["(/links), directory block", "bad checksum"],
    );
    // Directory entries have invalid lengths or inode numbers.
    damage_is_refused(
        UNCHECKED,
        |image| entry_at(image, "/links", DOT).set("rec_len", 3),
        &["(/links), directory block", "rec_len is 3"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| entry_at(image, "/links", FIRST_NAME).set("inode", 0x00FF_FFFF),
        &["(/links), directory: has an entry", "for inode 16777215, which is not in use"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| _ = debugfs(image, "link deep deep/er/loop\n"),
        &["(/deep/er), directory: has an entry 'loop'", "a directory that already has a name"],
    );
}

#[test]
fn xattrs() {
    fn with_xattr(image: &Path) -> Structure<'_> {
        debugfs(image, &format!("ea_set sizes/1 user.large {}\n", "v".repeat(300)));
        fields::inode(image, "/sizes/1").xattr_block()
    }
    damage_is_refused(
        CHECKED,
        // Damage the value, which is at the end of the block.
        |image| flip(image, with_xattr(image).start + 900),
        &["(/sizes/1), xattrs block", "bad checksum"],
    );
    damage_is_refused(
        UNCHECKED,
        |image| with_xattr(image).set("h_magic", 0),
        &["(/sizes/1), xattrs block", "bad magic 0x0, expected 0xea020000"],
    );
}

/// Redundant data is recreated, and the output is the same as without damage.
#[test]
fn redundant_structures_are_made_anew() {
    let lab = Lab::new();
    let image = sound_image(&lab, CHECKED);
    let before = canonical(&image, &[]);
    let bitmap = descriptor(&image, 0).get("bg_block_bitmap_lo");
    debugfs(
        &image,
        "set_super_value free_blocks_count 5\nset_block_group 0 free_inodes_count 3\n\
         set_block_group 0 checksum calc\n",
    );
    patch(&image, bitmap * block_size(&image), &[0; 100]);
    let complaint = judge::fsck_silent(&image).expect_err("e2fsck counts");
    assert!(complaint.contains("Free blocks count wrong") && complaint.contains("Block bitmap differences"));
    same_bytes(&before, &canonical(&image, &[]));
}

#[test]
fn a_file_cut_short() {
    let lab = Lab::new();
    let image = sound_image(&lab, CHECKED);
    set_length(&image, 5 << 20);
    let words =
        "truncated: the filesystem needs 8 MiB, but the file or partition has 5 MiB; copy all of it again";
    refused(&image, &[], 4, &[words]);
}
