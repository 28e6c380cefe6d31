//! A temporary directory for a test, and the images in it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use ext4_canon::internals::ondisk::inode::InodeFlags;
use ext4_canon::internals::ondisk::xattr;
use tempfile::TempDir;

use super::canon::{Canon, canon};
use super::fields::{block_size, inode, superblock};
use super::judge::repair;
use super::kernel::Mounted;
use super::ran::Ran;
use super::tools::{project, try_run};
use super::{run, tool, tree};

/// A temporary directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Lab {
    folder: TempDir,
}

impl Lab {
    /// Creates an empty directory.
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("ext4-canon-").tempdir().expect("a temporary folder") }
    }

    /// Creates an empty directory in /dev/shm if it has enough space and supports xattrs; otherwise like
    /// [`Self::new`]. It is meant for tests that make many images.
    pub fn in_memory() -> Self {
        let folder = tempfile::Builder::new().prefix("ext4-canon-").tempdir_in("/dev/shm");
        let has_xattrs = |folder: &TempDir| {
            let room =
                rustix::fs::statvfs(folder.path()).is_ok_and(|stat| stat.f_bavail * stat.f_frsize > 4 << 30);
            let set = rustix::fs::setxattr(folder.path(), "user.probe", b"", rustix::fs::XattrFlags::empty());
            room && set.is_ok()
        };
        folder.ok().filter(has_xattrs).map_or_else(Self::new, |folder| Self { folder })
    }

    /// Creates a command that runs the program in this directory.
    pub fn canon(&self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Canon {
        canon(arguments).within(self.folder.path())
    }

    /// Creates a command that runs a bash script in this directory, in which `$0` is the program.
    pub fn shell(&self, script: &str) -> Canon {
        Canon::script(script).within(self.folder.path())
    }

    /// Returns the sorted names in a subdirectory, including hidden files.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        // FUSE renames a file that is removed while it is open, until it is closed.
        let mut names: Vec<_> = names.filter(|name| !name.starts_with(".fuse_hidden")).collect();
        names.sort();
        names
    }

    /// Reads a file in this directory.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Returns the path of a name in this directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates an empty subdirectory.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("a folder");
        path
    }

    /// Copies a file into this directory, with holes in place of zeros.
    pub fn copy(&self, file: &Path, name: &str) -> PathBuf {
        let path = self.path(name);
        sparse_copy(file, &path);
        path
    }

    /// Copies an image and lets the kernel replay its journal.
    pub fn by_kernel(&self, image: &Path) -> PathBuf {
        let copy = self.copy(image, "by-kernel.img");
        Mounted::read_write(&copy).unwrap_or_else(|e| panic!("{e}")).unmount();
        copy
    }

    /// Copies an image and lets e2fsck replay its journal and repair it.
    pub fn by_e2fsck(&self, image: &Path) -> PathBuf {
        let copy = self.copy(image, "by-e2fsck.img");
        repair(&copy, &[]);
        copy
    }

    /// Makes an empty image with mke2fs.
    pub fn mke2fs(&self, name: &str, size: &str, options: &[&str]) -> PathBuf {
        self.mke2fs_with(name, size, options, None)
    }

    /// Makes an image with mke2fs and fills it from a directory.
    pub fn mke2fs_d(&self, name: &str, size: &str, options: &[&str], from: &Path) -> PathBuf {
        self.mke2fs_with(name, size, options, Some(from))
    }

    /// Returns the directory with [`tree::plain`], and creates it on the first call.
    pub fn plain_tree(&self) -> PathBuf {
        let source = self.path("source");
        if !source.exists() {
            tree::plain(&self.folder("source"));
        }
        source
    }

    /// Makes an image with mke2fs and fills it from [`Self::plain_tree`].
    pub fn plain_image(&self, name: &str, size: &str, options: &[&str]) -> PathBuf {
        self.mke2fs_d(name, size, options, &self.plain_tree())
    }

    /// Unpacks one of the images in testdata.
    pub fn shipped(&self, name: &str) -> PathBuf {
        let packed = self.path(&format!("{name}.img.xz"));
        fs::copy(project("testdata").join(format!("{name}.img.xz")), &packed).expect("a shipped image");
        run(tool("xz").arg("-d").arg(&packed));
        packed.with_extension("")
    }

    fn mke2fs_with(&self, name: &str, size: &str, options: &[&str], from: Option<&Path>) -> PathBuf {
        let made = self.try_mke2fs(name, size, options, from);
        let image = made.unwrap_or_else(|ran| panic!("mke2fs {options:?}: {ran:#?}"));
        if let Some(from) = from {
            root_as_in(&image, from);
        }
        image
    }

    /// Makes an image with mke2fs and fills it from a directory, if one is given. Returns the result of
    /// mke2fs if it fails.
    pub fn try_mke2fs(
        &self,
        name: &str,
        size: &str,
        options: &[&str],
        from: Option<&Path>,
    ) -> Result<PathBuf, Ran> {
        let image = self.path(name);
        let mut command = tool("mke2fs");
        command.args(["-q", "-F"]).args(options);
        if let Some(from) = from {
            command.arg("-d").arg(from);
        }
        let ran = try_run(command.arg(&image).arg(size));
        if ran.code != Some(0) {
            return Err(ran);
        }
        // mke2fs may leave the file of a tiny filesystem shorter than the filesystem.
        let (length, _) = sizes(&image);
        if image.metadata().expect("metadata").len() < length {
            set_length(&image, length);
        }
        Ok(image)
    }

    /// Makes an image of `blocks` 1 KiB blocks with genext2fs and fills it from a directory.
    pub fn genext2fs(&self, name: &str, blocks: u32, inodes: u32, from: &Path) -> PathBuf {
        let image = self.path(name);
        run(tool("genext2fs")
            .args(["-B", "1024", "-b", &blocks.to_string(), "-N", &inodes.to_string(), "-d"])
            .arg(from)
            .arg(&image));
        image
    }
}

