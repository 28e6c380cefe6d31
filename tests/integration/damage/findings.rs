//! What damage and fuzzing have found, each as small as it can be.

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

/// A size that no map reaches went through where the content is inline, into an output that e2fsck
/// complains of. The kernel makes inline files as long as it likes, but no longer than it can.
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

/// e2fsck takes content for an extent tree that begins like one, if it is inline.
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

/// The greatest depth in a node that is not a root was one too many to count with.
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

/// In a sparse image, a block map that names itself would be one of as many blocks as one likes.
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
    refused(&image, &[], 4, &["(/file)", "part of this map twice"]);
}

/// Orphans are not in the tree, but their maps are read: all together no more than once.
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
    refused(&image, &[], 4, &["also claimed by another"]);
}

/// What an orphan gives back must be nobody else's: the kernel would take it from a file in use.
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

/// What goes for the blocks of an orphan's content goes for the block of its xattrs.
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
    // Content of a file, the superblock, and what is not there.
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
    // A block that looks like one of xattrs, but belongs to a file.
    let damaged = lab.copy(&image, "damaged.img");
    let own = inode(&image, &format!("<{orphan}>")).xattr_block().start;
    patch(&damaged, u64::from(live) * 1024, &peek::<1024>(&image, own));
    debugfs(&damaged, &format!("set_inode_field <{orphan}> file_acl {live}\n"));
    refused(&damaged, &[], 4, &["is also claimed by inode"]);
}

/// A directory that is long, where the image has holes, takes no memory for its length.
#[test]
fn long_directories_of_holes_take_no_memory() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "4096", "-N", "64", "-O", "^has_journal,^metadata_csum"];
    let image = lab.mke2fs("in.img", "8G", &options);
    debugfs(&image, "mkdir long\nset_inode_field long flags 0x81000\nset_inode_field long size 0xFA000000\n");
    let long = inode(&image, "/long");
    // Long extents; blocks that metadata has would be refused first.
    for (number, start) in (1..4).zip([600_000, 640_000, 680_000]) {
        long.extent(number).set_extent(1 + (number - 1) * 32_767, 32_767, start);
    }
    long.extent_header().set("eh_entries", 4);
    debugfs(&image, &format!("set_inode_field long size {}\n", (1 + 3 * 32_767) * 4096_u64));
    let script = r#"ulimit -d 33000 && exec "$0" --check --threads=2 "$1""#;
    Canon::script(script).arg(&image).run().refusing(4, &["(/long), directory"]);
}

/// A path of any depth is found in little memory, and told in few words.
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

/// The resize inode of 4 KiB blocks is a large file to e2fsck; mke2fs always sets the feature then.
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

/// The kernel mounts neither; the output had the same options, and another level.
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

/// The kernel hides what the superblock names as a quota file, also without the feature.
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
            &["(/lost+found): has the number that the superblock has for a quota file", "set_super_value"],
        );
        debugfs(&image, &format!("set_super_value {field} 0\n"));
        same_bytes(&output, &canonical(&image, &[]));
    }
}

/// The kernel does not mount where it can't read the orphan file's inode.
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

/// The kernel lists such xattrs, but does not open them; e2fsck says nothing.
#[test]
fn names_of_xattrs_have_the_parts_of_their_namespace() {
    for (index, length, words) in [
        (2, 4, "'system.posix_acl_accesslong', which has a part too many"),
        (1, 0, "'user.', which has a part too many"),
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
        // A hash of 0 is none.
        entry.set("e_hash", 0);
        if length == 0 {
            // The entry is shorter then, and its end is where the name was.
            patch(&image, entry.end(), &[0; 4]);
        }
        refused(&image, &[], 4, &["(/file), xattrs: have the name", words]);
    }
}

/// A long interval of multiple mount protection is its owner's choice, though e2fsck announces a wait.
#[test]
fn a_long_interval_between_mounts_is_kept() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-O", "^has_journal,mmp", "-E", "mmp_update_interval=146"];
    let image = lab.mke2fs("in.img", "4M", &options);
    // Anything that writes would wait indeed.
    let Outcome::Written(output) = outcome(&fs::read(&image).expect("reading")) else { panic!("refused") };
    output.store(&lab.path("out.img"));
    judge::fsck_silent(&lab.path("out.img")).expect("a sound image");
    assert_eq!(superblock(&lab.path("out.img")).get("s_mmp_update_interval"), 146);
}
