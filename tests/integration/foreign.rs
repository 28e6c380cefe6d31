//! What images from other people showed: old tools, odd bytes that e2fsck lets pass, and files that are no
//! filesystem. Where an image is refused, the way that the message names is gone, and has to work.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::image::{blocks_of, debugfs, debugfs_read, inode_of, inode_offset, patch, peek};
use crate::support::kernel::Mounted;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, fill, gate, judge, refused, run, same_bytes, tool, tree};

/// An image with the plain tree.
fn made(lab: &Lab, name: &str, size: &str, options: &[&str]) -> PathBuf {
    let source = lab.path("source");
    if !source.exists() {
        tree::plain(&lab.folder("source"));
    }
    lab.mke2fs_d(name, size, options, &source)
}

/// What is said of an image that is accepted.
fn said(image: &Path, options: &[&str]) -> String {
    let mut command = tool(env!("CARGO_BIN_EXE_ext4-canon"));
    let output = image.with_extension("said");
    let ran = try_run(command.arg(image).arg(&output).args(options));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stderr
}

/// Repairs an image with e2fsck.
fn repair(image: &Path, options: &[&str]) {
    let ran = try_run(tool("e2fsck").arg("-fy").args(options).arg(image));
    assert!(ran.code.is_some_and(|code| code <= 1), "{ran:?}");
}

/// e2fsck does not see what is odd here, so that it is no help.
fn is_nothing_to_e2fsck(image: &Path) {
    repair(image, &[]);
    judge::fsck_silent(image).unwrap_or_else(|e| panic!("{e}"));
}

/// Takes the last blocks off an internal journal, but leaves them allocated.
fn shorten_journal(image: &Path, blocks: u32) {
    let size = |at| u32::from_le_bytes(peek(image, at));
    let block_size = 1024 << size(1024 + 0x18);
    let journal = blocks_of(image, "<8>")[0] * u64::from(block_size);
    let length = u32::from_be_bytes(peek(image, journal + 0x10)) - blocks;
    patch(image, journal + 0x10, &length.to_be_bytes());
    debugfs(image, &format!("set_inode_field <8> size {}\n", length * block_size));
    // The copy of the size in the superblock.
    debugfs(image, &format!("set_super_value jnl_blocks[16] {}\n", length * block_size));
}

#[test]
fn journals_of_old_tools_have_a_block_past_their_end() {
    for options in [
        &["-t", "ext3", "-b", "1024", "-J", "size=2"][..],
        &["-t", "ext3", "-b", "4096", "-J", "size=8", "-I", "128"],
        &["-t", "ext4", "-b", "1024", "-J", "size=2", "-O", "^metadata_csum"],
    ] {
        let lab = Lab::new();
        let image = made(&lab, "in.img", "24M", options);
        let before = u32::from_le_bytes(peek(&canonical(&image, &[]), 1024 + 0x10C + 64));
        shorten_journal(&image, 1);
        is_nothing_to_e2fsck(&image);
        let output = canonical(&image, &["--verify"]);
        let block_size = 1024 << u32::from_le_bytes(peek(&image, 1024 + 0x18));
        assert_eq!(u32::from_le_bytes(peek(&output, 1024 + 0x10C + 64)), before - block_size);
        if gate(&[Need::Mounts]) {
            assert_eq!(judge::kernel_tree(&image), judge::kernel_tree(&output));
            judge::kernel_works(&image).unwrap_or_else(|e| panic!("{e}"));
            judge::kernel_works(&output).unwrap_or_else(|e| panic!("{e}"));
        }
        shorten_journal(&image, 1);
        assert!(refused(&image, &[], 4).contains("journal: i_size is"));
    }
}

/// A time that the kernel and debugfs read as 2345-08-11, and e2fsck as 1937-04-21.
#[test]
fn ambiguous_times_are_those_of_the_kernel() {
    let lab = Lab::new();
    let image = made(&lab, "in.img", "16M", &["-t", "ext4"]);
    let sound = canonical(&image, &["--mtime", "set", "--source-date-epoch", "1"]);
    debugfs(&image, "set_inode_field sizes/1 mtime 0xc2800000\nset_inode_field sizes/1 mtime_extra 3\n");
    let words = said(&image, &["--verify"]);
    assert!(words.contains("1 inode has a time of the years 2310 to 2378"), "{words}");
    assert!(words.contains("(/sizes/1 11853103104.000000000)"), "{words}");
    let output = image.with_extension("said");
    let times = debugfs_read(&output, "stat sizes/1\n");
    for time in ["ctime", "atime", "mtime", "crtime"] {
        assert!(
            times.contains(&format!("{time}: 0xc2800000:00000003 -- Sat Aug 11 16:38:24 2345")),
            "{times}"
        );
    }
    // Nothing else is wrong with it, and canonicalizing again changes nothing.
    let again = lab.copy(&output, "again.img");
    said(&again, &[]);
    same_bytes(&output, &again.with_extension("said"));
    let ran = try_run(tool("e2fsck").arg("-fn").arg(&output));
    assert_eq!((ran.code, ran.stdout.matches("Fix? no").count()), (Some(0), 1), "{ran:?}");
    assert!(ran.stdout.contains("are likely pre-1970"), "{ran:?}");
    if gate(&[Need::Mounts]) {
        assert_eq!(judge::kernel_tree(&image), judge::kernel_tree(&output));
    }
    // A policy that overwrites the time makes it no matter, and what is advised works.
    same_bytes(&sound, &canonical(&image, &["--mtime", "set", "--source-date-epoch", "1"]));
    for options in [["--mtime", "set"], ["--mtime", "clamp"]] {
        let options = [&options[..], &["--source-date-epoch", "1735689600"]].concat();
        canonical(&image, &options);
        assert!(!said(&image, &options).contains("2310"));
    }
    let late = ["--source-date-epoch", "13000000000"];
    assert!(said(&image, &late).contains("2310"), "an epoch after it");
    assert!(refused(&image, &["--source-date-epoch", "11853103104"], 2).contains("is not a time"));
    if gate(&[Need::Mounts]) {
        fill::kernel(&image, |root| tree::set_mtime(&root.join("sizes/1"), 1, 0));
        canonical(&image, &[]);
        assert!(!said(&image, &[]).contains("2310"));
    }
}
