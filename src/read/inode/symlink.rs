//! Reads the targets of symlinks, in blocks or in `i_block`.

use super::stored_content::{InodeContent, StoredContent};
use crate::error::Result;
use crate::map::{self, Budget, DecodedInode, FileMap};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{self as disk, InodeFlags};
use crate::ondisk::le16;
use crate::source::Source;

/// The remedy for a symlink that kernels, e2fsck and debugfs read differently.
pub(super) const NEW_SYMLINK: &str =
    "remove it with debugfs's rm, recreate it with debugfs's symlink, and run e2fsck -f";

/// Reads the target of a symlink without inline data.
pub(super) fn read<'a>(
    source: &Source<'a>,
    budget: &Budget,
    inode: &DecodedInode<'a>,
) -> Result<StoredContent<'a>> {
    let at = || inode.at();
    let (size, flags) = (inode.fields.size(), inode.fields.flags());
    let (target, map) = if size < disk::FAST_SYMLINK_LIMIT {
        if flags.contains(InodeFlags::EXTENTS) {
            return Err(at().wrong("is a symlink of less than 60 bytes with an extent tree"));
        }
        let xattrs = u64::from(inode.fields.file_acl() != 0) * source.geometry.blocks_per_cluster;
        // With the ea_inode feature, EA inodes count in `i_blocks`, so the kernel only looks at the length.
        let by_length = source.features().has(Incompat::EA_INODE);
        if !by_length && inode.sectors(source) != xattrs * (source.geometry.block_bytes() / 512) {
            return Err(at().wrong(
                "is a symlink of less than 60 bytes in a block, which kernel and e2fsck read differently",
            ));
        }
        let in_place = &inode.bytes[disk::I_BLOCK..][..disk::I_BLOCK_SIZE];
        (in_place, FileMap::default())
    } else {
        let map = map::read(source, budget, inode)?;
        let [run] = map.runs[..] else {
            return Err(at().wrong("is a symlink that does not have exactly one extent"));
        };
        if map.dense_blocks() != Some(1) {
            return Err(at()
                .wrong("is a symlink whose block is not logical block 0, or was never written")
                .with_remedy("mount the image, and recreate the symlink"));
        }
        if size >= source.geometry.block_bytes() {
            return Err(at().value("i_size", size, "less than a block, with room for a NUL byte"));
        }
        (source.checked_block(run.physical()), map)
    };
    let length = usize::try_from(size).expect("fits: less than 60 bytes, or than a block");
    if flags.contains(InodeFlags::ENCRYPT) {
        // The ciphertext starts with its length.
        let stored = le16(target, 0).map_or(0, |length| u64::from(length) + 2);
        if size <= 2 || stored != size {
            return Err(at().value(
                "i_size",
                size,
                format!("{stored} (the length of the encrypted target plus 2), and more than 2"),
            ));
        }
        return Ok(StoredContent {
            map,
            ..StoredContent::in_inode(InodeContent::Symlink, [&target[..length], &[]])
        });
    }
    let end = target.iter().position(|byte| *byte == 0).unwrap_or(target.len());
    if length == 0 || end != length {
        // New kernels reject such a symlink, and e2fsck would clear it.
        return Err(at()
            .value("i_size", size, format!("{end}, the length of the symlink's target, which is not empty"))
            .with_remedy(NEW_SYMLINK));
    }
    Ok(StoredContent { map, ..StoredContent::in_inode(InodeContent::Symlink, [&target[..length], &[]]) })
}
