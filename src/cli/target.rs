//! Resolves the name of the output, and checks that the output replaces neither its input nor a special or
//! mounted file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::failure::{About as _, Usage};
use super::image::Image;
use super::mounted::System;

/// The maximum number of symbolic links that Linux follows in a path.
const MAX_LINKS: usize = 40;

/// The name of an output, and the file that it replaces.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name from the command line, for messages.
    pub shown: PathBuf,
    /// The name to create or replace, after symbolic links are resolved.
    pub path: PathBuf,
    /// The metadata of the file to replace, if it exists.
    pub replaced: Option<Metadata>,
}

impl Target {
    /// Finds the file that `output` names or links to. The file need not exist.
    ///
    /// # Errors
    ///
    /// A usage error if the file is the input, the journal of the input, mounted, or not a regular file, or
    /// if the name ends with a slash; otherwise an I/O error.
    pub fn beside(output: &Path, image: &Image) -> Result<Self> {
        Self::find(output, image).about(output)
    }

    fn find(output: &Path, image: &Image) -> Result<Self> {
        const DOING: &str = "looking for the output";
        if output.as_os_str().as_bytes().ends_with(b"/") {
            bail!(Usage::new("is the name of a directory; give the name of a file"));
        }
        let (path, replaced) = match fs::metadata(output) {
            Ok(metadata) => {
                refuse(&metadata)?;
                refuse_input(output, &metadata, image)?;
                (real_name(output, &metadata).context(DOING)?, Some(metadata))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (end_of_links(output).context(DOING)?, None)
            }
            Err(error) => return Err(error).context(DOING),
        };
        Ok(Self { shown: output.to_owned(), path, replaced })
    }

    /// Finds the input file, even if its name is a symbolic link.
    ///
    /// # Errors
    ///
    /// A usage error if the input can't be replaced safely, otherwise an I/O error.
    pub fn in_place(image: &Image) -> Result<Self> {
        Self::of_input(image).about(&image.path)
    }

    fn of_input(image: &Image) -> Result<Self> {
        if let Some(what) = image.stored_from {
            bail!(Usage::new(format!("is {what}, which can't be replaced; write to a file with OUT")));
        }
        if !image.metadata.is_file() {
            bail!(Usage::new(
                "is a block device, which can't be replaced atomically; write to a file with OUT, then copy \
                 that"
            ));
        }
        if image.metadata.nlink() > 1 {
            bail!(Usage::new(
                "has several hard links, and the others would keep the old image; copy it, or write to a \
                 different file with OUT"
            ));
        }
        if let Some(places) = image.mounts.places() {
            bail!(Usage::new(format!(
                "is mounted {places}, and data written to that mount would be lost; unmount it first, or \
                 write to a different file with OUT"
            )));
        }
        let path = real_name(&image.path, &image.metadata).context("looking for its name")?;
        Ok(Self { shown: image.path.clone(), path, replaced: Some(image.metadata.clone()) })
    }

