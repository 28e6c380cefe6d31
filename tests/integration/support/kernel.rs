//! Loop mounts that are always cleaned up, and the kernel's log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::tools::{run, tool, try_run};

/// An image that is mounted through a loop device. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Mounted {
    folder: Option<TempDir>,
    device: String,
}

impl Mounted {
    /// Mounts read-only, without replaying the journal.
    pub fn read_only(image: &Path) -> Result<Self, String> {
        // The superblock of a damaged image may request a panic on errors.
        Self::mount(image, "ext4", "loop,ro,noload,errors=continue")
    }

    /// Mounts read-write.
    pub fn read_write(image: &Path) -> Result<Self, String> {
        // Without background initialization of inode tables, the result does not depend on how long a test
        // takes.
        Self::mount(image, "ext4", "loop,rw,noinit_itable")
    }

    /// Mounts read-write, with additional mount options.
    pub fn with_options(image: &Path, options: &str) -> Result<Self, String> {
        Self::mount(image, "ext4", &format!("loop,rw,noinit_itable,{options}"))
    }

    /// Mounts an XFS filesystem.
    pub fn xfs(image: &Path) -> Result<Self, String> {
        Self::mount(image, "xfs", "loop")
    }

    fn mount(image: &Path, kind: &str, options: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ran =
            try_run(tool("mount").args(["-t", kind, "-o", options, "--"]).arg(image).arg(folder.path()));
        if ran.code != Some(0) {
            return Err(format!("mounting {}: {}", image.display(), ran.stderr.trim()));
        }
        let mut mounted = Self { folder: Some(folder), device: String::new() };
        mounted.device = source_of(mounted.path()).ok_or("the mount is in no list")?;
        Ok(mounted)
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("there until it is dropped").path()
    }

    /// Returns the name of the loop device, without its directory.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Unmounts. When it returns, the image contains all changes.
    pub fn unmount(mut self) {
        let ran = self.try_unmount();
        assert!(ran.is_ok(), "umount: {ran:?}");
        self.folder = None;
    }

    fn try_unmount(&self) -> Result<(), String> {
        let mut last = String::new();
        // Retry: programs that look at new mounts may keep it busy for a moment.
        for _ in 0..50 {
            let ran = try_run(tool("umount").arg(self.path()));
            if ran.code == Some(0) {
                return Ok(());
            }
            last = ran.stderr;
            thread::sleep(Duration::from_millis(100));
        }
        Err(last)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.folder.is_some() && self.try_unmount().is_err() {
            try_run(tool("umount").arg("--lazy").arg(self.path()));
        }
    }
}

/// Writes all changes of a mounted filesystem to its image.
pub fn sync(root: impl AsRef<Path>) {
    run(tool("sync").arg("-f").arg(root.as_ref()));
}

/// A loop device for a file. It is detached when this is dropped.
#[derive(Debug)]
pub struct Loop(PathBuf);

impl Loop {
    /// Creates a loop device with sectors of 512 bytes.
    pub fn of(file: &Path) -> Self {
        Self::with_options(file, &[])
    }

    /// Creates a loop device with additional options of losetup.
    pub fn with_options(file: &Path, options: &[&str]) -> Self {
        let device = run(tool("losetup").args(["--find", "--show"]).args(options).arg(file));
        Self(device.trim().into())
    }

    /// Returns the path of the device.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        try_run(tool("losetup").arg("--detach").arg(&self.0));
    }
}

fn source_of(mount_point: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let point = mount_point.to_str()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(point))?;
    Some(line.split(' ').next()?.trim_start_matches("/dev/").to_owned())
}

/// The kernel's log, from a certain time on.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// Opens the log at its end, so that older messages are skipped.
    pub fn from_now() -> Self {
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(nonblock)
            .open("/dev/kmsg")
            .expect("root can read the kernel's log");
        file.seek(SeekFrom::End(0)).expect("the log has an end");
        Self(file)
    }

    /// Returns the ext4 errors and warnings about a device since the last call.
    pub fn complaints(&mut self, device: &str) -> Vec<String> {
        let marks = [format!("error (device {device})"), format!("warning (device {device})")];
        let mut found = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match self.0.read(&mut buffer) {
                Ok(count) => {
                    let record = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    if marks.iter().any(|mark| record.contains(mark)) {
                        found.push(record.trim_end().to_owned());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return found,
                // The kernel has overwritten unread records.
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                Err(e) => panic!("reading the kernel's log: {e}"),
            }
        }
    }
}
