//! Images that are mounted while the command reads or replaces them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::disk::disk;
use crate::support::kernel::{Loop, Mounted, sync};
use crate::support::ran::Ran;
use crate::support::tools::try_run;
use crate::support::{Canon, Lab, Need, canon, fill, gate, run, tool};

fn ext4(lab: &Lab, name: &str) -> PathBuf {
    lab.mke2fs(name, "16M", &["-t", "ext4"])
}

/// Asserts a refusal that names the mount point and leaves no temporary files.
fn refused_as_mounted(ran: Ran, image: &Path, mount: &Path) {
    let words = format!(
        "is mounted at {}, and data written to that mount would be lost; unmount it",
        mount.display()
    );
    ran.refusing(2, &[&words]);
    let names = fs::read_dir(image.parent().expect("a folder")).expect("a folder");
    let mut names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    assert!(!names.any(|name| name.starts_with(".ext4-canon")), "temporary files were left");
}

/// Asserts a warning that data in memory is missing.
fn warned(ran: Ran, image: &Path, mount: &Path) {
    let words = format!(
        "ext4-canon: warning: {} is mounted at {}: data still in memory is missing; unmount it first\n",
        image.display(),
        mount.display()
    );
    ran.saying(&[&words]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn what_is_written_into_a_mounted_image_is_not_lost() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let (image, sound) = (ext4(&lab, "m.img"), ext4(&lab, "sound.img"));
    symlink("m.img", lab.path("soft.img")).expect("a symlink");
    let mounted = Mounted::with_options(&image, "commit=600").expect("a mount");
    fs::write(mounted.path().join("x"), "important").expect("writing");
    // Without a sync, the kernel might write while the image is read.
    sync(mounted.path());
    for options in [&["--in-place"][..], &["--in-place", "-q"]] {
        for name in [&image, &lab.path("soft.img")] {
            refused_as_mounted(canon(options).arg(name).run(), &image, mounted.path());
        }
    }
    refused_as_mounted(canon([&sound, &image]).run(), &image, mounted.path());
    refused_as_mounted(
        canon(["--bmap"]).args([&image, &sound, &lab.path("out")]).run(),
        &image,
        mounted.path(),
    );
    // The shell opens the output before the program starts. Mount a copy, to keep the image itself unchanged.
    let copy = lab.copy(&sound, "copy.img");
    let over = Mounted::read_only(&copy).expect("a mount");
    let script = r#"exec "$0" "$1" - 1<>"$2""#;
    Canon::script(script).args([&sound, &copy]).run().refusing(2, &["standard output: is mounted at"]);
    over.unmount();
    // Every command warns about a mounted input, even if it is refused for a different reason.
    let out = lab.path("out.img");
    warned(canon([&image, &out]).run().done(), &image, mounted.path());
    warned(canon(["ls"]).arg(&image).run().done(), &image, mounted.path());
    let ran = canon(["cat"]).arg(&image).arg("/x").run();
    assert!(matches!(ran.code, Some(0 | 2)), "{ran:#?}");
    warned(ran, &image, mounted.path());
    warned(canon(["digest"]).arg(&image).run().done(), &image, mounted.path());
    warned(canon(["explain"]).arg(&image).run().done(), &image, mounted.path());
    let ran = canon(["compare"]).args([&sound, &image]).run();
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:#?}");
    warned(ran, &image, mounted.path());
    // Data may be missing: the warning is printed even with --quiet.
    warned(canon(["-q"]).args([&image, &out]).run().done(), &image, mounted.path());
    mounted.unmount();
    canon(["--in-place"]).arg(&image).run().done().without_a_word();
    assert_eq!(canon(["cat"]).arg(&image).arg("/x").run().done().stdout, "important");
}

#[test]
#[ignore = "needs root: mounts images"]
fn other_names_of_a_mounted_image_are_known_by_its_inode() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = ext4(&lab, "m.img");
    fs::hard_link(&image, lab.path("hard.img")).expect("a link");
    let mounted = Mounted::read_write(&image).expect("a mount");
    warned(canon(["ls"]).arg(lab.path("hard.img")).run().done(), &lab.path("hard.img"), mounted.path());
    fs::rename(&image, lab.path("renamed.img")).expect("renaming");
    warned(canon(["ls"]).arg(lab.path("renamed.img")).run().done(), &lab.path("renamed.img"), mounted.path());
    // A copy with the old name is not mounted.
    fs::copy(lab.path("renamed.img"), &image).expect("copying");
    let ran = canon(["ls"]).arg(&image).run().done();
    assert!(!ran.stderr.contains("mounted at"), "{ran}");
    let device = PathBuf::from("/dev").join(mounted.device());
    warned(canon(["ls"]).arg(&device).run().done(), &device, mounted.path());
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_mount_for_reading_lacks_nothing_but_is_not_replaced() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = ext4(&lab, "m.img");
    let mounted = Mounted::read_only(&image).expect("a mount");
    canon([&image, &lab.path("out.img")]).run().done().without_a_word();
    refused_as_mounted(canon(["--in-place"]).arg(&image).run(), &image, mounted.path());
}

