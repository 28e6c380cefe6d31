//! Writes the output file as a [`Sink`], with vector writes at an offset, from any thread. If the filesystem
//! supports shared blocks (reflinks), shares long runs with the input.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use ext4_canon::Sink;
use rustix::fs::{copy_file_range, fstatfs};
use rustix::io::{Errno, pwritev};

/// The maximum number of slices in a vector write in Linux (`UIO_MAXIOV`).
const PARTS_PER_CALL: usize = 1024;

/// The magic numbers of filesystems on which `copy_file_range` shares blocks (reflinks): XFS, btrfs,
/// bcachefs.
const SHARING: [u64; 3] = [0x5846_5342, 0x9123_683E, 0xCA45_1A4E];

/// The minimum length in bytes of a shared run. Copying a shorter run is faster.
const SHORTEST_SHARED: u64 = 128 << 10;

/// The alignment of shared runs, in bytes: the usual block size of filesystems with reflinks.
const SHARED_UNIT: u64 = 4096;

/// A sink for a file that already has its final length.
#[derive(Debug)]
pub struct OutputSink<'a> {
    file: &'a File,
    length: u64,
    failed: AtomicBool,
    /// The lock for writing. The kernel serializes writes to a file by spinning, so waiting for this lock
    /// saves CPU time.
    turn: Mutex<()>,
    /// The input, if blocks can be shared with it.
    input: Option<&'a File>,
    /// Whether sharing failed once. If so, it is not tried again.
    alone: AtomicBool,
    /// The byte ranges of the image that are in use.
    used: Mutex<Vec<Range<u64>>>,
}

impl<'a> OutputSink<'a> {
    /// Creates a sink for a file of `length` bytes.
    pub fn new(file: &'a File, length: u64) -> Self {
        Self {
            file,
            length,
            failed: AtomicBool::default(),
            turn: Mutex::default(),
            input: None,
            alone: AtomicBool::default(),
            used: Mutex::default(),
        }
    }

    /// Shares blocks with `input` if both files are on filesystems of the same type, and this type supports
    /// it.
    #[must_use]
    pub fn sharing(mut self, input: &'a File) -> Self {
        let kind = |file| fstatfs(file).ok().and_then(|found| u64::try_from(found.f_type).ok());
        let shares = matches!((kind(self.file), kind(input)), (Some(one), Some(other))
            if one == other && SHARING.contains(&one));
        self.input = shares.then_some(input);
        self
    }

    /// Returns the byte ranges of the image that are in use.
    pub fn used(&self) -> Vec<Range<u64>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether a write failed. If so, the error that the library returns is about the output.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn write_parts(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            // The file would become longer than the image.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a write beyond the end of the image"));
        }
        for parts in parts.chunks(PARTS_PER_CALL) {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            let written = write_some(self.file, offset, parts)?;
            if written < length {
                self.write_rest(offset, written, parts)?;
            }
            offset += length as u64;
        }
        Ok(())
    }

    /// Continues after a short write.
    fn write_rest(&self, mut offset: u64, written: usize, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut copy = parts.to_vec();
        let mut rest = copy.as_mut_slice();
        let mut written = written;
        loop {
            offset += written as u64;
            IoSlice::advance_slices(&mut rest, written);
            // The remaining slices can all be empty.
            if rest.iter().all(|part| part.is_empty()) {
                return Ok(());
            }
            written = write_some(self.file, offset, rest)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
    }
}

impl OutputSink<'_> {
    /// Shares up to `length` bytes with the input. Returns the number of bytes shared.
    fn share(&self, input: &File, mut offset: u64, mut from: u64, length: u64) -> u64 {
        let start = offset;
        // Share only whole units within the file. The caller copies the remaining bytes.
        let end = offset.saturating_add(length).min(self.length) / SHARED_UNIT * SHARED_UNIT;
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            match copy_file_range(input, Some(&mut from), self.file, Some(&mut offset), left) {
                Ok(1..) | Err(Errno::INTR) => {}
                // The files are on different filesystems, or on one without reflinks. The caller copies the
                // remaining bytes, and an actual I/O error occurs again during this copy.
                Ok(0) | Err(_) => {
                    self.alone.store(true, Ordering::Relaxed);
                    break;
                }
            }
        }
        offset - start
    }
}

