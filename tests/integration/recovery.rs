//! Images that were not unmounted: the canonical form is the same as after the kernel's recovery.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::fields::needs_recovery;
use crate::support::image::debugfs;
use crate::support::kernel::{Mounted, sync};
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canon, canonical, gate, judge, refused, same_bytes, tool};

/// Copies an image while it is mounted, after `work` and a sync. The copy's journal needs to be replayed.
fn crashed(lab: &Lab, options: &[&str], work: impl FnOnce(&Path) -> Vec<File>) -> PathBuf {
    let image = lab.mke2fs("mounted.img", "24M", options);
    let mounted = Mounted::read_write(&image).expect("a mount");
    let open = work(mounted.path());
    sync(mounted.path());
    let copy = lab.copy(&image, "crashed.img");
    drop(open);
    mounted.unmount();
    copy
}

/// Asserts that the canonical form of an image is the same after recovery by the kernel or by e2fsck.
fn recovers(lab: &Lab, image: &Path) -> PathBuf {
    let by_kernel = lab.by_kernel(image);
    let by_e2fsck = lab.copy(image, "by-e2fsck.img");
    let ran = try_run(tool("e2fsck").arg("-p").arg(&by_e2fsck));
    assert!(ran.code.is_some_and(|code| code <= 1), "{ran:#?}");
    // The log contains the bitmaps and all changes that they count, so no counts are wrong.
    let ran = canon(["--check"]).arg(image).run().with_code(1);
    assert!(!ran.stderr.contains("were wrong"), "{ran:#?}");
    let output = canonical(image, &["--verify"]);
    same_bytes(&output, &canonical(&by_kernel, &[]));
    same_bytes(&output, &canonical(&by_e2fsck, &[]));
    output
}

#[test]
#[ignore = "needs root: mounts images"]
fn the_journal_is_replayed() {
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "^metadata_csum,^64bit"],
        &["-t", "ext4", "-O", "bigalloc", "-b", "1024", "-C", "4096"],
    ] {
        if !gate(&[Need::Mounts]) {
            return;
        }
        let lab = Lab::new();
        let image = crashed(&lab, options, |root| {
            for round in 0..5_u64 {
                for number in 0..40 {
                    fs::write(root.join(format!("file{number}")), Dice::noise(round, 3000)).expect("writing");
                    // The block of the removed directory was metadata, and is revoked.
                    let _ = fs::remove_dir_all(root.join(format!("folder{}", (number + 1) % 40)));
                    fs::create_dir(root.join(format!("folder{number}"))).expect("a folder");
                }
                sync(root);
            }
            Vec::new()
        });
        assert!(needs_recovery(&image), "test precondition failed");
        let output = recovers(&lab, &image);
        assert!(judge::kernel_tree(&output).expect("it mounts").contains("file39 "));
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn deleted_files_that_were_open_are_gone() {
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-O", "orphan_file"],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "bigalloc,orphan_file", "-b", "2048", "-C", "8192"],
    ] {
        if !gate(&[Need::Mounts]) {
            return;
        }
        let lab = Lab::new();
        let image = crashed(&lab, options, |root| {
            let open = (0..30)
                .map(|number| {
                    let path = root.join(format!("deleted{number}"));
                    let file = File::create_new(&path).expect("a file");
                    file.write_all_at(&Dice::noise(number, 5000), 0).expect("writing");
                    fs::remove_file(path).expect("removing");
                    file
                })
                .collect();
            fs::write(root.join("kept"), "content").expect("writing");
            open
        });
        let output = recovers(&lab, &image);
        let text = judge::kernel_tree(&output).expect("it mounts");
        assert!(text.contains("kept ") && !text.contains("deleted"), "{text}");
    }
}

#[test]
fn a_filesystem_that_was_not_unmounted_may_be_whole() {
    let lab = Lab::new();
    for options in [&["-t", "ext2"][..], &["-t", "ext4"]] {
        let clean = lab.plain_image("clean.img", "16M", options);
        let unclean = lab.copy(&clean, "unclean.img");
        debugfs(&unclean, "set_super_value state 0\n");
        same_bytes(&canonical(&clean, &[]), &canonical(&unclean, &[]));
    }
}

#[test]
fn errors_are_for_people_to_look_at() {
    let lab = Lab::new();
    let clean = lab.plain_image("clean.img", "16M", &["-t", "ext4"]);
    for state in [2, 3] {
        let image = lab.copy(&clean, "error.img");
        debugfs(&image, &format!("set_super_value state {state}\n"));
        refused(&image, &[], 4, &["errors were found (s_state)"]);
        same_bytes(&canonical(&clean, &[]), &canonical(&image, &["--ignore-error-state"]));
    }
}
