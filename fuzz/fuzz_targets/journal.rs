//! The journal's superblock and its log. Invariant: `program::holds` — an error that helps, or an output that is read as
//! the same tree and is its own canonical form.

#![no_main]

ext4_canon_fuzz::target!("journal");
