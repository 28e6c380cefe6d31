//! Histories of the filesystem itself: who made it, how it grew and shrank, and how full it is.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::support::emulated::emulated;
use crate::support::image::{debugfs, debugfs_read, inode_offset, patch, peek};
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, fill, gate, judge, refused, run, same_bytes, tool, tree};

fn plain(lab: &Lab) -> PathBuf {
    let source = lab.folder("source");
    tree::plain(&source);
    source
}

/// FreeBSD and Lites use the inodes of Linux, the Hurd has a translator in them.
#[test]
fn the_creator_does_not_matter_unless_its_inodes_are_others() {
    let lab = Lab::new();
    let source = plain(&lab);
    let made = |name: &str| lab.mke2fs_d(name, "16M", &["-t", "ext2", "-o", name], &source);
    let output = canonical(&made("linux"), &[]);
    for name in ["freebsd", "lites"] {
        same_bytes(&output, &canonical(&made(name), &[]));
    }
    let hurd = made("hurd");
    assert_eq!(peek(&canonical(&hurd, &["--verify"]), 1024 + 0x48), 1_u32.to_le_bytes(), "not the Hurd's");
    let with_history = lab.copy(&hurd, "with-history");
    debugfs(&with_history, "mkdir clutter\nmknod pipe p\nrmdir clutter\nrm pipe\n");
    let epoch = ["--source-date-epoch", "1"];
    same_bytes(&canonical(&hurd, &epoch), &canonical(&with_history, &epoch));
    // The Hurd does not know file types in directories, which e2fsck would take away.
    let [typed, untyped] = ["filetype", "^filetype"].map(|feature| {
        let image = lab.mke2fs_d(feature, "16M", &["-t", "ext2", "-O", feature], &source);
        patch(&image, 1024 + 0x48, &1_u32.to_le_bytes());
        canonical(&image, &["--verify"])
    });
    same_bytes(&typed, &untyped);
    assert_eq!(peek(&typed, 1024 + 0x60), [0; 4], "the feature");
    for (at, words) in [(0x24, "translator"), (0x74, "fragment"), (0x76, "modes"), (0x7C, "author")] {
        let image = lab.copy(&hurd, "with-a-field");
        let offset = inode_offset(&image, "/sizes/60");
        patch(&image, offset + at, &[1, 0]);
        refused(&image, &[], 3, &[words, "/sizes/60"]);
    }
    let large = lab.mke2fs("large", "16M", &["-t", "ext4", "-o", "hurd"]);
    refused(&large, &[], 3, &["64bit"]);
    for creator in [2_u32, 5, u32::MAX] {
        let image = lab.copy(&hurd, &creator.to_string());
        patch(&image, 1024 + 0x48, &creator.to_le_bytes());
        refused(&image, &[], 3, &[&format!("s_creator_os is {creator}")]);
    }
}

/// What features of long ago left in a superblock.
#[test]
fn leftovers_of_snapshots_are_dropped() {
    let lab = Lab::new();
    let source = plain(&lab);
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext3"], &source);
    let other = lab.copy(&image, "other.img");
    for (field, length) in [(0x180, 4), (0x184, 4), (0x188, 8), (0x190, 4), (0xC8, 4), (0x175 + 1, 1)] {
        patch(&other, 1024 + field, &vec![0x5A; length]);
    }
    same_bytes(&canonical(&image, &[]), &canonical(&other, &[]));
}

/// mke2fs 1.47.0 gives this filesystem meta_bg in the place of resize_inode, since its descriptors would fill
/// most of a group, but leaves the number of reserved blocks. e2fsck sets it to 0 and changes nothing else.
#[test]
fn reserved_descriptors_without_a_resize_inode_count_for_nothing() {
    let lab = Lab::new();
    let options = ["-t", "ext2", "-b", "1024", "-g", "256", "-N", "64", "-E", "resize=2000000"];
    let image = lab.mke2fs("in.img", "2M", &options);
    let field = 1024 + 0xCE;
    assert_eq!(peek::<2>(&image, field), 244_u16.to_le_bytes(), "nothing to be seen here");
    let checked = lab.copy(&image, "checked.img");
    let ran = try_run(tool("e2fsck").args(["-fy"]).arg(&checked));
    assert!(ran.code == Some(1) && ran.stdout.contains("s_reserved_gdt_blocks"), "{ran:#?}");
    let output = canonical(&image, &[]);
    assert_eq!(peek(&output, field), [0, 0]);
    same_bytes(&output, &canonical(&checked, &[]));
}

