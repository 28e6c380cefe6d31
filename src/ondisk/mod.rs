//! The structures of ext2/3/4 and jbd2, byte for byte, and every checksum formula.
//!
//! Field names are the kernel's. Nothing here knows of another stage: these modules decode and
//! encode, and judge nothing. All of ext4 is little-endian, all of jbd2 big-endian.

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

/// Where a field of an on-disk structure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The kernel's name of the field.
    pub name: &'static str,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Length in bytes.
    pub size: usize,
}

/// Declares a structure of unaligned fields of a fixed total size, with a list of its fields.
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
            /// Every field, in order, without gaps.
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

/// The first bytes of `bytes` as a structure, if there are enough of them.
pub fn view<T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
    bytes: &[u8],
) -> Option<&T> {
    T::ref_from_prefix(bytes).ok().map(|(value, _)| value)
}

/// The little-endian number of 16 bits at an offset, if it lies within.
pub fn le16(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}

/// The little-endian number of 32 bits at an offset, if it lies within.
pub fn le32(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}
