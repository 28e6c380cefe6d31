//! Defines the structures of ext2, ext3, ext4 and jbd2, byte for byte, and computes all checksums and hashes.
//!
//! Field names are the kernel's. These modules only decode and encode, and depend on no other stage. All of
//! ext4 is little-endian, and all of jbd2 is big-endian except fast commits.

pub mod acl;
pub mod bitmap;
pub mod casefold;
pub mod checksum;
pub mod crypt;
mod decompositions;
pub mod dir_entry;
pub mod dirhash;
pub mod extent;
pub mod fast_commit;
pub mod features;
pub mod group_descriptor;
pub mod htree;
pub mod indirect;
pub mod inode;
mod inode_flags;
pub mod jbd2;
pub mod mmp;
pub mod orphan_file;
pub mod quota;
pub mod superblock;
mod unicode;
pub mod xattr;

/// The name, offset and size of a field in an on-disk structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The kernel's name of the field.
    pub name: &'static str,
    /// The offset from the start of the structure, in bytes.
    pub offset: usize,
    /// The length in bytes.
    pub size: usize,
}

/// Declares a structure of unaligned fields with a fixed total size, and a list of its fields.
macro_rules! on_disk {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable, zerocopy::Unaligned,
        )]
        #[repr(C)]
        pub struct $name {
            $(#[doc = concat!("The kernel's `", stringify!($field), "`.")] $(#[$field_meta])* pub $field: $type,)*
        }

        impl $name {
            /// All fields, in order, without gaps.
            pub const FIELDS: &'static [crate::ondisk::Field] = &[$(crate::ondisk::Field {
                name: stringify!($field),
                offset: core::mem::offset_of!($name, $field),
                size: size_of::<$type>(),
            },)*];
        }

        const _: () = assert!(size_of::<$name>() == $size);
    };
}
pub(crate) use on_disk;

/// Returns the first bytes of `bytes` as a structure, if there are enough of them.
pub fn view<T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
    bytes: &[u8],
) -> Option<&T> {
    T::ref_from_prefix(bytes).ok().map(|(value, _)| value)
}

/// Returns the little-endian 16-bit number at an offset, if it is within `bytes`.
pub fn le16(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// Returns the little-endian 32-bit number at an offset, if it is within `bytes`.
pub fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}
