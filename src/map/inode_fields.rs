//! Checks the fields of inodes in use against their file types and the features.

use super::inode::DecodedInode;
use crate::error::Result;
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::ondisk::inode::{self as disk, Inode, InodeFlags, Timestamp};
use crate::source::Source;

/// Checks the fields of an inode in use that don't depend on other structures: all except the size, and the
/// block numbers of xattrs and content.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, with the field.
pub(crate) fn check_fields(source: &Source<'_>, inode: &DecodedInode<'_>, orphan: bool) -> Result<()> {
    check_use(source, inode, orphan)?;
    check_extra_isize(source, inode)?;
    check_flags(source, inode)?;
    check_hurd(source, inode)?;
    let mtime = Timestamp::decode(inode.fields.i_mtime, inode.fields.i_mtime_extra);
    if mtime.nanoseconds >= 1_000_000_000 {
        return Err(inode
            .at()
            .value("the nanoseconds of i_mtime", mtime.nanoseconds, "below 1000000000")
            .with_remedy("mount the image, and set the time of the file with touch"));
    }
    Ok(())
}

/// Checks that the inode is not marked as deleted, and that the superblock does not reserve its number.
fn check_use(source: &Source<'_>, inode: &DecodedInode<'_>, orphan: bool) -> Result<()> {
    // In an orphan, i_dtime contains the number of the next orphan.
    let dtime = inode.fields.i_dtime.get();
    if dtime != 0 && !orphan {
        return Err(inode.at().value("i_dtime", dtime, "0, since the inode has links"));
    }
    if source.hidden_inodes().contains(&inode.number) {
        return Err(inode
            .at()
            .wrong(
                "is in the tree, but the superblock names it as a quota file or the orphan file, so the \
                 kernel does not open it",
            )
            .with_remedy("set that field of the superblock to 0 with debugfs's set_super_value"));
    }
    Ok(())
}

fn check_extra_isize(source: &Source<'_>, inode: &DecodedInode<'_>) -> Result<()> {
    if !source.geometry.has_wide_inodes() {
        return Ok(());
    }
    // If `i_extra_isize` is 0, the kernel reads all extra fields that it knows, but e2fsck reads none.
    let extra = &inode.bytes[disk::BASE_SIZE..size_of::<Inode>()];
    if inode.fields.i_extra_isize.get() == 0 && extra.iter().any(|byte| *byte != 0) {
        return Err(inode.at().unsupported(
            "i_extra_isize is 0, but there are times after it, which the kernel reads and e2fsck does not",
            "set it to 32 with debugfs's set_inode_field, or these times to 0",
        ));
    }
    inode.check_extra_isize(source)
}

/// On a filesystem created by GNU Hurd, checks that the fields which only the Hurd uses are zero. Linux
/// stores other values in these bytes.
fn check_hurd(source: &Source<'_>, inode: &DecodedInode<'_>) -> Result<()> {
    let fields = [
        ("a translator (h_i_translator)", inode.fields.l_i_version.get()),
        ("a fragment (h_i_frag, h_i_fsize)", inode.fields.l_i_blocks_high.get().into()),
        ("modes of the Hurd (h_i_mode_high)", inode.fields.l_i_file_acl_high.get().into()),
        ("an author (h_i_author)", inode.fields.l_i_checksum_lo.get().into()),
        ("an author (h_i_author)", inode.fields.l_i_reserved.get().into()),
    ];
    let found = fields.into_iter().find(|(_, value)| source.is_of_hurd() && *value != 0);
    found.map_or(Ok(()), |(what, _)| {
        Err(inode.at().unsupported(what, "recreate the image with mke2fs -o linux"))
    })
}

/// Returns the structural flags that the features allow.
fn structural_flags(source: &Source<'_>) -> InodeFlags {
    let features = source.features();
    let mut flags = InodeFlags::empty();
    flags.set(InodeFlags::ENCRYPT, features.has(Incompat::ENCRYPT));
    flags.set(InodeFlags::CASEFOLD, features.has(Incompat::CASEFOLD));
    flags.set(InodeFlags::VERITY, features.has(RoCompat::VERITY));
    flags
}

fn check_flags(source: &Source<'_>, inode: &DecodedInode<'_>) -> Result<()> {
    let at = || inode.at();
    let flags = inode.fields.flags();
    let alien = flags - InodeFlags::USER - InodeFlags::DERIVED - structural_flags(source);
    if !alien.is_empty() {
        let names: String = alien.iter_names().map(|(name, _)| format!(" {name}")).collect();
        return Err(at().unsupported(
            format!(
                "i_flags has bits {:#x}{names}, which no feature of this filesystem allows",
                alien.bits()
            ),
            "run e2fsck -f on the image; clear the remaining flags with debugfs's set_inode_field",
        ));
    }
    let format = inode.fields.format();
    let is_file_or_directory = matches!(format, disk::S_IFREG | disk::S_IFDIR);
    if !is_file_or_directory && flags.intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND) {
        return Err(at().wrong("is immutable or append-only, but neither file nor directory"));
    }
    let is_encryptable = is_file_or_directory || format == disk::S_IFLNK;
    if !is_encryptable && flags.contains(InodeFlags::ENCRYPT) {
        return Err(at().wrong("is encrypted, but neither file, directory nor symlink"));
    }
    if flags.contains(InodeFlags::CASEFOLD) && format != disk::S_IFDIR {
        return Err(at().wrong("has the CASEFOLD flag, but is not a directory"));
    }
    if flags.contains(InodeFlags::VERITY) && (format != disk::S_IFREG || !flags.contains(InodeFlags::EXTENTS))
    {
        return Err(at().wrong("has the VERITY flag, but is not a regular file with an extent tree"));
    }
    if flags.contains(InodeFlags::INDEX) {
        if format != disk::S_IFDIR {
            return Err(at().wrong("is indexed, but not a directory"));
        }
        if !source.features().has(Compat::DIR_INDEX) {
            return Err(at().wrong("is indexed without the dir_index feature"));
        }
    }
    if flags.contains(InodeFlags::HUGE_FILE) && !source.features().has(RoCompat::HUGE_FILE) {
        return Err(at().wrong("has the HUGE_FILE flag without the huge_file feature"));
    }
    if inode.fields.i_obso_faddr.get() != 0 {
        return Err(at().value("i_faddr", inode.fields.i_obso_faddr.get(), 0));
    }
    Ok(())
}

/// Checks that an inode with the `INLINE_DATA` flag may have inline data.
///
/// # Errors
///
/// `Corrupt` if the feature is missing, or if other flags require blocks.
pub(crate) fn check_inline_flags(source: &Source<'_>, inode: &DecodedInode<'_>) -> Result<()> {
    let flags = inode.fields.flags();
    if !flags.contains(InodeFlags::INLINE_DATA) {
        return Ok(());
    }
    if !source.features().has(Incompat::INLINE_DATA) {
        return Err(inode.at().wrong("has the INLINE_DATA flag without the inline_data feature"));
    }
    if flags.intersects(InodeFlags::EXTENTS | InodeFlags::INDEX) {
        return Err(inode.at().wrong("has inline data, but also an extent tree or an index"));
    }
    if flags.intersects(InodeFlags::ENCRYPT | InodeFlags::VERITY) {
        return Err(inode.at().wrong("has inline data, but is encrypted or has verity, which needs blocks"));
    }
    Ok(())
}
