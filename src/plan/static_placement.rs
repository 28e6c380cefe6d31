//! Places static metadata as mke2fs does, independent of the input.

use super::free_blocks::UsedBlocks;
use crate::error::{Error, Location, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::features::Incompat;
use crate::remedy::Remedy;
use crate::units::{GroupNr, OutputBlock, fits};

/// The locations of a group's bitmaps and inode table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPlaces {
    /// The block of the block bitmap.
    pub block_bitmap: OutputBlock,
    /// The block of the inode bitmap.
    pub inode_bitmap: OutputBlock,
    /// The first block of the inode table.
    pub inode_table: OutputBlock,
}

/// Places the metadata of all groups.
///
/// # Errors
///
/// `Unsupported` if there is no free location for a structure. mke2fs would also fail.
pub(super) fn place(geometry: &Geometry) -> Result<(Vec<GroupPlaces>, UsedBlocks)> {
    let mut used = UsedBlocks::default();
    for group in (0..geometry.groups).map(GroupNr) {
        for range in geometry.head_ranges(group) {
            if !used.is_free(range.clone()) {
                return Err(no_room(group));
            }
            used.mark(range);
        }
    }
    let mut placer = GroupPlacer { geometry, used, places: Vec::with_capacity(geometry.groups as usize) };
    for group in (0..geometry.groups).map(GroupNr) {
        let places = if geometry.features.has(Incompat::FLEX_BG) && geometry.groups_per_flex > 1 {
            placer.in_flex_group(group)
        } else {
            placer.in_own_group(group)
        };
        placer.places.push(places.ok_or_else(|| no_room(group))?);
    }
    Ok((placer.places, placer.used))
}

fn no_room(group: GroupNr) -> Error {
    Location::of(Structure::GroupDescriptor)
        .group(group)
        .unsupported("no room for bitmaps and inode table where mke2fs puts them", Remedy::EnlargeGroups)
}

struct GroupPlacer<'g> {
    geometry: &'g Geometry,
    used: UsedBlocks,
    places: Vec<GroupPlaces>,
}

