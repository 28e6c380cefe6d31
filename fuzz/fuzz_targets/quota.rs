//! Quota files, and the superblock that names them. Invariant: `program::holds` — an error that helps, or an output that is read as
//! the same tree and is its own canonical form.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ext4_canon_fuzz::fuzz("quota", input));
