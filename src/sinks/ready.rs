//! Defines sinks for users of the library: a file and a vector.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use crate::sink::Sink;

/// A sink that writes to a file.
///
/// The file must be empty and open for writing. Bytes that are not written become holes. Call
/// [`Self::finish`] at the end, because the last bytes can be a hole.
#[derive(Debug)]
pub struct FileSink(File);

impl FileSink {
    /// Creates a sink that writes to `file`.
    pub fn new(file: File) -> Self {
        Self(file)
    }

    /// Sets the length of the file, and returns the file. `length` must be [`crate::Report::image_bytes`].
    ///
    /// # Errors
    ///
    /// The error of the system call.
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

/// A sink that collects the output in memory.
#[derive(Debug, Default)]
pub struct VecSink(Mutex<Vec<u8>>);

impl VecSink {
    /// Creates an empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the output. `length` must be [`crate::Report::image_bytes`].
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if the output does not fit into memory.
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

/// Extends the vector so that it can hold `length` bytes at an offset. Returns the offset.
fn extend_to(bytes: &mut Vec<u8>, offset: u64, length: u64) -> io::Result<usize> {
    let end = offset.checked_add(length).ok_or(io::ErrorKind::OutOfMemory)?;
    if end > bytes.len() as u64 {
        extend(bytes, end)?;
    }
    // The end fits into a `usize`, so the offset also fits.
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
