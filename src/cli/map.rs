//! Maps files into memory, read-only. Only this module and `signals` contain unsafe code.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use rayon::prelude::*;

use super::signals::Watched;

/// A read-only memory map of a file, which can be empty.
#[derive(Debug)]
pub struct Map(Option<(Watched, Mmap)>);

impl Map {
    /// Maps the first `length` bytes of a file.
    ///
    /// # Errors
    ///
    /// An I/O error of the system, including the error for a too small address space.
    pub fn new(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if length == 0 {
            // `mmap` fails for a length of zero.
            return Ok(Self(None));
        }
        // SAFETY: a map is sound as long as the file under it is not modified or truncated. For an output
        // this holds: it has no name yet (or a new random one), and this process doesn't write to it while
        // the map exists. For an input it can't be guaranteed, as in every program that maps files. The input
        // is opened and mapped read-only, so this process can't modify it. If another process does, only
        // plain bytes change. The reader checks these bytes like the bytes of any image, and
        // `Image::unchanged` rejects the result before the output is moved into place. If the file is
        // truncated, reads return zeros (see `signals`).
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        // Fields are dropped in order: first the watch, while the range is still mapped.
        Ok(Self(Some((Watched::new(&map), map))))
    }

    /// Releases all pages. This takes a long time for a large map, so it is done in parallel.
    pub fn release(&self) {
        // The number of bytes that a thread releases at once, a multiple of the page size on all systems.
        const PART: usize = 32 << 20;
        let Some((_, map)) = &self.0 else { return };
        let parts = (0..map.len()).into_par_iter().step_by(PART).with_max_len(1);
        parts.for_each(|start| {
            let length = PART.min(map.len() - start);
            // SAFETY: the pages are read from the file again when they are next accessed. If the call fails,
            // they stay in memory until the map is dropped.
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
        });
    }

    /// Checks that every page that was accessed could be read.
    ///
    /// # Errors
    ///
    /// An I/O error with the offset of the first page that could not be read. This page and all later pages
    /// read as zeros.
    pub fn readable(&self) -> io::Result<()> {
        match self.unreadable() {
            None => Ok(()),
            Some(at) => {
                let words = format!("the page at byte {at} could not be read; check the disk that it is on");
                Err(io::Error::other(words))
            }
        }
    }

    /// Returns the offset in bytes of the first page that could not be read, if there is one.
    pub fn unreadable(&self) -> Option<usize> {
        self.0.as_ref().and_then(|(watched, _)| watched.unreadable())
    }

    /// Returns the mapped bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |(_, map)| map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn an_empty_file_is_an_empty_slice() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Map::new(&file, 0).unwrap().bytes(), b"");
    }

    #[test]
    fn a_map_holds_the_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"some bytes").unwrap();
        let map = Map::new(&file, 10).unwrap();
        assert_eq!(map.bytes(), b"some bytes");
        map.release();
        assert_eq!(map.bytes(), b"some bytes", "read again");
    }
}
