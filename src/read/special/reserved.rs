//! Reads the reserved inodes that have a purpose but no name: the list of bad blocks, the boot loader, and
//! the resize inode.

use std::collections::BTreeSet;
use std::ops::Range;

use super::specials::Specials;
use crate::error::{Location, Result, Structure};
use crate::map::{self, Budget, DecodedInode, FileMap, InodeTables};
use crate::ondisk::inode::{Inode, InodeFlags, S_IFREG};
use crate::ondisk::le32;
use crate::ondisk::superblock::GOOD_OLD_FIRST_INO;
use crate::read::claims::{CheckedClaims, Claim};
use crate::remedy::Remedy;
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, GroupNr, InodeNr, fits};

/// Returns an error if reserved inodes are in use without a known purpose. The error names all of them.
pub(super) fn check_reserved(
    source: &Source<'_>,
    tables: &InodeTables<'_>,
    specials: &Specials,
) -> Result<()> {
    let first = source.geometry.first_inode;
    let reserved = tables.live.iter().map(|raw| raw.number).take_while(|number| *number < first);
    let of_tree = [InodeNr::ROOT, InodeNr::BOOT_LOADER];
    let alien: Vec<_> =
        reserved.filter(|number| !of_tree.contains(number) && !specials.is_special(*number)).collect();
    let Some(number) = alien.first() else { return Ok(()) };
    if let Some(beyond) = alien.iter().find(|number| number.0 >= GOOD_OLD_FIRST_INO) {
        // No tool creates more reserved inodes than this, so the field is damaged.
        return Err(Location::of(Structure::Superblock)
            .value("s_first_ino", first.0, format!("at most {beyond}, which is in use"))
            .with_remedy("set it to 11 with debugfs's set_super_value"));
    }
    let at = Location::of(Structure::Inode).inode(*number);
    let others: Vec<_> = alien[1..].iter().map(|number| format!("<{number}>")).collect();
    if others.is_empty() {
        let remedy = Remedy::fsck("clear it with debugfs's clri and run e2fsck -f");
        return Err(at.wrong("is reserved, but in use").with_remedy(remedy));
    }
    Err(at
        .wrong(format!("is reserved, but in use, and so are {}", others.join(", ")))
        .with_remedy(Remedy::fsck("clear each of them with debugfs's clri and run e2fsck -f")))
}

/// Reads the list of bad blocks. The output has no such list: a media defect belongs to a device, not to an
/// image.
///
/// The list can contain blocks of static metadata. e2fsck keeps them in the list, and the kernel still uses
/// them.
///
/// # Errors
///
/// `Corrupt` if the map of the list is damaged, or if an inode in a bad block has links: e2fsck ignores such
/// an inode, so other files can use its blocks.
pub(super) fn bad_blocks(
    source: &Source<'_>,
    tables: &InodeTables<'_>,
    budget: &Budget,
    metadata: CheckedClaims<'_>,
    specials: &mut Specials,
) -> Result<()> {
    specials.numbers.push(InodeNr::BAD_BLOCKS);
    let Some(bytes) = source.inode(InodeNr::BAD_BLOCKS) else { return Ok(()) };
    let inode = DecodedInode::new(InodeNr::BAD_BLOCKS, bytes);
    if inode.fields.i_block.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    inode.check_checksum(source)?;
    // The list is a block map even with bigalloc, and several blocks of a cluster can be bad.
    let has_extents = inode.fields.flags().contains(InodeFlags::EXTENTS);
    let read = if has_extents { map::read } else { map::read_block_map };
    let map = read(source, budget, &inode)?;
    specials.bad_blocks = map.runs.iter().map(|run| u64::from(run.count)).sum();
    specials.bad_inodes = inodes_in(source, &map);
    for range in &specials.bad_inodes {
        let next = tables.live.partition_point(|raw| raw.number.0 < range.start);
        if let Some(raw) = tables.live.get(next).filter(|raw| raw.number.0 < range.end) {
            return Err(Location::of(Structure::Inode)
                .inode(raw.number)
                .wrong("is in use, but in a block that the list of bad blocks contains")
                .with_remedy(Remedy::fsck(
                    "run e2fsck -f -L /dev/null on the image, which empties the list",
                )));
        }
    }
    let cluster = source.geometry.blocks_per_cluster;
    let first_of_cluster = |block: u64| block - block % cluster;
    let clusters: BTreeSet<u64> = Claim::of_map(InodeNr::BAD_BLOCKS, &map)
        .flat_map(|claim| claim.range())
        .map(first_of_cluster)
        .filter(|first| metadata.within(*first, first + cluster).next().is_none())
        .collect();
    let claim = |block: u64| Claim::of_inode(InodeNr::BAD_BLOCKS, BlockNr(block), 1);
    specials.claims.extend(clusters.into_iter().map(claim));
    Ok(())
}

