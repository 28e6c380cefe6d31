//! Writes the output file, which is moved into place only when it is complete.
//!
//! If the filesystem supports `O_TMPFILE`, the file has no name until then, so that not even SIGKILL leaves
//! an incomplete file. Otherwise, and for a moment while it replaces an existing file, it has a temporary
//! name, `.ext4-canon-*.tmp`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, fremovexattr, fsetxattr, getxattr, linkat, open};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile};

use super::failure::{About as _, Usage};
use super::image::Image;
use super::signals::Temporary;
use super::target::Target;

const PREFIX: &str = ".ext4-canon-";
const SUFFIX: &str = ".tmp";

/// The mode of a new file if there is no input file whose mode could be copied. The umask applies.
const ANYONE: u32 = 0o666;
/// The mode of the file until it is complete. Only its owner can read it.
const OWNER_ONLY: u32 = 0o600;
/// The permission bits that are copied from the input or from a replaced file.
const PERMISSIONS: u32 = 0o777;
/// The permission bits of the group. If the file has an ACL, these bits are the mask of the ACL.
const GROUP: u32 = 0o070;

const ACL: &str = "system.posix_acl_access";
/// The maximum length in bytes of an xattr value in Linux.
const LONGEST_XATTR: usize = 1 << 16;

/// An output file that is being written. It is deleted if it is dropped before [`Self::finish`].
#[derive(Debug)]
pub struct Output {
    file: Unfinished,
    target: Target,
    /// The final permissions.
    mode: u32,
}

#[derive(Debug)]
enum Unfinished {
    Nameless(File),
    Named(NamedTempFile<File>, Temporary),
}

impl Output {
    /// Creates an output with the same length as `image`.
    ///
    /// # Errors
    ///
    /// An I/O error about the output or its directory. A usage error if the output replaces a file whose owner
    /// it can't keep.
    pub fn create(target: Target, image: &Image) -> Result<Self> {
        let output = Self::begin(target, wanted(image))?;
        output.set_length(image.length)?;
        Ok(output)
    }

    /// Sets the length in bytes.
    ///
    /// # Errors
    ///
    /// An I/O error about the output.
    pub fn set_length(&self, length: u64) -> Result<()> {
        self.file().set_len(length).context("setting its size").about(self.shown())
    }

    /// Returns the length in bytes.
    pub fn length(&self) -> io::Result<u64> {
        self.file().metadata().map(|metadata| metadata.len())
    }

    /// Writes a complete report about `images`, and returns warnings.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`].
    pub fn write_all(target: Target, images: &[&Image], bytes: &[u8]) -> Result<Vec<String>> {
        Self::with_bytes(target, images, bytes)?.finish(true)
    }

    /// Writes a report about `images`. [`Self::finish`] moves it into place. A new report gets only permissions
    /// that all images have.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`].
    pub fn with_bytes(target: Target, images: &[&Image], bytes: &[u8]) -> Result<Self> {
        let mode = images.iter().fold(ANYONE, |mode, image| mode & wanted(image));
        let output = Self::begin(target, mode)?;
        output.file().write_all(bytes).context("writing it").about(output.shown())?;
        Ok(output)
    }

    /// Creates an empty output with the same target, as a replacement for this one.
    ///
    /// # Errors
    ///
    /// As for [`Self::create`].
    pub fn another(&self, image: &Image) -> Result<Self> {
        Self::begin(self.target.clone(), wanted(image))
    }

    /// Creates an empty output. A new file gets the permissions `wanted`, restricted by the umask or by a
    /// default ACL of the directory. If the output replaces a file, it keeps the permissions of that file.
    fn begin(target: Target, wanted: u32) -> Result<Self> {
        let directory = target.directory();
        let first = if target.replaced.is_some() { OWNER_ONLY } else { wanted };
        let file = nameless(directory, first)
            .or_else(|()| named(directory, first))
            .context("creating the output")
            .about(directory)?;
        let mut output = Self { file, target, mode: OWNER_ONLY };
        output.mode = match &output.target.replaced {
            Some(replaced) => replaced.mode() & PERMISSIONS,
            None => output.permissions()?,
        };
        output.keep_owner()?;
        // Ignore errors: a filesystem without permissions can't restrict them.
        let _ = output.file().set_permissions(Permissions::from_mode(OWNER_ONLY));
        Ok(output)
    }

