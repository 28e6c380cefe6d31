//! Ways to fill an image with a tree, other than `mke2fs -d`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::image::debugfs;
use super::kernel::Mounted;
use super::listing::{paths, xattrs};
use super::tools::try_run;
use super::{run, tool};

/// A function that copies the tree at the first path into the empty image at the second.
pub type Writer = fn(&Path, &Path);

/// Mounts an image with the kernel, and changes it.
pub fn kernel(image: &Path, work: impl FnOnce(&Path)) {
    let mounted = Mounted::read_write(image).unwrap_or_else(|e| panic!("{e}"));
    work(mounted.path());
    mounted.unmount();
}

/// Copies a tree with all metadata, in the order of cp.
pub fn copy(from: &Path, to: &Path) {
    run(tool("cp").args(["-a", "--"]).arg(from.join(".")).arg(to));
}

/// Copies a tree with all metadata, in the given order, and replaces existing files.
pub fn copy_in_order(from: &Path, to: &Path, order: &[PathBuf]) {
    let is_full =
        |path: &PathBuf| fs::read_dir(from.join(path)).is_ok_and(|mut entries| entries.next().is_some());
    let leaves: Vec<_> = order.iter().filter(|path| !is_full(path)).collect();
    for leaf in &leaves {
        // `cp --parents` fails if empty directories, hard links or dangling symlinks exist already.
        let _ = fs::remove_file(to.join(leaf)).or_else(|_| fs::remove_dir(to.join(leaf)));
    }
    if !leaves.is_empty() {
        let mut cp = tool("cp");
        cp.current_dir(from).args(["-a", "--parents", "-t"]).arg(to).arg("--");
        run(cp.args(leaves));
    }
    // Directories get their metadata last, because copying files into them changes it.
    for path in paths(from).iter().rev().map(PathBuf::as_path).chain([Path::new("")]) {
        let (source, copy) = (from.join(path), to.join(path));
        let meta = source.symlink_metadata().expect("metadata");
        if meta.is_dir() {
            for (name, value) in named_xattrs(&source) {
                super::tree::set_xattr(&copy, &name, &value);
            }
            std::os::unix::fs::chown(&copy, Some(meta.uid()), Some(meta.gid())).expect("chown");
            fs::set_permissions(&copy, meta.permissions()).expect("chmod");
            super::tree::set_mtime(&copy, meta.mtime(), meta.mtime_nsec());
        }
    }
}

/// Returns all paths below `root` in reverse order: files before their directories.
pub fn backwards(root: &Path) -> Vec<PathBuf> {
    let mut order = paths(root);
    order.reverse();
    order
}

/// Mounts an image with fuse2fs, and changes it.
pub fn fuse2fs(image: &Path, work: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = tool("fuse2fs")
        .args(["-f", "-o", "rw,fakeroot,allow_other"])
        .arg(image)
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("fuse2fs");
    let before = folder.path().parent().expect("a parent").metadata().expect("metadata").dev();
    let start = Instant::now();
    while folder.path().metadata().expect("metadata").dev() == before {
        assert!(start.elapsed() < Duration::from_secs(20), "fuse2fs does not mount {}", image.display());
        assert!(server.try_wait().expect("a child").is_none(), "fuse2fs ended early");
        thread::sleep(Duration::from_millis(20));
    }
    work(folder.path());
    while try_run(tool("umount").arg(folder.path())).code != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(120), "fuse2fs does not unmount");
        thread::sleep(Duration::from_millis(50));
    }
    // The image is complete only after the server has ended.
    server.wait().expect("a child");
}

/// Fills an image from a tree with debugfs commands that set every inode field explicitly.
pub fn debugfs_copy(image: &Path, from: &Path) {
    let values = tempfile::tempdir().expect("a temporary folder");
    let mut script = String::new();
    let mut first_names = std::collections::BTreeMap::new();
    let all = paths(from);
    for path in &all {
        let host = from.join(path);
        let meta = host.symlink_metadata().expect("metadata");
        let kind = meta.file_type();
        let name = quoted(path);
        let links =
            (!kind.is_dir()).then(|| first_names.entry(meta.ino()).or_insert_with(|| name.clone()).clone());
        if let Some(first) = links.filter(|first| *first != name) {
            add_command(&mut script, &format!("ln {first} {name}"));
            continue;
        }
        let device = || format!("{} {}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        let command = if kind.is_dir() {
            format!("mkdir {name}")
        } else if kind.is_symlink() {
            format!("symlink {name} {}", quoted(&fs::read_link(&host).expect("a target")))
        } else if kind.is_file() {
            format!("write {} {name}", quoted(&host))
        } else if kind.is_block_device() {
            format!("mknod {name} b {}", device())
        } else if kind.is_char_device() {
            format!("mknod {name} c {}", device())
        } else {
            assert!(kind.is_fifo(), "debugfs can't make {}", host.display());
            format!("mknod {name} p")
        };
        add_command(&mut script, &command);
    }
    for path in all.iter().map(PathBuf::as_path).chain([Path::new(".")]) {
        let host = from.join(path);
        let meta = host.symlink_metadata().expect("metadata");
        let name = quoted(path);
        let number = script.len();
        for (attribute, value) in named_xattrs(&host) {
            let file = values.path().join(format!("{number}{attribute}"));
            fs::write(&file, value).expect("writing");
            add_command(&mut script, &format!("ea_set -f {} {name} {attribute}", file.display()));
        }
        let mut fields = vec![
            ("mode", format!("0{:o}", meta.mode())),
            ("uid", meta.uid().to_string()),
            ("gid", meta.gid().to_string()),
            ("mtime", format!("@{}", meta.mtime())),
        ];
        if !meta.is_dir() {
            fields.push(("links_count", meta.nlink().to_string()));
        }
        for (field, value) in fields {
            add_command(&mut script, &format!("set_inode_field {name} {field} {value}"));
        }
    }
    debugfs(image, &script);
}

fn add_command(script: &mut String, command: &str) {
    writeln!(script, "{command}").expect("writing to a string");
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_str().expect("debugfs scripts are text"))
}

/// Creates and removes files and a directory in an image that already contains a tree.
pub fn clutter_by_debugfs(image: &Path) {
    let junk = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(junk.path(), Dice::noise(9, 20_000)).expect("writing");
    let junk = junk.path().display();
    debugfs(
        image,
        &format!("write {junk} junk1\nwrite {junk} junk2\nmkdir old\nrm junk1\nrm junk2\nrmdir old\n"),
    );
}

/// Returns the xattrs of a file. Their names must be UTF-8.
fn named_xattrs(path: &Path) -> impl Iterator<Item = (String, Vec<u8>)> {
    let is_text = |name: OsString| name.into_string().expect("a name that is text");
    xattrs(path).into_iter().map(move |(name, value)| (is_text(name), value))
}
