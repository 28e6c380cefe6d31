//! Runs the library on an image in memory, and checks the invariants for all inputs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ext4_canon::Silent;
use ext4_canon::{Disk, Error, Input, Options, Selection, Sink};
use xxhash_rust::xxh3::Xxh3;

/// The time limit for one image.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The result for an image.
#[derive(Debug)]
pub enum Outcome {
    /// It is refused with a useful message.
    Refused,
    Written(Output),
    /// A panic, a message that is not useful, or any other violation.
    Wrong(String),
}

/// An output in memory: the bytes that were written, with zeros in between.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    length: usize,
    pieces: BTreeMap<u64, Vec<u8>>,
}

/// A sink in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Sink for Memory {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let mut pieces = self.0.lock().map_err(|_| io::Error::other("a panic in another write"))?;
        match pieces.insert(offset, bytes) {
            None => Ok(()),
            Some(_) => Err(io::Error::other("written twice")),
        }
    }
}

impl Memory {
    /// Returns the output, with a length of `length` bytes.
    ///
    /// # Errors
    ///
    /// Returns a description if a write was past the end, or overlapped a different one.
    pub fn into_output(self, length: usize) -> Result<Output, String> {
        let pieces = self.0.into_inner().unwrap_or_default();
        let mut end = 0;
        for (offset, piece) in &pieces {
            if *offset < end {
                return Err(format!("writes byte {offset} twice"));
            }
            end = offset + piece.len() as u64;
        }
        if end > length as u64 {
            return Err(format!("writes up to byte {end}, beyond the end"));
        }
        Ok(Output { length, pieces })
    }
}

impl Output {
    /// Returns a digest of the writes, which is equal for equal outputs.
    pub fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        for (offset, piece) in &self.pieces {
            hasher.update(&offset.to_le_bytes());
            hasher.update(piece);
        }
        hasher.digest128()
    }

    /// Returns all bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        for (offset, piece) in &self.pieces {
            let start = usize::try_from(*offset).expect("a small image");
            bytes[start..start + piece.len()].copy_from_slice(piece);
        }
        bytes
    }

    /// Writes the output to a file.
    pub fn store(&self, path: &Path) {
        let file = File::create(path).expect("a file");
        file.set_len(self.length as u64).expect("a length");
        for (offset, piece) in &self.pieces {
            file.write_all_at(piece, *offset).expect("writing");
        }
    }
}

/// Opens bytes as a filesystem, even if damage makes them look like a disk.
pub fn filesystem(bytes: &[u8]) -> Result<Disk<'_>, Error> {
    Disk::open(&Input::new(bytes), &Selection::all().at(0, None))
}

/// Calls the library, and checks the invariants for every input: no panic, no timeout, no write past the end
/// or over a different one, and a message with a place and a remedy.
pub fn outcome(bytes: &[u8]) -> Outcome {
    let start = Instant::now();
    let sink = Memory::default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        filesystem(bytes).and_then(|disk| disk.canonicalize(&Options::new(), &sink, &Silent))
    }));
    if start.elapsed() > LIMIT {
        return Outcome::Wrong(format!("took {:?}", start.elapsed()));
    }
    match result {
        Err(_) => Outcome::Wrong("a panic".to_owned()),
        Ok(Err(error)) => match flaw(&error) {
            None => Outcome::Refused,
            Some(flaw) => Outcome::Wrong(format!("{flaw}: {error} ({error:?})")),
        },
        Ok(Ok(_)) => sink.into_output(bytes.len()).map_or_else(Outcome::Wrong, Outcome::Written),
    }
}

/// Returns the first flaw of a message.
pub fn flaw(error: &Error) -> Option<&'static str> {
    let words = error.to_string();
    if words.contains('\n') || words.chars().any(char::is_control) {
        return Some("control characters in a message");
    }
    match error {
        Error::Io { .. } => Some("an I/O error without I/O"),
        Error::Corrupt { problem, .. } if problem.to_string().trim().is_empty() => Some("no problem"),
        Error::Corrupt { remedy, .. } | Error::Unsupported { remedy, .. } | Error::Unclean { remedy, .. }
            if !words.ends_with(&remedy.to_string()) || remedy.to_string().is_empty() =>
        {
            Some("no remedy")
        }
        _ => None,
    }
}
