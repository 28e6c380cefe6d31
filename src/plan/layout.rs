//! Giving blocks to everything that is not static metadata.

use std::ops::Range;

use super::Numbering;
use super::allocate::{FreeBlocks, UsedBlocks};
use super::directory::DirectoryPlans;
use super::map;
use super::quota::QuotaPlan;
use super::xattr::XattrPlan;
use crate::error::{Error, Location, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::extent;
use crate::ondisk::features::{Compat, Incompat};
use crate::ondisk::indirect;
use crate::ondisk::inode::FAST_SYMLINK_LIMIT;
use crate::read::{SpecialFile, Specials};
use crate::survey::StoredTree;
use crate::tree::{Kind, Node, Run};
use crate::units::{BlockNr, InodeNr, count_clusters, fits};

/// Where a file lies: parts of the layout's lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLayout {
    /// The first extent, and the first block of the map.
    starts: (usize, usize),
    /// The number of extents, and of blocks of the map.
    counts: (u32, u32),
}

/// Where every file lies.
#[derive(Debug)]
pub struct Layout {
    /// The double indirect block of the resize inode.
    pub resize_block: Option<BlockNr>,
    /// The block of multiple mount protection.
    pub mmp_block: Option<BlockNr>,
    /// The journal.
    pub journal: Option<FileLayout>,
    /// The quota files, in the order of their types.
    pub quotas: Vec<FileLayout>,
    /// The orphan file.
    pub orphan_file: Option<FileLayout>,
    /// The block of each block of xattrs, in the order of the plan's.
    pub xattr_blocks: Vec<BlockNr>,
    /// The file of each value of an xattr that has an inode of its own.
    pub values: Vec<FileLayout>,
    /// Each node's file, by node; empty for what has no blocks.
    pub nodes: Vec<FileLayout>,
    pub(crate) extents: Vec<Run>,
    pub(crate) map_blocks: Vec<BlockNr>,
    /// What is left, in whole clusters.
    pub free: FreeBlocks,
    blocks_per_cluster: u64,
}

impl Layout {
    /// The extents of a file, in logical order.
    pub fn extents(&self, file: FileLayout) -> &[Run] {
        &self.extents[file.starts.0..][..file.counts.0 as usize]
    }

    /// The blocks of a file's own map: of an extent tree level by level, of a block map each
    /// before what it leads to.
    pub fn map_blocks(&self, file: FileLayout) -> &[BlockNr] {
        &self.map_blocks[file.starts.1..][..file.counts.1 as usize]
    }

    /// The blocks that are allocated for a file, its map included, in whole clusters.
    pub fn blocks(&self, file: FileLayout) -> u64 {
        (self.content_clusters(file) + u64::from(file.counts.1)) * self.blocks_per_cluster
    }

    /// The clusters that a file's content lies in.
    pub fn content_clusters(&self, file: FileLayout) -> u64 {
        let extents = self.extents(file).iter();
        count_clusters(extents.map(|extent| (extent.logical, extent.count)), self.blocks_per_cluster)
    }

    /// The block of a logical block of a file.
    pub fn physical(&self, file: FileLayout, logical: u32) -> Option<BlockNr> {
        let extents = self.extents(file);
        let index = extents.partition_point(|extent| extent.end() <= logical.into());
        let extent = extents.get(index).filter(|extent| extent.logical <= logical)?;
        Some(BlockNr(extent.physical().0 + u64::from(logical - extent.logical)))
    }
}

/// What is to be laid out.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'p> {
    /// Which inode each node gets.
    pub numbering: &'p Numbering,
    /// The tree, as it is to be stored.
    pub stored: StoredTree<'p>,
    /// The files outside the tree.
    pub specials: &'p Specials,
    /// The blocks of directories.
    pub directories: &'p DirectoryPlans,
    /// The quota files.
    pub quotas: &'p [QuotaPlan],
    /// Which xattrs need blocks and EA inodes, and which content is inline.
    pub xattrs: &'p XattrPlan,
}

