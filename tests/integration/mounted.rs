//! Images that are mounted while the command is asked to read or to replace them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::kernel::Mounted;
use crate::support::tools::{Ran, try_run};
use crate::support::{Lab, Need, fill, gate, run, tool};

const CANON: &str = env!("CARGO_BIN_EXE_ext4-canon");

fn canon(arguments: &[&str], paths: &[&Path]) -> Ran {
    try_run(tool(CANON).args(arguments).args(paths))
}

fn image(lab: &Lab, name: &str) -> PathBuf {
    lab.mke2fs(name, "16M", &["-t", "ext4"])
}

/// Demands a refusal that names the mount and leaves the image alone.
fn refused(ran: &Ran, image: &Path, mount: &Path) {
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let words =
        format!("is mounted at {}, and what is written there would be lost: unmount it", mount.display());
    assert!(ran.stderr.contains(&words), "{ran:?}");
    let names = fs::read_dir(image.parent().expect("a folder")).expect("a folder");
    let mut names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    assert!(!names.any(|name| name.starts_with(".ext4-canon")), "something was left behind");
}

/// Demands a warning of data in memory.
fn warned(ran: &Ran, image: &Path, mount: &Path) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let words = format!(
        "warning: {} is mounted at {}: data still in memory is missing; unmount it first\n",
        image.display(),
        mount.display()
    );
    assert!(ran.stderr.contains(&words), "{words}: {ran:?}");
}

#[test]
fn what_is_written_into_a_mounted_image_is_not_lost() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let (image, sound) = (image(&lab, "m.img"), image(&lab, "sound.img"));
    symlink("m.img", lab.path("soft.img")).expect("a symlink");
    let mounted = Mounted::with_options(&image, "commit=600").expect("a mount");
    fs::write(mounted.path().join("x"), "important").expect("writing");
    // Else the kernel might write while the image is read.
    run(tool("sync").arg("-f").arg(mounted.path()));
    for options in [&["--in-place"][..], &["--in-place", "-q"]] {
        for name in [&image, &lab.path("soft.img")] {
            refused(&canon(options, &[name]), &image, mounted.path());
        }
    }
    refused(&canon(&[], &[&sound, &image]), &image, mounted.path());
    refused(
        &canon(&["--bmap", image.to_str().expect("text")], &[&sound, &lab.path("out")]),
        &image,
        mounted.path(),
    );
    // As an output of the shell, which has emptied a file by then; so it is a copy that is mounted.
    let copy = lab.copy(&sound, "copy.img");
    let over = Mounted::read_only(&copy).expect("a mount");
    let script = r#"exec "$0" "$1" - 1<>"$2""#;
    let ran = try_run(tool("sh").args(["-c", script, CANON]).args([&sound, &copy]));
    assert!(ran.code == Some(2) && ran.stderr.contains("standard output: is mounted at"), "{ran:?}");
    over.unmount();
    // The input is warned of by every command, also where it is refused for another reason.
    let out = lab.path("out.img");
    warned(&canon(&[], &[&image, &out]), &image, mounted.path());
    warned(&canon(&["ls"], &[&image]), &image, mounted.path());
    warned(&canon(&["cat"], &[&image, Path::new("/x")]).allowing(2), &image, mounted.path());
    warned(&canon(&["digest"], &[&image]), &image, mounted.path());
    warned(&canon(&["explain"], &[&image]), &image, mounted.path());
    warned(&canon(&["compare"], &[&sound, &image]).allowing(1), &image, mounted.path());
    assert_eq!(canon(&["-q"], &[&image, &out]).stderr, "");
    mounted.unmount();
    let ran = canon(&["--in-place"], &[&image]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(canon(&["cat"], &[&image, Path::new("/x")]).stdout, "important");
}

impl Ran {
    /// The same, where another exit code is as good as 0.
    fn allowing(mut self, code: i32) -> Self {
        self.code = self.code.map(|found| if found == code { 0 } else { found });
        self
    }
}

#[test]
fn other_names_of_a_mounted_image_are_known_by_its_inode() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = image(&lab, "m.img");
    fs::hard_link(&image, lab.path("hard.img")).expect("a link");
    let mounted = Mounted::read_write(&image).expect("a mount");
    warned(&canon(&["ls"], &[&lab.path("hard.img")]), &lab.path("hard.img"), mounted.path());
    fs::rename(&image, lab.path("renamed.img")).expect("renaming");
    warned(&canon(&["ls"], &[&lab.path("renamed.img")]), &lab.path("renamed.img"), mounted.path());
    // A copy under the old name is another file.
    fs::copy(lab.path("renamed.img"), &image).expect("copying");
    assert!(!canon(&["ls"], &[&image]).stderr.contains("mounted at"));
    let device = PathBuf::from("/dev").join(mounted.device());
    warned(&canon(&["ls"], &[&device]), &device, mounted.path());
}

