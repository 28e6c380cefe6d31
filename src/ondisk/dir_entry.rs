//! Defines the on-disk format of directory entries, and of the tail with the checksum of a directory block.

use zerocopy::little_endian::{U16, U32};

use super::inode;
use super::on_disk;

/// The length of an entry without its name, in bytes.
pub const HEADER_SIZE: usize = 8;
/// The length of the tail of a block with a checksum, in bytes.
pub const TAIL_SIZE: usize = 12;
/// The length of the parent's inode number before the entries in an inode, in bytes.
pub const INLINE_PARENT_SIZE: usize = 4;
/// The file type byte of a tail.
pub const TAIL_TYPE: u8 = 0xDE;

on_disk! {
    /// The header of a directory entry. The name follows.
    pub struct DirEntry: 8 {
        inode: U32,
        rec_len: U16,
        name_len: u8,
        file_type: u8,
    }
}

on_disk! {
    /// The last 12 bytes of a directory block with a checksum, formatted as an unused entry.
    pub struct DirEntryTail: 12 {
        det_reserved_zero1: U32,
        det_rec_len: U16,
        det_reserved_zero2: u8,
        det_reserved_ft: u8,
        det_checksum: U32,
    }
}

/// Returns the minimum length of an entry for a name, in bytes.
pub fn entry_size(name_len: usize) -> usize {
    (HEADER_SIZE + name_len).next_multiple_of(4)
}

/// The length of the hashes after an entry's name in an encrypted and casefolded directory, in bytes.
pub const HASHES_SIZE: usize = 8;

/// Encodes a record length for a block of `block_size` bytes. The length 65536 does not fit into 16 bits, and
/// is stored as 0xFFFF.
///
/// # Panics
///
/// If an entry in such a block can't have this length.
pub fn encode_rec_len(len: usize, block_size: usize) -> U16 {
    let is_valid = len <= block_size && block_size <= 65536 && len.is_multiple_of(4);
    assert!(is_valid, "an entry of {len} bytes ends in its block of {block_size} bytes");
    let [a, b, c, _] = u32::try_from(len).expect("fits: no longer than a block").to_le_bytes();
    if block_size < 65536 {
        U16::from_bytes([a, b])
    } else if len == block_size {
        U16::new(0xFFFF)
    } else {
        U16::from_bytes([a | (c & 3), b])
    }
}

/// Decodes a record length from a block of `block_size` bytes.
pub fn decode_rec_len(stored: U16, block_size: usize) -> usize {
    let stored = usize::from(stored.get());
    if block_size < 65536 {
        return stored;
    }
    match stored {
        0 | 0xFFFF => block_size,
        _ => (stored & 0xFFFC) | (stored & 3) << 16,
    }
}

/// Returns the file type byte of an entry for an inode with this mode; 0 for an unknown type.
pub fn file_type(mode: u16) -> u8 {
    match mode & inode::S_IFMT {
        inode::S_IFREG => 1,
        inode::S_IFDIR => 2,
        inode::S_IFCHR => 3,
        inode::S_IFBLK => 4,
        inode::S_IFIFO => 5,
        inode::S_IFSOCK => 6,
        inode::S_IFLNK => 7,
        _ => 0,
    }
}

impl DirEntryTail {
    /// Creates a tail without its checksum.
    pub fn new() -> Self {
        Self {
            det_reserved_zero1: U32::new(0),
            det_rec_len: U16::new(12),
            det_reserved_zero2: 0,
            det_reserved_ft: TAIL_TYPE,
            det_checksum: U32::new(0),
        }
    }

    /// Returns whether the fields other than the checksum are those of a tail.
    pub fn is_valid(&self) -> bool {
        Self { det_checksum: U32::new(0), ..*self } == Self::new()
    }
}

impl Default for DirEntryTail {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_survive_at_every_block_size() {
        for block_size in [1024, 4096, 32768, 65536] {
            for len in [12, 16, 264, block_size - 12, block_size] {
                assert_eq!(decode_rec_len(encode_rec_len(len, block_size), block_size), len, "{block_size}");
            }
        }
        assert_eq!(encode_rec_len(65536, 65536).get(), 0xFFFF);
        assert_eq!(decode_rec_len(U16::new(0), 65536), 65536);
    }

    #[test]
    fn entries_are_padded_to_four_bytes() {
        assert_eq!([entry_size(1), entry_size(4), entry_size(5), entry_size(255)], [12, 12, 16, 264]);
    }
}