/// Lays everything out in the output's geometry. What does not fit is placed past the end, so that
/// the total shortage is known.
pub fn lay_out(geometry: &Geometry, contents: Contents<'_>, used: &UsedBlocks) -> Result<Layout> {
    let Contents { numbering, stored, specials, directories, quotas, xattrs } = contents;
    let tree = stored.tree;
    let in_blocks = |node: &&Node| matches!(node.kind, Kind::Directory { .. } | Kind::Symlink(_));
    // A list that is full is copied to grow, and there may be many runs.
    let extents = stored.runs() + tree.nodes.iter().filter(in_blocks).count() + xattrs.values.len() + 16;
    let mut layouter = Layouter::new(geometry, (tree.nodes.len(), extents), used);
    if geometry.features.has(Compat::RESIZE_INODE) {
        layouter.layout.resize_block = Some(layouter.one_block());
    }
    if geometry.features.has(Incompat::MMP) {
        layouter.layout.mmp_block = Some(layouter.one_block());
    }
    if let Some(journal) = specials.journal {
        let blocks = journal.blocks;
        layouter.layout.journal =
            Some(layouter.file(InodeNr::JOURNAL, [(0, blocks, false)].into_iter(), true)?);
    }
    for quota in quotas {
        let number = numbering.quota_file(quota.kind).expect("each quota file is numbered");
        let blocks = geometry.blocks_of_bytes(quota.size());
        let blocks = u32::try_from(blocks).map_err(|_| beyond_block_maps(number))?;
        let file = layouter.file(number, [(0, blocks, false)].into_iter(), false)?;
        layouter.layout.quotas.push(file);
    }
    if let Some(SpecialFile { blocks, .. }) = specials.orphan_file {
        let number = numbering.orphan_file().expect("the orphan file is numbered");
        layouter.layout.orphan_file = Some(layouter.file(number, [(0, blocks, false)].into_iter(), false)?);
    }
    for (id, directory) in directories.iter().filter(|(_, directory)| directory.blocks > 0) {
        layouter.layout.nodes[id.index()] =
            layouter.file(numbering.number_of(id), [(0, directory.blocks, false)].into_iter(), false)?;
    }
    for _ in &xattrs.blocks {
        let block = layouter.one_block();
        layouter.layout.xattr_blocks.push(block);
    }
    for id in tree.ids().filter(|id| xattrs.inline_of(*id).is_none()) {
        let number = numbering.number_of(id);
        let file = match tree.node(id).kind {
            Kind::Regular { .. } => {
                let runs = stored.runs_of(id).iter().map(|run| (run.logical, run.count, run.unwritten()));
                layouter.file(number, runs, false)?
            }
            Kind::Symlink(target) if tree.text(target).len() as u64 >= FAST_SYMLINK_LIMIT => {
                layouter.file(number, [(0, 1, false)].into_iter(), false)?
            }
            _ => continue,
        };
        layouter.layout.nodes[id.index()] = file;
    }
    for (index, value) in (0..).zip(&xattrs.values) {
        let blocks = geometry.blocks_of_bytes(tree.text(value.text).len() as u64);
        let blocks = fits(blocks, "a value has at most 16 MiB");
        let number = numbering.number_of_value(index);
        let file = layouter.file(number, [(0, blocks, false)].into_iter(), false)?;
        layouter.layout.values.push(file);
    }
    layouter.layout.extents.shrink_to_fit();
    layouter.layout.map_blocks.shrink_to_fit();
    Ok(layouter.layout)
}

struct Layouter<'g> {
    geometry: &'g Geometry,
    with_extents: bool,
    layout: Layout,
    ranges: Vec<Range<u64>>,
}

impl<'g> Layouter<'g> {
    /// For a tree of so many nodes, with about so many extents.
    fn new(geometry: &'g Geometry, (nodes, extents): (usize, usize), used: &UsedBlocks) -> Self {
        let layout = Layout {
            resize_block: None,
            mmp_block: None,
            journal: None,
            quotas: Vec::new(),
            orphan_file: None,
            xattr_blocks: Vec::new(),
            values: Vec::new(),
            nodes: vec![FileLayout::default(); nodes],
            extents: Vec::with_capacity(extents),
            map_blocks: Vec::new(),
            free: used.free(geometry.first_data_block, geometry.blocks_count, geometry.blocks_per_cluster),
            blocks_per_cluster: geometry.blocks_per_cluster,
        };
        let with_extents = geometry.features.has(Incompat::EXTENTS);
        Self { geometry, with_extents, layout, ranges: Vec::new() }
    }

    /// A block with a cluster of its own.
    fn one_block(&mut self) -> BlockNr {
        let mut block = BlockNr(0);
        self.layout.free.take(self.geometry.blocks_per_cluster, |range| block = BlockNr(range.start));
        block
    }

    /// Gives a file its blocks, content first, then its map.
    fn file(
        &mut self,
        number: InodeNr,
        runs: impl Iterator<Item = (u32, u32, bool)> + Clone,
        together: bool,
    ) -> Result<FileLayout> {
        let cluster = self.geometry.blocks_per_cluster;
        let total =
            cluster * count_clusters(runs.clone().map(|(logical, count, _)| (logical, count)), cluster);
        let first_extent = self.layout.extents.len();
        self.ranges.clear();
        let keep = |range| self.ranges.push(range);
        if together {
            self.layout.free.take_together(total, keep);
        } else {
            self.layout.free.take(total, keep);
        }
        let mut place = Place::new(self.ranges.iter().cloned(), cluster);
        for (logical, count, unwritten) in runs {
            let mut done = 0;
            while done < count {
                let (physical, part) = place.take(logical + done, count - done);
                let extent = Run::in_blocks(logical + done, part, physical, unwritten);
                push(&mut self.layout.extents, first_extent, self.with_extents, extent);
                done += part;
            }
        }
        let extents = &self.layout.extents[first_extent..];
        self.check_limits(number, extents)?;
        let first_map = self.layout.map_blocks.len();
        let map_blocks = map::map_blocks(extents, self.geometry, self.with_extents);
        let map = &mut self.layout.map_blocks;
        let step = fits(cluster, "a cluster has at most 2^19 blocks");
        self.layout.free.take(map_blocks * cluster, |range| map.extend(range.step_by(step).map(BlockNr)));
        if !self.with_extents && map[first_map..].iter().any(|block| block.0 > u32::MAX.into()) {
            return Err(beyond_block_maps(number));
        }
        let lengths = (u32::try_from(extents.len()), u32::try_from(map_blocks));
        let (Ok(extents), Ok(map)) = lengths else { return Err(beyond_block_maps(number)) };
        Ok(FileLayout { starts: (first_extent, first_map), counts: (extents, map) })
    }

