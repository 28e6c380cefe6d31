//! Redundant data that is compared and recreated: counts of directories, `i_blocks` of inodes outside the tree,
//! and inodes in bad blocks.

use std::fs;
use std::path::Path;

use crate::support::dice::Dice;
use crate::support::fields::{descriptor, inode, superblock};
use crate::support::image::{debugfs, inode_of, put_xattr};
use crate::support::tools::try_run;
use crate::support::{Lab, canon, canonical, judge, refused, same_bytes, tool};

/// Returns the warnings about an image that is accepted.
fn said(image: &Path) -> String {
    canon([image, &image.with_extension("said")]).run().done().stderr
}

/// Sets the number of directories in group 0.
fn set_directories(image: &Path, count: u64) {
    debugfs(image, &format!("set_block_group 0 used_dirs_count {count}\nset_block_group 0 checksum calc\n"));
}

#[test]
fn only_orphans_that_are_directories_are_still_counted() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "24M", &["-t", "ext4", "-b", "1024"]);
    let sound = canonical(&image, &[]);
    let directories = descriptor(&image, 0).get("bg_used_dirs_count_lo");
    let wrong = "the counts of directories of 1 groups were wrong; recomputed";
    for count in [directories - 1, directories + 1, directories + 3] {
        let broken = lab.copy(&image, "broken.img");
        set_directories(&broken, count);
        assert!(said(&broken).contains(wrong), "{count}");
        same_bytes(&sound, &canonical(&broken, &[]));
    }
    // An orphan that is a directory is counted until it is freed.
    let root = inode(&image, "/").get("i_links_count");
    debugfs(&image, "mkdir orphan\n");
    let number = inode_of(&image, "/orphan");
    debugfs(
        &image,
        &format!(
            "unlink orphan\nset_inode_field <2> links_count {root}\nset_inode_field <{number}> links_count 0\n\
             set_super_value last_orphan {number}\n"
        ),
    );
    let words = said(&image);
    assert!(words.is_empty(), "{words}");
    set_directories(&image, directories + 2);
    assert!(said(&image).contains(wrong));
}

#[test]
fn the_blocks_of_inodes_outside_the_tree_are_compared() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("file"), "x").expect("writing");
    let features = "quota,project,orphan_file,ea_inode";
    let options = ["-t", "ext4", "-b", "1024", "-O", features, "-E", "quotatype=usrquota:grpquota:prjquota"];
    let image = lab.mke2fs_d("in.img", "24M", &options, &source);
    put_xattr(&image, "file", "user.large", Dice::noise(1, 3000));
    judge::repair(&image, &[]);
    let sound = canonical(&image, &[]);
    assert_eq!(said(&image), "");
    let field = |name: &str| superblock(&image).get32(name);
    let value = inode_of(&image, "/file") + 1;
    for number in [3, 4, 7, 8, field("s_prj_quota_inum"), field("s_orphan_file_inum"), value] {
        let broken = lab.copy(&image, "broken.img");
        debugfs(&broken, &format!("set_inode_field <{number}> blocks 9998\n"));
        let judged = try_run(tool("e2fsck").arg("-fn").arg(&broken));
        assert!(judged.stdout.contains("i_blocks is 9998, should be"), "inode {number}: {judged:?}");
        let words = "ext4-canon: warning: 1 inodes outside the tree had a wrong i_blocks; rebuilt\n";
        assert_eq!(said(&broken), words, "inode {number}");
        same_bytes(&sound, &canonical(&broken, &[]));
    }
}

/// e2fsck ignores inodes in a bad block of an inode table, and gives their blocks to other files.
#[test]
fn inodes_in_bad_blocks_are_made_readable() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "24M", &["-t", "ext4", "-b", "1024"]);
    let first = superblock(&image).get("s_first_ino");
    let sizes = superblock(&image).get("s_inode_size");
    let block = descriptor(&image, 0).get("bg_inode_table_lo") + first * sizes / 1024;
    let bad = lab.path("bad");
    fs::write(&bad, format!("9000\n{block}\n")).expect("writing");
    judge::repair(&image, &["-L", bad.to_str().expect("UTF-8")]);
    judge::repair(&image, &[]);
    judge::fsck_silent(&image).unwrap_or_else(|e| panic!("{e}"));
    let words = refused(&image, &[], 4, &["in a block that the list of bad blocks contains"]);
    assert!(words.contains("run e2fsck -f -L /dev/null on the image"), "{words}");
    let emptied = lab.copy(&image, "emptied.img");
    judge::repair(&emptied, &["-L", "/dev/null"]);
    judge::fsck_silent(&emptied).unwrap_or_else(|e| panic!("{e}"));
    canonical(&emptied, &[]);
    assert_eq!(said(&emptied), "");
    // Without these inodes there is nothing to lose. e2fsck still counts them as in use, so the bitmaps are
    // correct.
    let per_block = 1024 / sizes;
    let start = first * sizes / 1024 * per_block + 1;
    let clear: String = (start..start + per_block).map(|number| format!("clri <{number}>\n")).collect();
    debugfs(&image, &clear);
    judge::fsck_silent(&image).unwrap_or_else(|e| panic!("{e}"));
    canonical(&image, &[]);
    let words = said(&image);
    assert!(words.contains("a list of 2 bad blocks was dropped") && words.lines().count() == 1, "{words}");
}