    /// If the output replaces a file, copies its owner, and its group if the system permits it.
    fn keep_owner(&self) -> Result<()> {
        let Some(replaced) = &self.target.replaced else { return Ok(()) };
        let (uid, gid) = (replaced.uid(), replaced.gid());
        let mine = self.file().metadata().context("reading the owner").about(self.shown())?;
        if (mine.uid(), mine.gid()) == (uid, gid) || fchown(self.file(), Some(uid), Some(gid)).is_ok() {
            return Ok(());
        }
        if mine.uid() != uid {
            let words =
                "belongs to a different user, who would lose it; remove it first, or use a different name";
            return Err(Usage::new(words)).about(self.shown());
        }
        // The group can be a group of which the user is not a member. Then there is a warning in the end.
        Ok(())
    }

    fn permissions(&self) -> Result<u32> {
        let metadata = self.file().metadata().context("reading permissions").about(self.shown())?;
        Ok(metadata.mode() & PERMISSIONS)
    }

    /// Returns the file, for writing.
    pub fn file(&self) -> &File {
        match &self.file {
            Unfinished::Nameless(file) => file,
            Unfinished::Named(named, _) => named.as_file(),
        }
    }

    /// Returns the final name, for messages.
    pub fn shown(&self) -> &Path {
        &self.target.shown
    }

    /// Returns whether the final name is the same as the name of `other`.
    pub fn goes_to(&self, other: &Target) -> bool {
        let name = |target: &Target| {
            (fs::canonicalize(target.directory()).ok(), target.path.file_name().map(ToOwned::to_owned))
        };
        name(&self.target) == name(other)
    }

    /// Sets the final permissions and moves the file into place, replacing an existing file. If `sync` is
    /// set, first flushes the data to the disk. Returns warnings.
    ///
    /// # Errors
    ///
    /// An I/O error. The existing file is then unchanged.
    pub fn finish(self, sync: bool) -> Result<Vec<String>> {
        let mut warnings = self.settle()?;
        if sync {
            self.file().sync_all().context("writing to the disk").about(self.shown())?;
        }
        let Self { file, target, .. } = self;
        give_name(file, &target).context("giving the output its name").about(&target.shown)?;
        if sync && let Err(error) = sync_directory(target.directory()) {
            warnings.push(format!(
                "{} is in place, but its name is not yet safe from a crash: {error}",
                target.shown.display()
            ));
        }
        Ok(warnings)
    }

    /// Sets the permissions. If the output replaces a file, also copies its ACL, if the system permits it. If the
    /// group or the ACL couldn't be copied, the group gets no access, because the group bits are meant for the
    /// old group or are the mask of the missing ACL.
    fn settle(&self) -> Result<Vec<String>> {
        let mut mode = self.mode;
        let mut warnings = Vec::new();
        if let Some(replaced) = &self.target.replaced {
            let kept_group = self.file().metadata().is_ok_and(|metadata| metadata.gid() == replaced.gid());
            if !kept_group {
                let output = self.target.shown.display();
                warnings
                    .push(format!("the group of {output} could not be kept, so the group gets no access"));
            }
            let acl = self.keep_acl();
            if !kept_group || acl.is_some() {
                mode &= !GROUP;
            }
            warnings.extend(acl);
        }
        if self.permissions()? != mode {
            let mode = Permissions::from_mode(mode);
            self.file().set_permissions(mode).context("setting permissions").about(self.shown())?;
        }
        Ok(warnings)
    }

