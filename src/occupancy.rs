//! Counts the use of blocks in an image and in its canonical form, for the cells of a block map.

use std::ops::Range;

use crate::leftovers;
use crate::places::{ContentExtent, ContentPlaces, joined};
use crate::plan::{PieceContent, Plan};
use crate::read::Reading;
use crate::source::Source;
use crate::tree::{Kind, NodeId, Tree};
use crate::units::{InodeNr, fits};

/// The use of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// Superblocks, group descriptors, bitmaps, inode tables, and files outside the tree.
    Metadata,
    /// The journal.
    Journal,
    /// Directories.
    Directory,
    /// Content of regular files.
    File,
    /// Extent tree nodes, indirect blocks, xattrs, and targets of symlinks.
    Map,
    /// Free, but not zero.
    Stale,
    /// Free.
    Free,
}

impl Use {
    /// All uses, in the order of the counts in a [`Cell`].
    pub const ALL: [Self; 7] =
        [Self::Metadata, Self::Journal, Self::Directory, Self::File, Self::Map, Self::Stale, Self::Free];

    /// Returns a name for legends, such as "journal".
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Journal => "journal",
            Self::Directory => "directories",
            Self::File => "files",
            Self::Map => "maps and xattrs",
            Self::Stale => "stale data",
            Self::Free => "free",
        }
    }
}

/// The number of blocks for each use in a cell, in the order of [`Use::ALL`].
pub type Cell = [u64; Use::ALL.len()];

/// A map of the use of blocks. Each cell is a range of blocks, with the number of blocks for each use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupancy {
    /// The number of blocks.
    pub blocks: u64,
    /// Blocks in each cell; the last cell can have fewer.
    pub blocks_per_cell: u64,
    /// The cells, in the order of the blocks.
    pub cells: Vec<Cell>,
    /// The number of fragments of regular files: ranges of blocks that are contiguous both in the file and in
    /// the image.
    pub fragments: u64,
}

impl Occupancy {
    fn new(blocks: u64, cells: u64) -> Self {
        let blocks_per_cell = blocks.div_ceil(cells.max(1)).max(1);
        let cells =
            fits(blocks.div_ceil(blocks_per_cell), "it is at most the number of cells that was asked for");
        Self { blocks, blocks_per_cell, cells: vec![Cell::default(); cells], fragments: 0 }
    }

    fn add(&mut self, what: Use, blocks: Range<u64>) {
        let end = blocks.end.min(self.blocks);
        let mut start = blocks.start;
        while start < end {
            let cell = start / self.blocks_per_cell;
            let next = ((cell + 1) * self.blocks_per_cell).min(end);
            // There is a cell for each block below `self.blocks`.
            self.cells[cell as usize][what as usize] += next - start;
            start = next;
        }
    }

    /// Counts the remaining blocks of each cell for one use.
    fn add_rest(&mut self, what: Use) {
        let mut left = self.blocks;
        for cell in &mut self.cells {
            let blocks = self.blocks_per_cell.min(left);
            left -= blocks;
            cell[what as usize] += blocks.saturating_sub(cell.iter().sum());
        }
    }

    /// Returns the sum of all cells.
    pub fn total(&self) -> Cell {
        let mut total = Cell::default();
        for cell in &self.cells {
            total.iter_mut().zip(cell).for_each(|(sum, blocks)| *sum += blocks);
        }
        total
    }
}

fn is_regular(tree: &Tree, id: NodeId) -> bool {
    matches!(tree.node(id).kind, Kind::Regular { .. })
}

/// Returns the use of all blocks of an image, in at most `cells` cells.
pub(crate) fn of_image(source: &Source<'_>, reading: &Reading, cells: u64) -> Occupancy {
    let Reading { tree, inodes, .. } = reading;
    let numbers = |of: fn(&Tree, NodeId) -> bool| {
        let mut numbers: Vec<InodeNr> =
            tree.ids().filter(|id| of(tree, *id)).map(|id| inodes[id.index()]).collect();
        numbers.sort_unstable();
        numbers
    };
    let directories = numbers(|tree, id| tree.node(id).kind.is_directory());
    let regular = numbers(is_regular);
    let geometry = &source.geometry;
    let mut occupancy = Occupancy::new(geometry.blocks_count, cells);
    let mut used = Vec::new();
    if geometry.first_data_block > 0 {
        // The blocks before the first data block belong to no group.
        used.push((0..geometry.first_data_block, Use::Metadata));
    }
    for claim in reading.claims.others() {
        let what = match claim.owner {
            Some(number) if source.has_journal_in(number) => Use::Journal,
            Some(number) if !reading.specials.is_special(number) => {
                if claim.logical().is_none() {
                    Use::Map
                } else if directories.binary_search(&number).is_ok() {
                    Use::Directory
                } else if regular.binary_search(&number).is_ok() {
                    Use::File
                } else {
                    Use::Map
                }
            }
            _ => Use::Metadata,
        };
        used.push((claim.range(), what));
    }
    for id in tree.ids().filter(|_| reading.claims.has_runs()) {
        used.extend(tree.runs_of(id).iter().map(|run| (run.blocks(), Use::File)));
    }
    let used = in_clusters(used, geometry.blocks_per_cluster);
    for blocks in leftovers::free_blocks(source, reading.claimed()) {
        outside(&used, blocks, |blocks| occupancy.add(Use::Stale, blocks));
    }
    used.into_iter().for_each(|(blocks, what)| occupancy.add(what, blocks));
    occupancy.add_rest(Use::Free);
    let places = ContentPlaces::of(reading);
    occupancy.fragments = regular.iter().map(|number| places.of_inode(*number).len() as u64).sum();
    occupancy
}

