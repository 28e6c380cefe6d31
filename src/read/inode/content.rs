//! Reads the content of an inode, by its file type.

use super::stored_content::{InodeContent, StoredContent};
use super::{inline_data, symlink};
use crate::error::Result;
use crate::map::{self, Budget, DecodedInode, InlineParts, directory};
use crate::ondisk::inode::{self as disk, InodeFlags};
use crate::ondisk::le32;
use crate::source::Source;

/// Reads the content of an inode. `inline` are the parts of its inline data.
pub(super) fn read<'a>(
    source: &Source<'a>,
    budget: &Budget,
    inode: &DecodedInode<'a>,
    inline: Option<InlineParts<'a>>,
) -> Result<StoredContent<'a>> {
    let at = || inode.at();
    if let Some(parts) = inline {
        return inline_data::content(source, inode, parts);
    }
    match inode.fields.format() {
        disk::S_IFREG => {
            let map = map::read(source, budget, inode)?;
            Ok(StoredContent::in_blocks(InodeContent::Regular(inode.fields.size()), map))
        }
        disk::S_IFDIR => {
            let map = map::read(source, budget, inode)?;
            let replayed = source.fast_commits().directories.get(&inode.number);
            if replayed.is_some_and(|known| known.made_in.is_some()) {
                // A directory created by a fast commit has no blocks yet.
                return match map.runs[..] {
                    [] => Ok(StoredContent::in_blocks(InodeContent::Directory, map)),
                    _ => Err(at().wrong("was created by a fast commit, but already has blocks")),
                };
            }
            directory::check_size(source, inode, &map)?;
            Ok(StoredContent::in_blocks(InodeContent::Directory, map))
        }
        disk::S_IFLNK => symlink::read(source, budget, inode),
        format @ (disk::S_IFCHR | disk::S_IFBLK | disk::S_IFIFO | disk::S_IFSOCK) => {
            if inode.fields.flags().contains(InodeFlags::EXTENTS) {
                return Err(at().wrong("has an extent tree, but is neither file, directory nor symlink"));
            }
            if inode.fields.size() != 0 {
                return Err(at().value(
                    "i_size",
                    inode.fields.size(),
                    "0, since it is neither file, directory nor symlink",
                ));
            }
            if matches!(format, disk::S_IFIFO | disk::S_IFSOCK) {
                return Ok(StoredContent::empty(InodeContent::Empty));
            }
            Ok(StoredContent::empty(device(inode)?))
        }
        _ => Err(at().value(
            "the type in i_mode",
            inode.fields.i_mode.get() >> 12,
            "one of 1, 2, 4, 6, 8, 10, 12",
        )),
    }
}

/// Returns the device number of a device file.
fn device(inode: &DecodedInode<'_>) -> Result<InodeContent> {
    let word = |slot: usize| le32(&inode.fields.i_block, slot * 4).expect("fits: i_block has 15 words");
    match disk::decode_device(word(0), word(1)) {
        Some((major, minor)) => Ok(InodeContent::Device(major, minor)),
        None => Err(inode
            .at()
            .value("the device number", word(0), "16 bits, or 0 and 32 bits in the next word")
            .with_remedy("mount the image, and recreate the device file")),
    }
}
