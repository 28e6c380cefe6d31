//! Different histories of the same tree, in filesystems with the same geometry.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::geometry::Geometry;
use super::tree::Tree;
use crate::support::dice::Dice;
use crate::support::image::{debugfs, root_as_in};
use crate::support::kernel::Mounted;
use crate::support::listing::paths;
use crate::support::ran::Ran;
use crate::support::tools::try_run;
use crate::support::{Lab, fill, judge, run, tool, tree};

/// Options of mke2fs that don't affect the canonical form: those for `-E`, and others.
type Traceless = (Vec<String>, Vec<String>);

/// A way to put a tree into an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// `mke2fs -d`, from a directory that was created in a different order.
    Mke2fs,
    /// A copy to a mounted filesystem, in a random order.
    Kernel,
    /// debugfs commands.
    Debugfs,
    /// A copy of the first image, in which the kernel renames files, and renames them back.
    Renamed,
    /// A copy of the first image.
    Copied,
}

/// The history of a second image, before it has the tree of the first.
#[derive(Clone, Debug)]
pub struct History {
    pub filling: Filling,
    /// The number of temporary files.
    clutter: usize,
    /// Whether the filesystem is unmounted and mounted again in the middle.
    remounts: bool,
    /// Whether e2fsck rebuilds all directories at the end.
    rebuilt: bool,
    /// Whether other tools failed, or damaged the image.
    pub is_given_up: bool,
    seed: u64,
}

impl History {
    /// Draws a history for a filesystem and a tree. `keeps_holes` is set if the allocation of zeros matters,
    /// and `mounts` if the kernel can be used.
    pub fn draw(dice: &mut Dice, geometry: &Geometry, tree: &Tree, keeps_holes: bool, mounts: bool) -> Self {
        // The result of the kernel needs a repair with e2fsck if directory entries have no types, or if the
        // metadata is packed. See below.
        let needs_mending = !geometry.has("filetype") || geometry.is_packed();
        let mounts = mounts && !(needs_mending && is_spoilt_by_e2fsck(geometry, tree));
        let mut fillings = vec![Filling::Mke2fs];
        // With MMP, each step waits ten seconds.
        if !geometry.has("mmp") {
            fillings.push(Filling::Copied);
            if mounts {
                fillings.push(Filling::Renamed);
            }
        }
        if !geometry.has("mmp") && !keeps_holes {
            if mounts {
                fillings.extend([Filling::Kernel; 6]);
            }
            // debugfs writes zeros to inline data, and its search for names is slow.
            if tree.is_plain() && !geometry.has("inline_data") {
                fillings.push(Filling::Debugfs);
            }
        }
        if geometry.has("stable_inodes") {
            fillings.retain(|filling| matches!(filling, Filling::Copied | Filling::Renamed));
        }
        Self {
            filling: dice.pick(&fillings).copied().unwrap_or(Filling::Copied),
            clutter: if dice.chance(70) { dice.roll(40) } else { 0 },
            remounts: dice.chance(30),
            rebuilt: dice.chance(20),
            is_given_up: false,
            seed: dice.number(),
        }
    }
}

/// Returns whether e2fsck could remove data in use: it ignores the xattr block of a symlink with inline data,
/// and clears a symlink with an EA inode.
fn is_spoilt_by_e2fsck(geometry: &Geometry, tree: &Tree) -> bool {
    (geometry.has("inline_data") || geometry.has("ea_inode")) && tree.has_symlinks_with_xattrs()
}

/// Returns whether the history damaged an image, as opposed to mke2fs.
fn is_spoilt(history: &History, first: &Path, image: &Path) -> bool {
    let is_clean = |image| try_run(tool("e2fsck").arg("-fn").arg(image)).code == Some(0);
    !is_clean(image) && (history.filling == Filling::Kernel || is_clean(first))
}

