//! Sinks for library users: a file, and bytes in memory.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use crate::sink::Sink;

/// A file as a sink.
///
/// The file has to be empty, and open for writing. Call [`Self::finish`] in the end: what is never written is a
/// hole, which may also be the last bytes.
#[derive(Debug)]
pub struct FileSink(File);

impl FileSink {
    /// Writes to a file.
    pub fn new(file: File) -> Self {
        Self(file)
    }

    /// Gives the file its length in bytes, as [`crate::Report::image_bytes`] has it, and returns it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn finish(self, length: u64) -> io::Result<File> {
        self.0.set_len(length)?;
        Ok(self.0)
    }
}

impl Sink for FileSink {
    fn write_at(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for part in parts {
            self.0.write_all_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }
}

/// Bytes in memory as a sink.
#[derive(Debug, Default)]
pub struct VecSink(Mutex<Vec<u8>>);

impl VecSink {
    /// Writes to memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the bytes, as many as [`crate::Report::image_bytes`] has.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if memory can't hold so many.
    pub fn finish(self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        extend(&mut bytes, length)?;
        Ok(bytes)
    }
}

impl Sink for VecSink {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let start = extend_to(&mut bytes, offset, length)?;
        let mut place = &mut bytes[start..];
        for part in parts {
            let (here, rest) = place.split_at_mut(part.len());
            here.copy_from_slice(part);
            place = rest;
        }
        Ok(())
    }
}

/// Makes room for `length` bytes at an offset, and returns the offset.
fn extend_to(bytes: &mut Vec<u8>, offset: u64, length: u64) -> io::Result<usize> {
    let end = offset.checked_add(length).ok_or(io::ErrorKind::OutOfMemory)?;
    if end > bytes.len() as u64 {
        extend(bytes, end)?;
    }
    // The end is an index, so its start is.
    usize::try_from(offset).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

fn extend(bytes: &mut Vec<u8>, length: u64) -> io::Result<()> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.try_reserve(length.saturating_sub(bytes.len())).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(length, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sink: &dyn Sink) {
        let parts = [IoSlice::new(b"cd"), IoSlice::new(b""), IoSlice::new(b"e")];
        sink.write_at(2, &parts).unwrap();
        sink.write_at(0, &[IoSlice::new(b"a")]).unwrap();
    }

    #[test]
    fn what_is_not_written_is_zero() {
        let sink = VecSink::new();
        write(&sink);
        assert_eq!(sink.finish(7).unwrap(), b"a\0cde\0\0");
        let sink = FileSink::new(tempfile::tempfile().unwrap());
        write(&sink);
        let file = sink.finish(7).unwrap();
        let mut bytes = [1; 7];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, file.metadata().unwrap().len()), (b"a\0cde\0\0", 7));
    }

    #[test]
    fn too_much_for_memory_is_an_error() {
        let error = VecSink::new().write_at(u64::MAX - 1, &[IoSlice::new(b"ab")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(VecSink::new().finish(u64::MAX).is_err());
    }
}
