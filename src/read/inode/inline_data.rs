//! Reads inline data: content that is stored in an inode.

use super::file_size;
use super::stored_content::{InodeContent, StoredContent};
use super::symlink::NEW_SYMLINK;
use crate::error::Result;
use crate::map::{self, DecodedInode, InlineParts};
use crate::ondisk::inode::{self as disk, InodeFlags};
use crate::source::Source;

/// Returns the two parts of an inode's inline data, if it has inline data. `value` is the value of the xattr
/// `system.data`.
pub(super) fn parts<'a>(
    source: &Source<'_>,
    inode: &DecodedInode<'a>,
    value: Option<&'a [u8]>,
) -> Result<Option<InlineParts<'a>>> {
    let flags = inode.fields.flags();
    if !flags.contains(InodeFlags::INLINE_DATA) {
        // The kernel hides this xattr. But without an extent tree, the flag for inline data may have been lost,
        // except if the content never has a block.
        let has_blocks = match inode.fields.format() {
            disk::S_IFREG | disk::S_IFDIR => true,
            disk::S_IFLNK => inode.fields.size() >= disk::FAST_SYMLINK_LIMIT,
            _ => false,
        };
        return match value {
            Some(_) if has_blocks && !flags.contains(InodeFlags::EXTENTS) => Err(inode
                .at()
                .wrong("has the xattr system.data without the INLINE_DATA flag, and no extent tree")
                .with_remedy("remove this xattr with debugfs's ea_rm, if the content is in blocks")),
            _ => Ok(None),
        };
    }
    map::check_inline_flags(source, inode)?;
    let Some(value) = value else {
        return Err(inode.at().wrong("has inline data, but no xattr system.data"));
    };
    let head = &inode.bytes[disk::I_BLOCK..][..disk::I_BLOCK_SIZE];
    Ok(Some([head, value]))
}

/// Returns the content of an inode with inline data.
pub(super) fn content<'a>(
    source: &Source<'_>,
    inode: &DecodedInode<'a>,
    [head, value]: InlineParts<'a>,
) -> Result<StoredContent<'a>> {
    let room = (head.len() + value.len()) as u64;
    let size = inode.fields.size();
    match inode.fields.format() {
        disk::S_IFREG => {
            // After a truncation, more bytes can be stored than the size says. For a file of zeros, mke2fs
            // stores fewer bytes; the kernel and e2fsck read the missing bytes as zeros. A size that does not
            // fit into memory is also limited to the stored bytes.
            let live = usize::try_from(size).unwrap_or(usize::MAX);
            let (head_len, value_len) =
                (live.min(head.len()), live.saturating_sub(head.len()).min(value.len()));
            let parts = [&head[..head_len], &value[..value_len]];
            // The inode has no EXTENTS flag, so the kernel and e2fsck accept only sizes that a block map can
            // address.
            file_size::check(source, inode)?;
            Ok(StoredContent::in_inode(InodeContent::Regular(size), parts))
        }
        disk::S_IFDIR | disk::S_IFLNK if size != room => {
            Err(inode.at().value("i_size", size, format!("{room}, the bytes of the inline data")))
        }
        disk::S_IFDIR => Ok(StoredContent::in_inode(InodeContent::Directory, [head, value])),
        disk::S_IFLNK if head.contains(&0) || value.contains(&0) => {
            // The kernel ends the target at the NUL byte, but debugfs does not.
            Err(inode.at().wrong("is a symlink whose target has a NUL byte").with_remedy(NEW_SYMLINK))
        }
        disk::S_IFLNK => Ok(StoredContent::in_inode(InodeContent::Symlink, [head, value])),
        _ => Err(inode.at().wrong("has inline data, but is neither file, directory nor symlink")),
    }
}
