//! Independent judges: e2fsck, the kernel, debugfs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::contents::differences;
use super::fields::{block_size, has_feature, mmp, superblock};
use super::image::{debugfs_read, sizes, sparse_copy};
use super::kernel::{KernelLog, Mounted, sync};
use super::listing::{Listing, listing, same_tree};
use super::ran::Ran;
use super::tools::{Need, partly, tool, try_run};

/// Superblock fields that e2fsck writes on every run.
const FSCK_WRITES: [&str; 11] = [
    "s_wtime",
    "s_mnt_count",
    "s_lastcheck",
    "s_kbytes_written",
    "s_wtime_hi",
    "s_mtime_hi",
    "s_mkfs_time_hi",
    "s_lastcheck_hi",
    "s_first_error_time_hi",
    "s_last_error_time_hi",
    "s_checksum",
];

/// Checks that `e2fsck -fn` prints only its five passes and its summary. The exit code is not sufficient: it
/// is 0 despite several complaints. With a long MMP interval, e2fsck also announces a wait, although a
/// read-only check does not wait.
pub fn fsck_silent(image: &Path) -> Result<(), String> {
    let ran = try_run(tool("e2fsck").arg("-fn").arg(image));
    let is_news = |line: &&str| !line.is_empty() && !line.starts_with("MMP interval is ");
    let lines: Vec<_> = ran.stdout.lines().filter(is_news).collect();
    let passes = (1..=5).zip(&lines).all(|(n, line)| line.starts_with(&format!("Pass {n}: Checking ")));
    let summary = lines.get(5).is_some_and(|line| line.contains(" files (") && line.ends_with(" blocks"));
    let banner = ran.stderr.lines().filter(|line| !line.is_empty()).all(|line| line.starts_with("e2fsck "));
    if ran.code == Some(0) && passes && summary && lines.len() == 6 && banner {
        Ok(())
    } else {
        Err(format!("e2fsck -fn is not silent: {ran:#?}"))
    }
}

/// Repairs an image with e2fsck.
#[track_caller]
pub fn repair(image: &Path, options: &[&str]) -> Ran {
    let ran = try_run(tool("e2fsck").arg("-fy").args(options).arg(image));
    assert!(matches!(ran.code, Some(0 | 1)), "{ran}");
    ran
}

/// Checks that `e2fsck -fy` on a copy exits with 0 and changes only its own timestamps and its name in the
/// MMP block. In read-only mode e2fsck skips many checks.
pub fn fsck_changes_nothing(image: &Path) -> Result<(), String> {
    let (_folder, copy) = copied(image);
    let ran = try_run(tool("e2fsck").arg("-fy").arg(&copy));
    let mut excused: Vec<_> = FSCK_WRITES.iter().map(|name| superblock(image).range(name)).collect();
    if has_feature(image, "mmp") {
        excused.push(mmp(image).start..mmp(image).end());
    }
    let changed = differences(image, &copy, 10_000).into_iter();
    let changed: Vec<_> = changed.filter(|at| !excused.iter().any(|range| range.contains(at))).collect();
    if ran.code == Some(0) && changed.is_empty() {
        Ok(())
    } else {
        Err(format!("e2fsck -fy changes bytes {:x?}: {ran:#?}", &changed[..changed.len().min(16)]))
    }
}

/// Returns everything in an image as the kernel reports it, one line for each path. An empty lost+found is
/// omitted, since not every tool creates it.
pub fn kernel_tree(image: &Path) -> Result<String, String> {
    let mounted = Mounted::read_only(image)?;
    let projects = has_feature(image, "project");
    let text = listing(mounted.path(), Listing { projects, ..Listing::default() });
    mounted.unmount();
    Ok(text)
}

/// Asserts that debugfs copies the same tree out of two images, for images that the kernel can't mount.
/// Skipped without root, which debugfs needs to set owners.
pub fn same_by_debugfs(one: &Path, other: &Path) {
    if partly(&[Need::Root]) {
        same_tree(&debugfs_tree(one), &debugfs_tree(other));
    }
}

/// Asserts that the kernel sees the same tree in two images.
#[track_caller]
pub fn same_by_kernel(one: &Path, other: &Path) {
    let [expected, found] =
        [one, other].map(|image| kernel_tree(image).unwrap_or_else(|e| panic!("{}: {e}", image.display())));
    same_tree(&expected, &found);
}

/// Returns whether the kernel can mount an image with this block size. Only newer kernels mount blocks larger
/// than a page.
pub fn can_be_mounted(image: &Path) -> bool {
    block_size(image) <= 4096 || kernel_tree(image).is_ok()
}

/// Returns a listing of everything that debugfs can copy out of an image.
pub fn debugfs_tree(image: &Path) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    debugfs_read(image, &format!("rdump / {}\n", folder.path().display()));
    // debugfs copies neither the root nor the times of symlinks.
    listing(folder.path(), Listing { root: false, symlink_times: false, ..Listing::default() })
}