/// A filesystem with something before it is not looked for.
#[test]
fn an_offset_is_told_of() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &["-t", "ext4", "-E", "offset=1048576"]);
    refused(&image, &[], 3, &["use --offset"]);
}

#[test]
fn a_list_of_bad_blocks_is_dropped() {
    let lab = Lab::new();
    let source = plain(&lab);
    let list = lab.path("list");
    fs::write(&list, "3000\n3001\n9000\n").expect("writing");
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext2", "-b", "1024"]] {
        let good = lab.mke2fs_d("good.img", "16M", options, &source);
        let listed = [options, &["-l", list.to_str().expect("a path in UTF-8")]].concat();
        let bad = lab.mke2fs_d("bad.img", "16M", &listed, &source);
        assert!(debugfs_read(&bad, "blocks <1>\n").contains("3001"), "nothing to be seen here");
        same_bytes(&canonical(&good, &[]), &canonical(&bad, &[]));
        for image in [good, bad] {
            fs::remove_file(image).expect("removing");
        }
    }
}

/// With metadata_csum_seed, tune2fs changes the UUID and nothing else.
#[test]
fn a_new_uuid_leaves_the_seed_behind() {
    let lab = Lab::new();
    let source = plain(&lab);
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-O", "metadata_csum_seed"], &source);
    let other = lab.copy(&image, "other.img");
    run(tool("tune2fs").args(["-U", "random"]).arg(&other));
    let seed = |image: &Path| peek::<4>(image, 1024 + 0x270);
    assert_eq!(seed(&image), seed(&other));
    assert_ne!(peek::<16>(&image, 1024 + 0x68), peek(&other, 1024 + 0x68), "nothing to be seen here");
    same_bytes(&canonical(&image, &[]), &canonical(&other, &[]));
}

/// Steps up and down, with and without a mount, end where a single step ends.
#[test]
fn it_does_not_matter_how_a_filesystem_grew() {
    if !gate(&[Need::EmulatedKernel]) {
        return;
    }
    for feature in ["has_journal", "^flex_bg", "meta_bg,^resize_inode", "sparse_super2,^resize_inode"] {
        let lab = Lab::new();
        let source = plain(&lab);
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
        fs::File::options().write(true).open(&online).and_then(|f| f.set_len(96 << 20)).expect("a length");
        let mut grown = vec![("steps", &steps)];
        // The kernel can't grow those with sparse_super2.
        if !feature.starts_with("sparse_super2") {
            // Only the emulated kernel lets root do it everywhere.
            let grow = "fskeys grow /mnt 51200\nfskeys grow /mnt 98304\n";
            emulated(&[&online], &format!("mount -t ext4 /dev/vda /mnt\n{grow}umount /mnt\n"));
            grown.push(("online", &online));
        }
        fs::File::options().write(true).open(&steps).and_then(|f| f.set_len(96 << 20)).expect("a length");
        let shape = |image: &Path| {
            let fields = [0x00, 0x04, 0x08, 0x28, 0x5C, 0x60, 0x64, 0xCE, 0x104];
            fields.map(|field| u32::from_le_bytes(peek(image, 1024 + field)))
        };
        let output = canonical(&once, &[]);
        for (name, image) in grown {
            // Tools leave other numbers of reserved blocks in some steps; that is geometry.
            assert_eq!(shape(&once), shape(image), "{feature}: {name}");
            same_bytes(&output, &canonical(image, &[]));
        }
        if gate(&[Need::Mounts]) {
            judge::kernel_works(&output).expect("a mount for changes");
        }
    }
}

/// Neither blocks nor inodes are left.
#[test]
fn a_full_filesystem_is_rewritten_in_its_place() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    // With extents, the kernel holds some blocks back.
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
        assert_eq!(line.split_whitespace().last(), Some("0"), "nothing to be seen here");
    }
    let output = canonical(&image, &["--verify"]);
    // The same once more, in the order of the output.
    let again = lab.copy(&output, "again.img");
    fill::kernel(&again, |root| {
        let content = fs::read(root.join("0000")).expect("reading");
        for name in ["0000", "0007"] {
            fs::remove_file(root.join(name)).expect("removing");
        }
        rustix::fs::sync();
        fs::write(root.join("0007"), "").expect("writing");
        fs::write(root.join("0000"), content).expect("writing");
        rustix::fs::sync();
        for name in ["0000", "0007", "."] {
            tree::set_mtime(&root.join(name), tree::SOME_TIME, 0);
        }
    });
    assert_ne!(
        crate::support::contents::sha256(&output),
        crate::support::contents::sha256(&again),
        "nothing to be seen here"
    );
    same_bytes(&output, &canonical(&again, &[]));
}
