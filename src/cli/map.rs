//! Files as memory. With `signals`, this is the only module of the project with `unsafe` in it.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use rayon::prelude::*;

use super::signals::Watched;

/// The bytes of a file, mapped read-only.
#[derive(Debug)]
pub struct Map(Option<(Watched, Mmap)>);

impl Map {
    /// Maps the first `length` bytes of a file.
    ///
    /// # Errors
    ///
    /// What the system says, also where the address space is too small.
    pub fn new(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if length == 0 {
            // The system refuses to map nothing.
            return Ok(Self(None));
        }
        // SAFETY: a map is sound as long as nobody changes or shortens the file underneath.
        // For the output this holds, since it has no name yet (or a fresh random one) and this
        // process writes nothing while the map lives. For the input nobody can promise it, as for
        // every program that maps files. It is opened read-only and mapped read-only, so this
        // process can't break the rule. Another process that writes to it changes plain bytes,
        // which the reader checks as it must check any image, and `Image::unchanged` turns the
        // result away before it gets its name; one that shortens it makes zeros appear, see `signals`.
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        // The watch is dropped first, while the range is still mapped.
        Ok(Self(Some((Watched::new(&map), map))))
    }

    /// Lets go of all pages, which takes a while if there are many, on all threads at once.
    pub fn release(&self) {
        // A multiple of the pages of all systems.
        const PART: usize = 32 << 20;
        let Some((_, map)) = &self.0 else { return };
        let parts = (0..map.len()).into_par_iter().step_by(PART).with_max_len(1);
        parts.for_each(|start| {
            let length = PART.min(map.len() - start);
            // SAFETY: pages of a shared map of a file are read again when they are looked at again. An error leaves
            // them where they are until the map goes.
            let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
        });
    }

    /// Makes sure that every page that was looked at could be read.
    ///
    /// # Errors
    ///
    /// The first place that could not; it and what lies behind it are zeros.
    pub fn readable(&self) -> io::Result<()> {
        match self.unreadable() {
            None => Ok(()),
            Some(at) => {
                let words =
                    format!("the page at byte {at} could not be read; look at the disk that it is on");
                Err(io::Error::other(words))
            }
        }
    }

    /// The byte at which the first page lies that could not be read.
    pub fn unreadable(&self) -> Option<usize> {
        self.0.as_ref().and_then(|(watched, _)| watched.unreadable())
    }

    /// The bytes.
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
