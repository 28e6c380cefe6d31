//! Opens an input image read-only, maps it into memory, and checks it for changes.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Seek as _, SeekFrom, stdin};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ext4_canon::Input;
use rustix::fs::{SeekFrom as Seek, seek};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::args::STANDARD;
use super::failure::{About as _, Usage};
use super::map::Map;
use super::mounted::{Mounts, System};
use super::sparse::{STORING, expand, is_sparse};
use super::sparse_sums;
use super::stream::spool;

const READING_SIZE: &str = "reading its size";
const MAPPING: &str = "mapping it into memory";

/// The minimum length of a hole in bytes. Shorter holes are joined with the data around them.
const SHORTEST_HOLE: u64 = 64 << 10;

/// The maximum number of data ranges. If there are more, ranges with short holes between them are merged, so
/// that a file with many holes can't use unlimited memory.
const MAX_RANGES: usize = 1 << 16;

/// An open input image, mapped into memory.
#[derive(Debug)]
pub struct Image {
    /// The path from the command line.
    pub path: PathBuf,
    /// The metadata of the file or device that was opened.
    pub metadata: Metadata,
    /// The mounts of the file or device.
    pub mounts: Mounts,
    /// A description of the original, if `file` is a temporary copy, for example of a pipe.
    pub stored_from: Option<&'static str>,
    /// The file mode of the original; `None` for a pipe.
    mode: Option<u32>,
    /// The length of the file or block device in bytes.
    pub length: u64,
    file: File,
    map: Map,
    data: Vec<Range<u64>>,
    /// The device of the external journal, if the command line names one.
    pub journal: Option<Box<Image>>,
    /// The metadata of the image whose settings the output gets. It must not be replaced, either.
    pub reference: Option<Metadata>,
}

impl Image {
    /// Opens a regular file or block device. First copies a pipe, or expands an Android sparse image, into a
    /// temporary file. `role` is the name for the file in error messages.
    ///
    /// # Errors
    ///
    /// A usage error for other types of files, a `Refusal` for a sparse image that is damaged or has
    /// unsupported features, otherwise an I/O error.
    pub fn open(path: &Path, role: &str) -> Result<Self> {
        let image = Self::open_file(path, role).and_then(|file| Self::from_file(path, file));
        image.about(path)
    }

    fn open_file(path: &Path, role: &str) -> Result<File> {
        let opening = || format!("opening the {role}");
        if path == Path::new(STANDARD) {
            return Ok(File::from(stdin().as_fd().try_clone_to_owned().with_context(opening)?));
        }
        // Check the type first: opening a tape device rewinds it.
        refuse(fs::metadata(path).with_context(opening)?.file_type())?;
        File::open(path).with_context(opening)
    }

    fn from_file(path: &Path, mut file: File) -> Result<Self> {
        let mut metadata = file.metadata().context(READING_SIZE)?;
        let kind = metadata.file_type();
        let has_mode = metadata.is_file() || kind.is_block_device();
        let mode = has_mode.then(|| metadata.mode());
        let mut stored_from = None;
        if kind.is_fifo() || kind.is_socket() {
            file = spool(file).context(STORING)?;
            stored_from = Some("a pipe");
            metadata = file.metadata().context(READING_SIZE)?;
        }
        refuse(metadata.file_type())?;
        let mounts = System::default().mounts(path, &metadata);
        if metadata.is_file() {
            let map = Map::new(&file, metadata.len()).context(MAPPING)?;
            if is_sparse(map.bytes()) {
                let expanded = expand(map.bytes());
                let expanded = expanded.and_then(|file| Ok(sparse_sums::check(map.bytes()).map(|()| file)?));
                stored_from = Some("an Android sparse image");
                map.readable().context("reading it")?;
                file = expanded?;
                metadata = file.metadata().context(READING_SIZE)?;
            }
        }
        let (length, data) = if metadata.is_file() {
            (metadata.len(), data_ranges(&file, metadata.len()))
        } else {
            let length = file.seek(SeekFrom::End(0)).context(READING_SIZE)?;
            (length, std::iter::once(0..length).collect())
        };
        let map = Map::new(&file, length).context(MAPPING)?;
        let path = path.to_owned();
        Ok(Self {
            path,
            metadata,
            mode,
            mounts,
            stored_from,
            length,
            file,
            map,
            data,
            journal: None,
            reference: None,
        })
    }