/// Copies the metadata of a directory to the root of an image. Many versions of `mke2fs -d` don't do this.
pub fn root_as_in(image: &Path, from: &Path) {
    let meta = from.metadata().expect("metadata");
    let mut script = String::new();
    for (field, value) in [
        ("mode", format!("0{:o}", meta.mode())),
        ("uid", meta.uid().to_string()),
        ("gid", meta.gid().to_string()),
        ("mtime", format!("@{}", meta.mtime())),
    ] {
        writeln!(script, "set_inode_field <2> {field} {value}").expect("writing to a string");
    }
    debugfs(image, &script);
}

/// Returns the size of the filesystem and its cluster size, both in bytes.
pub fn sizes(image: &Path) -> (u64, u64) {
    let sb = superblock(image);
    (sb.get("s_blocks_count_lo") * block_size(image), 1024 << sb.get("s_log_cluster_size"))
}

/// Copies a file, with holes in place of zeros.
pub fn sparse_copy(from: &Path, to: &Path) {
    run(tool("cp").args(["--sparse=always", "--"]).arg(from).arg(to));
}

/// Runs debugfs commands that change an image, and asserts that all of them succeed.
pub fn debugfs(image: &Path, commands: &str) -> String {
    debugfs_with(image, commands, "-w")
}

/// Runs debugfs commands that only read an image, and asserts that all of them succeed.
pub fn debugfs_read(image: &Path, commands: &str) -> String {
    debugfs_with(image, commands, "-c")
}

fn debugfs_with(image: &Path, commands: &str, mode: impl AsRef<OsStr>) -> String {
    let script = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(script.path(), commands).expect("writing");
    let mut command = tool("debugfs");
    let ran = try_run(command.arg(mode.as_ref()).arg("-f").arg(script.path()).arg("--").arg(image));
    // debugfs exits with 0 even if commands fail. Errors appear only on standard error.
    let complaints: Vec<_> =
        ran.stderr.lines().filter(|line| !line.starts_with("debugfs ") && !line.trim().is_empty()).collect();
    assert!(ran.code == Some(0) && complaints.is_empty(), "debugfs {commands}: {complaints:#?}");
    ran.stdout
}

/// Extends or truncates a file to `bytes` bytes.
pub fn set_length(file: impl AsRef<Path>, bytes: u64) {
    File::options().write(true).open(file).and_then(|file| file.set_len(bytes)).expect("a length");
}

/// Overwrites bytes of a file.
pub fn patch(image: &Path, offset: u64, bytes: &[u8]) {
    File::options().write(true).open(image).and_then(|f| f.write_all_at(bytes, offset)).expect("patching");
}

/// Flips one bit of a byte.
pub fn flip(image: &Path, offset: u64) {
    let [byte] = peek(image, offset);
    patch(image, offset, &[byte ^ 0x10]);
}

/// Reads `N` bytes of a file.
pub fn peek<const N: usize>(image: &Path, offset: u64) -> [u8; N] {
    peek_all(image, offset, N).try_into().expect("that many bytes")
}

/// Reads `count` bytes of a file.
pub fn peek_all(image: &Path, offset: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    File::open(image).and_then(|f| f.read_exact_at(&mut bytes, offset)).expect("reading");
    bytes
}

