//! Regression tests for findings of the damage tests and of fuzzing, each as small as possible.

use std::fs;
use std::mem::offset_of;

use ext4_canon::internals::ondisk::extent::ExtentHeader;
use ext4_canon::internals::ondisk::features::RoCompat;
use ext4_canon::internals::ondisk::inode::InodeFlags;

use super::anatomy::{Canvas, Kind, dissect};
use super::images::{RECIPES, make};
use super::outcome::{Outcome, outcome};
use crate::support::fields::{has_feature, inode, superblock};
use crate::support::image::{blocks_of, debugfs, flags_of, inode_of, patch, peek};
use crate::support::{Canon, Lab, canonical, judge, refused, same_bytes};

const INLINE: [&str; 6] = ["-t", "ext4", "-I", "256", "-O", "^has_journal,inline_data"];

/// An inline file with a size beyond the maximum was accepted, and e2fsck reported an error in the output.
/// The kernel keeps files inline with any size up to the maximum.
#[test]
fn inline_files_have_a_size_that_a_map_could_reach() {
    for (blocks, fits) in [(1_u64 << 20, true), (1 << 31, false), (1 << 50, false)] {
        let lab = Lab::new();
        let source = lab.folder("source");
        fs::write(source.join("file"), "inline").expect("writing");
        let image = lab.mke2fs_d("in.img", "4M", &INLINE, &source);
        assert_eq!(flags_of(&image, "/file"), InodeFlags::INLINE_DATA);
        debugfs(&image, &format!("set_inode_field file size {}\n", blocks * 4096));
        if fits {
            canonical(&image, &["--verify"]);
        } else {
            refused(&image, &[], 4, &[&format!("(/file): i_size is {}, expected at most", blocks * 4096)]);
        }
    }
}

/// e2fsck treats inline content as an extent tree if it begins like one.
#[test]
fn content_that_looks_like_an_extent_tree_is_not_inline() {
    let cases: [(&[u8], bool); 4] = [
        (b"\x0A\xF3\0\0\x04\0\0\0 and more", false),
        (b"\x0A\xF3\x01\0\x02", false),
        (b"\x0A\xF3\x05\0\x04\0", true),
        (b"\x0A\xF3\0\0\x05\0", true),
    ];
    for (content, inline) in cases {
        let lab = Lab::new();
        let source = lab.folder("source");
        fs::write(source.join("file"), content).expect("writing");
        let image = lab.mke2fs_d("in.img", "4M", &INLINE, &source);
        let output = canonical(&image, &["--verify"]);
        let flags = if inline { InodeFlags::INLINE_DATA } else { InodeFlags::EXTENTS };
        assert_eq!(flags_of(&output, "/file"), flags, "{content:?}");
    }
}

/// The maximum depth in a node below the root caused an overflow.
#[test]
fn a_node_of_the_greatest_depth_is_refused() {
    for name in ["ext4", "no checksums"] {
        let lab = Lab::new();
        let recipe = RECIPES.iter().find(|recipe| recipe.0 == name).expect("a recipe");
        let bytes = fs::read(make(&lab, recipe)).expect("reading");
        let anatomy = dissect(&bytes).expect("an image");
        let nodes = anatomy.of_class(Kind::Extents(0, 0).class());
        let mut canvas = Canvas::new(bytes);
        canvas.set(nodes[0].start + offset_of!(ExtentHeader, eh_depth), &[0xFF, 0xFF]);
        anatomy.refresh(&mut canvas, &nodes[0]);
        assert!(matches!(outcome(&canvas.bytes), Outcome::Refused), "{name}");
    }
}

/// In a sparse image, a block map that contains itself would have any number of blocks.
#[test]
fn a_block_map_that_names_itself_is_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("file"), "a block").expect("writing");
    let image = lab.mke2fs_d("in.img", "4M", &["-t", "ext2", "-b", "1024"], &source);
    let block = blocks_of(&image, "/file")[0];
    let number = u32::try_from(block).expect("a block").to_le_bytes();
    patch(&image, block * 1024, &number.repeat(256));
    debugfs(&image, &format!("set_inode_field file block[TIND] {block}\nset_inode_field file block[0] 0\n"));
    refused(&image, &[], 4, &["(/file)", "in this map twice"]);
}

/// Orphans are not in the tree, but their maps are read. All of them together may contain each block only
/// once.
#[test]
fn orphans_with_one_map_are_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    for name in ["one", "two"] {
        fs::write(source.join(name), vec![7; 20_000]).expect("writing");
    }
    let image = lab.mke2fs_d("in.img", "4M", &["-t", "ext2", "-b", "1024"], &source);
    let [one, two] = ["/one", "/two"].map(|path| inode_of(&image, path));
    let indirect = inode(&image, "/one").word("i_block", 12);
    let orphans = format!(
        "set_inode_field one links_count 0\nset_inode_field one dtime {two}\n\
         set_inode_field two links_count 0\nset_inode_field two dtime 0\n\
         unlink one\nunlink two\nset_super_value last_orphan {one}\n"
    );
    let sound = lab.copy(&image, "sound.img");
    debugfs(&sound, &orphans);
    canonical(&sound, &[]);
    inode(&image, "/two").set_word("i_block", 12, indirect);
    debugfs(&image, &orphans);
    refused(&image, &[], 4, &["also claimed by a different map"]);
}

