//! Decodes and encodes inodes: 128 bytes, then `i_extra_isize` bytes of extra fields, then xattrs up to the
//! inode size.

use zerocopy::little_endian::{U16, U32};

pub use super::inode_flags::InodeFlags;
use super::on_disk;

/// The length of the fields that every inode has, in bytes.
pub const BASE_SIZE: usize = 128;
/// The offset of `i_block`, in bytes.
pub const I_BLOCK: usize = 0x28;
/// The length of `i_block`, in bytes.
pub const I_BLOCK_SIZE: usize = 60;
/// The offset of the low half of the checksum, in bytes.
pub const CHECKSUM_LO: usize = 0x7C;
/// The offset of the high half of the checksum, in bytes.
pub const CHECKSUM_HI: usize = 0x82;
/// The minimum length of a symlink that does not fit into `i_block`, in bytes.
pub const FAST_SYMLINK_LIMIT: u64 = 60;
/// The minimum `i_extra_isize` that includes `i_checksum_hi`.
pub const EXTRA_WITH_CHECKSUM: u16 = 4;
/// The `i_extra_isize` that includes every field of [`Inode`].
pub const EXTRA_FULL: u16 = 32;
/// The maximum number of links of an inode. A directory with more links has the link count 1.
pub const LINK_MAX: u64 = 65000;

/// `i_mode`: the bits of the file type.
pub const S_IFMT: u16 = 0o170_000;
/// `i_mode`: FIFO.
pub const S_IFIFO: u16 = 0o010_000;
/// `i_mode`: character device.
pub const S_IFCHR: u16 = 0o020_000;
/// `i_mode`: directory.
pub const S_IFDIR: u16 = 0o040_000;
/// `i_mode`: block device.
pub const S_IFBLK: u16 = 0o060_000;
/// `i_mode`: regular file.
pub const S_IFREG: u16 = 0o100_000;
/// `i_mode`: symbolic link.
pub const S_IFLNK: u16 = 0o120_000;
/// `i_mode`: socket.
pub const S_IFSOCK: u16 = 0o140_000;

on_disk! {
    /// The fields of an inode. For an inode of 128 bytes, the extra fields are zero.
    pub struct Inode: 160 {
        i_mode: U16,
        i_uid: U16,
        i_size_lo: U32,
        i_atime: U32,
        i_ctime: U32,
        i_mtime: U32,
        i_dtime: U32,
        i_gid: U16,
        i_links_count: U16,
        i_blocks_lo: U32,
        i_flags: U32,
        l_i_version: U32,
        i_block: [u8; 60],
        i_generation: U32,
        i_file_acl_lo: U32,
        i_size_high: U32,
        i_obso_faddr: U32,
        l_i_blocks_high: U16,
        l_i_file_acl_high: U16,
        l_i_uid_high: U16,
        l_i_gid_high: U16,
        l_i_checksum_lo: U16,
        l_i_reserved: U16,
        i_extra_isize: U16,
        i_checksum_hi: U16,
        i_ctime_extra: U32,
        i_mtime_extra: U32,
        i_atime_extra: U32,
        i_crtime: U32,
        i_crtime_extra: U32,
        i_version_hi: U32,
        i_projid: U32,
    }
}

impl Inode {
    /// Decodes the fields of an inode. Fields past `i_extra_isize`, or past the end of a short inode, are
    /// zero.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut whole = [0_u8; size_of::<Self>()];
        let length = bytes.len().min(whole.len());
        whole[..length].copy_from_slice(&bytes[..length]);
        if bytes.len() > BASE_SIZE {
            let extra = super::le16(bytes, BASE_SIZE).unwrap_or(0);
            let live = BASE_SIZE + 2 + usize::from(extra).saturating_sub(2);
            if live < whole.len() {
                whole[live..].fill(0);
            }
        }
        zerocopy::transmute!(whole)
    }

    /// Returns the user id of the owner.
    pub fn uid(&self) -> u32 {
        u32::from(self.l_i_uid_high.get()) << 16 | u32::from(self.i_uid.get())
    }

    /// Returns the group id of the owner.
    pub fn gid(&self) -> u32 {
        u32::from(self.l_i_gid_high.get()) << 16 | u32::from(self.i_gid.get())
    }

    /// Returns the size in bytes, with all 64 bits.
    pub fn size(&self) -> u64 {
        u64::from(self.i_size_high.get()) << 32 | u64::from(self.i_size_lo.get())
    }

    /// Returns the xattr block; 0 for none.
    pub fn file_acl(&self) -> u64 {
        u64::from(self.l_i_file_acl_high.get()) << 32 | u64::from(self.i_file_acl_lo.get())
    }

    /// Returns the flags, including unknown bits.
    pub fn flags(&self) -> InodeFlags {
        InodeFlags::from_bits_retain(self.i_flags.get())
    }

    /// Returns the file type bits of the mode.
    pub fn format(&self) -> u16 {
        self.i_mode.get() & S_IFMT
    }

    /// Returns whether the file type is known.
    pub fn has_known_format(&self) -> bool {
        matches!(self.format(), S_IFREG | S_IFDIR | S_IFLNK | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK)
    }
}

