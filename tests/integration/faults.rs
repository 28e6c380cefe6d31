//! Faults of files and disks, and signals. After each, the input is unchanged, OUT is the old file or does
//! not exist, and there are no other files.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::contents::digest_of;
use crate::support::dice::Dice;
use crate::support::faultfs::FaultyFile;
use crate::support::image::{blocks_of, inode_offset, set_length};
use crate::support::kernel::Loop;
use crate::support::ran::{Ran, Running};
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canon, gate, run, same_bytes, tool};

/// Makes a directory with `in.img`, large enough that reading it takes some time.
fn with_noise(megabytes: usize) -> Lab {
    let lab = Lab::new();
    let source = lab.folder("source");
    for number in 0..megabytes {
        fs::write(source.join(format!("file{number}")), Dice::noise(number as u64, 1 << 20))
            .expect("writing");
    }
    let size = format!("{}M", megabytes + 16);
    lab.mke2fs_d("in.img", &size, &["-t", "ext4", "-b", "4096"], &source);
    fs::remove_dir_all(source).expect("removing");
    lab
}

/// Starts a process that writes `in.img` to an output.
fn start_writing(lab: &Lab, output: &str) -> Running {
    lab.canon(["-q", "--threads=1", "in.img", output]).start()
}

/// Writes `in.img` to an output, which may fail.
fn write_out(lab: &Lab, output: &str) -> Ran {
    lab.canon(["-q", "in.img", output]).run()
}

/// A mounted filesystem. It is unmounted when this is dropped.
struct Volume {
    at: PathBuf,
    /// The loop device, if there is one.
    _device: Option<Loop>,
}