    /// Opens an image, and the device of its external journal if `journal` is set.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::open`], for both files.
    pub fn with_journal(path: &Path, journal: Option<&Path>) -> Result<Self> {
        let image = Self::open(path, "image")?;
        let journal = journal.map(|device| Self::open(device, "journal device")).transpose()?;
        Ok(Self { journal: journal.map(Box::new), ..image })
    }

    /// Releases the pages of the map, in parallel.
    pub fn release(&self) {
        self.map.release();
    }

    /// Returns the open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the image as input for the library.
    pub fn input(&self) -> Input<'_> {
        let input = Input::sparse(self.map.bytes(), self.data.clone());
        match &self.journal {
            Some(journal) => input.with_journal(journal.map.bytes()),
            None => input,
        }
    }

    /// Returns warnings about mounts: the kernel can have data in memory that is newer than the image.
    pub fn warnings(&self) -> Vec<String> {
        self.mounts.warnings(&self.path)
    }

    /// Returns the mode of the original file or block device, for a new output. Returns `None` for a pipe.
    pub fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// Returns whether `other` is the metadata of the same file, by device and inode number.
    pub fn is(&self, other: &Metadata) -> bool {
        (self.metadata.dev(), self.metadata.ino()) == (other.dev(), other.ino())
    }

    /// Returns the SHA-256 of the whole file or device. Does not read holes. Calls `hashed` with the number of
    /// bytes after each part.
    pub fn sha256(&self, hashed: impl Fn(u64)) -> [u8; 32] {
        const PART: usize = 1 << 20;
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let mut hash = Sha256::new();
        let skip = |hash: &mut Sha256, mut bytes: u64| {
            while bytes > 0 {
                let step = bytes.min(ZEROS.len() as u64);
                hash.update(&ZEROS[..step as usize]);
                hashed(step);
                bytes -= step;
            }
        };
        let mut next = 0;
        for range in &self.data {
            skip(&mut hash, range.start - next);
            let (start, end) = (range.start as usize, range.end as usize);
            let stored = self.map.bytes().get(start..end);
            let stored = stored.expect("fits: ranges of data are in the file, which is mapped as a whole");
            for part in stored.chunks(PART) {
                hash.update(part);
                hashed(part.len() as u64);
            }
            next = range.end;
        }
        skip(&mut hash, self.length - next);
        hash.finalize().into()
    }

    /// Checks that the image and its journal could be read completely, and were not modified since they were
    /// opened. If a check fails, the results of the library are invalid.
    ///
    /// # Errors
    ///
    /// An I/O error that says how the file was modified, or which offset could not be read.
    pub fn unchanged(&self) -> Result<()> {
        self.journal.as_deref().map_or(Ok(()), Self::unchanged)?;
        self.is_unchanged().about(&self.path)
    }

    fn is_unchanged(&self) -> Result<()> {
        let now = self.file.metadata().context(READING_SIZE)?;
        let changed = |what| Err(io::Error::other(what)).context("it was changed while it was read");
        if self.metadata.is_file() && now.len() != self.length {
            return changed(format!("it had {} bytes and now has {}", self.length, now.len()));
        }
        self.map.readable().context("reading it")?;
        if !self.metadata.is_file() {
            return Ok(());
        }
        let time = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
        if time(&now) != time(&self.metadata) {
            return changed("another program wrote to it; unmount it and try again".to_owned());
        }
        Ok(())
    }
}

fn refuse(kind: FileType) -> Result<()> {
    let reason = if kind.is_dir() {
        "is a directory, not an image (mke2fs -d makes an image of a directory)"
    } else if kind.is_socket() {
        "is a socket; give a file, a block device or a pipe"
    } else if kind.is_char_device() {
        "is a character device; give a file, a block device or a pipe"
    } else {
        return Ok(());
    };
    bail!(Usage::new(reason))
}

