//! An attempt to place everything in a geometry, and what any geometry needs room for.

use super::file_placement::{PlacementInput, place_files};
use super::free_blocks::UsedBlocks;
use super::layout::Layout;
use super::static_placement::{self, GroupPlaces};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::units::InodeNr;

/// The result of a layout in a geometry.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// Everything has room.
    Fits(T),
    /// Something has no room; the error says what.
    Lacks(Error),
}

/// What a layout needs in any geometry, however lucky its free blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The last inode in use.
    pub last_inode: InodeNr,
    /// Blocks in whole clusters for everything but static metadata, where no file is fragmented.
    pub blocks: u64,
}

/// Where everything is stored in a geometry.
#[derive(Debug)]
pub(super) struct Placed {
    /// The places of each group's metadata.
    pub groups: Vec<GroupPlaces>,
    /// Where every file is stored.
    pub layout: Layout,
    /// The clusters that static metadata takes.
    pub static_clusters: u64,
}

/// Lays everything out in a geometry. It depends on nothing but its arguments, so that an attempt that
/// fails leaves no trace in the next one.
pub(super) fn attempt(geometry: &Geometry, input: PlacementInput<'_>) -> Result<Attempt<Placed>> {
    input.numbering.check(geometry)?;
    let (groups, used) = match static_placement::place(geometry) {
        Ok(places) => places,
        Err(error) => return Ok(Attempt::Lacks(error)),
    };
    let layout = place_files(geometry, input, &used)?;
    let missing = layout.free.missing();
    if missing > 0 {
        let available = geometry.blocks_count;
        let error = Error::DoesNotFit { needed: available + missing, available, bytes: None };
        return Ok(Attempt::Lacks(error));
    }
    let static_clusters = used.count_clusters(geometry.blocks_per_cluster);
    Ok(Attempt::Fits(Placed { groups, layout, static_clusters }))
}

/// What any geometry must have room for: a layout without static metadata is not fragmented.
pub(super) fn demand(geometry: &Geometry, input: PlacementInput<'_>) -> Result<Demand> {
    let layout = place_files(geometry, input, &UsedBlocks::default())?;
    let there = geometry.blocks_count - geometry.first_data_block;
    let blocks = there - layout.free.count() + layout.free.missing();
    Ok(Demand { last_inode: input.numbering.last(), blocks })
}