impl Volume {
    /// Mounts a tmpfs of a given size.
    fn tmpfs(size: &str, at: &Path) -> Self {
        fs::create_dir_all(at).expect("a folder");
        run(tool("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at));
        Self { at: at.to_owned(), _device: None }
    }

    /// Mounts exFAT through FUSE. It supports neither holes nor O_TMPFILE.
    fn exfat(lab: &Lab) -> Self {
        let (image, at) = (lab.path("simple"), lab.path("disk"));
        File::create(&image).and_then(|file| file.set_len(160 << 20)).expect("a file");
        run(tool("mkfs.exfat").arg(&image));
        fs::create_dir(&at).expect("a folder");
        let device = Loop::of(&image);
        // The server runs in the background, where it would keep pipes open.
        let mut mount = tool("mount.exfat-fuse");
        mount.arg(device.path()).arg(&at).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(mount.status().expect("exfat-fuse").success());
        Self { at, _device: Some(device) }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Retry: the process that was killed may keep it busy for a moment.
        let unmounted = (0..100).any(|_| {
            let ran = try_run(tool("umount").arg(&self.at));
            thread::sleep(Duration::from_millis(if ran.code == Some(0) { 0 } else { 50 }));
            ran.code == Some(0)
        });
        if !unmounted {
            try_run(tool("umount").arg("--lazy").arg(&self.at));
        }
    }
}

const EXFAT: [Need; 3] = [Need::Mounts, Need::Fuse, Need::Program("mount.exfat-fuse")];

#[test]
#[ignore = "needs root: mounts images"]
fn a_filesystem_without_holes_is_as_good_as_any() {
    if !gate(&EXFAT) {
        return;
    }
    let lab = with_noise(2);
    let disk = Volume::exfat(&lab);
    let hole = File::create(disk.at.join("hole")).expect("a file");
    hole.set_len(1 << 20).expect("a length");
    assert_eq!(hole.metadata().expect("metadata").blocks(), 2048, "this filesystem has holes");
    drop(hole);
    fs::remove_file(disk.at.join("hole")).expect("removing");
    write_out(&lab, "expected").done();
    for _ in 0..2 {
        write_out(&lab, "disk/out.img").done();
        assert!(lab.read("disk/out.img") == lab.read("expected"));
        assert_eq!(lab.names("disk"), ["out.img"]);
    }
    // The disk has no space for two of these images, so the existing one is kept.
    set_length(lab.path("in.img"), 100 << 20);
    run(tool("resize2fs").arg(lab.path("in.img")));
    write_out(&lab, "disk/out.img").done();
    let before = digest_of(&lab.path("disk/out.img"));
    write_out(&lab, "disk/out.img").refusing(5, &["disk/out.img: ", "No space left"]);
    assert_eq!(
        (lab.names("disk"), digest_of(&lab.path("disk/out.img"))),
        (vec!["out.img".to_owned()], before)
    );
}

/// Signals arrive while the output has a temporary name (on exFAT), and while it has none.
#[test]
#[ignore = "needs root: mounts images"]
fn signals_end_it_and_leave_nothing() {
    if !gate(&EXFAT) {
        return;
    }
    let lab = with_noise(40);
    let disk = Volume::exfat(&lab);
    let digest = digest_of(&lab.path("in.img"));
    fs::create_dir(lab.path("plain")).expect("a folder");
    write_out(&lab, "expected").done();
    let expected = lab.read("expected");
    let mut cut_off = 0;
    for (folder, old) in [("disk", false), ("disk", true), ("plain", false), ("plain", true)] {
        for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "XCPU"] {
            for delay in [3, 15, 40] {
                let output = lab.path(folder).join("out.img");
                if old {
                    fs::write(&output, "old").expect("writing");
                }
                let running = start_writing(&lab, &format!("{folder}/out.img"));
                thread::sleep(Duration::from_millis(delay));
                try_run(tool("kill").arg(format!("-{signal}")).arg(running.child.id().to_string()));
                let ran = running.end();
                let what = format!("{signal} after {delay} ms: {ran:#?}");
                let found = fs::read(&output).ok();
                let _ = fs::remove_file(&output);
                // A signal may arrive immediately after the output got its name.
                let complete = found.as_ref() == Some(&expected);
                assert!(complete || found == old.then(|| b"old".to_vec()), "{what}");
                assert!(ran.code.is_none_or(|code| code == 0 && complete), "{what}");
                cut_off += usize::from(!complete);
                assert_eq!(lab.names(folder), [""; 0], "{what}");
            }
        }
    }
    assert!(cut_off > 12, "{cut_off}");
    assert_eq!(digest_of(&lab.path("in.img")), digest);
    drop(disk);
}

/// A temporary file that SIGKILL left neither disturbs the next run, nor is removed by it.
#[test]
#[ignore = "needs root: mounts images"]
fn the_next_run_copes_with_what_a_kill_left() {
    if !gate(&EXFAT) {
        return;
    }
    let lab = with_noise(40);
    let disk = Volume::exfat(&lab);
    let output = disk.at.join("out.img");
    let mut left = Vec::new();
    for _ in 0..20 {
        let mut running = start_writing(&lab, "disk/out.img");
        let started = Instant::now();
        while lab.names("disk").is_empty() && started.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(1));
        }
        running.child.kill().expect("killing");
        running.end();
        left = lab.names("disk");
        if !output.exists() && left.len() == 1 {
            break;
        }
        let _ = fs::remove_file(&output);
    }
    assert!(left.len() == 1 && left[0].starts_with(".ext4-canon-"), "{left:?}");
    // The disk does not have enough space for both.
    fs::remove_file(disk.at.join(&left[0])).expect("removing");
    fs::write(disk.at.join(&left[0]), "what is left").expect("writing");
    write_out(&lab, "disk/out.img").done();
    assert_eq!(fs::read(disk.at.join(&left[0])).expect("it is there"), b"what is left");
    assert_eq!(lab.names("disk").len(), 2);
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_disk_that_fills_up_leaves_the_old_file() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = with_noise(8);
    let disk = Volume::tmpfs("4m", &lab.path("full"));
    let output = disk.at.join("out.img");
    for old in [false, true] {
        if old {
            fs::write(&output, "old").expect("writing");
        }
        write_out(&lab, "full/out.img").refusing(5, &["full/out.img: ", "No space left"]);
        assert_eq!(fs::read(&output).ok(), old.then(|| b"old".to_vec()));
        assert_eq!(lab.names("full").len(), usize::from(old));
    }
}

#[test]
fn a_folder_that_vanishes_is_named() {
    let lab = with_noise(40);
    let folder = lab.path("folder");
    let mut vanished = 0;
    for delay in 0..20 {
        fs::create_dir(&folder).expect("a folder");
        let running = start_writing(&lab, "folder/out.img");
        thread::sleep(Duration::from_millis(delay));
        // The output has no name yet, so the directory is empty.
        let gone = fs::remove_dir(&folder).is_ok();
        let ran = running.end();
        if gone && ran.code != Some(0) {
            assert!(!folder.exists(), "{ran:#?}");
            ran.refusing(5, &["folder", "No such file or directory"]);
            vanished += 1;
        }
        let _ = fs::remove_dir_all(&folder);
    }
    assert!(vanished > 0);
}