/// Blocks of an orphan must not belong to a different inode: the kernel would free blocks that are in use.
#[test]
fn orphans_with_blocks_of_others_are_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    for name in ["one", "two", "live"] {
        fs::write(source.join(name), vec![7; 3000]).expect("writing");
    }
    let image = lab.mke2fs_d("in.img", "4M", &["-t", "ext2", "-b", "1024"], &source);
    let [one, two] = ["/one", "/two"].map(|path| inode_of(&image, path));
    let places = ["/one", "/two", "/live"].map(|path| inode(&image, path).at("i_block"));
    let [in_one, in_two, in_live] = places;
    debugfs(
        &image,
        &format!(
            "set_inode_field one links_count 0\nset_inode_field one dtime {two}\n\
             set_inode_field two links_count 0\nset_inode_field two dtime 0\n\
             unlink one\nunlink two\nset_super_value last_orphan {one}\n"
        ),
    );
    canonical(&image, &[]);
    for (from, to) in [(in_live, in_one), (in_one, in_two)] {
        let damaged = lab.copy(&image, "damaged.img");
        patch(&damaged, to, &peek::<4>(&damaged, from));
        refused(&damaged, &[], 4, &["is also claimed by inode"]);
    }
}

/// The xattr block of an orphan is checked like the blocks of its content.
#[test]
fn orphans_with_a_wrong_xattr_block_are_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("orphan"), "").expect("writing");
    fs::write(source.join("live"), vec![7; 3000]).expect("writing");
    let image = lab.mke2fs_d("in.img", "4M", &["-t", "ext2", "-b", "1024", "-I", "128"], &source);
    let orphan = inode_of(&image, "/orphan");
    debugfs(
        &image,
        &format!(
            "ea_set orphan user.name value\nset_inode_field orphan links_count 0\n\
             set_inode_field orphan dtime 0\nunlink orphan\nset_super_value last_orphan {orphan}\n"
        ),
    );
    canonical(&image, &[]);
    let live = inode(&image, "/live").word("i_block", 0);
    // Use a block of a file, the superblock, a free block, and a block past the end.
    for (block, words) in [
        (live, "bad magic 0x7070707"),
        (1, "i_file_acl is 1, expected a block of the filesystem"),
        (4000, "bad magic 0x0"),
        (100_000, "i_file_acl is 100000, expected a block of the filesystem"),
    ] {
        let damaged = lab.copy(&image, "damaged.img");
        debugfs(&damaged, &format!("set_inode_field <{orphan}> file_acl {block}\n"));
        refused(&damaged, &[], 4, &[&format!("inode {orphan}"), words]);
    }
    // Use a valid xattr block that belongs to a file.
    let damaged = lab.copy(&image, "damaged.img");
    let own = inode(&image, &format!("<{orphan}>")).xattr_block().start;
    patch(&damaged, u64::from(live) * 1024, &peek::<1024>(&image, own));
    debugfs(&damaged, &format!("set_inode_field <{orphan}> file_acl {live}\n"));
    refused(&damaged, &[], 4, &["is also claimed by inode"]);
}

/// A directory with a large size and holes does not need memory for its size.
#[test]
fn long_directories_of_holes_take_no_memory() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "4096", "-N", "64", "-O", "^has_journal,^metadata_csum"];
    let image = lab.mke2fs("in.img", "8G", &options);
    debugfs(&image, "mkdir long\nset_inode_field long flags 0x81000\nset_inode_field long size 0xFA000000\n");
    let long = inode(&image, "/long");
    // Use long extents in blocks without metadata, because overlaps would be refused first.
    for (number, start) in (1..4).zip([600_000, 640_000, 680_000]) {
        long.extent(number).set_extent(1 + (number - 1) * 32_767, 32_767, start);
    }
    long.extent_header().set("eh_entries", 4);
    debugfs(&image, &format!("set_inode_field long size {}\n", (1 + 3 * 32_767) * 4096_u64));
    let script = r#"ulimit -d 33000 && exec "$0" --check --threads=2 "$1""#;
    Canon::script(script).arg(&image).run().refusing(4, &["(/long), directory"]);
}

