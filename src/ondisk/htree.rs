//! The index of a large directory: a root in block 0 and, below it, interior nodes.

use zerocopy::little_endian::{U16, U32};

use super::on_disk;

/// The length of the root's head (`.`, `..` and the root info), in bytes.
pub const ROOT_HEAD: usize = 32;
/// The length of an interior node's head (an unused entry over the whole block), in bytes.
pub const NODE_HEAD: usize = 8;
/// The length of an index entry, in bytes.
pub const ENTRY_SIZE: usize = 8;
/// The `hash_version` of an encrypted and casefolded directory, whose entries hold their hashes.
pub const SIPHASH: u8 = 6;
/// The bits of an index entry that hold a block number.
pub const BLOCK_MASK: u32 = 0x0FFF_FFFF;

on_disk! {
    /// What stands behind `.` and `..` in block 0.
    pub struct DxRootInfo: 8 {
        reserved_zero: U32,
        hash_version: u8,
        info_length: u8,
        indirect_levels: u8,
        unused_flags: u8,
    }
}

on_disk! {
    /// The place of the first entry's hash: how many entries there are, and could be.
    pub struct DxCountLimit: 4 {
        limit: U16,
        count: U16,
    }
}

on_disk! {
    /// An entry of an index.
    pub struct DxEntry: 8 {
        hash: U32,
        block: U32,
    }
}

on_disk! {
    /// What stands behind the last possible entry of a node with a checksum.
    pub struct DxTail: 8 {
        dt_reserved: U32,
        dt_checksum: U32,
    }
}

/// The number of entries that a node with a head of `head` bytes can have.
pub fn limit(block_size: usize, head: usize, with_checksum: bool) -> usize {
    (block_size - head - if with_checksum { size_of::<DxTail>() } else { 0 }) / ENTRY_SIZE
}

/// The number of entries that an interior node can have. In an encrypted and casefolded directory
/// the kernel takes its head for longer than it is, by the hashes that other entries have.
pub fn node_limit(block_size: usize, with_checksum: bool, hashed_names: bool) -> usize {
    let hashes = if hashed_names { super::dir_entry::HASHES_SIZE } else { 0 };
    limit(block_size, NODE_HEAD + hashes, with_checksum)
}

/// The greatest `indirect_levels`.
pub fn max_levels(large_dir: bool) -> u8 {
    if large_dir { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values read with debugfs from directories that a kernel made.
    #[test]
    fn limits_are_those_that_the_kernel_demands() {
        assert_eq!((limit(1024, ROOT_HEAD, true), limit(1024, NODE_HEAD, true)), (123, 126));
        assert_eq!((limit(4096, ROOT_HEAD, true), limit(4096, NODE_HEAD, true)), (507, 510));
        assert_eq!((node_limit(1024, true, false), node_limit(1024, true, true)), (126, 125));
        assert_eq!((limit(4096, ROOT_HEAD, false), limit(4096, NODE_HEAD, false)), (508, 511));
    }
}
