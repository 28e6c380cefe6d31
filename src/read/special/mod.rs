//! Reads the inodes outside the tree: journal, resize inode, quota files, orphan file, and reserved inodes.

pub(super) mod orphans;
pub(super) mod quota_file;
pub(super) mod quota_usage;
mod reserved;
pub(super) mod specials;

use quota_file::ReadQuotaFile;
use specials::{SpecialFile, Specials};

use super::claims::{CheckedClaims, Claim};
use crate::error::{Location, Result, Structure};
use crate::map::{Budget, InodeTables, dense_file};
use crate::ondisk::features::Compat;
use crate::ondisk::quota::QuotaType;
use crate::recover::{Journal, JournalPlace};
use crate::settings::JournalShape;
use crate::source::Source;
use crate::units::InodeNr;

/// Reads the inodes outside the tree.
///
/// The claims of static metadata must have been checked.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, with the inode.
pub(super) fn read(
    source: &Source<'_>,
    tables: &InodeTables<'_>,
    metadata: CheckedClaims<'_>,
) -> Result<Specials> {
    let mut specials = Specials::default();
    let budget = Budget::new(source);
    let compat = source.features().compat;
    reserved::bad_blocks(source, tables, &budget, metadata, &mut specials)?;
    specials.numbers.extend(reserved::empty_boot_loader(tables)?);
    if compat.contains(Compat::RESIZE_INODE) {
        reserved::resize(source, &mut specials);
    } else {
        specials.numbers.extend(reserved::empty_resize_inode(tables));
    }
    if let Some(mmp) = source.mmp()? {
        specials.claims.push(Claim::of_metadata(mmp.block.0, 1));
    }
    match JournalPlace::of(source)? {
        Some(JournalPlace::Inside(file)) => {
            specials.add(&file);
            let blocks = file.blocks;
            let journal = Journal::inside(source, source.input(), file)?;
            specials.journal = Some(JournalShape { blocks, fast_commit_blocks: journal.fast_commit_blocks });
        }
        // An external journal has no blocks in the image.
        Some(JournalPlace::Outside(_)) | None => {}
    }
    for (kind, number) in QuotaType::ALL.into_iter().zip(quota_file::inodes(source)?) {
        let Some(number) = number else { continue };
        let ReadQuotaFile { file, claims, wrong_blocks } = quota_file::read(source, kind, number)?;
        specials.numbers.push(number);
        specials.quotas.push(file);
        specials.claims.extend(claims);
        specials.wrong_blocks += usize::from(wrong_blocks);
    }
    if compat.contains(Compat::ORPHAN_FILE) {
        let number = InodeNr(source.superblock.s_orphan_file_inum.get());
        if number < source.geometry.first_inode {
            let expected = format!("{} or more", source.geometry.first_inode);
            return Err(Location::of(Structure::Superblock).value("s_orphan_file_inum", number.0, expected));
        }
        let file = dense_file(source, number, Structure::OrphanFile)?;
        specials.orphan_file = Some(SpecialFile { number, blocks: file.blocks });
        specials.add(&file);
    }
    reserved::check_reserved(source, tables, &specials)?;
    Ok(specials)
}
