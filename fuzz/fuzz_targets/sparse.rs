//! Android sparse images. Invariant: an error; or an image that takes no more room than it may, and that is the same
//! when it is written as a sparse image and read again.

#![no_main]

#[path = "../../src/cli/sparse.rs"]
mod sparse;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use ext4_canon_fuzz::libfuzzer_sys;

/// Bytes that patterns may fill here.
const MOST_FILLED: u64 = 1 << 20;

fn contents(file: &File, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).expect("a short file")];
    file.read_exact_at(&mut bytes, 0).expect("reading");
    bytes
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // All that begin otherwise are the same.
    let mut bytes = 0xED26_FF3A_u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(input);
    assert!(sparse::is_sparse(&bytes));
    let Ok(file) = sparse::expand_within(&bytes, MOST_FILLED) else { return };
    let metadata = file.metadata().expect("metadata");
    assert!(metadata.blocks() * 512 <= MOST_FILLED + bytes.len() as u64 + (1 << 16), "{metadata:?}");
    let length = metadata.len();
    if length > 1 << 22 || !length.is_multiple_of(4096) {
        return;
    }
    let image = contents(&file, length);
    let used = 0..length;
    let mut written = tempfile::tempfile().expect("a file");
    sparse::write(&written, &image, std::slice::from_ref(&used)).expect("writing");
    let mut again = Vec::new();
    std::io::Seek::rewind(&mut written).expect("the start");
    written.read_to_end(&mut again).expect("reading");
    let found = sparse::expand(&again).expect("what was written");
    assert!(contents(&found, length) == image);
});
