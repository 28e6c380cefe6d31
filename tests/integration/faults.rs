//! Faults of files and disks, and signals: after each, the input is as it was, OUT is the old file or is
//! not there, and nothing else is left.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::contents::digest_of;
use crate::support::faultfs::FaultyFile;
use crate::support::image::{blocks_of, inode_offset};
use crate::support::tools::{Ran, try_run};
use crate::support::{Lab, Need, gate, run, same_bytes, tool, tree};

const CANON: &str = env!("CARGO_BIN_EXE_ext4-canon");

/// A folder with an image in it whose content takes a while to be looked through.
struct Scene {
    lab: Lab,
}

impl Scene {
    fn new(megabytes: usize) -> Self {
        let lab = Lab::new();
        let source = lab.folder("source");
        for number in 0..megabytes {
            fs::write(source.join(format!("file{number}")), tree::noise(number as u64, 1 << 20))
                .expect("writing");
        }
        let size = format!("{}M", megabytes + 16);
        lab.mke2fs_d("in.img", &size, &["-t", "ext4", "-b", "4096"], &source);
        fs::remove_dir_all(source).expect("removing");
        Self { lab }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lab.path(name)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        // FUSE renames what is removed while it is open, until it is closed.
        names.retain(|name| !name.starts_with(".fuse_hidden"));
        names.sort();
        names
    }

    fn start(&self, input: &Path, output: &Path) -> Child {
        let mut command = Command::new(CANON);
        command.arg("-q").arg("--threads=1").arg(input).arg(output);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process")
    }

    fn canon(&self, input: &Path, output: &Path) -> Ran {
        try_run(tool(CANON).arg("-q").arg(input).arg(output))
    }
}

