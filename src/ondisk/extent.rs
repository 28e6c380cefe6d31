//! Defines the on-disk format of extent trees: a root in `i_block`, and index and leaf blocks below the root.

use zerocopy::little_endian::{U16, U32};

use super::on_disk;
use crate::units::{AnyBlock, BlockNr};

/// `eh_magic`.
pub const MAGIC: u16 = 0xF30A;
/// The length of a header or an entry, in bytes.
pub const ENTRY_SIZE: usize = 12;
/// The maximum number of entries in the root.
pub const ROOT_MAX: u16 = 4;
/// The maximum depth of a tree. A root without index blocks has depth 0.
pub const MAX_DEPTH: u16 = 5;
/// The maximum number of blocks of an initialized extent.
pub const MAX_LEN: u32 = 32768;
/// The maximum number of blocks of an unwritten extent.
pub const MAX_UNWRITTEN_LEN: u32 = 32767;

on_disk! {
    /// The header of a node.
    pub struct ExtentHeader: 12 {
        eh_magic: U16,
        eh_entries: U16,
        eh_max: U16,
        eh_depth: U16,
        eh_generation: U32,
    }
}

on_disk! {
    /// An entry of an index node.
    pub struct ExtentIndex: 12 {
        ei_block: U32,
        ei_leaf_lo: U32,
        ei_leaf_hi: U16,
        ei_unused: U16,
    }
}

on_disk! {
    /// An entry of a leaf.
    pub struct Extent: 12 {
        ee_block: U32,
        ee_len: U16,
        ee_start_hi: U16,
        ee_start_lo: U32,
    }
}

/// Returns the maximum number of entries in a block of `block_size` bytes.
pub fn entries_per_block(block_size: usize) -> u16 {
    u16::try_from((block_size - ENTRY_SIZE) / ENTRY_SIZE).expect("fits: a block has at most 64 KiB")
}

/// Returns whether e2fsck would mistake the start of `i_block` for the root of an extent tree, even without
/// the EXTENTS flag. This is the complete check of e2fsck. Missing bytes are zeros.
pub fn resembles_root(i_block: &[u8]) -> bool {
    let half = |index: usize| {
        let byte = |at: usize| i_block.get(at).copied().unwrap_or(0);
        u16::from_le_bytes([byte(index * 2), byte(index * 2 + 1)])
    };
    let (magic, entries, max) = (half(0), half(1), half(2));
    magic == MAGIC && (ROOT_MAX - 2..=ROOT_MAX).contains(&max) && entries <= max
}

impl ExtentHeader {
    /// Creates the header of a node with `entries` entries and room for `max`.
    pub fn new(entries: u16, max: u16, depth: u16) -> Self {
        Self {
            eh_magic: U16::new(MAGIC),
            eh_entries: U16::new(entries),
            eh_max: U16::new(max),
            eh_depth: U16::new(depth),
            eh_generation: U32::new(0),
        }
    }
}

fn split(block: impl AnyBlock) -> (U32, U16) {
    let [a, b, c, d, e, f, ..] = block.number().to_le_bytes();
    (U32::from_bytes([a, b, c, d]), U16::from_bytes([e, f]))
}

impl ExtentIndex {
    /// Creates an entry for the node at `leaf`, whose first logical block is `first`.
    pub fn new(first: u32, leaf: impl AnyBlock) -> Self {
        let (ei_leaf_lo, ei_leaf_hi) = split(leaf);
        Self { ei_block: U32::new(first), ei_leaf_lo, ei_leaf_hi, ei_unused: U16::new(0) }
    }

    /// Returns the block of the child node, in the image that contains the entry.
    pub fn leaf(&self) -> BlockNr {
        BlockNr(u64::from(self.ei_leaf_hi.get()) << 32 | u64::from(self.ei_leaf_lo.get()))
    }
}

impl Extent {
    /// Creates an extent of `len` blocks that starts at the logical block `first`.
    ///
    /// # Panics
    ///
    /// If an extent can't have this length.
    pub fn new(first: u32, len: u32, start: impl AnyBlock, unwritten: bool) -> Self {
        let most = if unwritten { MAX_UNWRITTEN_LEN } else { MAX_LEN };
        assert!((1..=most).contains(&len), "the audit checked the length of each extent: {len}");
        let (ee_start_lo, ee_start_hi) = split(start);
        let stored = if unwritten { len + MAX_LEN } else { len };
        let [a, b, ..] = stored.to_le_bytes();
        Self { ee_block: U32::new(first), ee_len: U16::from_bytes([a, b]), ee_start_hi, ee_start_lo }
    }

    /// Returns the first physical block, in the image that contains the entry.
    pub fn start(&self) -> BlockNr {
        BlockNr(u64::from(self.ee_start_hi.get()) << 32 | u64::from(self.ee_start_lo.get()))
    }

    /// Returns the number of blocks, and whether they are unwritten.
    pub fn len(&self) -> (u32, bool) {
        let stored = u32::from(self.ee_len.get());
        if stored > MAX_LEN { (stored - MAX_LEN, true) } else { (stored, false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results are those of e2fsck 1.47, for files with inline data.
    #[test]
    fn what_looks_like_a_root_has_a_header_that_fits() {
        assert!(resembles_root(&[0x0A, 0xF3, 0, 0, 4, 0, 0, 0]) && resembles_root(b"\x0A\xF3\x01\0\x04\0x"));
        assert!(resembles_root(&[0x0A, 0xF3, 0, 0, 2]));
        for header in [
            [0x0A, 0xF3, 5, 0, 4, 0],
            [0x0A, 0xF3, 0, 0, 5, 0],
            [0x0A, 0xF3, 0, 0, 1, 0],
            [0x0A, 0xF2, 0, 0, 4, 0],
        ] {
            assert!(!resembles_root(&header), "{header:?}");
        }
    }

    #[test]
    fn blocks_hold_as_many_entries_as_the_kernel_counts() {
        for (size, entries) in [(1024, 84), (2048, 169), (4096, 340), (16384, 1364), (65536, 5460)] {
            assert_eq!(entries_per_block(size), entries);
        }
    }

    #[test]
    fn lengths_tell_unwritten_extents() {
        for (len, unwritten) in [(1, false), (32768, false), (1, true), (32767, true)] {
            assert_eq!(Extent::new(0, len, BlockNr(9), unwritten).len(), (len, unwritten));
        }
        assert_eq!(Extent::new(7, 3, BlockNr(0x1234_5678_9ABC), false).start(), BlockNr(0x1234_5678_9ABC));
    }
}
