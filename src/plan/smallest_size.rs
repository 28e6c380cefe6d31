//! Finds the smallest filesystem in which all files and metadata fit, for `--size min`.

use super::attempt::{Attempt, Demand};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::resized_geometry::{
    at_least, groups_for_inodes, groups_of, least_end, static_blocks, with_blocks,
};

/// The maximum number of group counts to try. Each added group also adds blocks for files, so this is enough
/// unless groups consist of metadata only.
const MAX_TRIES: usize = 10_000;

/// Finds the smallest number of blocks in which all files and metadata fit, and places them.
///
/// A larger filesystem does not always have more room: a new group has metadata, and the free blocks between
/// static metadata can be more fragmented, so that a file has more extents. Therefore every size is tried,
/// starting with the first size that has enough blocks in total.
///
/// # Errors
///
/// `Options` if no filesystem can have enough groups; if no tried size is enough, the reason why the last one
/// is too small; otherwise the error of `attempt`.
pub(super) fn smallest<T>(
    from: &Geometry,
    demand: Demand,
    attempt: impl Fn(&Geometry) -> Result<Attempt<T>>,
) -> Result<(Geometry, T)> {
    let mut groups = groups_for_inodes(from, demand.last_inode);
    let mut lack = None;
    for _ in 0..MAX_TRIES {
        let end = |groups: u32| from.first_data_block + u64::from(groups) * from.blocks_per_group;
        let least = at_least(from, least_end(from, groups))?;
        let metadata =
            (from.first_data_block + static_blocks(&least)).next_multiple_of(from.blocks_per_cluster);
        let enough = least.blocks_count.max(metadata + demand.blocks);
        if enough > end(groups) {
            lack = Some(Error::DoesNotFit { needed: enough, available: end(groups), bytes: None });
            // A filesystem with more groups has at least as much metadata.
            groups = groups_of(from, enough)?.max(groups + 1);
            continue;
        }
        let step = usize::try_from(from.blocks_per_cluster).expect("a cluster has at most 2^19 blocks");
        for blocks in (enough..=end(groups)).step_by(step) {
            let geometry = with_blocks(from, blocks, groups);
            match attempt(&geometry)? {
                Attempt::Fits(found) => return Ok((geometry, found)),
                Attempt::Lacks(error) => lack = Some(error),
            }
        }
        groups += 1;
    }
    Err(lack.expect("every try that ends without a layout leaves its error"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::forty_gib;
    use crate::resized_geometry::resized;
    use crate::units::InodeNr;

    const GROUP: u64 = 32768;

    fn lack<T>(geometry: &Geometry, needed: u64) -> Result<Attempt<T>> {
        let available = geometry.blocks_count;
        Ok(Attempt::Lacks(Error::DoesNotFit { needed, available, bytes: None }))
    }

    /// Returns an attempt that needs this many blocks besides static metadata.
    fn takes(blocks: u64) -> impl Fn(&Geometry) -> Result<Attempt<()>> {
        move |geometry| {
            let needed = blocks + static_blocks(geometry);
            if needed <= geometry.blocks_count { Ok(Attempt::Fits(())) } else { lack(geometry, needed) }
        }
    }

    fn demand(last: u32, blocks: u64) -> Demand {
        Demand { last_inode: InodeNr(last), blocks }
    }

    #[test]
    fn the_smallest_size_has_no_block_too_many() {
        let from = forty_gib();
        // Every group has 514 metadata blocks. Groups 0, 1 and powers of 3, 5 and 7 have 1030 additional
        // blocks for backups.
        for (blocks, groups) in
            [(10, 1), (5000, 1), (GROUP - 514 - 1030, 1), (3 * GROUP, 4), (900 * GROUP, 915)]
        {
            let (found, ()) = smallest(&from, demand(11, blocks), takes(blocks)).unwrap();
            assert_eq!(found.groups, groups, "{blocks}");
            assert_eq!(
                smallest(&found, demand(11, blocks), takes(blocks)).unwrap().0,
                found,
                "from the smallest"
            );
            let less = resized(&from, found.blocks_count - 1);
            assert!(less.is_err() || !matches!(takes(blocks)(&less.unwrap()), Ok(Attempt::Fits(()))));
        }
        // The number of inodes determines the number of groups.
        assert_eq!(smallest(&from, demand(8193, 10), takes(10)).unwrap().0.groups, 2);
    }

    /// Tests that the smallest size is found although, because of fragmentation, a larger size can be too
    /// small.
    #[test]
    fn of_sizes_that_fit_here_and_there_the_least_is_found() {
        let from = forty_gib();
        for fitting in [[7000, 7001, 9000], [7003, 7500, 40000], [32768, 40000, 50000], [34500, 34501, 34502]]
        {
            let attempt = |geometry: &Geometry| {
                let fits = fitting.contains(&geometry.blocks_count);
                if fits { Ok(Attempt::Fits(())) } else { lack(geometry, fitting[0]) }
            };
            let (found, ()) = smallest(&from, demand(11, 100), attempt).unwrap();
            assert_eq!(found.blocks_count, fitting[0]);
        }
    }

    #[test]
    fn groups_of_nothing_but_metadata_are_refused() {
        let mut from = forty_gib();
        // A group of 256 blocks is filled by an inode table of 254 blocks and two bitmaps.
        (from.block_size, from.first_data_block) = (1024, 1);
        (from.blocks_per_group, from.inodes_per_group, from.inode_size) = (256, 1016, 256);
        let result = smallest(&from, demand(11, 1000), takes(1000));
        assert!(matches!(result, Err(Error::DoesNotFit { .. } | Error::Options { .. })), "{result:?}");
    }
}