/// Returns the ranges of a file that can contain data; all other bytes are in holes. If the filesystem
/// doesn't report holes, this is the whole file.
pub fn data_ranges(file: &File, length: u64) -> Vec<Range<u64>> {
    ranges(length, SHORTEST_HOLE, MAX_RANGES, |from| seek(file, from))
}

fn ranges(
    length: u64,
    mut shortest_hole: u64,
    most: usize,
    mut seek: impl FnMut(Seek) -> Result<u64, Errno>,
) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < length {
        let start = match seek(Seek::Data(at)) {
            Ok(start) if start >= length => break,
            // There is no data after this offset.
            Err(Errno::NXIO) => break,
            Ok(start) if start >= at => start,
            // SEEK_DATA is not supported, or its result is useless.
            _ => at,
        };
        let end = match seek(Seek::Hole(start)) {
            Ok(end) if end > start => end.min(length),
            _ => length,
        };
        match ranges.last_mut() {
            Some(last) if start - last.end < shortest_hole => last.end = end,
            _ => ranges.push(start..end),
        }
        while ranges.len() > most {
            shortest_hole = shortest_hole.saturating_mul(2);
            ranges.dedup_by(|next, kept| {
                let close = next.start - kept.end < shortest_hole;
                if close {
                    kept.end = next.end;
                }
                close
            });
        }
        at = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Message;
    use std::os::unix::fs::FileExt as _;

    /// Emulates `lseek` on a file with these data ranges.
    fn file_like(data: &[Range<u64>]) -> impl FnMut(Seek) -> Result<u64, Errno> + '_ {
        |from| match from {
            Seek::Data(at) => {
                data.iter().find(|range| range.end > at).map(|range| range.start.max(at)).ok_or(Errno::NXIO)
            }
            Seek::Hole(at) => Ok(data.iter().find(|range| range.contains(&at)).map_or(at, |range| range.end)),
            _ => Err(Errno::INVAL),
        }
    }

    #[test]
    fn holes_are_left_out_and_short_ones_are_not() {
        let data = [0..10, 100..110, 112..120, 300..400];
        assert_eq!(ranges(1000, 5, 100, file_like(&data)), [0..10, 100..120, 300..400]);
        assert_eq!(ranges(1000, 5, 100, file_like(&[])), []);
        assert_eq!(ranges(350, 5, 100, file_like(&data)), [0..10, 100..120, 300..350]);
        assert_eq!(ranges(0, 5, 100, file_like(&data)), []);
    }

    #[test]
    fn many_ranges_are_merged_and_none_is_lost() {
        let data: Vec<_> = (0..1000_u64).map(|i| i * 100..i * 100 + 10 + i % 50).collect();
        let found = ranges(100_000, 5, 16, file_like(&data));
        assert!(found.len() <= 16, "{}", found.len());
        assert!(found.is_sorted_by(|one, next| one.end <= next.start));
        for range in data {
            assert!(found.iter().any(|kept| kept.start <= range.start && range.end <= kept.end));
        }
    }

    #[test]
    fn where_holes_are_unknown_all_is_data() {
        for errno in [Errno::INVAL, Errno::OPNOTSUPP, Errno::IO] {
            let found = ranges(50, 5, 100, |_| Err(errno));
            assert_eq!((found.len(), &found[0]), (1, &(0..50)));
        }
    }

    #[test]
    fn ranges_of_a_real_file_hold_its_data() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"x", 3 << 20).unwrap();
        let found = data_ranges(&file, 8 << 20);
        assert!(found.iter().any(|range| range.contains(&(3 << 20))), "{found:?}");
    }

    #[test]
    fn a_change_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.img");
        fs::write(&path, [1; 100]).unwrap();
        let image = Image::open(&path, "image").unwrap();
        image.unchanged().unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        writer.set_len(200).unwrap();
        let line = Message::of(&image.unchanged().unwrap_err()).line();
        assert!(
            line.contains("it was changed while it was read: it had 100 bytes and now has 200"),
            "{line}"
        );
        writer.set_len(100).unwrap();
        writer.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(Message::of(&image.unchanged().unwrap_err()).line().contains("another program wrote"));
    }
}