/// Returns the use of all blocks of a canonical form, in at most `cells` cells.
pub(crate) fn of_form(plan: &Plan, tree: &Tree, cells: u64) -> Occupancy {
    let mut occupancy = Occupancy::new(plan.geometry.blocks_count, cells);
    for blocks in plan.layout.free.ranges() {
        occupancy.add(Use::Free, blocks.clone());
    }
    let mut used = Vec::new();
    if let Some(journal) = &plan.layout.journal {
        used.extend(plan.layout.extents(*journal).iter().map(|extent| (extent.blocks(), Use::Journal)));
        used.extend(plan.layout.map_nodes(*journal).iter().map(|block| (block.0..block.0 + 1, Use::Journal)));
    }
    for id in tree.ids() {
        let file = plan.layout.nodes[id.index()];
        let extents = plan.layout.extents(file);
        let what = match tree.node(id).kind {
            Kind::Directory { .. } => Use::Directory,
            Kind::Regular { .. } => Use::File,
            _ => Use::Map,
        };
        for extent in extents {
            used.push((extent.blocks(), what));
        }
        for block in plan.layout.map_nodes(file) {
            used.push((block.0..block.0 + 1, Use::Map));
        }
        if what == Use::File {
            let extents = extents
                .iter()
                .map(|extent| ContentExtent::of(extent.logical, extent.count, extent.physical()));
            occupancy.fragments += joined(extents).len() as u64;
        }
    }
    for piece in plan.rendered.iter().filter(|piece| matches!(piece.content, PieceContent::Xattrs(..))) {
        used.push((piece.start.0..piece.start.0 + 1, Use::Map));
    }
    for file in &plan.layout.ea_inodes {
        for extent in plan.layout.extents(*file) {
            used.push((extent.blocks(), Use::Map));
        }
    }
    for (blocks, what) in in_clusters(used, plan.geometry.blocks_per_cluster) {
        occupancy.add(what, blocks);
    }
    occupancy.add_rest(Use::Metadata);
    occupancy
}

/// Sorts block ranges by their start, and extends each range to whole clusters of `cluster` blocks as far as
/// the neighbouring ranges leave room.
fn in_clusters(mut used: Vec<(Range<u64>, Use)>, cluster: u64) -> Vec<(Range<u64>, Use)> {
    used.sort_unstable_by_key(|(blocks, _)| blocks.start);
    let mut end = 0;
    for index in 0..used.len() {
        let next = used.get(index + 1).map_or(u64::MAX, |(next, _)| next.start);
        let blocks = &mut used[index].0;
        let whole = blocks.start / cluster * cluster..blocks.end.next_multiple_of(cluster);
        *blocks = whole.start.max(end).min(blocks.start)..whole.end.min(next).max(blocks.end);
        end = blocks.end;
    }
    used
}

/// Calls `visit` with the parts of a range of blocks that are outside the used ranges, which must be sorted.
fn outside(used: &[(Range<u64>, Use)], blocks: Range<u64>, mut visit: impl FnMut(Range<u64>)) {
    let mut next = blocks.start;
    let first = used.partition_point(|(used, _)| used.end <= blocks.start);
    for (used, _) in used[first..].iter().take_while(|(used, _)| used.start < blocks.end) {
        visit(next..used.start.max(next));
        next = used.end;
    }
    visit(next..blocks.end.max(next));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_in_their_cells() {
        let mut occupancy = Occupancy::new(25, 3);
        assert_eq!((occupancy.blocks_per_cell, occupancy.cells.len()), (9, 3));
        occupancy.add(Use::File, 7..19);
        occupancy.add(Use::Stale, 24..99);
        occupancy.add_rest(Use::Free);
        let of = |cell: usize, what: Use| occupancy.cells[cell][what as usize];
        assert_eq!([of(0, Use::File), of(1, Use::File), of(2, Use::File)], [2, 9, 1]);
        assert_eq!([of(0, Use::Free), of(1, Use::Free), of(2, Use::Free)], [7, 0, 5]);
        assert_eq!(of(2, Use::Stale), 1);
        assert_eq!(occupancy.total().iter().sum::<u64>(), 25);
    }

    #[test]
    fn a_cluster_that_is_partly_used_is_used() {
        let used =
            vec![(18..19, Use::File), (0..3, Use::Metadata), (5..6, Use::Metadata), (21..30, Use::File)];
        let used = in_clusters(used, 16);
        let expected =
            [(0..5, Use::Metadata), (5..16, Use::Metadata), (16..21, Use::File), (21..32, Use::File)];
        assert_eq!(used, expected);
        let mut left = Vec::new();
        outside(&used[1..2], 3..40, |blocks| left.push(blocks));
        assert_eq!(left, [3..5, 16..40]);
    }

    #[test]
    fn the_order_of_uses_is_that_of_their_list() {
        assert!(Use::ALL.iter().enumerate().all(|(place, what)| *what as usize == place));
    }
}
