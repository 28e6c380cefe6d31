//! Fuzzes partition tables.
//!
//! Invariant, checked by `tables::holds`: either an error with a remedy, or an output with the same partition
//! table that is its own canonical form.

#![no_main]

use ext4_canon_fuzz::libfuzzer_sys;

libfuzzer_sys::fuzz_target!(|input: &[u8]| ext4_canon_fuzz::fuzz_tables(input));
