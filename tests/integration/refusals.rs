//! Unsupported features are refused by name.

use std::fs;

use ext4_canon::internals::ondisk::features::Incompat;

use crate::support::dice::Dice;
use crate::support::fields::superblock;
use crate::support::image::debugfs;
use crate::support::{Lab, refused};

#[test]
fn several_at_once_are_all_named() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "4M", &["-t", "ext2"]);
    superblock(&image).add("s_feature_incompat", (Incompat::COMPRESSION | Incompat::DIRDATA).bits());
    refused(&image, &[], 3, &["compression", "dirdata"]);
}

#[test]
fn journal_devices_are_refused() {
    let lab = Lab::new();
    refused(&lab.mke2fs("in.img", "16M", &["-O", "journal_dev", "-b", "1024"]), &[], 3, &["journal_dev"]);
}

/// No tool sets these bits, so set them in a superblock without a checksum.
#[test]
fn unknown_and_ancient_features_are_refused() {
    for (field, bit, name) in [
        ("s_feature_compat", 0x2, "imagic_inodes"),
        ("s_feature_compat", 0x80, "exclude_inode"),
        ("s_feature_compat", 0x8000_0000, "compat bit 0x80000000"),
        ("s_feature_incompat", 0x1, "compression"),
        ("s_feature_incompat", 0x1000, "dirdata"),
        ("s_feature_incompat", 0x4000_0000, "incompat bit 0x40000000"),
        ("s_feature_ro_compat", 0x80, "snapshot"),
        ("s_feature_ro_compat", 0x800, "replica"),
        ("s_feature_ro_compat", 0x8_0000, "ro_compat bit 0x80000"),
    ] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "4M", &["-t", "ext2"]);
        superblock(&image).add(field, bit);
        refused(&image, &[], 3, &[name]);
    }
}

#[test]
fn unknown_and_ancient_flags_are_refused() {
    for (flag, name) in [
        (0x100_u32, "DIRTY"),
        (0x200, "COMPRBLK"),
        (0x2000, "IMAGIC"),
        (0x80_0000, "NOCOW"),
        (0x100_0000, "SNAPFILE"),
        (0x400_0000, "SNAPFILE_DELETED"),
        (0x800_0000, "SNAPFILE_SHRUNK"),
        (0x8000_0000, "0x80000000"),
    ] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "4M", &["-t", "ext2"]);
        debugfs(&image, &format!("mkdir folder\nset_inode_field folder flags {flag:#x}\n"));
        refused(&image, &[], 3, &[name, "/folder"]);
    }
}

#[test]
fn a_live_inode_without_a_name_is_lost_data() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "16M", &["-t", "ext4"]);
    debugfs(&image, "unlink /sizes/4096\n");
    refused(&image, &[], 4, &["is in use, but no directory names it"]);
}

#[test]
fn what_is_no_filesystem_is_refused() {
    let lab = Lab::new();
    for (name, bytes, words) in [
        ("empty", 0, "a file of 0 bytes is too short for"),
        ("short", 1500, "a file of 1500 bytes is too short for"),
        ("noise", 1 << 20, "not an ext2, ext3 or ext4 filesystem"),
    ] {
        let path = lab.path(name);
        fs::write(&path, Dice::noise(4, bytes)).expect("writing");
        refused(&path, &[], 3, &[words]);
    }
}