/// Returns the numbers of the inodes in the blocks of a map, as sorted ranges. Excludes inodes at the end of a
/// table that were never used, which e2fsck does not read.
fn inodes_in(source: &Source<'_>, map: &FileMap) -> Vec<Range<u32>> {
    let geometry = &source.geometry;
    let per_block = (geometry.block_size / geometry.inode_size) as u64;
    let mut tables: Vec<_> = (0..geometry.groups)
        .map(|group| (source.descriptors[group as usize].inode_table().0, GroupNr(group)))
        .collect();
    tables.sort_unstable();
    let mut found = Vec::new();
    for blocks in map.runs.iter().map(Run::blocks) {
        let first =
            tables.partition_point(|(start, _)| start + geometry.inode_table_blocks() <= blocks.start);
        for (start, group) in tables[first..].iter().take_while(|(start, _)| *start < blocks.end) {
            let before = group.0 * geometry.inodes_per_group + 1;
            let in_use = u64::from(source.inodes_in_use(*group));
            let number = |block: u64| {
                let index = ((block - start) * per_block).min(in_use);
                before + fits::<u32, _>(index, "a group has fewer than 2^32 inodes")
            };
            found.push(number(blocks.start.max(*start))..number(blocks.end));
        }
    }
    found.retain(|range| !range.is_empty());
    found.sort_unstable_by_key(|range| range.start);
    found
}

/// Returns the number of the boot loader inode if it contains no file. Otherwise the inode belongs to the
/// tree.
pub(super) fn empty_boot_loader(tables: &InodeTables<'_>) -> Result<Option<InodeNr>> {
    let number = InodeNr::BOOT_LOADER;
    let Some(raw) = tables.live.iter().find(|raw| raw.number == number) else { return Ok(Some(number)) };
    let inode = Inode::decode(raw.bytes);
    if inode.size() == 0 && inode.i_blocks_lo.get() == 0 && inode.file_acl() == 0 {
        return Ok(Some(number));
    }
    if inode.format() != S_IFREG {
        return Err(Location::of(Structure::Inode)
            .inode(number)
            .wrong("is the boot loader's, but not a regular file"));
    }
    Ok(None)
}

/// Returns the number of the resize inode if it is empty. The kernel leaves it as a file without blocks when
/// it replaces the resize_inode feature with meta_bg to let a filesystem grow.
pub(super) fn empty_resize_inode(tables: &InodeTables<'_>) -> Option<InodeNr> {
    let raw = tables.live.iter().find(|raw| raw.number == InodeNr::RESIZE)?;
    let inode = Inode::decode(raw.bytes);
    let is_empty = inode.format() == S_IFREG
        && inode.flags().is_empty()
        && inode.i_block.iter().all(|byte| *byte == 0)
        && inode.i_blocks_lo.get() == 0
        && inode.file_acl() == 0;
    is_empty.then_some(InodeNr::RESIZE)
}

/// Adds the resize inode. The output gets a new one. All blocks of the resize inode except the double
/// indirect block are static metadata.
pub(super) fn resize(source: &Source<'_>, specials: &mut Specials) {
    specials.numbers.push(InodeNr::RESIZE);
    let double = source.inode(InodeNr::RESIZE).and_then(|bytes| le32(&Inode::decode(bytes).i_block, 13 * 4));
    if let Some(block) = double.map(|block| BlockNr(block.into()))
        && source.has_blocks(block, 1)
    {
        specials.claims.push(Claim::of_inode(InodeNr::RESIZE, block, 1));
    }
}
