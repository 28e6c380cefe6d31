//! Finds out from /proc and /sys where an image is mounted: directly, or through loop devices, partitions and
//! the device mapper.
//!
//! Files are compared by device and inode number. There are two exceptions, in which names are compared. If
//! the backing file of a loop device is not accessible here, because it was deleted or is in a different
//! mount namespace, a match only causes a warning. If the source of a FUSE mount is a relative path, a match
//! counts as a mount.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use ext4_canon::text;
use rustix::fs::{major, minor};

/// The suffix that the kernel appends to the name of a backing file that was deleted.
const DELETED: &[u8] = b" (deleted)";

/// The maximum number of mount points in a message.
const MAX_PLACES: usize = 3;

/// The major and minor number of a block device.
type Device = (u32, u32);

/// The paths of the proc and sysfs filesystems.
#[derive(Debug)]
pub struct System {
    proc: PathBuf,
    sys: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// A mount of a filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    place: String,
    /// Whether the superblock is read-only, so that no mount of this filesystem allows writing.
    read_only: bool,
}

/// The mounts that were found for an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    mounts: Vec<Mount>,
    /// Descriptions of mounts that are possibly mounts of this image.
    doubtful: Vec<String>,
    /// Whether /proc or /sys could not be read.
    unknown: bool,
}

impl Mounts {
    /// Returns whether /proc or /sys could not be read. If so, the image can be mounted even if no mount was
    /// found.
    pub fn unknown(&self) -> bool {
        self.unknown
    }

    /// Describes the mount points of the image. Returns `None` if no mount was found.
    pub fn places(&self) -> Option<String> {
        places(self.mounts.iter())
    }

    /// Returns warnings about mounts: the kernel can have data in memory that is newer than the image.
    ///
    /// There is no warning for a filesystem that is mounted read-only, since all its data is in the image.
    pub fn warnings(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        let written = places(self.mounts.iter().filter(|mount| !mount.read_only));
        let certain = written.map(|places| {
            format!("{path} is mounted {places}: data still in memory is missing; unmount it first")
        });
        let doubtful = self.doubtful.iter().map(|reason| {
            format!(
                "{path} may be mounted {reason}; if so, data still in memory is missing: unmount it first"
            )
        });
        certain.into_iter().chain(doubtful).collect()
    }
}

/// Describes mounts. Names at most [`MAX_PLACES`] of their mount points.
fn places<'m>(mounts: impl Iterator<Item = &'m Mount>) -> Option<String> {
    let places: BTreeSet<_> = mounts.map(|mount| mount.place.as_str()).collect();
    let more = if places.len() > MAX_PLACES { " and elsewhere" } else { "" };
    let shown: Vec<_> = places.into_iter().take(MAX_PLACES).collect();
    (!shown.is_empty()).then(|| shown.join(" and ") + more)
}

/// A loop device and its backing file.
struct Loop {
    device: Device,
    name: String,
    backing: PathBuf,
    /// The metadata of the backing file; `None` if no file with this name is visible in this mount namespace.
    metadata: Option<Metadata>,
}

/// A line of `/proc/self/mountinfo`.
struct Line {
    device: Option<Device>,
    place: String,
    kind: String,
    source: PathBuf,
    read_only: bool,
}

impl System {
    /// Returns the mounts of the file or block device that was opened as `path`.
    pub fn mounts(&self, path: &Path, metadata: &Metadata) -> Mounts {
        let Some(table) = self.mountinfo() else {
            // Without the mounts of this namespace, sysfs alone can't tell where an image is mounted.
            return Mounts { unknown: true, ..Mounts::default() };
        };
        let loops = self.loops();
        let unknown = loops.is_none();
        let loops = loops.unwrap_or_default();
        let first: Vec<_> = if metadata.file_type().is_block_device() {
            vec![device_of(metadata)]
        } else {
            let backed = loops.iter().filter(|one| one.metadata.as_ref().is_some_and(|m| same(m, metadata)));
            backed.map(|one| one.device).collect()
        };
        let mut devices = self.above(&first, &loops);
        if metadata.file_type().is_block_device() {
            self.below(device_of(metadata), &loops, &mut devices);
        }
        let mut mounts = self.mounts_of(&devices, &table);
        // FUSE, and filesystems on several devices, have anonymous device numbers (major 0).
        let by_source = table.iter().filter(|line| line.source.is_absolute()).filter(|line| {
            line.device.is_none_or(|(major, _)| major == 0)
                && fs::metadata(&line.source).is_ok_and(|source| {
                    same(&source, metadata)
                        || source.file_type().is_block_device() && devices.contains(&device_of(&source))
                })
        });
        mounts.extend(by_source.map(Line::mount));
        mounts.extend(Self::by_relative_name(path, &table));
        Mounts { mounts, doubtful: self.doubtful(path, metadata, &loops, &table), unknown }
    }

