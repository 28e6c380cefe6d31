//! Source trees on the host, for test images.

use super::dice::Dice;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev};

/// The default modification time.
pub const SOME_TIME: i64 = 1_600_000_000;

/// Sets the modification time of a file, without following symlinks.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("setting a time");
}

/// Gives a directory and each file below it a different modification time, which depends on the order of
/// paths.
pub fn set_all_mtimes(root: &Path) {
    for (path, number) in super::listing::paths(root).iter().rev().zip(0..) {
        set_mtime(&root.join(path), SOME_TIME + number * 1000, 0);
    }
    set_mtime(root, SOME_TIME, 0);
}

/// Sets an xattr of a file, without following symlinks.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("{}: {name}: {e}", path.display()));
}

/// Makes a device, FIFO or socket.
pub fn make_node(path: &Path, kind: FileType, major: u32, minor: u32) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), makedev(major, minor))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Returns a POSIX ACL in the format of the system call: owner rwx, user 1234 r--, group and others r-x, and
/// a mask.
pub fn acl(mask: u8) -> Vec<u8> {
    acl_of(4, mask)
}

/// Like [`acl`], with different permissions for user 1234.
pub fn acl_of(user: u8, mask: u8) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [(0x01, 7, none), (0x02, user, 1234), (0x04, 5, none), (0x10, mask, none), (0x20, 5, none)];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(u16::to_le_bytes(tag));
        value.extend(u16::from(permissions).to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

/// Returns a file capability (`cap_net_raw=ep`), version 2.
pub fn capability() -> Vec<u8> {
    let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
    value.extend([0, 0x20, 0, 0]);
    value.extend([0; 12]);
    value
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) {
    fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Creates files, directories, symlinks and hard links that any user can make, below the existing directory
/// `root`. They need about 500 KiB and 150 inodes.
pub fn plain(root: &Path) {
    chmod(root, 0o755);
    let folder = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path).expect("a folder");
        path
    };
    let sizes = folder("sizes");
    for size in [0, 1, 59, 60, 1023, 1024, 1025, 4095, 4096, 4097, 70_000] {
        write(sizes.join(format!("{size}")), Dice::noise(size as u64, size));
    }
    write(sizes.join("zeros"), vec![0; 30_000]);
    let mut gaps = Dice::noise(7, 100_000);
    gaps[10_000..50_000].fill(0);
    gaps[90_000..].fill(0);
    write(sizes.join("gaps"), gaps);

    let many = folder("many");
    for number in 0..100 {
        write(many.join(format!("entry number {number:05} with a name")), number.to_string());
    }
    let names = folder("names");
    write(names.join("n".repeat(255)), "longest");
    write(names.join(OsStr::from_bytes(b"not \xff\xfe UTF-8")), "bytes");
    write(names.join("spaces and ünïcödé"), "text");
    write(names.join("-dash"), "dash");

    let links = folder("links");
    symlink("short", links.join("short")).expect("a symlink");
    symlink("folder/".repeat(142) + "target", links.join("long1000")).expect("a symlink");
    for length in [59, 60] {
        symlink("x".repeat(length), links.join(format!("long{length}"))).expect("a symlink");
    }
    write(links.join("z-first"), "two names");
    fs::hard_link(links.join("z-first"), root.join("a-second")).expect("a hard link");
    fs::hard_link(links.join("z-first"), names.join("third")).expect("a hard link");

    let modes = folder("modes");
    for mode in [0o400, 0o755, 0o4755, 0o2711] {
        write(modes.join(format!("{mode:o}")), "");
        chmod(&modes.join(format!("{mode:o}")), mode);
    }
    fs::create_dir_all(root.join("deep/er/and/deeper/still")).expect("folders");
    write(root.join("deep/er/and/deeper/still/file"), "bottom");
    folder("empty");
    chmod(&folder("sticky"), 0o1777);
    set_all_mtimes(root);
}

/// Creates [`plain`], and files that only root can make: different owners, devices, xattrs of all kinds.
pub fn rich(root: &Path) {
    plain(root);
    rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .expect("a FIFO");
    fs::hard_link(root.join("fifo"), root.join("another-fifo")).expect("a hard link");
    make_node(&root.join("socket"), FileType::Socket, 0, 0);
    make_node(&root.join("null"), FileType::CharacterDevice, 1, 3);
    make_node(&root.join("disk"), FileType::BlockDevice, 259, 1_000);
    for (name, uid, gid) in [("sizes/1", 1000, 1001), ("links/short", 70_000, 80_000), ("empty", 5, 6)] {
        std::os::unix::fs::lchown(root.join(name), Some(uid), Some(gid)).expect("chown");
    }
    attributes(root);
    set_all_mtimes(root);
}

/// Sets xattrs on several files of [`plain`]: some fit into the inode, others don't.
fn attributes(root: &Path) {
    set_xattr(&root.join("sizes/1"), "user.small", b"value");
    set_xattr(&root.join("sizes/1"), "user.empty", b"");
    set_xattr(&root.join("sizes/59"), "trusted.binary", &[0, 255, 10, 0]);
    for name in ["sizes/1024", "sizes/1025", "many"] {
        set_xattr(&root.join(name), "user.shared", &Dice::noise(99, 400));
    }
    set_xattr(&root.join("sizes/60"), "security.capability", &capability());
    set_xattr(&root.join("names/-dash"), "system.posix_acl_access", &acl(5));
    set_xattr(&root.join("deep"), "system.posix_acl_default", &acl(7));
    set_xattr(&root.join("links/long59"), "trusted.of-a-symlink", b"yes");
}
