//! The memory limits in docs/hostile-images.md, enforced with `ulimit`.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ext4_canon::internals::ondisk::features::Incompat;
use ext4_canon::internals::ondisk::jbd2::{COMMIT_BLOCK, MAGIC, REVOKE_BLOCK};
use rustix::fs::{XattrFlags, setxattr};

use crate::support::fields::{journal, superblock};
use crate::support::image::{blocks_of, patch};
use crate::support::{Canon, Lab, Need, canon, fill, gate};

const BASE: u64 = 32 << 20;
const PER_INODE: u64 = 300;
const PER_EXTENT: u64 = 40;

/// Runs the program with the documented limit on private memory.
fn takes_what_is_promised(image: &Path, inodes: u64, extents: u64) {
    takes_no_more(image, PER_INODE * inodes + PER_EXTENT * extents, "");
}

/// Runs the program with a limit of `bytes` bytes above the base, and expects the given warnings.
fn takes_no_more(image: &Path, bytes: u64, warnings: &str) {
    let limit = (BASE + bytes) >> 10;
    for arguments in ["--check", "-q --verify"] {
        let output = image.with_extension("out");
        let output = if arguments == "--check" { "" } else { output.to_str().expect("a path in UTF-8") };
        let script = format!(r#"ulimit -d {limit} && exec "$0" --threads=2 {arguments} "$1" {output}"#);
        let ran = Canon::script(&script).arg(image).run();
        // `-q` hides these warnings.
        let expected = if arguments == "--check" { warnings } else { "" };
        assert!(matches!(ran.code, Some(0 | 1)) && ran.stderr == expected, "{limit} KiB: {ran:?}");
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn many_inodes_take_what_is_promised() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-N", "61000", "-O", "^has_journal"];
    let image = lab.mke2fs("in.img", "128M", &options);
    fill::kernel(&image, |root| {
        for folder in 0..30 {
            let folder = root.join(format!("folder{folder}"));
            fs::create_dir(&folder).expect("a folder");
            for number in 0..2000 {
                fs::write(folder.join(format!("a name of usual length {number}")), "text").expect("writing");
            }
        }
    });
    takes_what_is_promised(&image, 60_000, 60_000);
}

#[test]
#[ignore = "needs root: mounts images"]
fn many_extents_take_what_is_promised() {
    const EXTENTS: u64 = 400_000;
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "500M", &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal"]);
    fill::kernel(&image, |root| {
        let comb = File::create(root.join("comb")).expect("a file");
        for number in 0..EXTENTS {
            comb.write_all_at(&[7; 1024], number * 2048).expect("writing");
        }
    });
    takes_what_is_promised(&image, 16, EXTENTS);
}

#[test]
#[ignore = "needs root: mounts images"]
fn many_xattrs_take_what_is_promised() {
    const FILES: u64 = 60_000;
    const PER_XATTR: u64 = 64;
    const PER_SET: u64 = 96;
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image =
        lab.mke2fs("in.img", "128M", &["-t", "ext4", "-b", "1024", "-N", "61000", "-O", "^has_journal"]);
    fill::kernel(&image, |root| {
        for number in 0..FILES {
            let file = root.join(format!("{number}"));
            fs::write(&file, "text").expect("writing");
            for name in ["user.one", "user.two"] {
                setxattr(&file, name, format!("{number}").as_bytes(), XattrFlags::empty()).expect("an xattr");
            }
        }
    });
    // Names and values have 15 bytes each, which count twice.
    let each = PER_INODE + PER_EXTENT + 2 * PER_XATTR + PER_SET + 30;
    takes_no_more(&image, FILES * each, "");
}

/// Every second block of the file is zero, so that one extent becomes many.
#[test]
#[ignore = "needs root: mounts images"]
fn many_holes_take_what_is_promised() {
    const EXTENTS: u64 = 150_000;
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "400M", &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^has_journal"]);
    fill::kernel(&image, |root| {
        let mut comb = [7; 2048];
        comb[1024..].fill(0);
        let comb = comb.repeat(64);
        let mut file = File::create(root.join("comb")).expect("a file");
        for _ in 0..EXTENTS / 64 {
            file.write_all(&comb).expect("writing");
        }
    });
    takes_what_is_promised(&image, 16, EXTENTS);
}

/// The log is full of revoke records, for millions of blocks that it has no copies of.
#[test]
fn many_revokes_take_nothing() {
    const BLOCK: u64 = 1024;
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^metadata_csum,^64bit", "-J", "size=32"];
    let image = lab.mke2fs("in.img", "128M", &options);
    let log = blocks_of(&image, "<8>");
    assert_eq!(log.len(), 32 << 10);
    let header = |kind: u32| [MAGIC, kind, 7].map(u32::to_be_bytes).concat();
    let mut number = 0;
    for block in &log[1..log.len() - 2] {
        let mut bytes = [header(REVOKE_BLOCK), 1024_u32.to_be_bytes().to_vec()].concat();
        for _ in 0..252 {
            bytes.extend((number * 5 % 60_000_000_u32).to_be_bytes());
            number += 1;
        }
        patch(&image, block * BLOCK, &bytes);
    }
    let mut commit = header(COMMIT_BLOCK);
    commit.resize(1024, 0);
    patch(&image, log[log.len() - 2] * BLOCK, &commit);
    journal(&image).set("s_sequence", 7);
    journal(&image).set("s_start", 1);
    superblock(&image).add("s_feature_incompat", Incompat::NEEDS_RECOVERY.bits());
    let ran = canon(["--json", "--check"]).arg(&image).run().with_code(1);
    assert!(number > 8_000_000 && ran.json()["report"]["transactions"] == 1, "{ran}");
    let replayed = "ext4-canon: warning: the filesystem was not unmounted, so its journal was replayed (1 transaction); data \
                    that was only in memory is missing\n";
    takes_no_more(&image, PER_INODE * 16 + PER_EXTENT * 16, replayed);
}
