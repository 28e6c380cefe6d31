//! The inode tables: which inodes are live.

use rayon::prelude::*;

use super::orphan::Orphans;
use crate::error::{Location, Problem, Result, Structure};
use crate::ondisk::inode::{BASE_SIZE, EXTRA_WITH_CHECKSUM, Inode};
use crate::source::Source;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// An inode with links, whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct RawInode<'a> {
    /// Its number.
    pub number: InodeNr,
    /// All its bytes.
    pub bytes: &'a [u8],
}

/// What the tables hold.
#[derive(Debug)]
pub struct Scan<'a> {
    /// The live inodes, by number.
    pub live: Vec<RawInode<'a>>,
    /// What is odd about the others.
    pub warnings: Vec<String>,
}

/// Reads all inode tables, the parts that were never used and the holes of the file left out.
pub fn scan<'a>(source: &Source<'a>, orphans: &Orphans) -> Result<Scan<'a>> {
    let groups = (0..source.geometry.groups)
        .into_par_iter()
        .map(|group| scan_group(source, GroupNr(group), orphans))
        .collect::<Result<Vec<_>>>()?;
    let undead: usize = groups.iter().map(|(_, undead)| undead).sum();
    let warnings = (undead > 0)
        .then(|| format!("{undead} inodes without links were not marked as deleted (dtime is 0); dropped"))
        .into_iter()
        .collect();
    Ok(Scan { live: groups.into_iter().flat_map(|(live, _)| live).collect(), warnings })
}

fn scan_group<'a>(
    source: &Source<'a>,
    group: GroupNr,
    orphans: &Orphans,
) -> Result<(Vec<RawInode<'a>>, usize)> {
    let geometry = &source.geometry;
    let (mut live, mut undead) = (Vec::new(), 0);
    let in_use = source.inodes_in_use(group);
    let size = geometry.inode_size;
    // Inodes do not cross blocks.
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
            let inode = Inode::decode(bytes);
            if inode.i_links_count.get() > 0 {
                check_checksum(source, number, &inode, bytes)?;
                live.push(RawInode { number, bytes });
            } else if number >= geometry.first_inode
                && inode.i_mode.get() != 0
                && inode.i_dtime.get() == 0
                && !orphans.contains(number)
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

/// Checks the checksum of an inode.
pub fn check_checksum(source: &Source<'_>, number: InodeNr, inode: &Inode, bytes: &[u8]) -> Result<()> {
    let with_high = bytes.len() > BASE_SIZE && inode.i_extra_isize.get() >= EXTRA_WITH_CHECKSUM;
    let Some(expected) = source.checksums.inode(number, inode.i_generation.get(), bytes, with_high) else {
        return Ok(());
    };
    let low = u32::from(inode.l_i_checksum_lo.get());
    let (found, expected) = if with_high {
        (u32::from(inode.i_checksum_hi.get()) << 16 | low, expected)
    } else {
        (low, expected & 0xFFFF)
    };
    if found == expected {
        return Ok(());
    }
    Err(Location::of(Structure::Inode).inode(number).corrupt(Problem::Checksum { found, expected }))
}

/// Checks how many bytes behind the first 128 hold fields, if any can.
pub fn check_extra_isize(source: &Source<'_>, number: InodeNr, inode: &Inode) -> Result<()> {
    let Some(room) = source.geometry.inode_size.checked_sub(BASE_SIZE).filter(|room| *room > 0) else {
        return Ok(());
    };
    let extra = usize::from(inode.i_extra_isize.get());
    if extra == 0 || ((4..=room).contains(&extra) && extra.is_multiple_of(4)) {
        return Ok(());
    }
    let expected = format!("0, or a multiple of 4 from 4 to {room}");
    Err(Location::of(Structure::Inode).inode(number).value(
        "i_extra_isize",
        inode.i_extra_isize.get(),
        expected,
    ))
}