/// A loop device with partitions. It is detached when this is dropped.
struct Partitions(Loop);

impl Drop for Partitions {
    fn drop(&mut self) {
        try_run(tool("umount").arg(self.first()));
        try_run(tool("partx").arg("--delete").arg(self.0.path()));
    }
}

impl Partitions {
    /// Creates the device. It does not use --partscan, since the kernel may lack support for partition
    /// tables.
    fn of(disk: &Path) -> Self {
        let device = Loop::of(disk);
        run(tool("partx").arg("--add").arg(device.path()));
        Self(device)
    }

    /// Returns the device of the first partition.
    fn first(&self) -> String {
        format!("{}p1", self.0.path().display())
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_partition_of_a_disk_is_found() {
    if !gate(&[Need::Mounts, Need::Program("sfdisk"), Need::Program("partx")]) {
        return;
    }
    let lab = Lab::new();
    let path = lab.path("disk.img");
    let table = "label: dos\nstart=2048, size=32768, type=83\n";
    disk(&path, 24, table, &[(1, &ext4(&lab, "part.img"))]);
    let device = Partitions::of(&path);
    let point = lab.folder("mnt");
    run(tool("mount").arg(device.first()).arg(&point));
    fs::write(point.join("x"), "important").expect("writing");
    sync(&point);
    refused_as_mounted(canon(["--in-place"]).arg(&path).run(), &path, &point);
    warned(canon(["ls", "--partition", "1"]).arg(&path).run().done(), &path, &point);
    let whole = device.0.path();
    warned(canon(["ls", "--partition", "1"]).arg(whole).run().done(), whole, &point);
    run(tool("umount").arg(&point));
    drop(device);
    // Mount the same bytes in a different way.
    run(tool("mount").args(["-o", "loop,offset=1048576,sizelimit=16777216"]).arg(&path).arg(&point));
    fs::write(point.join("x"), "more").expect("writing");
    let ran = canon(["--in-place"]).arg(&path).run();
    run(tool("umount").arg(&point));
    refused_as_mounted(ran, &path, &point);
    canon(["--in-place"]).arg(&path).run().done();
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_mount_in_another_namespace_counts() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = ext4(&lab, "m.img");
    let point = lab.folder("mnt");
    let script = r#"mount -o loop "$0" "$1" && echo mounted && read -r _; umount "$1""#;
    let mut child = tool("unshare")
        .args(["--mount", "sh", "-c", script])
        .args([&image, &point])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut said = [0; 8];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut said).expect("a mount");
    let ran = canon(["--in-place"]).arg(&image).run();
    drop(child.stdin.take());
    assert!(child.wait().expect("an end").success());
    ran.refusing(
        2,
        &["is mounted in a different mount namespace (loop", "data written to that mount would be lost"],
    );
}

#[test]
#[ignore = "needs root: FUSE"]
fn fuse2fs_counts_too() {
    if !gate(&[Need::Fuse, Need::Program("fuse2fs")]) {
        return;
    }
    let lab = Lab::new();
    let image = ext4(&lab, "m.img");
    fill::fuse2fs(&image, |root| refused_as_mounted(canon(["--in-place"]).arg(&image).run(), &image, root));
}

#[test]
#[ignore = "needs root"]
fn without_proc_nothing_is_refused_and_verbose_says_so() {
    if !gate(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let (image, out) = (ext4(&lab, "m.img"), lab.path("out.img"));
    let script = r#"exec unshare --mount sh -c 'mount -t tmpfs none /sys && exec "$0" "$@"' "$0" "$@""#;
    let hidden = |options: &[&str]| Canon::script(script).args(options).args([&image, &out]).run().done();
    hidden(&[]).without_a_word();
    hidden(&["-v"]).saying(&["/proc or /sys can't be read"]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_replayed_journal_is_warned_of() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = ext4(&lab, "m.img");
    let mounted = Mounted::with_options(&image, "commit=600").expect("a mount");
    fs::write(mounted.path().join("x"), "content").expect("writing");
    sync(mounted.path());
    let copy = lab.copy(&image, "copy.img");
    mounted.unmount();
    for arguments in [&["--check"][..], &["ls"], &["explain"]] {
        let words = "the filesystem was not unmounted, so its journal was replayed (";
        let ran = canon(arguments).arg(&copy).run().saying(&[words]);
        assert!(!ran.stderr.contains("mounted at"), "{ran:#?}");
    }
}
