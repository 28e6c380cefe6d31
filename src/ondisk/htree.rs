//! Defines the on-disk index of a large directory (HTree): a root in block 0, and interior nodes below the
//! root.

use zerocopy::little_endian::{U16, U32};

use super::on_disk;

/// The length of the root's header (`.`, `..` and the root info), in bytes.
pub const ROOT_HEAD: usize = 32;
/// The length of an interior node's header (an unused entry that covers the block), in bytes.
pub const NODE_HEAD: usize = 8;
/// The length of an index entry, in bytes.
pub const ENTRY_SIZE: usize = 8;
/// The `hash_version` of an encrypted and casefolded directory, whose entries contain their hashes.
pub const SIPHASH: u8 = 6;
/// The bits of an index entry that contain the block number.
pub const BLOCK_MASK: u32 = 0x0FFF_FFFF;

on_disk! {
    /// The root info, which is stored after `.` and `..` in block 0.
    pub struct DxRootInfo: 8 {
        reserved_zero: U32,
        hash_version: u8,
        info_length: u8,
        indirect_levels: u8,
        unused_flags: u8,
    }
}

on_disk! {
    /// The number of entries and the maximum number, which are stored in place of the first entry's hash.
    pub struct DxCountLimit: 4 {
        limit: U16,
        count: U16,
    }
}

on_disk! {
    /// An index entry.
    pub struct DxEntry: 8 {
        hash: U32,
        block: U32,
    }
}

on_disk! {
    /// The tail of a node with a checksum, which is stored after the last possible entry.
    pub struct DxTail: 8 {
        dt_reserved: U32,
        dt_checksum: U32,
    }
}

/// Returns the maximum number of entries of a node with a header of `head` bytes.
pub fn limit(block_size: usize, head: usize, with_checksum: bool) -> usize {
    (block_size - head - if with_checksum { size_of::<DxTail>() } else { 0 }) / ENTRY_SIZE
}

/// Returns the maximum number of entries of an interior node. In an encrypted and casefolded directory, the
/// kernel adds the length of the hashes to the header, although the header has none.
pub fn node_limit(block_size: usize, with_checksum: bool, hashed_names: bool) -> usize {
    let hashes = if hashed_names { super::dir_entry::HASHES_SIZE } else { 0 };
    limit(block_size, NODE_HEAD + hashes, with_checksum)
}

/// Returns the maximum `indirect_levels`.
pub fn max_levels(large_dir: bool) -> u8 {
    if large_dir { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values were read with debugfs from directories that a kernel created.
    #[test]
    fn limits_are_those_that_the_kernel_demands() {
        assert_eq!((limit(1024, ROOT_HEAD, true), limit(1024, NODE_HEAD, true)), (123, 126));
        assert_eq!((limit(4096, ROOT_HEAD, true), limit(4096, NODE_HEAD, true)), (507, 510));
        assert_eq!((node_limit(1024, true, false), node_limit(1024, true, true)), (126, 125));
        assert_eq!((limit(4096, ROOT_HEAD, false), limit(4096, NODE_HEAD, false)), (508, 511));
    }
}