    fn check_limits(&self, number: InodeNr, extents: &[Run]) -> Result<()> {
        let Some(last) = extents.last() else { return Ok(()) };
        if self.with_extents {
            return Ok(());
        }
        let end = last.end();
        let beyond = extents
            .iter()
            .any(|extent| extent.physical().0 + u64::from(extent.count) > u64::from(u32::MAX) + 1);
        if beyond || end > indirect::max_blocks(self.geometry.pointers_per_block()) {
            return Err(beyond_block_maps(number));
        }
        Ok(())
    }
}

/// Hands out whole clusters to the blocks of a file, each block at the same place in its cluster as
/// in the file.
struct Place<R> {
    ranges: R,
    /// What is left of a range, from the block behind the last one on.
    room: Range<u64>,
    /// The logical block that lies, or would lie, at the start of the room.
    logical: u64,
    cluster: u64,
}

impl<R: Iterator<Item = Range<u64>>> Place<R> {
    fn new(ranges: R, cluster: u64) -> Self {
        Self { ranges, room: 0..0, logical: 0, cluster }
    }

    /// Places as many of `count` logical blocks as go together: the first of their blocks, and how
    /// many they are. Logical blocks must come in their order.
    fn take(&mut self, logical: u32, count: u32) -> (BlockNr, u32) {
        let wanted = u64::from(logical);
        // The rest of the last cluster belongs to its logical cluster alone.
        let rest_until = self.logical.next_multiple_of(self.cluster);
        if wanted < rest_until {
            self.room.start += wanted - self.logical;
        } else {
            self.room.start = self.room.start.next_multiple_of(self.cluster);
            if self.room.is_empty() {
                self.room = self.ranges.next().expect("as many clusters were taken as the content has");
            }
            self.room.start += wanted % self.cluster;
        }
        let part = (self.room.end - self.room.start).min(u64::from(count));
        let part = fits(part, "it is at most `count`");
        let start = BlockNr(self.room.start);
        self.room.start += u64::from(part);
        self.logical = wanted + u64::from(part);
        (start, part)
    }
}

fn beyond_block_maps(number: InodeNr) -> Error {
    Location::of(Structure::FileMap).inode(number).unsupported(
        "a file or a block that block maps can't reach",
        "make the image with the extent feature",
    )
}

/// Adds blocks to a file, in extents as long as they can be.
fn push(extents: &mut Vec<Run>, first: usize, with_extents: bool, mut new: Run) {
    let max = match (with_extents, new.unwritten()) {
        (false, _) => u32::MAX,
        (true, false) => extent::MAX_LEN,
        (true, true) => extent::MAX_UNWRITTEN_LEN,
    };
    while new.count > 0 {
        let last = extents[first..].last_mut().filter(|last| last.count < max && last.goes_on_in(&new));
        let part = new.count.min(max - last.as_ref().map_or(0, |last| last.count));
        match last {
            Some(last) => last.count += part,
            None => extents.push(new.part(new.logical, part)),
        }
        new = new.from(new.logical + part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clusters of 4: 8..16 and 40..44. Blocks 5 and 6 share a logical cluster, and so do 8 and 11.
    #[test]
    fn blocks_keep_their_place_in_the_cluster() {
        let mut place = Place::new([8..16, 40..44].into_iter(), 4);
        let mut at = |logical, count| place.take(logical, count);
        assert_eq!(at(5, 1), (BlockNr(9), 1));
        assert_eq!(at(6, 1), (BlockNr(10), 1));
        assert_eq!(at(8, 1), (BlockNr(12), 1));
        assert_eq!(at(11, 3), (BlockNr(15), 1));
        assert_eq!(at(12, 2), (BlockNr(40), 2));
        assert_eq!(count_clusters([(5, 1), (6, 1), (8, 1), (11, 3)].into_iter(), 4), 3);
        assert_eq!(count_clusters([(5, 1), (6, 1), (8, 1), (11, 3)].into_iter(), 1), 6);
    }

    #[test]
    fn extents_are_joined_and_cut_at_their_greatest_length() {
        let mut extents = Vec::new();
        let one = |logical, count, physical| Run::in_blocks(logical, count, BlockNr(physical), false);
        push(&mut extents, 0, true, one(0, 10, 100));
        push(&mut extents, 0, true, one(10, 40000, 110));
        push(&mut extents, 0, true, one(50000, 5, 40110));
        assert_eq!(extents, [one(0, 32768, 100), one(32768, 7242, 32868), one(50000, 5, 40110)]);
    }
}