#[test]
fn a_mount_for_reading_lacks_nothing_but_is_not_replaced() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = image(&lab, "m.img");
    let mounted = Mounted::read_only(&image).expect("a mount");
    let ran = canon(&[], &[&image, &lab.path("out.img")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    refused(&canon(&["--in-place"], &[&image]), &image, mounted.path());
}

/// A loop device with partitions, gone when dropped.
struct Partitions(String);

impl Drop for Partitions {
    fn drop(&mut self) {
        try_run(tool("umount").arg(format!("{}p1", self.0)));
        try_run(tool("partx").args(["--delete", &self.0]));
        try_run(tool("losetup").args(["--detach", &self.0]));
    }
}

#[test]
fn a_partition_of_a_disk_is_found() {
    if !gate(&[Need::Mounts, Need::Program("sfdisk"), Need::Program("partx")]) {
        return;
    }
    let lab = Lab::new();
    let disk = lab.path("disk.img");
    File::create(&disk).and_then(|file| file.set_len(24 << 20)).expect("a disk");
    let mut child =
        tool("sfdisk").arg("-q").arg(&disk).stdin(std::process::Stdio::piped()).spawn().expect("sfdisk");
    let script = b"label: dos\nstart=2048,size=32768,type=83\n";
    child.stdin.take().expect("a pipe").write_all(script).expect("writing");
    assert!(child.wait().expect("an end").success());
    let part = image(&lab, "part.img");
    run(tool("dd").arg(format!("if={}", part.display())).arg(format!("of={}", disk.display())).args([
        "bs=1M",
        "seek=1",
        "conv=notrunc",
        "status=none",
    ]));
    let device = run(tool("losetup").args(["--find", "--show"]).arg(&disk));
    let device = Partitions(device.trim().to_owned());
    // Not by --partscan: the kernel may know nothing of partition tables.
    run(tool("partx").args(["--add", &device.0]));
    let point = lab.folder("mnt");
    run(tool("mount").arg(format!("{}p1", device.0)).arg(&point));
    fs::write(point.join("x"), "important").expect("writing");
    run(tool("sync").arg("-f").arg(&point));
    refused(&canon(&["--in-place"], &[&disk]), &disk, &point);
    warned(&canon(&["ls", "--partition", "1"], &[&disk]), &disk, &point);
    let whole = PathBuf::from(&device.0);
    warned(&canon(&["ls", "--partition", "1"], &[&whole]), &whole, &point);
    run(tool("umount").arg(&point));
    drop(device);
    // Another way to the same bytes.
    run(tool("mount").args(["-o", "loop,offset=1048576,sizelimit=16777216"]).arg(&disk).arg(&point));
    fs::write(point.join("x"), "more").expect("writing");
    let ran = canon(&["--in-place"], &[&disk]);
    run(tool("umount").arg(&point));
    refused(&ran, &disk, &point);
    let ran = canon(&["--in-place"], &[&disk]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_mount_in_another_namespace_counts() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = image(&lab, "m.img");
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
    let ran = canon(&["--in-place"], &[&image]);
    drop(child.stdin.take());
    assert!(child.wait().expect("an end").success());
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("is mounted in another mount namespace (loop"), "{ran:?}");
}

#[test]
fn fuse2fs_counts_too() {
    if !gate(&[Need::Fuse, Need::Program("fuse2fs")]) {
        return;
    }
    let lab = Lab::new();
    let image = image(&lab, "m.img");
    fill::fuse2fs(&image, |root| refused(&canon(&["--in-place"], &[&image]), &image, root));
}

#[test]
fn without_proc_nothing_is_refused_and_verbose_says_so() {
    if !gate(&[Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let (image, out) = (image(&lab, "m.img"), lab.path("out.img"));
    let script = r#"mount -t tmpfs none /sys && exec "$@""#;
    let hidden = |options: &[&str]| {
        let mut command = tool("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", CANON]).args(options).args([&image, &out]);
        try_run(&mut command)
    };
    let ran = hidden(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let ran = hidden(&["-v"]);
    assert!(ran.code == Some(0) && ran.stderr.contains("/proc or /sys can't be read"), "{ran:?}");
}

#[test]
fn a_replayed_journal_is_warned_of() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = image(&lab, "m.img");
    let mounted = Mounted::with_options(&image, "commit=600").expect("a mount");
    fs::write(mounted.path().join("x"), "content").expect("writing");
    run(tool("sync").arg("-f").arg(mounted.path()));
    let copy = lab.copy(&image, "copy.img");
    mounted.unmount();
    for arguments in [&["--check"][..], &["ls"], &["explain"]] {
        let ran = canon(arguments, &[&copy]);
        let words = "the filesystem was not unmounted, so its journal was replayed (transactions: ";
        assert!(ran.stderr.contains(words) && !ran.stderr.contains("mounted at"), "{ran:?}");
    }
}
