//! Fuzzes extent trees, block maps, and inodes.
//!
//! Invariant, checked by `program::holds`: either an error with a remedy, or an output that has the same tree
//! and is its own canonical form.

#![no_main]

ext4_canon_fuzz::target!("maps");
