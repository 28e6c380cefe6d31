//! Tries to place all files and metadata in a geometry, and computes the minimum numbers of inodes and blocks
//! that a geometry must provide.

use super::file_placement::{PlacementInput, place_files};
use super::free_blocks::UsedBlocks;
use super::layout::Layout;
use super::static_placement::{self, GroupPlaces};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::units::InodeNr;

/// The result of an attempt to place all files and metadata in a geometry.
#[derive(Debug)]
pub(super) enum Attempt<T> {
    /// All files and metadata fit.
    Fits(T),
    /// A file or structure does not fit; the error says which.
    Lacks(Error),
}

/// The minimum numbers of inodes and blocks that a geometry must provide, even if no file is fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The highest inode number in use.
    pub last_inode: InodeNr,
    /// The number of blocks for all files and their metadata, in whole clusters and without static metadata,
    /// if no file is fragmented.
    pub blocks: u64,
}

/// The locations of all files and metadata in a geometry.
#[derive(Debug)]
pub(super) struct Placed {
    /// The locations of each group's bitmaps and inode table.
    pub groups: Vec<GroupPlaces>,
    /// The locations of all files.
    pub layout: Layout,
    /// The number of clusters that contain static metadata.
    pub static_clusters: u64,
}

/// Places all files and metadata in a geometry. The result depends only on the arguments, so a failed attempt
/// does not affect the next one.
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

/// Returns the minimum numbers of inodes and blocks that a geometry must provide. Computes the numbers from a
/// layout without static metadata, in which no file is fragmented.
pub(super) fn demand(geometry: &Geometry, input: PlacementInput<'_>) -> Result<Demand> {
    let layout = place_files(geometry, input, &UsedBlocks::default())?;
    let there = geometry.blocks_count - geometry.first_data_block;
    let blocks = there - layout.free.count() + layout.free.missing();
    Ok(Demand { last_inode: input.numbering.last(), blocks })
}
