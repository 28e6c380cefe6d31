//! A tree as text, one line for each path with all attributes, to compare trees and to show differences.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::contents::digest;
use super::{run, tool};

/// Inode flags that users set. The other flags depend on how a file is stored.
const USER_FLAGS: u32 = 0x0000_0001 // SECRM
    | 0x2 // UNRM
    | 0x4 // COMPR
    | 0x8 // SYNC
    | 0x10 // IMMUTABLE
    | 0x20 // APPEND
    | 0x40 // NODUMP
    | 0x80 // NOATIME
    | 0x400 // NOCOMPR
    | 0x4000 // JOURNAL_DATA
    | 0x8000 // NOTAIL
    | 0x1_0000 // DIRSYNC
    | 0x2_0000 // TOPDIR
    | 0x200_0000 // DAX
    | 0x2000_0000; // PROJINHERIT

/// The content of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// Whether the root directory is listed.
    pub root: bool,
    /// Whether the times of symlinks are listed.
    pub symlink_times: bool,
    /// Whether project IDs are listed, which costs one process for each file.
    pub projects: bool,
}

impl Default for Listing {
    fn default() -> Self {
        Self { root: true, symlink_times: true, projects: false }
    }
}

/// Lists the tree below `root`, sorted by path, without an empty lost+found.
pub fn listing(root: &Path, what: Listing) -> String {
    let mut first_names = BTreeMap::new();
    let mut text = String::new();
    if what.root {
        line(&mut text, root, OsStr::new("."), what, &mut first_names);
    }
    below(&mut text, root, Path::new(""), what, &mut first_names);
    text
}

type FirstNames = BTreeMap<(u64, u64), OsString>;

fn below(text: &mut String, root: &Path, folder: &Path, what: Listing, first_names: &mut FirstNames) {
    for name in names(&root.join(folder)) {
        let relative = folder.join(&name);
        let path = root.join(&relative);
        let is_folder = path.symlink_metadata().expect("metadata").is_dir();
        if is_folder && relative == Path::new("lost+found") && names(&path).is_empty() {
            continue;
        }
        line(text, &path, relative.as_os_str(), what, first_names);
        if is_folder {
            below(text, root, &relative, what, first_names);
        }
    }
}

fn names(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    names
}

fn line(text: &mut String, path: &Path, name: &OsStr, what: Listing, first_names: &mut FirstNames) {
    let meta = path.symlink_metadata().expect("metadata");
    let kind = meta.file_type();
    write!(
        text,
        "{} mode={:o} owner={}:{}",
        name.as_bytes().escape_ascii(),
        meta.mode(),
        meta.uid(),
        meta.gid()
    )
    .expect("writing to a string");
    let mut more = |name: &str, value: &dyn std::fmt::Display| {
        write!(text, " {name}={value}").expect("writing to a string");
    };
    if what.symlink_times || !kind.is_symlink() {
        more("mtime", &format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()));
    }
    if kind.is_symlink() {
        more("target", &fs::read_link(path).expect("a target").as_os_str().as_bytes().escape_ascii());
    } else if kind.is_block_device() || kind.is_char_device() {
        more("device", &format!("{}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())));
    }
    if kind.is_file() {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        more("size", &meta.len());
        more("content", &digest(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }
    if kind.is_file() || kind.is_dir() {
        more("flags", &format!("{:x}", flags(path)));
        if what.projects {
            more("project", &project_id(path));
        }
    } else {
        more("attributes", &format!("{:x}", attributes(path)));
    }
    if !kind.is_dir() {
        more("links", &meta.nlink());
        if meta.nlink() > 1 {
            more("same-as", &first_name(&meta, name, first_names).as_bytes().escape_ascii());
        }
    }
    for (name, value) in xattrs(path) {
        more(&name.as_bytes().escape_ascii().to_string(), &value.escape_ascii());
    }
    text.push('\n');
}

fn first_name(meta: &Metadata, name: &OsStr, first_names: &mut FirstNames) -> OsString {
    first_names.entry((meta.dev(), meta.ino())).or_insert_with(|| name.to_owned()).clone()
}

fn flags(path: &Path) -> u32 {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path);
    let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // The filesystem of a source tree may not support these flags.
    rustix::fs::ioctl_getflags(&file).map_or(0, |flags| flags.bits() & USER_FLAGS)
}

/// Returns the immutable, append-only and nodump flags of a file, for file types that can't be opened without
/// side effects.
fn attributes(path: &Path) -> u64 {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).expect("statx");
    let wanted = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND | StatxAttributes::NODUMP;
    (stat.stx_attributes & wanted).bits()
}

fn project_id(path: &Path) -> String {
    let text = run(tool("lsattr").arg("-pd").arg("--").arg(path));
    text.split_whitespace().next().expect("a project id").to_owned()
}

/// Returns the xattrs of a file, sorted by name.
pub fn xattrs(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut names = vec![0; 1024];
    let mut length = rustix::fs::llistxattr(path, &mut names[..]);
    if length == Err(Errno::RANGE) {
        names.resize(65536, 0);
        length = rustix::fs::llistxattr(path, &mut names[..]);
    }
    let length = match length {
        // The filesystem does not support xattrs.
        Err(Errno::NOTSUP) => 0,
        other => other.unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    };
    let mut found: Vec<_> = names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])
                .unwrap_or_else(|e| panic!("{}: {}: {e}", path.display(), name.escape_ascii()));
            value.truncate(length);
            (OsString::from_vec(name.to_vec()), value)
        })
        .collect();
    found.sort();
    found
}

/// Asserts that two listings are equal; if not, it shows the first different lines.
pub fn same_tree(expected: &str, found: &str) {
    assert!(expected == found, "the trees differ:\n{}", first_difference(expected, found));
}

/// Returns the first few lines in which two texts differ.
pub fn first_difference(a: &str, b: &str) -> String {
    let mut text = String::new();
    let (mut left, mut right) = (a.lines(), b.lines());
    let mut count = 0;
    loop {
        let (x, y) = (left.next(), right.next());
        if x.is_none() && y.is_none() {
            return text;
        }
        if x != y {
            for (mark, line) in [('-', x), ('+', y)] {
                let line: String = line.unwrap_or("(nothing)").chars().take(300).collect();
                writeln!(text, "{mark} {line}").expect("writing to a string");
            }
            count += 1;
            if count == 4 {
                return text;
            }
        }
    }
}

/// Returns all paths below a directory in byte order, parents first.
pub fn paths(root: &Path) -> Vec<PathBuf> {
    fn collect(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
        for name in names(&root.join(folder)) {
            let path = folder.join(name);
            found.push(path.clone());
            if root.join(&path).symlink_metadata().expect("metadata").is_dir() {
                collect(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(root, Path::new(""), &mut found);
    found
}
