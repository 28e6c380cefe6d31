//! Defines the on-disk format of xattrs: entries after the fields of an inode, or in a separate block.

use zerocopy::little_endian::{U16, U32};

use super::{le32, on_disk};

/// The magic number of the xattrs in an inode and of an xattr block.
pub const MAGIC: u32 = 0xEA02_0000;
/// The length of the magic number before the entries in an inode, in bytes.
pub const IBODY_HEADER_SIZE: usize = 4;
/// The length of the zero word that ends a list of entries, in bytes.
pub const END_SIZE: usize = 4;
/// The maximum length of a value, in bytes.
pub const VALUE_MAX: usize = 1 << 24;
/// The maximum number of inodes that may share an xattr block.
pub const REFCOUNT_MAX: u32 = 1024;
/// The highest valid name index.
pub const INDEX_MAX: u8 = 10;
/// The name index of the access ACL, whose name is empty.
pub const INDEX_ACL_ACCESS: u8 = 2;
/// The name index of the default ACL of a directory, which new inodes in it inherit. Its name is empty.
pub const INDEX_ACL_DEFAULT: u8 = 3;
/// The name index of `system.`, which is used for inline data.
pub const INDEX_SYSTEM: u8 = 7;
/// The name of the xattr that contains the inline data after the first 60 bytes, which are in `i_block`.
pub const INLINE_DATA_NAME: &[u8] = b"data";

on_disk! {
    /// The header of an xattr block.
    pub struct XattrHeader: 32 {
        h_magic: U32,
        h_refcount: U32,
        h_blocks: U32,
        h_hash: U32,
        h_checksum: U32,
        h_reserved: [U32; 3],
    }
}

on_disk! {
    /// An entry without its name.
    pub struct XattrEntry: 16 {
        e_name_len: u8,
        e_name_index: u8,
        e_value_offs: U16,
        e_value_inum: U32,
        e_value_size: U32,
        e_hash: U32,
    }
}

/// Returns the length of an entry with its name and padding, in bytes.
pub const fn entry_size(name_len: usize) -> usize {
    (size_of::<XattrEntry>() + name_len).next_multiple_of(4)
}

/// Returns the length of a value with padding, in bytes.
pub fn value_size(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// Returns `e_hash` of a name and a value. `signed` selects the hash of machines on which `char` is signed.
pub fn entry_hash(name: &[u8], value: &[u8], signed: bool) -> u32 {
    let mut hash = 0_u32;
    for &byte in name {
        let wide =
            if signed { i32::from(i8::from_le_bytes([byte])).cast_unsigned() } else { u32::from(byte) };
        hash = hash.rotate_left(5) ^ wide;
    }
    for chunk in value.chunks(4) {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = hash.rotate_left(16) ^ u32::from_le_bytes(word);
    }
    hash
}

/// Returns `h_hash` of a block whose entries have these hashes; 0 if one of the hashes is 0.
pub fn block_hash(entry_hashes: impl IntoIterator<Item = u32>) -> u32 {
    let mut hash = 0_u32;
    for entry in entry_hashes {
        if entry == 0 {
            return 0;
        }
        hash = hash.rotate_left(16) ^ entry;
    }
    hash
}

/// Returns whether a list of entries ends at an offset.
pub fn is_end(bytes: &[u8], offset: usize) -> bool {
    le32(bytes, offset) == Some(0)
}

/// Returns the prefix for a name index.
pub fn prefix(index: u8) -> &'static str {
    match index {
        1 => "user.",
        INDEX_ACL_ACCESS => "system.posix_acl_access",
        INDEX_ACL_DEFAULT => "system.posix_acl_default",
        4 => "trusted.",
        5 => "lustre.",
        6 => "security.",
        INDEX_SYSTEM => "system.",
        8 => "system.richacl",
        9 => "encryption.",
        10 => "gnu.",
        _ => "unknown.",
    }
}

/// Returns a name with the prefix for its name index.
pub fn full_name(index: u8, name: &[u8]) -> String {
    format!("{}{}", prefix(index), crate::error::shown(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of 'a' is 0x61. Rotated by 5, it is 0xC20; with 'b' = 0x62, it is 0xC42.
    #[test]
    fn the_name_hash_rotates_by_five() {
        assert_eq!(entry_hash(b"ab", b"", false), 0xC42);
    }

    /// The hash of the name is 0x61. Rotated by 16, it is 0x610000; the word of the value is 0x00000076.
    #[test]
    fn the_value_is_hashed_in_padded_words() {
        assert_eq!(entry_hash(b"a", b"v", false), 0x0061_0076);
    }

    #[test]
    fn signed_names_differ_only_above_0x7f() {
        assert_eq!(entry_hash(b"abc", b"x", true), entry_hash(b"abc", b"x", false));
        assert_ne!(entry_hash(b"\xff", b"x", true), entry_hash(b"\xff", b"x", false));
    }

    #[test]
    fn an_entry_without_hash_makes_the_block_unshareable() {
        assert_eq!(block_hash([5, 0, 7]), 0);
        assert_eq!(block_hash([0x0001_0002, 3]), 0x0002_0002);
    }
}
