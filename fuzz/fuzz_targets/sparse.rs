//! Fuzzes Android sparse images.
//!
//! Invariant: either an error with a remedy, or an image that uses no more space than allowed, and that stays
//! the same when it is written as a sparse image and read again. The checksum in the header is corrected
//! before it is checked.

#![no_main]

#[path = "../../src/cli/refusal.rs"]
mod refusal;
#[path = "../../src/cli/sparse.rs"]
mod sparse;
#[path = "../../src/cli/sparse_sums.rs"]
mod sparse_sums;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crc::{CRC_32_ISO_HDLC, Crc};
use ext4_canon_fuzz::libfuzzer_sys;

/// The limit in bytes for fill chunks.
const MOST_FILLED: u64 = 1 << 20;
/// The offset of the image checksum in the header of a sparse image. 0 means that there is none.
const SUM: usize = 24;

fn contents(file: &File, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).expect("a short file")];
    file.read_exact_at(&mut bytes, 0).expect("reading");
    bytes
}

/// Returns whether an error has a remedy, or is an error of the operating system: a file of this length may
/// be too large for it.
fn helps(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.raw_os_error().is_some())
        || error.to_string().contains("; make ")
}

/// Asserts that the correct image checksum in the header is accepted, unless a checksum chunk is wrong.
fn holds_with_its_sum(bytes: &mut [u8], image: &[u8]) {
    bytes[SUM..SUM + 4].fill(0);
    if sparse_sums::check(bytes).is_ok() {
        let sum = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(image);
        bytes[SUM..SUM + 4].copy_from_slice(&sum.to_le_bytes());
        sparse_sums::check(bytes).expect("the checksum of the bytes");
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // The magic number is fixed: inputs with a different one are all treated alike.
    let mut bytes = 0xED26_FF3A_u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(input);
    assert!(sparse::is_sparse(&bytes));
    let file = match sparse::expand_within(&bytes, MOST_FILLED) {
        Ok(file) => file,
        Err(error) => return assert!(helps(&error), "{error:#}"),
    };
    let metadata = file.metadata().expect("metadata");
    assert!(metadata.blocks() * 512 <= MOST_FILLED + bytes.len() as u64 + (1 << 16), "{metadata:?}");
    // The checksums are checked for images of any length, without a panic.
    let _ = sparse_sums::check(&bytes);
    let length = metadata.len();
    if length > 1 << 22 {
        return;
    }
    let image = contents(&file, length);
    holds_with_its_sum(&mut bytes, &image);
    if !length.is_multiple_of(4096) {
        return;
    }
    let used = 0..length;
    let mut written = tempfile::tempfile().expect("a file");
    sparse::write(&written, &image, std::slice::from_ref(&used)).expect("writing");
    let mut again = Vec::new();
    std::io::Seek::rewind(&mut written).expect("the start");
    written.read_to_end(&mut again).expect("reading");
    let found = sparse::expand(&again).expect("what was written");
    assert!(contents(&found, length) == image);
});