    fn keep_acl(&self) -> Option<String> {
        let mut value = vec![0; LONGEST_XATTR];
        let result = match getxattr(&self.target.path, ACL, &mut value) {
            Ok(length) => fsetxattr(self.file(), ACL, &value[..length], XattrFlags::empty()),
            // The old file has no ACL, or the filesystem does not support ACLs. The new file can have a
            // default ACL from the directory.
            Err(_) => fremovexattr(self.file(), ACL).or_else(|error| match error {
                Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS => Ok(()),
                error => Err(error),
            }),
        };
        let error = io::Error::from(result.err()?);
        Some(format!("the ACL of {} could not be kept: {error}", self.target.shown.display()))
    }
}

/// Creates a file without a name. Fails if the filesystem does not support this, or if /proc is missing.
/// /proc is needed to link the file later.
fn nameless(directory: &Path, mode: u32) -> Result<Unfinished, ()> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(directory, flags, Mode::from_raw_mode(mode)).map_err(drop)?);
    let reachable = fs::metadata(descriptor_path(&file)).map_err(drop)?;
    let mine = file.metadata().map_err(drop)?;
    if (reachable.dev(), reachable.ino()) == (mine.dev(), mine.ino()) {
        Ok(Unfinished::Nameless(file))
    } else {
        Err(())
    }
}

fn named(directory: &Path, mode: u32) -> io::Result<Unfinished> {
    let (file, temporary) = make_temporary(directory, |name| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode).open(name)
    })?;
    Ok(Unfinished::Named(file, temporary))
}

/// Creates a temporary file with `make`. Registers its name with the signal handlers before creating it.
fn make_temporary<F>(
    directory: &Path,
    make: impl Fn(&Path) -> io::Result<F>,
) -> io::Result<(NamedTempFile<F>, Temporary)> {
    let mut known = None;
    let mut builder = Builder::new();
    let file = builder.prefix(PREFIX).suffix(SUFFIX).make_in(directory, |name| {
        // Only one name can be registered at a time.
        drop(known.take());
        known = Some(Temporary::new(name));
        make(name)
    })?;
    let temporary = known.unwrap_or_else(|| Temporary::new(file.path()));
    Ok((file, temporary))
}

fn give_name(file: Unfinished, target: &Target) -> io::Result<()> {
    let (named, _temporary) = match file {
        Unfinished::Named(named, temporary) => (named, temporary),
        Unfinished::Nameless(file) => match link(&file, &target.path) {
            Ok(()) => return Ok(()),
            // `linkat` can't replace a file, but `rename` can. So first link the file to a temporary name.
            Err(Errno::EXIST) => {
                let (linked, _temporary) = make_temporary(target.directory(), |name| Ok(link(&file, name)?))?;
                return linked.persist(&target.path).map_err(|error| error.error);
            }
            Err(error) => return Err(error.into()),
        },
    };
    named.persist(&target.path).map(drop).map_err(|error| error.error)
}

/// Returns the permissions for a new output, before the umask is applied: the permissions of the input, or a
/// default if the input is a pipe.
fn wanted(image: &Image) -> u32 {
    image.mode().map_or(ANYONE, |mode| mode & PERMISSIONS)
}

fn link(file: &File, name: &Path) -> Result<(), Errno> {
    linkat(CWD, descriptor_path(file), CWD, name, AtFlags::SYMLINK_FOLLOW)
}