/// Returns the blocks of a file in an image, in logical order; `what` is a path or `<inode>`.
pub fn blocks_of(image: &Path, what: &str) -> Vec<u64> {
    let said = debugfs_read(image, &format!("blocks {what}\n"));
    said.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Returns the physical block of a file's logical block; `what` is a path or `<inode>`.
pub fn block_of(image: &Path, what: &str, logical: u64) -> u64 {
    let said = debugfs_read(image, &format!("bmap {what} {logical}\n"));
    let block = said.lines().find_map(|line| line.trim().parse().ok());
    block.unwrap_or_else(|| panic!("no block: {said}"))
}

/// Returns the inode number of a path.
pub fn inode_of(image: &Path, path: &str) -> u32 {
    let said = debugfs_read(image, &format!("stat {path}\n"));
    let number = said.split("Inode: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no inode: {said}"))
}

/// Returns the first number after a word in the output of a program.
pub fn number_after(text: &str, word: &str) -> u64 {
    let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {text}"));
    let mut digits = rest.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    digits.next().and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no number after {word}"))
}

/// Returns the inode flags of a path, as debugfs shows them.
pub fn flags_of(image: &Path, path: &str) -> InodeFlags {
    let said = debugfs_read(image, &format!("stat \"{path}\"\n"));
    let flags = said.split("Flags: 0x").nth(1).and_then(|rest| rest.split_whitespace().next());
    let flags = flags.and_then(|flags| u32::from_str_radix(flags, 16).ok());
    InodeFlags::from_bits_retain(flags.unwrap_or_else(|| panic!("no flags: {said}")))
}

/// Returns the byte offset of a path's inode in the image.
pub fn inode_offset(image: &Path, path: &str) -> u64 {
    // The format is "located at block 197, offset 0x0300".
    let said = debugfs_read(image, &format!("imap {path}\n"));
    let place = said.split("located at block ").nth(1).expect("a place").trim_end();
    let (block, offset) = place.split_once(", offset 0x").expect("block and offset");
    let block: u64 = block.parse().expect("a block");
    block * block_size(image) + u64::from_str_radix(offset, 16).expect("an offset")
}

/// Writes a file into an existing directory of an image with debugfs.
pub fn put_file(image: &Path, path: &str, content: impl AsRef<[u8]>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), content).expect("writing");
    debugfs(image, &format!("write {} {path}\n", file.path().display()));
}

/// Sets an xattr with debugfs. It reads the value from a file, because debugfs limits values on the command
/// line.
pub fn put_xattr(image: &Path, path: &str, name: &str, value: impl AsRef<[u8]>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), value).expect("writing");
    debugfs(image, &format!("ea_set -f {} {path} {name}\n", file.path().display()));
}

/// Writes a file with data past its size in place of a Merkle tree, and sets its verity flag. The last four
/// bytes contain the size of the descriptor, which precedes them.
pub fn put_verity_file(image: &Path, path: &str, mut content: Vec<u8>, size: u64, descriptor: u32) {
    let end = content.len();
    content[end - 4..].copy_from_slice(&descriptor.to_le_bytes());
    put_file(image, path, content);
    debugfs(image, &format!("set_inode_field {path} size {size}\nset_inode_field {path} flags 0x180000\n"));
}

/// Gives an empty directory an encryption context that begins with `start`: version, modes of contents and
/// names, flags.
pub fn put_encryption_context(image: &Path, folder: &str, start: [u8; 4]) {
    const ENCRYPTION: u64 = 9;
    put_xattr(image, folder, "user.c", [&start[..], &[0; 4], &[7; 32]].concat());
    debugfs(image, &format!("set_inode_field {folder} flags 0x80800\n"));
    // debugfs has no name for the xattr namespace of encryption contexts.
    inode(image, folder).first_xattr().set("e_name_index", ENCRYPTION);
}

/// Gives a file three xattrs in an xattr block of 1 KiB, and swaps the first and the last entry.
pub fn unsorted_xattrs(image: &Path, file: &str) {
    let set = ["a one", "b two", "c three"].map(|xattr| format!("ea_set {file} user.{xattr}\n"));
    debugfs(image, &set.concat());
    let entries = inode(image, &format!("/{file}")).xattr_block().end();
    let size = xattr::entry_size(1) as u64;
    let places = [entries, entries + 2 * size];
    let [first, last] = places.map(|place| peek_all(image, place, xattr::entry_size(1)));
    patch(image, places[0], &last);
    patch(image, places[1], &first);
}
