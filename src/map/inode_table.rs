//! Reads the inode tables, and finds the live inodes in them.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::inode::RawInode;
use crate::error::Result;
use crate::ondisk::inode::Inode;
use crate::source::Source;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// The result of scanning the inode tables.
#[derive(Debug)]
pub(crate) struct InodeTables<'a> {
    /// The inodes with links, by number. Their checksums are valid.
    pub live: Vec<RawInode<'a>>,
    /// Warnings about inodes without links that are not marked as deleted.
    pub warnings: Vec<String>,
}

/// Reads all inode tables, except unused parts and holes of the image file.
///
/// # Errors
///
/// `Corrupt` for a live inode with a wrong checksum.
pub(crate) fn scan<'a>(source: &Source<'a>, orphans: &BTreeSet<InodeNr>) -> Result<InodeTables<'a>> {
    let groups = (0..source.geometry.groups)
        .into_par_iter()
        .map(|group| scan_group(source, GroupNr(group), orphans))
        .collect::<Result<Vec<_>>>()?;
    let undead: usize = groups.iter().map(|(_, undead)| undead).sum();
    let warnings = (undead > 0)
        .then(|| format!("{undead} inodes without links were not marked as deleted (dtime is 0); dropped"))
        .into_iter()
        .collect();
    Ok(InodeTables { live: groups.into_iter().flat_map(|(live, _)| live).collect(), warnings })
}

fn scan_group<'a>(
    source: &Source<'a>,
    group: GroupNr,
    orphans: &BTreeSet<InodeNr>,
) -> Result<(Vec<RawInode<'a>>, usize)> {
    let geometry = &source.geometry;
    let (mut live, mut undead) = (Vec::new(), 0);
    let in_use = source.inodes_in_use(group);
    let size = geometry.inode_size;
    // Inodes do not cross block boundaries.
    let per_block = u32::try_from(geometry.block_size / size).expect("fits: a block has at most 512 inodes");
    let start = source.descriptors[group.0 as usize].inode_table().0;
    let end = start + u64::from(in_use.div_ceil(per_block));
    let replayed = &source.fast_commits().inodes;
    for block in source.stored(start..end).into_iter().flatten() {
        let bytes = source.checked_block(BlockNr(block));
        let first =
            u32::try_from(block - start).expect("fits: a table has fewer blocks than inodes") * per_block;
        for (index, bytes) in (first..in_use).zip(bytes.chunks_exact(size)) {
            let number = InodeNr(group.0 * geometry.inodes_per_group + index + 1);
            if replayed.contains_key(&number) {
                continue;
            }
            let raw = RawInode { number, bytes };
            let inode = raw.decode();
            if inode.fields.i_links_count.get() > 0 {
                inode.check_checksum(source)?;
                live.push(raw);
            } else if number >= geometry.first_inode
                && inode.fields.i_mode.get() != 0
                && inode.fields.i_dtime.get() == 0
                && !orphans.contains(&number)
            {
                undead += 1;
            }
        }
    }
    let first = group.0 * geometry.inodes_per_group + 1;
    let numbers = InodeNr(first)..InodeNr(first + geometry.inodes_per_group);
    let written =
        replayed.range(numbers).map(|(number, inode)| RawInode { number: *number, bytes: &inode.bytes });
    live.extend(written.filter(|raw| Inode::decode(raw.bytes).i_links_count.get() > 0));
    live.sort_unstable_by_key(|raw| raw.number);
    Ok((live, undead))
}