    /// Finds mounts of loop devices whose backing file can't be accessed, but has the same name as this file.
    fn doubtful(&self, path: &Path, metadata: &Metadata, loops: &[Loop], table: &[Line]) -> Vec<String> {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut found = Vec::new();
        for one in loops.iter().filter(|one| one.metadata.is_none()) {
            let bytes = one.backing.as_os_str().as_bytes();
            let named = Path::new(OsStr::from_bytes(bytes.strip_suffix(DELETED).unwrap_or(bytes)));
            // If the image itself has the path of a deleted backing file, it is a different file.
            let replaced = fs::metadata(named).is_ok_and(|found| same(&found, metadata));
            if named.file_name() != real.file_name() || replaced {
                continue;
            }
            let mounts = self.mounts_of(&self.above(&[one.device], loops), table);
            if let Some(places) = places(mounts.iter()) {
                let backing = text::escaped_text(bytes);
                found.push(format!("{places} (through {}, whose file {backing} is not found)", one.name));
            }
        }
        found
    }

    /// Finds FUSE mounts whose source is a relative path with the same file name. The base directory of the
    /// path is unknown. All these mounts count, because replacing a mounted image loses the data that is
    /// written through the mount.
    fn by_relative_name(path: &Path, table: &[Line]) -> Vec<Mount> {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let relative = table.iter().filter(|line| {
            line.kind.starts_with("fuse.ext")
                && line.source.is_relative()
                && line.source.file_name() == real.file_name()
        });
        let with_source = relative.map(|line| {
            let source = text::escaped_text(line.source.as_os_str().as_bytes());
            let mount = line.mount();
            Mount { place: format!("{} (as {source})", mount.place), ..mount }
        });
        with_source.collect()
    }

    /// Returns the mounts of filesystems on these devices.
    fn mounts_of(&self, devices: &[Device], table: &[Line]) -> Vec<Mount> {
        let mut mounts = Vec::new();
        for device in devices {
            let before = mounts.len();
            mounts.extend(table.iter().filter(|line| line.device == Some(*device)).map(Line::mount));
            // sysfs has a directory for each mounted ext4 filesystem, regardless of mount namespaces.
            let name = self.folder(*device).and_then(|folder| folder.file_name().map(OsStr::to_owned));
            if mounts.len() == before
                && let Some(name) = name.filter(|name| self.sys.join("fs/ext4").join(name).is_dir())
            {
                let place = format!("in a different mount namespace ({})", name.display());
                mounts.push(Mount { place, read_only: false });
            }
        }
        mounts
    }

    /// Returns the devices in `first` and all devices built on them: partitions, device-mapper devices and
    /// loop devices.
    fn above(&self, first: &[Device], loops: &[Loop]) -> Vec<Device> {
        let mut found = first.to_vec();
        let mut next = 0;
        while let Some(device) = found.get(next).copied() {
            next += 1;
            let folder = self.folder(device);
            let partitions = folder.iter().flat_map(|folder| entries(folder));
            let partitions = partitions.filter(|entry| entry.join("partition").is_file());
            let holders = folder.iter().flat_map(|folder| entries(&folder.join("holders")));
            let numbered = partitions.chain(holders).filter_map(|entry| number_in(&entry));
            let backed = loops.iter().filter(|one| is_device(one.metadata.as_ref(), device));
            for device in numbered.chain(backed.map(|one| one.device)).collect::<Vec<_>>() {
                if !found.contains(&device) {
                    found.push(device);
                }
            }
        }
        found
    }

