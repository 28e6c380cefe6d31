//! Histories of the filesystem itself: its creator, growing and shrinking, and the amount of free space.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use ext4_canon::internals::ondisk::superblock::OS_HURD;

use crate::support::emulated::emulated;
use crate::support::fields::{has_feature, inode, superblock};
use crate::support::image::{debugfs, debugfs_read, set_length};
use crate::support::{Lab, Need, canonical, fill, gate, judge, partly, refused, run, same_bytes, tool, tree};

/// FreeBSD and Lites have the same inodes as Linux. The Hurd has a translator field in them.
#[test]
fn the_creator_does_not_matter_unless_its_inodes_are_others() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let made = |name: &str| lab.mke2fs_d(name, "16M", &["-t", "ext2", "-o", name], &source);
    let output = canonical(&made("linux"), &[]);
    for name in ["freebsd", "lites"] {
        same_bytes(&output, &canonical(&made(name), &[]));
    }
    let hurd = made("hurd");
    let creator = superblock(&canonical(&hurd, &["--verify"])).get32("s_creator_os");
    assert_eq!(creator, OS_HURD, "the creator is not the Hurd");
    let with_history = lab.copy(&hurd, "with-history");
    debugfs(&with_history, "mkdir clutter\nmknod pipe p\nrmdir clutter\nrm pipe\n");
    let epoch = ["--source-date-epoch", "1"];
    same_bytes(&canonical(&hurd, &epoch), &canonical(&with_history, &epoch));
    // The Hurd does not support the filetype feature, and e2fsck would remove it.
    let [typed, untyped] = ["filetype", "^filetype"].map(|feature| {
        let image = lab.mke2fs_d(feature, "16M", &["-t", "ext2", "-O", feature], &source);
        superblock(&image).set("s_creator_os", OS_HURD.into());
        canonical(&image, &["--verify"])
    });
    same_bytes(&typed, &untyped);
    assert!(!has_feature(&typed, "filetype"));
    // Fields of Linux, and the fields of the Hurd in the same place.
    for (field, words) in [
        ("l_i_version", "h_i_translator"),
        ("l_i_blocks_high", "h_i_frag"),
        ("l_i_file_acl_high", "h_i_mode_high"),
        ("l_i_checksum_lo", "h_i_author"),
    ] {
        let image = lab.copy(&hurd, "with-a-field");
        inode(&image, "/sizes/60").set(field, 1);
        refused(&image, &[], 3, &[words, "/sizes/60"]);
    }
    let large = lab.mke2fs("large", "16M", &["-t", "ext4", "-o", "hurd"]);
    refused(&large, &[], 3, &["a filesystem of the Hurd (s_creator_os is 1) with one of 64bit"]);
    for creator in [2_u32, 5, u32::MAX] {
        let image = lab.copy(&hurd, &creator.to_string());
        superblock(&image).set("s_creator_os", creator.into());
        refused(&image, &[], 3, &[&format!("s_creator_os is {creator}")]);
    }
}

/// Obsolete features left data in the superblock.
#[test]
fn leftovers_of_snapshots_are_dropped() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext3"], &source);
    let other = lab.copy(&image, "other.img");
    for field in [
        "s_snapshot_inum",
        "s_snapshot_id",
        "s_snapshot_r_blocks_count",
        "s_snapshot_list",
        "s_algorithm_usage_bitmap",
        "s_encryption_level",
    ] {
        superblock(&other).fill(field, 0x5A);
    }
    same_bytes(&canonical(&image, &[]), &canonical(&other, &[]));
}

/// mke2fs 1.47.0 replaces resize_inode with meta_bg here, since the descriptors would fill most of a group,
/// but keeps the number of reserved blocks. e2fsck sets it to 0 and changes nothing else.
#[test]
fn reserved_descriptors_without_a_resize_inode_count_for_nothing() {
    let lab = Lab::new();
    let options = ["-t", "ext2", "-b", "1024", "-g", "256", "-N", "64", "-E", "resize=2000000"];
    let image = lab.mke2fs("in.img", "2M", &options);
    let reserved = |image: &Path| superblock(image).get("s_reserved_gdt_blocks");
    assert_eq!(reserved(&image), 244, "test precondition failed");
    let checked = lab.copy(&image, "checked.img");
    let ran = judge::repair(&checked, &[]).with_code(1);
    assert!(ran.stdout.contains("s_reserved_gdt_blocks"), "{ran:#?}");
    let output = canonical(&image, &[]);
    assert_eq!(reserved(&output), 0);
    same_bytes(&output, &canonical(&checked, &[]));
}

/// ext4-canon does not search for a filesystem at an offset.
#[test]
fn an_offset_is_told_of() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &["-t", "ext4", "-E", "offset=1048576"]);
    refused(&image, &[], 3, &["s_magic is 0x0000", "use --offset"]);
}

#[test]
fn a_list_of_bad_blocks_is_dropped() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let list = lab.path("list");
    fs::write(&list, "3000\n3001\n9000\n").expect("writing");
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext2", "-b", "1024"]] {
        let good = lab.mke2fs_d("good.img", "16M", options, &source);
        let listed = [options, &["-l", list.to_str().expect("a path in UTF-8")]].concat();
        let bad = lab.mke2fs_d("bad.img", "16M", &listed, &source);
        assert!(debugfs_read(&bad, "blocks <1>\n").contains("3001"), "test precondition failed");
        same_bytes(&canonical(&good, &[]), &canonical(&bad, &[]));
        for image in [good, bad] {
            fs::remove_file(image).expect("removing");
        }
    }
}

