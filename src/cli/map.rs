//! Files as memory. With `signals`, this is the only module of the project with `unsafe` in it.

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

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
        assert_eq!(Map::new(&file, 10).unwrap().bytes(), b"some bytes");
    }
}
