//! The judges themselves: each of them detects errors.

use std::fs;

use crate::support::fields::superblock;
use crate::support::image::{debugfs, patch, peek};
use crate::support::listing::{Listing, listing};
use crate::support::{Lab, Need, canon, fill, gate, judge, partly, tree};

/// Makes an image without checksums, so that damage has only the intended effect.
fn unchecked_image(lab: &Lab) -> std::path::PathBuf {
    lab.plain_image("judged.img", "8M", &["-t", "ext2", "-b", "1024"])
}

#[test]
fn fsck_silent_hears_what_the_exit_code_hides() {
    let lab = Lab::new();
    let image = unchecked_image(&lab);
    judge::fsck_silent(&image).expect("an image fresh from mke2fs is clean");
    let sb = superblock(&image);
    sb.set("s_free_blocks_count_lo", sb.get("s_free_blocks_count_lo") + 1);
    let complaint = judge::fsck_silent(&image).expect_err("the free count is wrong");
    assert!(complaint.contains("Free blocks count wrong"), "{complaint}");
    assert!(complaint.contains("code: Some(\n        0,"), "the exit code should be 0: {complaint}");
}

#[test]
fn fsck_changes_nothing_sees_what_read_only_mode_skips() {
    let lab = Lab::new();
    // Use an empty image, since `mke2fs -d` leaves large directories without an index.
    let image = lab.mke2fs("empty.img", "8M", &["-t", "ext2"]);
    judge::fsck_changes_nothing(&image).expect("an image fresh from mke2fs needs no repair");
    debugfs(&image, "rmdir /lost+found\n");
    judge::fsck_silent(&image).expect("read-only mode does not check lost+found");
    let complaint = judge::fsck_changes_nothing(&image).expect_err("lost+found is recreated");
    assert!(
        complaint.contains("changes bytes") && complaint.contains("/lost+found not found"),
        "{complaint}"
    );
}

/// The kernel keeps 2 % of the clusters, so a filesystem is full while `statvfs` counts many free blocks.
#[test]
#[ignore = "needs root: mounts images"]
fn the_kernel_works_on_a_full_filesystem() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for options in [&["-b", "1024", "-O", "bigalloc", "-C", "65536"][..], &["-b", "1024"]] {
        let lab = Lab::new();
        let image = lab.mke2fs("full.img", "64M", &[&["-t", "ext4", "-m", "0"], options].concat());
        fill::kernel(&image, |root| {
            let mut size = 1 << 20;
            for number in 0.. {
                let name = root.join(format!("file{number}"));
                if fs::write(&name, vec![7; size]).is_ok() {
                    continue;
                }
                let _ = fs::remove_file(&name);
                size /= 4;
                if size < 1024 {
                    break;
                }
            }
        });
        judge::kernel_works(&image).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn kernel_judges_see_differences_and_damages() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = unchecked_image(&lab);
    judge::kernel_works(&image).expect("an image fresh from mke2fs works");
    let before = judge::kernel_tree(&image).expect("it mounts");
    assert_eq!(before, listing(&lab.path("source"), Listing::default()));
    for change in ["mtime_extra 4", "mtime @5", "mode 0100601", "uid 7", "flags 0x40"] {
        let other = lab.copy(&image, "other.img");
        if change.starts_with("mtime_extra") {
            fill::kernel(&other, |root| tree::set_mtime(&root.join("sizes/1"), tree::SOME_TIME, 1));
        } else {
            debugfs(&other, &format!("set_inode_field sizes/1 {change}\n"));
        }
        assert_ne!(before, judge::kernel_tree(&other).expect("it mounts"), "{change}");
    }
    // The kernel trusts the counts, but e2fsck reports them after the kernel's work.
    let other = lab.copy(&image, "damaged.img");
    debugfs(&other, "set_block_group 0 free_blocks_count 0\nset_block_group 0 free_inodes_count 9\n");
    let complaint = judge::kernel_works(&other).expect_err("the counts are wrong");
    let words = ["after the kernel's work: e2fsck -fn is not silent", "Free blocks count wrong for group #0"];
    assert!(words.iter().all(|words| complaint.contains(words)), "{complaint}");
}

#[test]
fn trees_differ_by_links_and_xattrs() {
    let lab = Lab::new();
    let [a, b] = ["a", "b"].map(|name| {
        let folder = lab.folder(name);
        fs::write(folder.join("x"), "same").expect("writing");
        folder
    });
    fs::hard_link(a.join("x"), a.join("y")).expect("a link");
    fs::write(b.join("y"), "same").expect("writing");
    for folder in [&a, &b] {
        tree::set_all_mtimes(folder);
        tree::set_mtime(&folder.join("x"), 9, 0);
        tree::set_mtime(&folder.join("y"), 9, 0);
    }
    assert_ne!(listing(&a, Listing::default()), listing(&b, Listing::default()));
    fs::remove_file(b.join("y")).expect("removing");
    fs::hard_link(b.join("x"), b.join("y")).expect("a link");
    tree::set_mtime(&b, tree::SOME_TIME, 0);
    assert_eq!(listing(&a, Listing::default()), listing(&b, Listing::default()));
    if partly(&[Need::Root]) {
        tree::set_xattr(&b.join("x"), "trusted.t", b"v");
        assert_ne!(listing(&a, Listing::default()), listing(&b, Listing::default()));
    }
}

#[test]
#[should_panic(expected = "differ at [401]")]
fn images_differ_by_one_bit() {
    let lab = Lab::new();
    let image = unchecked_image(&lab);
    let other = lab.copy(&image, "other.img");
    let [byte] = peek(&image, 1025);
    patch(&other, 1025, &[byte ^ 1]);
    canon::same_bytes(&image, &other);
}

#[test]
fn the_layout_is_read_from_dumpe2fs() {
    let lab = Lab::new();
    let layout = judge::group_layout(&lab.mke2fs("a.img", "20M", &["-t", "ext4", "-b", "1024"]));
    assert_eq!(layout.len(), 3);
    for items in layout.values() {
        for word in ["Block bitmap at ", "Inode bitmap at ", "Inode table at "] {
            assert!(items.iter().any(|item| item.contains(word)), "{layout:#?}");
        }
    }
}