/// Mounts a copy read-write, changes files in every directory, and checks that neither the kernel nor e2fsck
/// complains.
pub fn kernel_works(image: &Path) -> Result<(), String> {
    kernel_works_after(image, |_| {})
}

/// Like [`kernel_works`], but calls `prepare` with the mount point first, for example to add a key.
pub fn kernel_works_after(image: &Path, prepare: impl FnOnce(&Path)) -> Result<(), String> {
    let (_folder, copy) = copied(image);
    let mut log = KernelLog::from_now();
    let mounted = Mounted::read_write(&copy)?;
    let device = mounted.device().to_owned();
    prepare(mounted.path());
    let worked = work(&copy, mounted.path()).map_err(|e| format!("work on a mounted copy: {e}"));
    mounted.unmount();
    worked?;
    let complaints = log.complaints(&device);
    if !complaints.is_empty() {
        return Err(format!("the kernel complains: {complaints:#?}"));
    }
    fsck_silent(&copy).map_err(|e| format!("after the kernel's work: {e}"))
}

fn work(image: &Path, root: &Path) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    let mut at = 0;
    while at < folders.len() && at < 100 {
        let folder = folders[at].clone();
        at += 1;
        // Read everything, so that the kernel checks all of it.
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.metadata()?.len() < 1 << 20 {
                fs::read(entry.path())?;
            }
        }
        let mut result = create_and_rename(&folder);
        if is_storage_full(&result) {
            // Blocks that were freed can be used after the next commit of the journal.
            clear(&folder)?;
            sync(root);
            result = create_and_rename(&folder);
        }
        // Tiny images run out of space.
        if !is_storage_full(&result) || !is_full(image, root)? {
            result?;
        }
    }
    Ok(())
}

fn create_and_rename(folder: &Path) -> io::Result<()> {
    let [a, b, c] = ["ext4-canon-a", "ext4-canon-b", "ext4-canon-c"].map(|name| folder.join(name));
    let file = File::create(&a)?;
    file.write_all_at(b"some bytes, then a hole", 0)?;
    file.write_all_at(b"and the end", 5000)?;
    fs::hard_link(&a, &b)?;
    fs::rename(&b, &c)?;
    fs::create_dir(&b)?;
    fs::rename(&a, b.join("moved"))?;
    fs::set_permissions(&c, fs::Permissions::from_mode(0o4711))?;
    fs::remove_file(b.join("moved"))?;
    fs::remove_dir(&b)?;
    fs::remove_file(&c)
}

/// Removes the files of a failed [`create_and_rename`].
fn clear(folder: &Path) -> io::Result<()> {
    for name in ["ext4-canon-a", "ext4-canon-b", "ext4-canon-c"].map(|name| folder.join(name)) {
        match fs::symlink_metadata(&name) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&name)?,
            Ok(_) => fs::remove_file(&name)?,
            Err(_) => {}
        }
    }
    Ok(())
}

fn is_storage_full(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::StorageFull)
}

/// Returns whether a mounted image is full: it has almost no free clusters or inodes. With extents, the kernel
/// keeps 2 % of the clusters, but at most 4096, for its own needs.
fn is_full(image: &Path, root: &Path) -> io::Result<bool> {
    let (bytes, cluster) = sizes(image);
    let kept = if has_feature(image, "extent") { (bytes / cluster / 50).min(4096) } else { 0 };
    let space = rustix::fs::statvfs(root)?;
    let free = space.f_bfree * space.f_frsize / cluster;
    Ok(free < kept + 32 || space.f_ffree < 3)
}

fn copied(image: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(image.parent().expect("a folder")).expect("a temporary folder");
    let copy = folder.path().join("copy.img");
    sparse_copy(image, &copy);
    (folder, copy)
}

/// Returns the locations of each group's metadata, as dumpe2fs prints them.
pub fn group_layout(image: &Path) -> BTreeMap<String, Vec<String>> {
    let text = try_run(tool("dumpe2fs").arg(image)).stdout;
    let mut groups = BTreeMap::<String, Vec<String>>::new();
    let mut group = None;
    for line in text.lines() {
        if line.starts_with("Group ") && line.contains(": (Blocks ") {
            group = Some(line.split(')').next().unwrap_or(line).to_owned());
            groups.insert(group.clone().expect("just set"), Vec::new());
        } else if let Some(group) = &group {
            let items = groups.get_mut(group).expect("inserted before");
            for part in line.trim().split(", ") {
                let words = [
                    "superblock at",
                    "escriptors at",
                    "GDT blocks at",
                    "descriptor at",
                    "bitmap at",
                    "table at",
                ];
                if words.iter().any(|word| part.contains(word)) {
                    items.push(part.split(" (").next().unwrap_or(part).to_owned());
                }
            }
        }
    }
    assert!(!groups.is_empty(), "no groups in the output of dumpe2fs for {}", image.display());
    groups
}