/// A time as inodes store it. It is packed, because a tree has many timestamps.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The earliest time that an inode can store, in seconds.
    pub const MIN: i64 = -(1 << 31);
    /// The latest time that an inode of 128 bytes can store, in seconds.
    pub const MAX_NARROW: i64 = (1 << 31) - 1;
    /// The latest time that a larger inode can store, in seconds.
    pub const MAX_WIDE: i64 = (3 << 32) + (1 << 31) - 1;

    /// Creates a time without nanoseconds.
    pub fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// Decodes a time and its extra word, which has 2 bits of epoch and 30 bits of nanoseconds, as the kernel
    /// does (`ext4_decode_extra_time`).
    pub fn decode(low: U32, extra: U32) -> Self {
        let low = i64::from(i32::from_le_bytes(low.to_bytes()));
        let epoch = i64::from(extra.get() & 3);
        Self { seconds: low + (epoch << 32), nanoseconds: extra.get() >> 2 }
    }

    /// Returns whether the kernel and e2fsck read this time differently: its epoch bits are 3 and its low
    /// word is negative. The kernel reads such times as the years 2310 to 2378. But older kernels stored
    /// times before 1970 in this way, and e2fsck (`check_inode_extra_negative_epoch`) offers to change the
    /// time to the time before 1970.
    pub fn is_ambiguous(self) -> bool {
        ((3 << 32) - (1 << 31)..3 << 32).contains(&{ self.seconds })
    }

    /// Returns the low word and the extra word; `None` if an inode can't store the time. Without `wide`, for
    /// inodes of 128 bytes, only whole seconds up to 2038 can be stored.
    pub fn encode(self, wide: bool) -> Option<(U32, U32)> {
        let max = if wide { Self::MAX_WIDE } else { Self::MAX_NARROW };
        if !(Self::MIN..=max).contains(&{ self.seconds }) || (!wide && self.nanoseconds != 0) {
            return None;
        }
        let [a, b, c, d, ..] = self.seconds.to_le_bytes();
        let low = U32::from_bytes([a, b, c, d]);
        let signed = i64::from(i32::from_le_bytes([a, b, c, d]));
        let epoch = u32::try_from((self.seconds - signed) >> 32).ok()?;
        let extra = U32::new(epoch | self.nanoseconds << 2);
        // Nanoseconds with more than 30 bits do not fit, but no inode has them.
        (Self::decode(low, extra) == self).then_some((low, extra))
    }
}

/// Decodes the device number in the first two words of `i_block`; `None` if no kernel writes these words.
pub fn decode_device(old: u32, new: u32) -> Option<(u32, u32)> {
    if old == 0 {
        return Some(((new & 0xFFF00) >> 8, (new & 0xFF) | (new >> 12 & 0xF_FF00)));
    }
    (old <= 0xFFFF).then_some((old >> 8, old & 0xFF))
}

/// Returns the first two words of `i_block` for a device. Like the kernel, it uses the old encoding if the
/// number fits.
pub fn encode_device(major: u32, minor: u32) -> (u32, u32) {
    if major < 256 && minor < 256 {
        (major << 8 | minor, 0)
    } else {
        (0, (minor & 0xFF) | major << 8 | (minor & !0xFF) << 12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_from_1901_to_2446() {
        for seconds in
            [-(1 << 31), -1, 0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, Timestamp::MAX_WIDE]
        {
            let time = Timestamp { seconds, nanoseconds: 999_999_999 };
            let (low, extra) = time.encode(true).unwrap();
            assert_eq!(Timestamp::decode(low, extra), time, "{seconds}");
        }
        assert_eq!(Timestamp::from_seconds(Timestamp::MAX_WIDE + 1).encode(true), None);
        assert_eq!(Timestamp::from_seconds(Timestamp::MIN - 1).encode(true), None);
        assert_eq!(Timestamp::from_seconds(1 << 31).encode(false), None);
        assert_eq!(Timestamp { seconds: 0, nanoseconds: 1 }.encode(false), None);
    }

    /// 2038-01-19T03:14:08Z: the low word is negative, and the epoch bits are 1 to compensate.
    #[test]
    fn the_second_after_2038_has_epoch_one() {
        let (low, extra) = Timestamp::from_seconds(1 << 31).encode(true).unwrap();
        assert_eq!((low.get(), extra.get()), (0x8000_0000, 1));
    }

    /// The time is 2345-08-11T16:38:24Z for the kernel (6.18) and debugfs, and 1937-04-21T21:13:36Z after
    /// e2fsck -fy.
    #[test]
    fn the_ambiguous_encoding_is_read_as_the_kernel_reads_it() {
        let time = Timestamp::decode(U32::new(0xC280_0000), U32::new(3));
        assert_eq!(time, Timestamp::from_seconds(11_853_103_104));
        assert_eq!(time.encode(true), Some((U32::new(0xC280_0000), U32::new(3))));
        assert!(time.is_ambiguous());
        // The first and the last ambiguous second, and times next to them.
        for (low, epoch, ambiguous) in [
            (0x7FFF_FFFF_u32, 2, false),
            (0x8000_0000, 3, true),
            (0xFFFF_FFFF, 3, true),
            (0, 3, false),
            (0x8000_0000, 2, false),
            (0x8000_0000, 0, false),
        ] {
            let time = Timestamp::decode(U32::new(low), U32::new(epoch));
            assert_eq!(time.is_ambiguous(), ambiguous, "{low:#x} {epoch}");
        }
    }

    #[test]
    fn devices_are_encoded_as_the_kernel_does() {
        assert_eq!(encode_device(300, 70000), (0, 0x1111_2C70));
        assert_eq!(encode_device(1, 3), (0x103, 0));
        for device in [(0, 0), (255, 255), (256, 0), (0, 256), (4095, 0xF_FFFF)] {
            let (old, new) = encode_device(device.0, device.1);
            assert_eq!(decode_device(old, new), Some(device));
        }
        assert_eq!(decode_device(0x1_0000, 0), None);
    }
}