/// How a process ended, with its words.
fn ended(child: Child) -> (std::process::ExitStatus, String) {
    let output = child.wait_with_output().expect("an end");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A filesystem, mounted, until it is dropped.
struct Disk {
    at: PathBuf,
    /// The loop device, where one was made for it.
    device: Option<String>,
}

impl Disk {
    /// As large as asked for, in memory.
    fn tmpfs(size: &str, at: &Path) -> Self {
        fs::create_dir_all(at).expect("a folder");
        run(tool("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at));
        Self { at: at.to_owned(), device: None }
    }

    /// exFAT, which has neither holes nor files without names, through FUSE.
    fn exfat(scene: &Scene) -> Self {
        let (image, at) = (scene.path("simple"), scene.path("disk"));
        File::create(&image).and_then(|file| file.set_len(160 << 20)).expect("a file");
        run(tool("mkfs.exfat").arg(&image));
        fs::create_dir(&at).expect("a folder");
        let device = run(tool("losetup").args(["--find", "--show"]).arg(&image)).trim().to_owned();
        // From here on, the device is given back whatever happens.
        let disk = Self { at, device: Some(device.clone()) };
        // It stays in the background, where it must not hold a pipe open.
        let mut mount = tool("mount.exfat-fuse");
        mount.arg(device).arg(&disk.at).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(mount.status().expect("exfat-fuse").success());
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever was cut off may hold it for a moment.
        let unmounted = (0..100).any(|_| {
            let ran = try_run(tool("umount").arg(&self.at));
            thread::sleep(Duration::from_millis(if ran.code == Some(0) { 0 } else { 50 }));
            ran.code == Some(0)
        });
        if !unmounted {
            try_run(tool("umount").arg("--lazy").arg(&self.at));
        }
        if let Some(device) = &self.device {
            try_run(tool("losetup").args(["--detach", device]));
        }
    }
}

const EXFAT: [Need; 3] = [Need::Mounts, Need::Fuse, Need::Program("mount.exfat-fuse")];

#[test]
fn a_filesystem_without_holes_is_as_good_as_any() {
    if !gate(&EXFAT) {
        return;
    }
    let scene = Scene::new(2);
    let disk = Disk::exfat(&scene);
    let hole = File::create(disk.at.join("hole")).expect("a file");
    hole.set_len(1 << 20).expect("a length");
    assert_eq!(hole.metadata().expect("metadata").blocks(), 2048, "this filesystem has holes");
    drop(hole);
    fs::remove_file(disk.at.join("hole")).expect("removing");
    assert_eq!(scene.canon(&scene.path("in.img"), &scene.path("expected")).code, Some(0));
    for _ in 0..2 {
        let ran = scene.canon(&scene.path("in.img"), &disk.at.join("out.img"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            fs::read(disk.at.join("out.img")).expect("reading")
                == fs::read(scene.path("expected")).expect("reading")
        );
        assert_eq!(scene.names("disk"), ["out.img"]);
    }
    // Two images of more than half of it have no room there: the one that is there stays.
    File::options()
        .write(true)
        .open(scene.path("in.img"))
        .and_then(|file| file.set_len(100 << 20))
        .expect("a length");
    run(tool("resize2fs").arg(scene.path("in.img")));
    let ran = scene.canon(&scene.path("in.img"), &disk.at.join("out.img"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let before = digest_of(&disk.at.join("out.img"));
    let ran = scene.canon(&scene.path("in.img"), &disk.at.join("out.img"));
    assert!(ran.code == Some(5) && ran.stderr.contains("disk/out.img: "), "{ran:?}");
    assert_eq!(
        (scene.names("disk"), digest_of(&disk.at.join("out.img"))),
        (vec!["out.img".to_owned()], before)
    );
}

/// Signals in the middle, where the output has a name meanwhile (on a simple disk) and where it has none.
#[test]
fn signals_end_it_and_leave_nothing() {
    if !gate(&EXFAT) {
        return;
    }
    let scene = Scene::new(40);
    let disk = Disk::exfat(&scene);
    let digest = digest_of(&scene.path("in.img"));
    fs::create_dir(scene.path("plain")).expect("a folder");
    assert_eq!(scene.canon(&scene.path("in.img"), &scene.path("expected")).code, Some(0));
    let expected = fs::read(scene.path("expected")).expect("reading");
    let mut cut_off = 0;
    for (folder, old) in [("disk", false), ("disk", true), ("plain", false), ("plain", true)] {
        for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "XCPU"] {
            for delay in [3, 15, 40] {
                let output = scene.path(folder).join("out.img");
                if old {
                    fs::write(&output, "old").expect("writing");
                }
                let child = scene.start(&scene.path("in.img"), &output);
                thread::sleep(Duration::from_millis(delay));
                try_run(tool("kill").arg(format!("-{signal}")).arg(child.id().to_string()));
                let (status, words) = ended(child);
                let what = format!("{folder} {signal} after {delay} ms: {status}, {words}");
                let found = fs::read(&output).ok();
                let _ = fs::remove_file(&output);
                // A signal may come right after the output got its name.
                let complete = found.as_ref() == Some(&expected);
                assert!(complete || found == old.then(|| b"old".to_vec()), "{what}");
                assert!(status.code().is_none_or(|code| code == 0 && complete), "{what}");
                cut_off += usize::from(!complete);
                assert_eq!(scene.names(folder), [""; 0], "{what}");
            }
        }
    }
    assert!(cut_off > 12, "{cut_off}");
    assert_eq!(digest_of(&scene.path("in.img")), digest);
    drop(disk);
}

/// What SIGKILL leaves does not disturb the next run, which leaves it alone.
#[test]
fn the_next_run_copes_with_what_a_kill_left() {
    if !gate(&EXFAT) {
        return;
    }
    let scene = Scene::new(40);
    let disk = Disk::exfat(&scene);
    let output = disk.at.join("out.img");
    let mut left = Vec::new();
    for _ in 0..20 {
        let mut child = scene.start(&scene.path("in.img"), &output);
        let start = Instant::now();
        while scene.names("disk").is_empty() && start.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("killing");
        ended(child);
        left = scene.names("disk");
        if !output.exists() && left.len() == 1 {
            break;
        }
        let _ = fs::remove_file(&output);
    }
    assert!(left.len() == 1 && left[0].starts_with(".ext4-canon-"), "{left:?}");
    // The disk has no room for both.
    fs::remove_file(disk.at.join(&left[0])).expect("removing");
    fs::write(disk.at.join(&left[0]), "what is left").expect("writing");
    assert_eq!(scene.canon(&scene.path("in.img"), &output).code, Some(0));
    assert_eq!(fs::read(disk.at.join(&left[0])).expect("it is there"), b"what is left");
    assert_eq!(scene.names("disk").len(), 2);
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_file() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new(8);
    let disk = Disk::tmpfs("4m", &scene.path("full"));
    let output = disk.at.join("out.img");
    for old in [false, true] {
        if old {
            fs::write(&output, "old").expect("writing");
        }
        let ran = scene.canon(&scene.path("in.img"), &output);
        assert_eq!(ran.code, Some(5), "{ran:?}");
        assert!(ran.stderr.contains("full/out.img: ") && ran.stderr.contains("No space left"), "{ran:?}");
        assert_eq!(fs::read(&output).ok(), old.then(|| b"old".to_vec()));
        assert_eq!(scene.names("full").len(), usize::from(old));
    }
}

#[test]
fn a_folder_that_vanishes_is_named() {
    let scene = Scene::new(40);
    let folder = scene.path("folder");
    let mut vanished = 0;
    for delay in 0..20 {
        fs::create_dir(&folder).expect("a folder");
        let child = scene.start(&scene.path("in.img"), &folder.join("out.img"));
        thread::sleep(Duration::from_millis(delay));
        // The output has no name yet, so that the folder is empty.
        let gone = fs::remove_dir(&folder).is_ok();
        let (status, words) = ended(child);
        if gone && status.code() != Some(0) {
            assert_eq!(status.code(), Some(5), "{words}");
            assert!(words.contains("folder"), "{words}");
            assert!(!folder.exists(), "{words}");
            vanished += 1;
        }
        let _ = fs::remove_dir_all(&folder);
    }
    assert!(vanished > 0);
}

/// An input that becomes shorter while it is mapped: an error in words, not a SIGBUS.
#[test]
fn an_input_that_is_cut_while_it_is_read_is_an_error() {
    let scene = Scene::new(60);
    let whole = fs::read(scene.path("in.img")).expect("reading");
    let mut cut = 0;
    for delay in [1, 3, 6, 10, 15, 20, 30, 40] {
        let file = File::options().write(true).open(scene.path("in.img")).expect("a file");
        file.write_all_at(&whole, 0).expect("writing");
        let child = scene.start(&scene.path("in.img"), &scene.path("out.img"));
        thread::sleep(Duration::from_millis(delay));
        file.set_len(8192).expect("a length");
        let (status, words) = ended(child);
        let code = status.code().unwrap_or_else(|| panic!("{status}: {words}"));
        if code == 0 {
            fs::remove_file(scene.path("out.img")).expect("removing");
        } else {
            // Where it was cut before it was opened, it is short from the start.
            assert!(code == 5 && words.contains("changed while it was read") || code == 4, "{code}: {words}");
            assert!(words.contains("in.img: "), "{words}");
            cut += usize::from(code == 5);
        }
        assert_eq!(scene.names("."), ["in.img"]);
    }
    assert!(cut > 0);
}

/// Pages that can't be read, as on a disk with bad sectors: of metadata, of content, and the last ones
/// that are looked at.
#[test]
fn a_file_that_can_not_be_read_everywhere_is_an_error() {
    if !gate(&[Need::Fuse]) {
        return;
    }
    let scene = Scene::new(8);
    let image = scene.path("in.img");
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
    let folder = scene.lab.folder("faulty");
    let whole = FaultyFile::new(&image, &folder, &(0..0));
    assert_eq!(scene.canon(&whole.path(), &scene.path("whole")).code, Some(0));
    drop(whole);
    assert_eq!(scene.canon(&image, &scene.path("expected")).code, Some(0));
    same_bytes(&scene.path("whole"), &scene.path("expected"));
    fs::create_dir(scene.path("results")).expect("a folder");
    for place in places {
        let faulty = FaultyFile::new(&image, &folder, &place);
        let at = format!("in.img: reading it: the page at byte {} could not be read", place.start);
        for (old, arguments) in
            [(false, &["-q"][..]), (true, &["-q", "--verify"]), (false, &["--check"]), (false, &["digest"])]
        {
            let output = scene.path("results/out.img");
            if old {
                fs::write(&output, "old").expect("writing");
            }
            let mut command = tool(CANON);
            command.args(arguments).arg(faulty.path());
            if arguments[0] == "-q" {
                command.arg(&output);
            }
            let ran = try_run(&mut command);
            assert_eq!(ran.code, Some(5), "{place:?} {arguments:?}: {ran:?}");
            assert!(ran.stderr.contains(&at) && ran.stderr.lines().count() == 1, "{place:?}: {ran:?}");
            assert_eq!(fs::read(&output).ok(), old.then(|| b"old".to_vec()), "{place:?}");
            assert_eq!(scene.names("results").len(), usize::from(old), "{place:?}");
            let _ = fs::remove_file(&output);
        }
    }
    assert_eq!(digest_of(&image), digest);
}

#[test]
fn other_names_of_the_input_are_no_output() {
    let scene = Scene::new(1);
    symlink("in.img", scene.path("soft")).expect("a symlink");
    symlink("soft", scene.path("softer")).expect("a symlink");
    fs::hard_link(scene.path("in.img"), scene.path("hard")).expect("a link");
    let before = digest_of(&scene.path("in.img"));
    let names = ["in.img", "soft", "softer", "hard"];
    for (input, output) in names.iter().flat_map(|input| names.map(|output| (*input, output))) {
        let ran = scene.canon(&scene.path(input), &scene.path(output));
        assert_eq!(ran.code, Some(2), "{input} {output}: {ran:?}");
        assert!(ran.stderr.contains("--in-place"), "{ran:?}");
    }
    assert_eq!(digest_of(&scene.path("in.img")), before);
    assert_eq!(scene.names("."), ["hard", "in.img", "soft", "softer"]);
}
