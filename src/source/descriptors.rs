//! Reads and checks the group descriptors.

use super::image::Source;
use crate::error::{Location, Problem, Result, Structure};
use crate::ondisk::features::Incompat;
use crate::ondisk::group_descriptor::{BLOCK_UNINIT, GroupDescriptor, INODE_UNINIT};
use crate::units::{BlockNr, GroupNr};

/// Reads and checks the primary copy of every group descriptor.
pub(super) fn read(source: &Source<'_>) -> Result<Vec<GroupDescriptor>> {
    let geometry = &source.geometry;
    let mut descriptors = Vec::with_capacity(geometry.groups as usize);
    let per_block = geometry.descriptors_per_block();
    for index in 0..geometry.descriptor_blocks() {
        let at = geometry.descriptor_block(index);
        let block = source.block(at).ok_or_else(|| {
            Location::of(Structure::GroupDescriptor).block(at).wrong("is outside the filesystem")
        })?;
        let left = u64::from(geometry.groups) - index * per_block;
        for raw in block
            .chunks_exact(geometry.descriptor_size)
            .take(usize::try_from(left).expect("fits: groups have numbers of 32 bits"))
        {
            let group =
                GroupNr(u32::try_from(descriptors.len()).expect("fits: no more than there are groups"));
            let descriptor = GroupDescriptor::decode(raw);
            let location = || Location::of(Structure::GroupDescriptor).group(group).block(at);
            if let Some(expected) = source.checksums.group_descriptor(group, raw) {
                let found = descriptor.bg_checksum.get();
                if found != expected {
                    return Err(location()
                        .corrupt(Problem::Checksum { found: found.into(), expected: expected.into() }));
                }
            }
            check(source, group, &descriptor, location)?;
            descriptors.push(descriptor);
        }
    }
    Ok(descriptors)
}

fn check(
    source: &Source<'_>,
    group: GroupNr,
    descriptor: &GroupDescriptor,
    location: impl Fn() -> Location,
) -> Result<()> {
    let geometry = &source.geometry;
    let anywhere = geometry.groups_per_flex > 1 || geometry.features.has(Incompat::FLEX_BG);
    let room = if anywhere {
        geometry.first_data_block + 1..geometry.blocks_count
    } else {
        geometry.group_blocks(group)
    };
    let places = [
        ("bg_block_bitmap", descriptor.block_bitmap(), 1),
        ("bg_inode_bitmap", descriptor.inode_bitmap(), 1),
        ("bg_inode_table", descriptor.inode_table(), geometry.inode_table_blocks()),
    ];
    for (what, BlockNr(start), count) in places {
        let fits = start >= room.start && start.checked_add(count).is_some_and(|end| end <= room.end);
        if !fits {
            return Err(location().value(
                what,
                start,
                format!("{count} blocks from {} to {}", room.start, room.end - 1),
            ));
        }
    }
    let flags = descriptor.bg_flags.get();
    if !source.checksums.covers_descriptors() && flags & (INODE_UNINIT | BLOCK_UNINIT) != 0 {
        return Err(location().value("bg_flags", flags, "none, since descriptors have no checksums"));
    }
    if descriptor.itable_unused() > geometry.inodes_per_group {
        return Err(location().value(
            "bg_itable_unused",
            descriptor.itable_unused(),
            format!("at most {}", geometry.inodes_per_group),
        ));
    }
    Ok(())
}