impl Sink for OutputSink<'_> {
    fn take_over(&self, offset: u64, from: u64, length: u64) -> u64 {
        let aligned = offset.is_multiple_of(SHARED_UNIT) && from.is_multiple_of(SHARED_UNIT);
        match self.input {
            Some(input) if aligned && length >= SHORTEST_SHARED && !self.alone.load(Ordering::Relaxed) => {
                self.share(input, offset, from, length)
            }
            _ => 0,
        }
    }

    fn in_use(&self, bytes: Range<u64>) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_parts(offset, parts).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }
}

fn write_some(file: &File, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match pwritev(file, parts, offset) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    fn file(length: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        file
    }

    fn contents(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn more_parts_than_one_call_takes() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i % 251) as u8).collect();
        let parts: Vec<_> = bytes.chunks(3).map(IoSlice::new).collect();
        assert!(parts.len() > 3 * PARTS_PER_CALL);
        let file = file(10_010);
        OutputSink::new(&file, 10_010).write_at(10, &parts).unwrap();
        assert_eq!(contents(&file)[10..], bytes);
        assert_eq!(contents(&file)[..10], [0; 10]);
    }

    #[test]
    fn a_write_that_was_cut_short_goes_on_where_it_ended() {
        let file = file(9);
        let parts = [b"abc", b"def", b"ghi"].map(|part| IoSlice::new(part));
        let sink = OutputSink::new(&file, 9);
        // Continue as if the first call had written four bytes.
        sink.write_rest(0, 4, &parts).unwrap();
        assert_eq!(contents(&file), b"\0\0\0\0efghi");
    }

    #[test]
    fn nothing_and_empty_parts_are_fine() {
        let file = file(4);
        let sink = OutputSink::new(&file, 4);
        sink.write_at(0, &[]).unwrap();
        sink.write_at(4, &[IoSlice::new(b""), IoSlice::new(b"")]).unwrap();
        sink.write_at(2, &[IoSlice::new(b""), IoSlice::new(b"xy"), IoSlice::new(b"")]).unwrap();
        assert_eq!(contents(&file), b"\0\0xy");
        assert!(!sink.failed());
    }

    #[test]
    fn the_file_never_grows() {
        let file = file(4);
        let sink = OutputSink::new(&file, 4);
        assert!(sink.write_at(3, &[IoSlice::new(b"xy")]).is_err());
        assert!(sink.write_at(u64::MAX, &[IoSlice::new(b"xy")]).is_err());
        assert!(sink.failed());
        assert_eq!(contents(&file), [0; 4]);
    }

    #[test]
    fn what_the_system_refuses_is_an_error() {
        let read_only = File::open("/dev/null").unwrap();
        let sink = OutputSink::new(&read_only, 4);
        assert!(sink.write_at(0, &[IoSlice::new(b"x")]).is_err());
        assert!(sink.failed());
    }

    #[test]
    fn threads_write_side_by_side() {
        let file = file(64 * 1024);
        let sink = OutputSink::new(&file, 64 * 1024);
        std::thread::scope(|scope| {
            for thread in 0..8_u8 {
                let sink = &sink;
                scope.spawn(move || {
                    for block in (u64::from(thread)..64).step_by(8) {
                        sink.write_at(block * 1024, &[IoSlice::new(&[thread + 1; 1024])]).unwrap();
                    }
                });
            }
        });
        let bytes = contents(&file);
        assert!(bytes.chunks(1024).enumerate().all(|(i, block)| block == [(i % 8 + 1) as u8; 1024]));
    }
}