    /// Returns the directory of the output.
    pub fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

/// Checks that an existing output is a regular file.
fn refuse(metadata: &Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let reason = if kind.is_dir() {
        "is a directory; give the name of a file"
    } else if kind.is_block_device() {
        "is a block device, which can't be replaced atomically; write to a file, then copy that"
    } else if kind.is_fifo() || kind.is_socket() {
        "is a pipe or socket, which can't be replaced atomically; use - and redirect standard output, or \
         write to a file"
    } else if kind.is_char_device() {
        "is a character device; give the name of a file"
    } else {
        return Ok(());
    };
    bail!(Usage::new(reason))
}

/// Returns whether a file is the image of `--like`, and not also the input.
pub fn is_reference(metadata: &Metadata, image: &Image) -> bool {
    let reference = image.reference.as_ref();
    !image.is(metadata)
        && reference.is_some_and(|file| (file.dev(), file.ino()) == (metadata.dev(), metadata.ino()))
}

/// Checks that the output is not the input, its journal or the image of `--like`, and is not mounted.
fn refuse_input(output: &Path, metadata: &Metadata, image: &Image) -> Result<()> {
    if image.journal.as_ref().is_some_and(|journal| journal.is(metadata)) {
        bail!(Usage::new("is the journal of the input; give a different name"));
    }
    if is_reference(metadata, image) {
        bail!(Usage::new("is the image of --like; use a different name"));
    }
    if image.is(metadata) {
        bail!(Usage::new("is the input; use --in-place to replace it, or give a different name"));
    }
    if let Some(places) = System::default().mounts(output, metadata).places() {
        bail!(Usage::new(format!(
            "is mounted {places}, and data written to that mount would be lost; unmount it first, or give a \
             different name"
        )));
    }
    Ok(())
}

/// Returns the name of an existing file, with symbolic links resolved.
fn real_name(path: &Path, metadata: &Metadata) -> io::Result<PathBuf> {
    let name = fs::canonicalize(path)?;
    // /proc/self/fd/1 can link to a deleted file.
    match fs::symlink_metadata(&name) {
        Ok(found) if (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()) => Ok(name),
        _ => Err(io::Error::other("the name no longer refers to this file, so it can't be replaced")),
    }
}

/// Follows a chain of symbolic links to a name that does not exist.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            // The name is not a symbolic link, or does not exist.
            Err(_) => return Ok(path),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit_code::ExitCode;
    use crate::cli::failure::{self, Message};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn directory_with_image() -> (tempfile::TempDir, Image) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("in.img");
        fs::write(&path, [1; 10]).unwrap();
        let image = Image::open(&path, "image").unwrap();
        (directory, image)
    }

    #[test]
    fn links_are_followed_also_to_nowhere() {
        let (directory, image) = directory_with_image();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        symlink("sub/new.img", path("one")).unwrap();
        symlink(path("one"), path("two")).unwrap();
        assert_eq!(Target::beside(&path("two"), &image).unwrap().path, path("sub/new.img"));
        fs::write(path("sub/new.img"), "old").unwrap();
        let real = fs::canonicalize(path("sub/new.img")).unwrap();
        assert_eq!(Target::beside(&path("two"), &image).unwrap().path, real);
        symlink("loop", path("loop")).unwrap();
        assert_eq!(failure::code(&Target::beside(&path("loop"), &image).unwrap_err()), ExitCode::Io);
    }

    #[test]
    fn the_input_is_known_under_every_name() {
        let (directory, image) = directory_with_image();
        let path = |name: &str| directory.path().join(name);
        symlink("in.img", path("link")).unwrap();
        fs::hard_link(path("in.img"), path("hard")).unwrap();
        fs::create_dir(path("sub")).unwrap();
        for name in ["in.img", "link", "hard", "sub/../in.img"] {
            let error = Target::beside(&path(name), &image).unwrap_err();
            assert_eq!(failure::code(&error), ExitCode::Usage, "{name}");
            assert!(Message::of(&error).line().contains("--in-place"), "{error:#}");
        }
    }

    #[test]
    fn only_files_are_replaced() {
        let (directory, image) = directory_with_image();
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [directory.path(), &socket, Path::new("/dev/null"), Path::new("new/")] {
            let error = Target::beside(path, &image).unwrap_err();
            assert_eq!(failure::code(&error), ExitCode::Usage, "{path:?}");
        }
    }

    #[test]
    fn in_place_needs_a_single_name() {
        let (directory, image) = directory_with_image();
        let path = |name: &str| directory.path().join(name);
        symlink("in.img", path("link")).unwrap();
        let linked = Image::open(&path("link"), "image").unwrap();
        let real = fs::canonicalize(path("in.img")).unwrap();
        assert_eq!(Target::in_place(&image).unwrap().path, real);
        assert_eq!(Target::in_place(&linked).unwrap().path, real);
        fs::hard_link(path("in.img"), path("hard")).unwrap();
        let twice = Image::open(&path("in.img"), "image").unwrap();
        assert!(Message::of(&Target::in_place(&twice).unwrap_err()).line().contains("hard links"));
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        let (_directory, image) = directory_with_image();
        let target = Target::beside(Path::new("no-such-file.img"), &image).unwrap();
        assert_eq!(target.directory(), Path::new("."));
    }
}