    /// Adds the devices that a device is built on. Ignores other devices that are built on these.
    fn below(&self, device: Device, loops: &[Loop], found: &mut Vec<Device>) {
        let mut open = vec![device];
        while let Some(device) = open.pop() {
            let Some(folder) = self.folder(device) else { continue };
            let slaves = entries(&folder.join("slaves")).filter_map(|entry| number_in(&entry));
            let whole = folder.parent().filter(|_| folder.join("partition").is_file()).and_then(number_in);
            let backing = loops.iter().find(|one| one.device == device).and_then(|one| one.metadata.as_ref());
            let backing = backing.filter(|found| found.file_type().is_block_device()).map(device_of);
            for device in slaves.chain(whole).chain(backing) {
                if !found.contains(&device) {
                    found.push(device);
                    open.push(device);
                }
            }
        }
    }

    /// Returns the directory of a device in sysfs.
    fn folder(&self, (major, minor): Device) -> Option<PathBuf> {
        fs::canonicalize(self.sys.join(format!("dev/block/{major}:{minor}"))).ok()
    }

    /// Returns all loop devices with a backing file.
    fn loops(&self) -> Option<Vec<Loop>> {
        let folder = fs::read_dir(self.sys.join("block")).ok()?;
        let found = folder.filter_map(|entry| {
            let entry = entry.ok()?;
            let text = fs::read(entry.path().join("loop/backing_file")).ok()?;
            let backing =
                PathBuf::from(OsString::from_vec(text.strip_suffix(b"\n").unwrap_or(&text).to_vec()));
            let (device, name) =
                (number_in(&entry.path())?, entry.file_name().to_string_lossy().into_owned());
            let metadata = fs::metadata(&backing).ok();
            Some(Loop { device, name, backing, metadata })
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|one| one.device);
        Some(found)
    }

    /// Returns the mounts in this mount namespace.
    fn mountinfo(&self) -> Option<Vec<Line>> {
        let text = fs::read(self.proc.join("self/mountinfo")).ok()?;
        Some(text.split(|byte| *byte == b'\n').filter_map(Line::parse).collect())
    }
}

impl Line {
    /// Parses a line, see `proc_pid_mountinfo(5)`.
    fn parse(line: &[u8]) -> Option<Self> {
        let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
        // Optional fields can come between the mount options and the dash.
        let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
        let [kind, source, options] = fields.get(dash + 1..dash + 4)? else { return None };
        Some(Self {
            device: number(str::from_utf8(fields[2]).ok()?),
            place: text::escaped_text(unescaped(fields[4]).as_bytes()),
            kind: String::from_utf8_lossy(kind).into_owned(),
            source: unescaped(source).into(),
            read_only: options.split(|byte| *byte == b',').any(|option| option == b"ro"),
        })
    }

