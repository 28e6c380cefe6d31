//! Handles pipes: writes an output sequentially, and copies an input to a temporary file.

use std::fs::File;
use std::io::{self, BufWriter, IoSlice, Read, Seek as _, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use ext4_canon::{Order, Sink};

/// The buffer size in bytes.
const STEP: usize = 1 << 16;

/// A sink for an output that can't seek, such as a pipe.
#[derive(Debug)]
pub struct StreamSink<W: Write> {
    state: Mutex<StreamState<W>>,
}

#[derive(Debug)]
struct StreamState<W: Write> {
    out: BufWriter<W>,
    /// The number of bytes written.
    done: u64,
    failed: bool,
}

impl<W: Write + Send> StreamSink<W> {
    /// Creates a sink that starts at offset 0 of the image.
    pub fn new(out: W) -> Self {
        let out = BufWriter::with_capacity(16 * STEP, out);
        Self { state: Mutex::new(StreamState { out, done: 0, failed: false }) }
    }

    /// Returns whether a write failed.
    pub fn failed(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failed
    }

    /// Writes zeros up to the end of the image, which has `length` bytes.
    ///
    /// # Errors
    ///
    /// The I/O error of the system.
    pub fn finish(self, length: u64) -> io::Result<()> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.zeros(length)?;
        state.out.flush()
    }
}

impl<W: Write> StreamState<W> {
    fn zeros(&mut self, until: u64) -> io::Result<()> {
        static ZEROS: [u8; STEP] = [0; STEP];
        while self.done < until {
            let step = usize::try_from(until - self.done).map_or(STEP, |left| left.min(STEP));
            self.out.write_all(&ZEROS[..step])?;
            self.done += step as u64;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if offset < self.done {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "bytes for a pipe are out of order"));
        }
        self.zeros(offset)?;
        for part in parts {
            self.out.write_all(part)?;
            self.done += part.len() as u64;
        }
        Ok(())
    }
}

impl<W: Write + Send> Sink for StreamSink<W> {
    fn order(&self) -> Order {
        Order::Ascending
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = state.write(offset, parts);
        state.failed |= result.is_err();
        result
    }
}

/// Copies a stream to a temporary file without a name. Blocks of zeros become holes.
///
/// # Errors
///
/// The I/O error of the system.
pub fn spool(mut from: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let mut length = 0;
    let mut buffer = vec![0; STEP];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            file.set_len(length)?;
            return Ok(file);
        }
        length += filled as u64;
        if buffer[..filled].iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Start(length))?;
        } else {
            file.write_all(&buffer[..filled])?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    #[test]
    fn gaps_are_zeros_and_the_order_is_demanded() {
        let mut out = Vec::new();
        let sink = StreamSink::new(&mut out);
        sink.write_at(3, &[IoSlice::new(b"ab"), IoSlice::new(b"c")]).unwrap();
        sink.write_at(8, &[IoSlice::new(b"d")]).unwrap();
        assert!(!sink.failed());
        assert!(sink.write_at(8, &[IoSlice::new(b"e")]).is_err() && sink.failed());
        sink.finish(10).unwrap();
        assert_eq!(out, b"\0\0\0abc\0\0d\0");
    }

    #[test]
    fn what_is_stored_is_what_was_read() {
        let mut bytes = vec![0; 20 * STEP + 17];
        bytes[5 * STEP + 3] = 1;
        let file = spool(&bytes[..]).unwrap();
        let mut found = vec![1; bytes.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert!(found == bytes && file.metadata().unwrap().len() == bytes.len() as u64);
        assert!(file.metadata().unwrap().blocks() * 512 < 5 * STEP as u64, "sparse");
        assert_eq!(spool(io::empty()).unwrap().metadata().unwrap().len(), 0);
    }
}
