//! Defines the constants of canonical form 1.

use std::ops::Range;

use uuid::{Builder, Uuid};

use crate::ondisk::inode::{EXTRA_FULL, S_IFREG};

/// The version of the canonical form.
pub const VERSION: u32 = 1;

/// The first bytes of the digest from which the UUID of a filesystem is derived.
pub(crate) const CONTENT_DOMAIN: &[u8] = b"ext4-canon form 1 content\0";

/// The first bytes of the digest from which the GUID of a disk with a GPT is derived.
pub(crate) const DISK_DOMAIN: &[u8] = b"ext4-canon disk 1\0";

/// The first bytes of the digest from which the GUID of a GPT partition is derived.
pub(crate) const PARTITION_DOMAIN: &[u8] = b"ext4-canon partition 1\0";

/// The first bytes of the digest from which the signature of a disk with an MBR is derived.
pub(crate) const SIGNATURE_DOMAIN: &[u8] = b"ext4-canon signature 1\0";

/// `s_hash_seed` of every output. With a fixed seed, directories stay similar between versions of an image.
pub(crate) const HASH_SEED: [u8; 16] = *b"ext4-canon form1";

/// `s_checksum_seed` with `metadata_csum_seed`. It is fixed, so that the UUID does not affect the checksums.
pub(crate) const CHECKSUM_SEED: u32 = 0x0463_616E;

/// `i_extra_isize` of inodes with more than 128 bytes.
pub(crate) const EXTRA_ISIZE: u16 = EXTRA_FULL;

/// `i_mode` of inodes outside the tree.
pub(crate) const SPECIAL_MODE: u16 = S_IFREG | 0o600;

/// Bytes of file content in a segment of the content digest.
pub(crate) const SEGMENT_BYTES: usize = 1 << 20;

/// The minimum size of `lost+found` in bytes. In blocks, this minimum is rounded up and clamped to 2 to 12.
const LOST_FOUND_BYTES: usize = 16384;

/// The minimum number of blocks in the last group, besides its metadata, when the size changes. A smaller
/// group is dropped, as in resize2fs. This minimum does not apply if there is only one group.
pub(crate) const LAST_GROUP_ROOM: u64 = 50;

/// The check interval in seconds, and the range of maximum mount counts, that mke2fs sets with
/// `enable_periodic_fsck`. mke2fs adds a number up to 19 to the minimum count, derived from the random UUID.
const PERIODIC_INTERVAL: u32 = 180 * 24 * 60 * 60;
const PERIODIC_COUNTS: Range<u16> = 20..40;

/// Returns the minimum number of blocks of `lost+found`, as in mke2fs.
pub(crate) fn lost_found_blocks(block_size: usize) -> usize {
    LOST_FOUND_BYTES.div_ceil(block_size).clamp(2, 12)
}

/// Returns the maximum mount count, without the random part that mke2fs adds with `enable_periodic_fsck`.
pub(crate) fn max_mount_count(count: u16, check_interval: u32) -> u16 {
    let periodic = check_interval == PERIODIC_INTERVAL && PERIODIC_COUNTS.contains(&count);
    if periodic { PERIODIC_COUNTS.start } else { count }
}

/// Returns whether a UUID can be a derived one: a UUID of version 8.
pub(crate) fn is_derived(uuid: &[u8; 16]) -> bool {
    Uuid::from_bytes(*uuid).get_version_num() == 8
}

/// Returns the UUID for a digest: its first 16 bytes, marked as version 8 of RFC 9562.
pub(crate) fn uuid(digest: &[u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_seeds_name_the_version() {
        assert_eq!(CONTENT_DOMAIN, format!("ext4-canon form {VERSION} content\0").as_bytes());
        assert_eq!(HASH_SEED, format!("ext4-canon form{VERSION}").as_bytes());
        for (domain, what) in
            [(DISK_DOMAIN, "disk"), (PARTITION_DOMAIN, "partition"), (SIGNATURE_DOMAIN, "signature")]
        {
            assert_eq!(domain, format!("ext4-canon {what} {VERSION}\0").as_bytes());
        }
    }

    /// The sizes of mke2fs 1.47: 12 blocks of 1 KiB, 8 of 2 KiB, 4 of 4 KiB, and 2 of 8 to 64 KiB.
    #[test]
    fn lost_found_is_as_large_as_mke2fs_makes_it() {
        let blocks = [1024, 2048, 4096, 8192, 16384, 65536].map(lost_found_blocks);
        assert_eq!(blocks, [12, 8, 4, 2, 2, 2]);
    }

    #[test]
    fn mount_counts_of_mke2fs_lose_their_random_part() {
        assert_eq!(
            [19, 20, 27, 39, 40].map(|count| max_mount_count(count, 15_552_000)),
            [19, 20, 20, 20, 40]
        );
        assert_eq!(max_mount_count(27, 0), 27);
    }
}