/// An input that is truncated while it is mapped gives an error, not a SIGBUS.
#[test]
fn an_input_that_is_cut_while_it_is_read_is_an_error() {
    let lab = with_noise(60);
    let whole = lab.read("in.img");
    let mut cut = 0;
    for delay in [1, 3, 6, 10, 15, 20, 30, 40] {
        let file = File::options().write(true).open(lab.path("in.img")).expect("a file");
        file.write_all_at(&whole, 0).expect("writing");
        let running = start_writing(&lab, "out.img");
        thread::sleep(Duration::from_millis(delay));
        file.set_len(8192).expect("a length");
        let ran = running.end();
        match ran.code {
            Some(0) => fs::remove_file(lab.path("out.img")).expect("removing"),
            Some(5) => {
                ran.refusing(5, &["in.img: ", "changed while it was read"]);
                cut += 1;
            }
            // If it was truncated before it was opened, the input is too short.
            _ => _ = ran.refusing(4, &["in.img: ", "truncated"]),
        }
        assert_eq!(lab.names("."), ["in.img"]);
    }
    assert!(cut > 0);
}

/// Bytes that can't be read, as on a disk with bad sectors: in metadata, in content, and in the last range
/// that is read.
#[test]
#[ignore = "needs root: FUSE"]
fn a_file_that_can_not_be_read_everywhere_is_an_error() {
    if !gate(&[Need::Fuse]) {
        return;
    }
    let lab = with_noise(8);
    let image = lab.path("in.img");
    let page = |byte: u64| byte & !0xFFF..(byte & !0xFFF) + 4096;
    let block = |what: &str, index: usize| page(blocks_of(&image, what)[index] * 4096);
    let places = [
        page(1024),
        page(inode_offset(&image, "/file3")),
        block("<2>", 0),
        block("/file0", 0),
        block("/file5", 100),
        block("/file7", 255),
    ];
    let digest = digest_of(&image);
    let folder = lab.folder("faulty");
    let whole = FaultyFile::new(&image, &folder, &(0..0));
    canon([whole.path(), lab.path("whole")]).run().done();
    drop(whole);
    write_out(&lab, "expected").done();
    same_bytes(&lab.path("whole"), &lab.path("expected"));
    fs::create_dir(lab.path("results")).expect("a folder");
    for place in places {
        let faulty = FaultyFile::new(&image, &folder, &place);
        let at = format!("in.img: reading it: the page at byte {} could not be read", place.start);
        for (old, arguments) in
            [(false, &["-q"][..]), (true, &["-q", "--verify"]), (false, &["--check"]), (false, &["digest"])]
        {
            let output = lab.path("results/out.img");
            if old {
                fs::write(&output, "old").expect("writing");
            }
            let outputs = (arguments[0] == "-q").then_some(&output);
            canon(arguments).arg(faulty.path()).args(outputs).run().refusing(5, &[&at]);
            assert_eq!(fs::read(&output).ok(), old.then(|| b"old".to_vec()), "{place:?}");
            assert_eq!(lab.names("results").len(), usize::from(old), "{place:?}");
            let _ = fs::remove_file(&output);
        }
    }
    assert_eq!(digest_of(&image), digest);
}

#[test]
fn other_names_of_the_input_are_no_output() {
    let lab = with_noise(1);
    symlink("in.img", lab.path("soft")).expect("a symlink");
    symlink("soft", lab.path("softer")).expect("a symlink");
    fs::hard_link(lab.path("in.img"), lab.path("hard")).expect("a link");
    let before = digest_of(&lab.path("in.img"));
    let names = ["in.img", "soft", "softer", "hard"];
    for (input, output) in names.iter().flat_map(|input| names.map(|output| (*input, output))) {
        let words = format!("{output}: is the input; use --in-place");
        lab.canon(["-q", input, output]).run().refusing(2, &[&words]);
    }
    assert_eq!(digest_of(&lab.path("in.img")), before);
    assert_eq!(lab.names("."), ["hard", "in.img", "soft", "softer"]);
}