/// Returns a path to a file without a name, for `linkat`. AT_EMPTY_PATH would need a capability.
fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    let opened = match File::open(directory) {
        Ok(opened) => opened,
        // A directory can be writable but not readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error),
    };
    match rustix::fs::fsync(&opened) {
        // Some filesystems can't sync a directory, and return EINVAL.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Message;
    use std::os::unix::fs::FileExt as _;

    struct Folder {
        directory: tempfile::TempDir,
        image: Image,
    }

    impl Folder {
        fn new(mode: u32) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("in.img");
            fs::write(&path, [1; 5000]).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let image = Image::open(&path, "image").unwrap();
            Self { directory, image }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn target(&self) -> Target {
            Target::beside(&self.path("out.img"), &self.image).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.directory.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        fn new_output(&self) -> Output {
            Output::create(self.target(), &self.image).unwrap()
        }

        /// Creates an output with a temporary name, as on filesystems without O_TMPFILE.
        fn named(&self) -> Output {
            let file = named(self.directory.path(), OWNER_ONLY).unwrap();
            let mut output = Output { file, target: self.target(), mode: OWNER_ONLY };
            output.mode = Output::begin(self.target(), wanted(&self.image)).unwrap().mode;
            output.file().set_len(self.image.length).unwrap();
            output
        }
    }

    const BOTH_WAYS: [fn(&Folder) -> Output; 2] = [Folder::new_output, Folder::named];

    fn write(output: &Output) {
        output.file().write_all_at(b"new", 100).unwrap();
    }

    #[test]
    fn it_appears_whole_with_the_right_permissions() {
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        // Each row has the mode of the input, and the mode of the replaced file.
        for (mode, replaced) in [(0o640, None), (0o777, None), (0o444, Some(0o640)), (0o755, Some(0o600))] {
            let scene = Folder::new(mode);
            for create in BOTH_WAYS {
                if let Some(old) = replaced {
                    fs::write(scene.path("out.img"), "old").unwrap();
                    fs::set_permissions(scene.path("out.img"), Permissions::from_mode(old)).unwrap();
                }
                let output = create(&scene);
                write(&output);
                assert_eq!(output.permissions().unwrap(), OWNER_ONLY);
                assert_eq!(output.finish(true).unwrap(), [""; 0]);
                let found = fs::read(scene.path("out.img")).unwrap();
                assert_eq!((found.len(), &found[100..103]), (5000, &b"new"[..]));
                let metadata = fs::metadata(scene.path("out.img")).unwrap();
                assert_eq!(metadata.mode() & 0o7777, replaced.unwrap_or(mode & !umask.bits()));
                assert!(metadata.blocks() * 512 < 8192, "sparse");
                assert_eq!(scene.names(), ["in.img", "out.img"]);
                fs::remove_file(scene.path("out.img")).unwrap();
            }
        }
    }

    #[test]
    fn dropped_it_leaves_nothing() {
        let scene = Folder::new(0o644);
        for create in BOTH_WAYS {
            let output = create(&scene);
            write(&output);
            drop(output);
            assert_eq!(scene.names(), ["in.img"]);
        }
    }

    #[test]
    fn where_it_can_t_get_its_name_it_leaves_nothing() {
        let scene = Folder::new(0o644);
        for create in BOTH_WAYS {
            let output = create(&scene);
            fs::create_dir(scene.path("out.img")).unwrap();
            assert!(output.finish(true).is_err());
            assert_eq!(scene.names(), ["in.img", "out.img"]);
            fs::remove_dir(scene.path("out.img")).unwrap();
        }
    }

    #[test]
    fn a_temporary_name_tells_whose_it_is() {
        let scene = Folder::new(0o644);
        let output = scene.named();
        assert!(scene.names()[0].starts_with(".ext4-canon-"), "{:?}", scene.names());
        drop(output);
    }

    #[test]
    fn in_place_it_replaces_the_input() {
        let scene = Folder::new(0o600);
        let output = Output::create(Target::in_place(&scene.image).unwrap(), &scene.image).unwrap();
        write(&output);
        output.finish(true).unwrap();
        assert_eq!(fs::read(scene.path("in.img")).unwrap()[99..103], *b"\0new");
        assert_eq!(scene.names(), ["in.img"]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let scene = Folder::new(0o644);
        let target = Target::beside(&scene.path("no/out.img"), &scene.image).unwrap();
        let line = Message::of(&Output::create(target, &scene.image).unwrap_err()).line();
        assert!(line.starts_with(&scene.path("no").display().to_string()), "{line}");
    }
}