/// The place for images of one tree.
#[derive(Debug)]
pub struct Site<'d> {
    pub lab: &'d Lab,
    pub geometry: &'d Geometry,
    pub tree: &'d Tree,
    pub source: &'d Path,
}

impl Site<'_> {
    /// Makes an image with mke2fs, and fills it from a directory.
    fn mke2fs(
        &self,
        (name, uuid): (&str, &str),
        more: &Traceless,
        from: Option<&Path>,
    ) -> Result<PathBuf, Ran> {
        let mut options = self.geometry.options(more);
        options.extend(["-U".to_owned(), uuid.to_owned()]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let size = format!("{}k", self.geometry.bytes / 1024);
        // If mke2fs failed before, it may have left a file.
        let _ = fs::remove_file(self.lab.path(name));
        let image = self.lab.try_mke2fs(name, &size, &options, from)?;
        if self.geometry.tail > 0 {
            let file = fs::File::options().write(true).open(&image).expect("an image");
            file.set_len(file.metadata().expect("metadata").len() + self.geometry.tail).expect("a length");
        }
        // With packed metadata, mke2fs may compute wrong counts of free blocks.
        let is_packed = options.iter().any(|option| option.contains("packed_meta_blocks"));
        let spoilt = from.is_some() && is_spoilt_by_e2fsck(self.geometry, self.tree);
        if is_packed && !spoilt && !self.geometry.has("mmp") {
            judge::repair(&image, &[]);
        }
        if let Some(hash) = self.geometry.hash.filter(|_| !self.geometry.has("mmp")) {
            debugfs(&image, &format!("set_super_value def_hash_version {hash}\n"));
        }
        Ok(image)
    }

    /// Makes the first image with mke2fs, or returns its result if it refuses.
    pub fn first(&self) -> Result<PathBuf, Ran> {
        let uuid = "01234567-89ab-4cde-8f01-23456789abcd";
        let image = self.mke2fs(("first.img", uuid), &Traceless::default(), Some(self.source))?;
        if !self.geometry.has("mmp") {
            root_as_in(&image, self.source);
        }
        self.try_extras(&image)?;
        Ok(image)
    }

    /// Makes a different image with mke2fs, and with additional options that don't affect the canonical form,
    /// unless mke2fs refuses these.
    fn mke2fs_again(&self, uuid: &str, dice: &mut Dice, from: Option<&Path>) -> Result<PathBuf, Ran> {
        let more = self.geometry.traceless(dice);
        let made = self.mke2fs(("second.img", uuid), &more, from);
        made.or_else(|_| self.mke2fs(("second.img", uuid), &Traceless::default(), from))
    }

    /// Sets large xattrs and project IDs with debugfs.
    fn try_extras(&self, image: &Path) -> Result<(), Ran> {
        let (large, projects) = (self.tree.large_xattrs(), self.tree.projects());
        let mut script = String::new();
        let values = self.lab.path("values");
        fs::create_dir_all(&values).expect("a folder");
        for (number, (path, name, value)) in large.iter().enumerate() {
            let file = values.join(number.to_string());
            fs::write(&file, value).expect("writing");
            let Some(path) = path.to_str().filter(|path| !path.contains(['"', '\n', '\t'])) else { continue };
            writeln!(script, "ea_set -f {} \"{path}\" {name}", file.display()).expect("a string");
        }
        for (path, project) in &projects {
            let Some(path) = path.to_str().filter(|path| !path.contains(['"', '\n', '\t'])) else { continue };
            writeln!(script, "set_inode_field \"{path}\" projid {project}").expect("a string");
        }
        if script.is_empty() {
            return Ok(());
        }
        let commands = self.lab.path("commands");
        fs::write(&commands, script).expect("writing");
        let ran = try_run(tool("debugfs").arg("-w").arg("-f").arg(&commands).arg(image));
        let complaints =
            ran.stderr.lines().any(|line| !line.starts_with("debugfs ") && !line.trim().is_empty());
        if complaints { Err(ran) } else { Ok(()) }
    }

    /// Makes the second image. If other tools fail or damage it, it gets the simplest history instead.
    pub fn second(&self, history: &mut History, uuid: &str, first: &Path) -> Result<PathBuf, Ran> {
        let made = catch_unwind(AssertUnwindSafe(|| self.by_history(history, uuid, first)));
        match made {
            Ok(Ok(image)) if !is_spoilt(history, first, &image) => return Ok(image),
            // mke2fs may refuse the options.
            Ok(Err(ran)) if history.filling == Filling::Mke2fs => return Err(ran),
            _ => {}
        }
        let filling = if self.geometry.has("stable_inodes") { Filling::Copied } else { Filling::Mke2fs };
        // A mount of a full filesystem can damage it, too.
        let simplest = History { filling, clutter: 0, remounts: false, rebuilt: false, ..history.clone() };
        *history = History { is_given_up: true, ..simplest };
        let _ = fs::remove_dir_all(self.lab.path("reordered"));
        self.by_history(history, uuid, first)
    }

    /// Makes the second image. If the kernel does not mount the filesystem, mke2fs fills it.
    fn by_history(&self, history: &mut History, uuid: &str, first: &Path) -> Result<PathBuf, Ran> {
        let mut dice = Dice::new(history.seed);
        let image = match history.filling {
            Filling::Copied | Filling::Renamed => self.lab.copy(first, "second.img"),
            Filling::Mke2fs => self.reordered(uuid, &mut dice)?,
            Filling::Kernel | Filling::Debugfs => self.mke2fs_again(uuid, &mut dice, None)?,
        };
        match history.filling {
            Filling::Kernel | Filling::Renamed => {
                let done = if history.filling == Filling::Kernel {
                    self.fill_by_kernel(history, &image, &mut dice)
                } else {
                    self.renamed(history, &image, &mut dice)
                };
                if done.is_err() {
                    let instead =
                        if self.geometry.has("stable_inodes") { Filling::Copied } else { Filling::Mke2fs };
                    history.filling = instead;
                    fs::remove_file(&image).expect("removing");
                    return self.by_history(history, uuid, first);
                }
            }
            Filling::Debugfs => fill::debugfs_copy(&image, self.source),
            Filling::Mke2fs | Filling::Copied => {}
        }
        if !matches!(history.filling, Filling::Copied | Filling::Renamed) {
            self.try_extras(&image)?;
        }
        if history.filling != Filling::Kernel && !self.geometry.has("mmp") {
            self.clutter_by_debugfs(history, &image);
        }
        // Without types in directory entries, the kernel leaves invalid bytes there when it makes an index.
        let by_kernel = matches!(history.filling, Filling::Kernel | Filling::Renamed);
        let mended = by_kernel && !self.geometry.has("filetype");
        let spoilt = is_spoilt_by_e2fsck(self.geometry, self.tree);
        if (history.rebuilt || mended) && !spoilt && !self.geometry.has("mmp") {
            judge::repair(&image, if history.rebuilt { &["-D"] } else { &[] });
        }
        Ok(image)
    }

    /// Makes an image with mke2fs from a directory that was created in a different order.
    fn reordered(&self, uuid: &str, dice: &mut Dice) -> Result<PathBuf, Ran> {
        let folder = self.lab.folder("reordered");
        self.tree.build(&folder, Some(dice));
        let image = self.mke2fs_again(uuid, dice, Some(&folder))?;
        if !self.geometry.has("mmp") {
            root_as_in(&image, &folder);
        }
        fs::remove_dir_all(folder).expect("removing");
        Ok(image)
    }

    fn fill_by_kernel(&self, history: &History, image: &Path, dice: &mut Dice) -> Result<(), String> {
        let mut order = paths(self.source);
        dice.shuffle(&mut order);
        let mounted = Mounted::read_write(image)?;
        let room = rustix::fs::statvfs(mounted.path()).expect("statvfs");
        let needed = self.tree.bytes() * 3 / 2 / self.geometry.block_size + 100;
        if room.f_bfree < needed || room.f_ffree < self.tree.inodes() + 3 {
            return Err("there may be too little room".to_owned());
        }
        // Temporary files must leave enough space for the tree.
        let enough = room.f_bfree > needed + 40 * 8 && room.f_ffree > self.tree.inodes() + 60;
        let clutter = if enough { history.clutter } else { 0 };
        write_clutter(mounted.path(), clutter, dice);
        let mounted = if history.remounts {
            mounted.unmount();
            Mounted::read_write(image)?
        } else {
            mounted
        };
        remove_clutter(mounted.path(), clutter, 2);
        fill::copy_in_order(self.source, mounted.path(), &order);
        remove_clutter(mounted.path(), clutter, 1);
        for path in order.iter().take(3) {
            self.reserve(path, mounted.path());
        }
        tree::set_mtime(mounted.path(), tree::SOME_TIME, 0);
        mounted.unmount();
        Ok(())
    }

    /// Preallocates blocks past the end of a file with the kernel, if possible.
    fn reserve(&self, path: &Path, root: &Path) {
        use rustix::fs::{FallocateFlags, fallocate};
        let (meta, copy) = (self.source.join(path).symlink_metadata().expect("metadata"), root.join(path));
        // Writing would remove file capabilities.
        let capability =
            rustix::fs::lgetxattr(self.source.join(path), "security.capability", &mut [0; 64][..]);
        if meta.is_file() && capability.is_err() {
            let file = fs::File::options().write(true).open(&copy).expect("a file");
            // This fails without extents, or if the filesystem is full.
            let _ = fallocate(&file, FallocateFlags::KEEP_SIZE, meta.len(), 20_000);
            drop(file);
            tree::set_mtime(&copy, meta.mtime(), 0);
        }
    }

    /// Renames files and renames them back, in a different order.
    fn renamed(&self, history: &History, image: &Path, dice: &mut Dice) -> Result<(), String> {
        let mounted = Mounted::read_write(image)?;
        let root = mounted.path();
        let room = rustix::fs::statvfs(root).expect("statvfs");
        let clutter = if room.f_bavail > 40 * 8 && room.f_ffree > 60 { history.clutter } else { 0 };
        write_clutter(root, clutter, dice);
        let mut names: Vec<_> =
            fs::read_dir(self.source).expect("a folder").flatten().map(|e| e.file_name()).collect();
        dice.shuffle(&mut names);
        let passing = root.join("passing name");
        for name in &names {
            // This fails if the directory is full.
            if fs::rename(root.join(name), &passing).is_ok() {
                fs::rename(&passing, root.join(name)).expect("renaming it back");
            }
        }
        remove_clutter(root, clutter, 1);
        tree::set_mtime(root, tree::SOME_TIME, 0);
        mounted.unmount();
        Ok(())
    }

    fn clutter_by_debugfs(&self, history: &History, image: &Path) {
        let free = run(tool("dumpe2fs").arg("-h").arg(image));
        let field = |name: &str| -> u64 {
            let line = free.lines().find(|line| line.starts_with(name)).expect("a line");
            line.split_whitespace().last().and_then(|word| word.parse().ok()).expect("a number")
        };
        if history.clutter == 0 || field("Free blocks:") < 600 || field("Free inodes:") < 10 {
            return;
        }
        fill::clutter_by_debugfs(image);
    }
}

fn write_clutter(root: &Path, count: usize, dice: &mut Dice) {
    for number in 0..count {
        let length = dice.roll(6000);
        fs::write(root.join(format!("clutter{number}")), Dice::noise(dice.number(), length))
            .expect("writing");
    }
}

/// Removes every `step`-th temporary file that still exists.
fn remove_clutter(root: &Path, count: usize, step: usize) {
    for number in (0..count).step_by(step) {
        // Some of the files were removed before.
        let _ = fs::remove_file(root.join(format!("clutter{number}")));
    }
}
