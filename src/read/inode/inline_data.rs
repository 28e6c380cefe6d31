//! Content that lies in an inode.

use super::file_size;
use super::stored_content::{InodeContent, StoredContent};
use super::symlink::NEW_SYMLINK;
use crate::error::Result;
use crate::map::{self, DecodedInode, InlineParts};
use crate::ondisk::inode::{self as disk, InodeFlags};
use crate::source::Source;

/// The two places of inline data, if the inode has any; `value` is that of the xattr `system.data`.
pub(super) fn parts<'a>(
    source: &Source<'_>,
    inode: &DecodedInode<'a>,
    value: Option<&'a [u8]>,
) -> Result<Option<InlineParts<'a>>> {
    let flags = inode.fields.flags();
    if !flags.contains(InodeFlags::INLINE_DATA) {
        // With an extent tree, the kernel shows this xattr to nobody. Without one, it may be the flag that is lost.
        return match value {
            Some(_) if !flags.contains(InodeFlags::EXTENTS) => Err(inode
                .at()
                .wrong("has the xattr system.data without the INLINE_DATA flag, and no extent tree")
                .with_remedy("remove this xattr with debugfs's ea_rm, if the content lies in blocks")),
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

/// What an inode with inline data holds.
pub(super) fn content<'a>(
    source: &Source<'_>,
    inode: &DecodedInode<'a>,
    [head, value]: InlineParts<'a>,
) -> Result<StoredContent<'a>> {
    let room = (head.len() + value.len()) as u64;
    let size = inode.fields.size();
    match inode.fields.format() {
        disk::S_IFREG => {
            // After a file was cut, there may be more bytes than it has. mke2fs leaves a file of zeros
            // with fewer: for kernel and e2fsck, what is missing is zeros.
            // (A size that memory can't hold is cut to what there is just as well.)
            let live = usize::try_from(size).unwrap_or(usize::MAX);
            let (head_len, value_len) =
                (live.min(head.len()), live.saturating_sub(head.len()).min(value.len()));
            let parts = [&head[..head_len], &value[..value_len]];
            // It does not have the EXTENTS flag, for kernel and e2fsck a reason to believe no larger size.
            file_size::check(source, inode)?;
            Ok(StoredContent::in_inode(InodeContent::Regular(size), parts))
        }
        disk::S_IFDIR | disk::S_IFLNK if size != room => {
            Err(inode.at().value("i_size", size, format!("{room}, the bytes of the inline data")))
        }
        disk::S_IFDIR => Ok(StoredContent::in_inode(InodeContent::Directory, [head, value])),
        disk::S_IFLNK if head.contains(&0) || value.contains(&0) => {
            // The kernel ends the target there, and debugfs does not.
            Err(inode.at().wrong("is a symlink whose target has a NUL byte").with_remedy(NEW_SYMLINK))
        }
        disk::S_IFLNK => Ok(StoredContent::in_inode(InodeContent::Symlink, [head, value])),
        _ => Err(inode.at().wrong("has inline data, but is neither file, directory nor symlink")),
    }
}