    fn mount(&self) -> Mount {
        Mount { place: format!("at {}", self.place), read_only: self.read_only }
    }
}

/// Decodes mountinfo's octal escapes for space, tab, newline and backslash.
fn unescaped(field: &[u8]) -> OsString {
    let (mut name, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.split_at_checked(3).filter(|_| *byte == b'\\');
        let escaped = digits.and_then(|(digits, after)| {
            Some((u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()?, after))
        });
        let (byte, after) = escaped.unwrap_or((*byte, after));
        name.push(byte);
        rest = after;
    }
    OsString::from_vec(name)
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn device_of(metadata: &Metadata) -> Device {
    (major(metadata.rdev()), minor(metadata.rdev()))
}

fn is_device(metadata: Option<&Metadata>, device: Device) -> bool {
    metadata.is_some_and(|found| found.file_type().is_block_device() && device_of(found) == device)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// Returns the number of a device from its directory in sysfs.
fn number_in(folder: &Path) -> Option<Device> {
    number(fs::read_to_string(folder.join("dev")).ok()?.trim_end())
}

fn number(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A test scene: fake /proc and /sys directories, and an image.
    struct FakeSystem {
        folder: tempfile::TempDir,
        system: System,
        table: String,
    }

    impl FakeSystem {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let system = System { proc: folder.path().join("proc"), sys: folder.path().join("sys") };
            for name in ["proc/self", "sys/block", "sys/dev/block", "sys/fs/ext4/features"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            fs::write(folder.path().join("in.img"), "x").unwrap();
            let scene = Self { folder, system, table: String::new() };
            scene.mountinfo("");
            scene
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Adds a device with a directory in the fake sysfs. The directory of a partition is inside the
        /// directory of its disk.
        fn device(&self, name: &str, number: &str) -> PathBuf {
            let folder = self.system.sys.join("block").join(name);
            fs::create_dir_all(folder.join("holders")).unwrap();
            fs::create_dir_all(folder.join("slaves")).unwrap();
            fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
            symlink(&folder, self.system.sys.join("dev/block").join(number)).unwrap();
            if name.contains('/') {
                fs::write(folder.join("partition"), "1\n").unwrap();
            }
            folder
        }

        fn loop_device(&self, name: &str, number: &str, backing: &Path) -> PathBuf {
            let folder = self.device(name, number);
            fs::create_dir(folder.join("loop")).unwrap();
            fs::write(folder.join("loop/backing_file"), format!("{}\n", backing.display())).unwrap();
            folder
        }

        fn mountinfo(&self, lines: &str) {
            let root = "1 0 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n";
            fs::write(self.system.proc.join("self/mountinfo"), root.to_owned() + lines + &self.table)
                .unwrap();
        }

        fn found(&self, name: &str) -> Mounts {
            let path = self.path(name);
            self.system.mounts(&path, &fs::metadata(&path).unwrap())
        }
    }

    #[test]
    fn a_backing_file_of_a_loop_device_is_known_by_its_inode() {
        let scene = FakeSystem::new();
        scene.loop_device("loop0", "7:0", &scene.path("in.img"));
        fs::hard_link(scene.path("in.img"), scene.path("hard")).unwrap();
        symlink("hard", scene.path("soft")).unwrap();
        fs::copy(scene.path("in.img"), scene.path("copy")).unwrap();
        assert_eq!(scene.found("in.img"), Mounts::default());
        scene.mountinfo("40 1 7:0 / /mnt/my\\040image rw,relatime - ext4 /dev/loop0 rw\n");
        for name in ["in.img", "hard", "soft"] {
            let found = scene.found(name);
            assert_eq!(found.places().as_deref(), Some("at /mnt/my image"), "{name}");
            let warnings = found.warnings(Path::new("in.img"));
            let expected =
                "in.img is mounted at /mnt/my image: data still in memory is missing; unmount it first";
            assert_eq!(warnings, [expected]);
        }
        assert_eq!(scene.found("copy"), Mounts::default());
    }

    #[test]
    fn what_is_mounted_for_reading_only_lacks_nothing() {
        let scene = FakeSystem::new();
        scene.loop_device("loop0", "7:0", &scene.path("in.img"));
        scene.mountinfo("40 1 7:0 / /mnt rw,relatime - ext4 /dev/loop0 ro,norecovery\n");
        let found = scene.found("in.img");
        assert_eq!((found.places().as_deref(), found.warnings(Path::new("x")).len()), (Some("at /mnt"), 0));
        // A read-only bind mount does not make the filesystem read-only.
        scene.mountinfo("40 1 7:0 / /mnt ro,relatime - ext4 /dev/loop0 rw\n");
        assert_eq!(scene.found("in.img").warnings(Path::new("x")).len(), 1);
    }

    #[test]
    fn partitions_and_mapped_devices_are_followed() {
        let scene = FakeSystem::new();
        let disk = scene.loop_device("loop1", "7:1", &scene.path("in.img"));
        let partition = scene.device("loop1/loop1p2", "259:3");
        let mapped = scene.device("dm-0", "253:0");
        let over = scene.device("dm-1", "253:1");
        symlink(&mapped, partition.join("holders/dm-0")).unwrap();
        symlink(&over, mapped.join("holders/dm-1")).unwrap();
        symlink(&partition, mapped.join("slaves/loop1p2")).unwrap();
        symlink(&mapped, over.join("slaves/dm-0")).unwrap();
        for number in ["7:1", "259:3", "253:0", "253:1"] {
            scene.mountinfo(&format!("40 1 {number} / /mnt rw - ext4 none rw\n"));
            assert_eq!(scene.found("in.img").places().as_deref(), Some("at /mnt"), "{number}");
        }
        scene.device("loop2", "7:2");
        scene.mountinfo("40 1 7:2 / /mnt rw - ext4 none rw\n");
        assert_eq!(scene.found("in.img").places(), None);
        // Search downwards from the topmost device.
        let mut below = Vec::new();
        scene.system.below((253, 1), &[], &mut below);
        assert_eq!(below, [(253, 0), (259, 3), (7, 1)]);
        assert!(disk.is_dir());
    }

    #[test]
    fn a_mount_in_another_namespace_is_seen_too() {
        let scene = FakeSystem::new();
        scene.loop_device("loop0", "7:0", &scene.path("in.img"));
        fs::create_dir(scene.system.sys.join("fs/ext4/loop0")).unwrap();
        let places = scene.found("in.img").places();
        assert_eq!(places.as_deref(), Some("in a different mount namespace (loop0)"));
    }

    #[test]
    fn fuse_names_its_file() {
        let scene = FakeSystem::new();
        let image = scene.path("in.img");
        scene.mountinfo(&format!("40 1 0:50 / /mnt rw - fuse.ext4 {} rw\n", image.display()));
        assert_eq!(scene.found("in.img").places().as_deref(), Some("at /mnt"));
        scene.mountinfo("40 1 0:50 / /mnt rw - fuse.ext4 in.img rw\n");
        let found = scene.found("in.img");
        assert_eq!(
            (found.places().as_deref(), found.warnings(&image).len()),
            (Some("at /mnt (as in.img)"), 1)
        );
        fs::write(scene.path("other.img"), "").unwrap();
        assert_eq!(scene.found("other.img").places(), None);
    }

    #[test]
    fn a_backing_file_out_of_sight_is_only_a_doubt() {
        for backing in ["/no/such/folder/in.img", "/no/such/folder/in.img (deleted)"] {
            let scene = FakeSystem::new();
            scene.loop_device("loop0", "7:0", Path::new(backing));
            assert_eq!(scene.found("in.img"), Mounts::default());
            scene.mountinfo("40 1 7:0 / /mnt rw - ext4 /dev/loop0 rw\n");
            let found = scene.found("in.img");
            let warnings = found.warnings(Path::new("in.img"));
            assert!(found.places().is_none() && warnings.len() == 1, "{found:?}");
            assert!(warnings[0].starts_with("in.img may be mounted at /mnt (through loop0"), "{warnings:?}");
            fs::copy(scene.path("in.img"), scene.path("other.img")).unwrap();
            assert_eq!(scene.found("other.img"), Mounts::default());
        }
        // Another file has the name of the deleted file.
        let scene = FakeSystem::new();
        scene.loop_device("loop0", "7:0", &scene.path("in.img (deleted)"));
        scene.mountinfo("40 1 7:0 / /mnt rw - ext4 /dev/loop0 rw\n");
        assert_eq!(scene.found("in.img"), Mounts::default());
        // The name of an existing file can end in the suffix.
        fs::rename(scene.path("in.img"), scene.path("in.img (deleted)")).unwrap();
        assert_eq!(scene.found("in.img (deleted)").places().as_deref(), Some("at /mnt"));
    }

    #[test]
    fn without_proc_or_sys_nothing_is_known() {
        for gone in ["proc", "sys"] {
            let scene = FakeSystem::new();
            scene.loop_device("loop0", "7:0", &scene.path("in.img"));
            fs::create_dir(scene.system.sys.join("fs/ext4/loop0")).unwrap();
            let found = scene.found("in.img");
            assert!(!found.unknown() && found.places().is_some(), "{found:?}");
            fs::remove_dir_all(scene.path(gone)).unwrap();
            let found = scene.found("in.img");
            assert_eq!(found, Mounts { unknown: true, ..Mounts::default() }, "{gone}");
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_left_out() {
        for line in ["", "1 2 3", "1 0 7:0 / /mnt rw", "1 0 7:0 / /mnt rw - ext4 x", "- - - - - - - -"] {
            assert!(Line::parse(line.as_bytes()).is_none(), "{line}");
        }
        let line = Line::parse(b"1 0 x / /a\\134\\0b\\011 rw a:1 b:2 - ext4 s\\040o rw,ro").unwrap();
        assert_eq!((line.device, line.place.as_str(), line.read_only), (None, r"/a\\\\0b\x09", true));
        assert_eq!(line.source, Path::new("s o"));
    }
}