impl GroupPlacer<'_> {
    fn take(&mut self, range: std::ops::Range<u64>, count: u64, limit: u64) -> Option<OutputBlock> {
        let start = self.used.first_fit(range, count, limit)?;
        self.used.mark(start..start + count);
        Some(OutputBlock(start))
    }

    /// Places a group's metadata in the first free blocks of the group, for filesystems without flex groups.
    /// Shifts the bitmaps by the RAID stride.
    fn in_own_group(&mut self, group: GroupNr) -> Option<GroupPlaces> {
        let blocks = self.geometry.group_blocks(group);
        let table_blocks = self.geometry.inode_table_blocks();
        let last = blocks.end - 1;
        let mut bitmaps = blocks.start;
        if self.geometry.raid_stride > 0 {
            let first = self.used.first_fit(blocks.clone(), 1, blocks.end)? + table_blocks;
            if first <= last {
                bitmaps = first + self.geometry.raid_stride * u64::from(group.0) % (last - first + 1);
            }
            if bitmaps >= last {
                bitmaps = blocks.start;
            }
        }
        // The search of mke2fs excludes the last block, so the last block is used only if no other block of
        // the group is free.
        let one = |placer: &mut Self| {
            let place = placer.take(bitmaps..last, 1, blocks.end);
            place.or_else(|| placer.take(blocks.clone(), 1, blocks.end))
        };
        Some(GroupPlaces {
            block_bitmap: one(self)?,
            inode_bitmap: one(self)?,
            inode_table: self.take(blocks.clone(), table_blocks, blocks.end)?,
        })
    }

    /// Places a group's metadata in its flex group: first all block bitmaps, then all inode bitmaps, then all
    /// inode tables. Each structure comes directly after the same structure of the previous group.
    fn in_flex_group(&mut self, group: GroupNr) -> Option<GroupPlaces> {
        let geometry = self.geometry;
        let flex = geometry.groups_per_flex;
        let number = u64::from(group.0);
        let last = ((number / flex + 1) * flex).min(geometry.groups.into()) - 1;
        let first_of_flex = number.is_multiple_of(flex);
        let rest = last - number + 1;
        let table_blocks = geometry.inode_table_blocks();
        // Bitmaps of the same kind get room for all groups of a flex group. In the last flex group, they get
        // room only for the existing groups, unless there is only one.
        let offset =
            if last + 1 == geometry.groups.into() && last % flex != 0 { last % flex + 1 } else { flex };
        let before = (!first_of_flex).then(|| self.places.last().copied()).flatten();

        let hint = before.map(|before| before.block_bitmap.0 + 1);
        let block_bitmap = self.take_near(group, last, hint, rest, 1)?;
        let hint = before.map_or(block_bitmap.0 + offset, |before| before.inode_bitmap.0 + 1);
        let inode_bitmap = self.take_near(group, last, Some(hint), rest, 1)?;
        let hint = before.map_or(inode_bitmap.0 + offset, |before| before.inode_table.0 + table_blocks);
        let inode_table = self.take_near(group, last, Some(hint), rest, table_blocks)?;
        Some(GroupPlaces { block_bitmap, inode_bitmap, inode_table })
    }

    /// Allocates `count` blocks at the hint or shortly after it. If there is no room, searches the flex
    /// group: first for a range with room for this structure of all `rest` groups (at most a quarter of a
    /// group), then for `count` blocks. Finally searches from the start of the filesystem.
    fn take_near(
        &mut self,
        group: GroupNr,
        last: u64,
        hint: Option<u64>,
        rest: u64,
        count: u64,
    ) -> Option<OutputBlock> {
        let geometry = self.geometry;
        let limit = geometry.blocks_count;
        let all = (rest * count).min(geometry.blocks_per_group / 4).max(1);
        let flex = geometry.groups_per_flex;
        let first = u64::from(group.0) / flex * flex;
        let start = geometry.group_blocks(GroupNr(fits(first, "groups have numbers of 32 bits"))).start;
        let end = geometry.group_blocks(GroupNr(fits(last, "groups have numbers of 32 bits"))).end - 1;
        let searches = [
            hint.filter(|hint| *hint < limit).map(|hint| (hint..hint + all, count)),
            Some((start..end, all)),
            Some((start..end, count)),
            Some((geometry.first_data_block..end, count)),
        ];
        let found = searches
            .into_iter()
            .flatten()
            .find_map(|(range, size)| self.used.first_fit(range, size, limit))?;
        // Allocate the first range of `count` free blocks at or after `found`.
        self.take(found..end.max(found + 1), count, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::forty_gib;

    /// The expected block numbers are from dumpe2fs, for images that mke2fs 1.47.0 made.
    #[test]
    fn flex_groups_are_packed_as_mke2fs_packs_them() {
        let (places, _) = place(&forty_gib()).unwrap();
        let of = |group: usize| {
            let places = places[group];
            (places.block_bitmap.0, places.inode_bitmap.0, places.inode_table.0)
        };
        assert_eq!(of(0), (1030, 1046, 1062));
        assert_eq!(of(1), (1031, 1047, 1062 + 512));
        assert_eq!(of(16), (524_288, 524_304, 524_320));
    }

    #[test]
    fn a_single_group_leaves_the_room_of_the_others() {
        let mut geometry = forty_gib();
        geometry.blocks_count = 8192;
        geometry.groups = 1;
        geometry.inodes_per_group = 8192;
        geometry.reserved_gdt_blocks = 3;
        let (places, _) = place(&geometry).unwrap();
        assert_eq!(
            (places[0].block_bitmap.0, places[0].inode_bitmap.0, places[0].inode_table.0),
            (5, 21, 37)
        );
    }
}