/// A very deep path is found with little memory, and shortened in messages.
#[test]
fn a_deep_path_is_cut_in_messages() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "4M", &["-t", "ext2", "-b", "1024"]);
    let name = "n".repeat(250);
    let mut script = format!("mkdir {name}\ncd {name}\n").repeat(30);
    script.push_str("mknod pipe p\nset_inode_field pipe dtime 5\n");
    debugfs(&image, &script);
    let message = refused(&image, &[], 4, &["(…/n", "nn/pipe)"]);
    assert!(message.len() < 5000, "{}", message.len());
}

/// With blocks of 4 KiB, e2fsck treats the resize inode as a large file. mke2fs always sets the feature in
/// this case.
#[test]
fn a_resize_inode_may_be_a_large_file() {
    let lab = Lab::new();
    let image =
        lab.mke2fs("in.img", "8M", &["-t", "ext4", "-b", "4096", "-O", "resize_inode,^metadata_csum"]);
    assert!(has_feature(&image, "large_file"));
    let output = canonical(&image, &[]);
    superblock(&image).remove("s_feature_ro_compat", RoCompat::LARGE_FILE.bits());
    same_bytes(&output, &canonical(&image, &[]));
}

/// The kernel mounts neither of these. An output would keep the options, or change the level.
#[test]
fn what_the_kernel_does_not_mount_is_refused() {
    for (field, byte, words) in
        [("s_mount_opts", b'x', "tune2fs -E mount_opts"), ("s_encryption_level", 1, "s_encryption_level 1")]
    {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "4M", &["-t", "ext4", "-O", "encrypt,^metadata_csum"]);
        canonical(&image, &[]);
        superblock(&image).fill(field, byte);
        refused(&image, &[], 3, &[words]);
    }
}

/// The kernel hides an inode that the superblock refers to as a quota file, even without the feature.
#[test]
fn a_quota_file_in_the_tree_is_refused() {
    for field in ["usr_quota_inum", "grp_quota_inum", "prj_quota_inum", "orphan_file_inum"] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "4M", &["-t", "ext4", "-O", "^has_journal,^orphan_file"]);
        let output = canonical(&image, &[]);
        debugfs(&image, &format!("set_super_value {field} 11\n"));
        refused(
            &image,
            &[],
            4,
            &[
                "(/lost+found): is in the tree, but the superblock names it as a quota file",
                "set_super_value",
            ],
        );
        debugfs(&image, &format!("set_super_value {field} 0\n"));
        same_bytes(&output, &canonical(&image, &[]));
    }
}

/// The kernel refuses to mount if it can't read the inode of the orphan file.
#[test]
fn files_outside_the_tree_have_a_possible_extra_isize() {
    for (features, number) in [("orphan_file", 12), ("has_journal", 8), ("quota", 3)] {
        let lab = Lab::new();
        let features = format!("{features},^metadata_csum");
        let image = lab.mke2fs("in.img", "8M", &["-t", "ext4", "-b", "1024", "-I", "256", "-O", &features]);
        canonical(&image, &[]);
        debugfs(&image, &format!("set_inode_field <{number}> extra_isize 65535\n"));
        refused(&image, &[], 4, &["i_extra_isize is 65535"]);
    }
}

/// The kernel lists these xattrs, but can't read them. e2fsck does not report them.
#[test]
fn names_of_xattrs_have_the_parts_of_their_namespace() {
    for (index, length, words) in [
        (2, 4, "'system.posix_acl_accesslong', which does not fit its namespace"),
        (1, 0, "'user.', which does not fit its namespace"),
    ] {
        let lab = Lab::new();
        let source = lab.folder("source");
        fs::write(source.join("file"), "x").expect("writing");
        let options = ["-t", "ext4", "-I", "256", "-O", "^has_journal,^metadata_csum"];
        let image = lab.mke2fs_d("in.img", "4M", &options, &source);
        debugfs(&image, "ea_set file user.long value\n");
        canonical(&image, &[]);
        let file = inode(&image, "/file");
        let entry = file.first_xattr();
        entry.set("e_name_len", length);
        entry.set("e_name_index", index);
        // A hash of 0 is not checked.
        entry.set("e_hash", 0);
        if length == 0 {
            // The entry is shorter, so the terminator replaces the name.
            patch(&image, entry.end(), &[0; 4]);
        }
        refused(&image, &[], 4, &["(/file), xattrs: have the name", words]);
    }
}

/// A long MMP interval is kept, although e2fsck announces a wait.
#[test]
fn a_long_interval_between_mounts_is_kept() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-O", "^has_journal,mmp", "-E", "mmp_update_interval=146"];
    let image = lab.mke2fs("in.img", "4M", &options);
    // Any program that writes would wait for this interval, so use e2fsck only read-only.
    let Outcome::Written(output) = outcome(&fs::read(&image).expect("reading")) else { panic!("refused") };
    output.store(&lab.path("out.img"));
    judge::fsck_silent(&lab.path("out.img")).expect("a sound image");
    assert_eq!(superblock(&lab.path("out.img")).get("s_mmp_update_interval"), 146);
}