/// With metadata_csum_seed, tune2fs changes only the UUID.
#[test]
fn a_new_uuid_leaves_the_seed_behind() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-O", "metadata_csum_seed"], &source);
    let other = lab.copy(&image, "other.img");
    run(tool("tune2fs").args(["-U", "random"]).arg(&other));
    let field = |image: &Path, name: &str| superblock(image).bytes(name);
    assert_eq!(field(&image, "s_checksum_seed"), field(&other, "s_checksum_seed"));
    assert_ne!(field(&image, "s_uuid"), field(&other, "s_uuid"), "test precondition failed");
    same_bytes(&canonical(&image, &[]), &canonical(&other, &[]));
}

/// Superblock fields that describe the geometry.
const SHAPE: [&str; 9] = [
    "s_inodes_count",
    "s_blocks_count_lo",
    "s_r_blocks_count_lo",
    "s_inodes_per_group",
    "s_feature_compat",
    "s_feature_incompat",
    "s_feature_ro_compat",
    "s_reserved_gdt_blocks",
    "s_first_meta_bg",
];

/// Growing and shrinking in steps, mounted or not, gives the same result as a single step.
#[test]
#[ignore = "needs an emulated kernel"]
fn it_does_not_matter_how_a_filesystem_grew() {
    if !gate(&[Need::EmulatedKernel]) {
        return;
    }
    for feature in ["has_journal", "^flex_bg", "meta_bg,^resize_inode", "sparse_super2,^resize_inode"] {
        let lab = Lab::new();
        let source = lab.plain_tree();
        let mut options = vec!["-t", "ext4", "-b", "1024", "-m", "0", "-J", "size=1", "-O", feature];
        if !feature.contains("^resize_inode") {
            options.extend(["-E", "resize=256M"]);
        }
        let resize = |image: &Path, sizes: &[&str]| {
            for size in sizes {
                run(tool("e2fsck").args(["-fp"]).arg(image));
                run(tool("resize2fs").arg(image).arg(size));
            }
        };
        let once = lab.mke2fs_d("once.img", "24M", &options, &source);
        let steps = lab.copy(&once, "steps.img");
        let online = lab.copy(&once, "online.img");
        resize(&once, &["96M"]);
        resize(&steps, &["40M", "33M", "120M", "72M", "96M"]);
        set_length(&online, 96 << 20);
        let mut grown = vec![("steps", &steps)];
        // The kernel can't grow filesystems with sparse_super2.
        if !feature.starts_with("sparse_super2") {
            // Some hosts restrict the ioctl even for root, so use the emulated kernel.
            let grow = "fskeys grow /mnt 51200\nfskeys grow /mnt 98304\n";
            emulated(&[&online], &format!("mount -t ext4 /dev/vda /mnt\n{grow}umount /mnt\n"));
            grown.push(("online", &online));
        }
        set_length(&steps, 96 << 20);
        let shape = |image: &Path| SHAPE.map(|field| superblock(image).get(field));
        let output = canonical(&once, &[]);
        for (name, image) in grown {
            // In some steps, tools compute a different number of reserved blocks. That number is part of the
            // geometry.
            assert_eq!(shape(&once), shape(image), "{feature}: {name}");
            same_bytes(&output, &canonical(image, &[]));
        }
        if partly(&[Need::Mounts]) {
            judge::kernel_works(&output).expect("a mount for changes");
        }
    }
}

/// The filesystem has no free blocks or inodes.
#[test]
#[ignore = "needs root: mounts images"]
fn a_full_filesystem_is_rewritten_in_its_place() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    // With extents, the kernel reserves some blocks.
    let features = "^has_journal,^resize_inode,^extents,^64bit";
    let options = ["-t", "ext4", "-b", "1024", "-m", "0", "-N", "256", "-O", features];
    let image = lab.mke2fs("in.img", "4M", &options);
    fill::kernel(&image, |root| {
        let stamp = |path: &Path| tree::set_mtime(path, tree::SOME_TIME, 0);
        let mut number = 0;
        while fs::File::create(root.join(format!("{number:04}"))).is_ok() {
            stamp(&root.join(format!("{number:04}")));
            number += 1;
        }
        let mut big = fs::File::options().write(true).open(root.join("0000")).expect("a file");
        while big.write_all(&[7; 1024]).is_ok() {}
        drop(big);
        rustix::fs::sync();
        stamp(&root.join("0000"));
        stamp(root);
    });
    let text = debugfs_read(&image, "show_super_stats -h\n");
    for word in ["Free inodes:", "Free blocks:"] {
        let line = text.lines().find(|line| line.starts_with(word)).expect("a line");
        assert_eq!(line.split_whitespace().last(), Some("0"), "test precondition failed");
    }
    let output = canonical(&image, &["--verify"]);
    // Change the output in the same way.
    let again = lab.copy(&output, "again.img");
    fill::kernel(&again, |root| {
        let content = fs::read(root.join("0000")).expect("reading");
        for name in ["0000", "0007"] {
            fs::remove_file(root.join(name)).expect("removing");
        }
        rustix::fs::sync();
        // The kernel frees blocks some time after the commit. On a busy machine, this may be after `sync`
        // returns.
        write_when_there_is_room(&root.join("0007"), &[]);
        write_when_there_is_room(&root.join("0000"), &content);
        rustix::fs::sync();
        for name in ["0000", "0007", "."] {
            tree::set_mtime(&root.join(name), tree::SOME_TIME, 0);
        }
    });
    assert_ne!(
        crate::support::contents::sha256(&output),
        crate::support::contents::sha256(&again),
        "test precondition failed"
    );
    same_bytes(&output, &canonical(&again, &[]));
}

fn write_when_there_is_room(path: &Path, content: &[u8]) {
    for _ in 0..100 {
        match fs::write(path, content) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                rustix::fs::sync();
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            written => return written.expect("writing"),
        }
    }
    panic!("no room for {}", path.display());
}
