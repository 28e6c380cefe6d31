//! Places all files and their metadata in the lowest free blocks. Static metadata is already placed.

use std::ops::Range;

use super::directory::DirectoryPlans;
use super::extent::Extent;
use super::free_blocks::UsedBlocks;
use super::layout::{FileLayout, Layout};
use super::map_shape;
use super::numbering::Numbering;
use super::quota::QuotaPlan;
use super::xattr_plan::XattrPlan;
use crate::error::{Error, Location, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::extent;
use crate::ondisk::features::{Compat, Incompat};
use crate::ondisk::indirect;
use crate::ondisk::inode::FAST_SYMLINK_LIMIT;
use crate::read::{SpecialFile, Specials};
use crate::survey::{StoredTree, UNWRITTEN};
use crate::tree::{Kind, Node};
use crate::units::{InodeNr, OutputBlock, count_clusters, fits};

/// The files to place.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlacementInput<'p> {
    /// The inode number of each node.
    pub numbering: &'p Numbering,
    /// The tree, and the runs that the output stores.
    pub stored: StoredTree<'p>,
    /// The files outside the tree.
    pub specials: &'p Specials,
    /// The blocks of directories.
    pub directories: &'p DirectoryPlans,
    /// The quota files.
    pub quotas: &'p [QuotaPlan],
    /// The xattrs that need blocks or EA inodes, and the nodes with inline content.
    pub xattrs: &'p XattrPlan,
}

/// Places all files in a geometry. Files that don't fit are placed past the end of the filesystem, so that
/// the missing blocks can be counted.
pub(super) fn place_files(
    geometry: &Geometry,
    input: PlacementInput<'_>,
    used: &UsedBlocks,
) -> Result<Layout> {
    let PlacementInput { numbering, stored, directories, xattrs, .. } = input;
    let tree = stored.tree;
    let mut placer = FilePlacer::new(geometry, input, used);
    placer.place_specials(input)?;
    for (id, directory) in directories.iter().filter(|(_, directory)| directory.blocks > 0) {
        let file = placer.dense_file(numbering.number_of(id), directory.blocks)?;
        placer.layout.nodes[id.index()] = file;
    }
    for _ in &xattrs.blocks {
        let block = placer.one_block();
        placer.layout.xattr_blocks.push(block);
    }
    placer.place_content(input)?;
    for (index, value) in (0..).zip(&xattrs.ea_inodes) {
        let blocks = geometry.blocks_of_bytes(tree.text(value.text).len() as u64);
        let blocks = fits(blocks, "a value has at most 16 MiB");
        let file = placer.dense_file(numbering.number_of_ea_inode(index), blocks)?;
        placer.layout.ea_inodes.push(file);
    }
    placer.layout.extents.shrink_to_fit();
    placer.layout.map_nodes.shrink_to_fit();
    Ok(placer.layout)
}

struct FilePlacer<'g> {
    geometry: &'g Geometry,
    with_extents: bool,
    layout: Layout,
    ranges: Vec<Range<u64>>,
}

impl<'g> FilePlacer<'g> {
    fn new(geometry: &'g Geometry, input: PlacementInput<'_>, used: &UsedBlocks) -> Self {
        let PlacementInput { stored, xattrs, .. } = input;
        let tree = stored.tree;
        let in_blocks = |node: &&Node| matches!(node.kind, Kind::Directory { .. } | Kind::Symlink(_));
        // Reserve the capacity at once, to avoid copying a growing vector: there can be many runs.
        let extents =
            stored.runs() + tree.nodes.iter().filter(in_blocks).count() + xattrs.ea_inodes.len() + 16;
        let layout = Layout {
            resize_block: None,
            mmp_block: None,
            journal: None,
            quotas: Vec::new(),
            orphan_file: None,
            xattr_blocks: Vec::new(),
            ea_inodes: Vec::new(),
            nodes: vec![FileLayout::default(); tree.nodes.len()],
            extents: Vec::with_capacity(extents),
            map_nodes: Vec::new(),
            free: used.free(geometry.first_data_block, geometry.blocks_count, geometry.blocks_per_cluster),
            blocks_per_cluster: geometry.blocks_per_cluster,
        };
        let with_extents = geometry.features.has(Incompat::EXTENTS);
        Self { geometry, with_extents, layout, ranges: Vec::new() }
    }

    /// Places the files outside the tree.
    fn place_specials(&mut self, input: PlacementInput<'_>) -> Result<()> {
        let PlacementInput { numbering, specials, quotas, .. } = input;
        if self.geometry.features.has(Compat::RESIZE_INODE) {
            self.layout.resize_block = Some(self.one_block());
        }
        if self.geometry.features.has(Incompat::MMP) {
            self.layout.mmp_block = Some(self.one_block());
        }
        if let Some(journal) = specials.journal {
            let runs = std::iter::once((0, journal.blocks, false));
            self.layout.journal = Some(self.file(InodeNr::JOURNAL, runs, true)?);
        }
        for quota in quotas {
            let number = numbering.quota_file(quota.kind).expect("each quota file is numbered");
            let blocks = self.geometry.blocks_of_bytes(quota.size());
            let blocks = u32::try_from(blocks).map_err(|_| beyond_block_maps(number))?;
            let file = self.dense_file(number, blocks)?;
            self.layout.quotas.push(file);
        }
        if let Some(SpecialFile { blocks, .. }) = specials.orphan_file {
            let number = numbering.orphan_file().expect("the orphan file is numbered");
            self.layout.orphan_file = Some(self.dense_file(number, blocks)?);
        }
        Ok(())
    }

    /// Places the content of regular files, and of symlinks that don't fit into their inodes.
    fn place_content(&mut self, input: PlacementInput<'_>) -> Result<()> {
        let PlacementInput { numbering, stored, xattrs, .. } = input;
        let tree = stored.tree;
        for id in tree.ids().filter(|id| xattrs.inline_of(*id).is_none()) {
            let number = numbering.number_of(id);
            let file = match tree.node(id).kind {
                Kind::Regular { .. } => {
                    let blocks = stored.blocks_of(id);
                    let runs = blocks.map(|(logical, count, state)| (logical, count, state == UNWRITTEN));
                    self.file(number, runs, false)?
                }
                Kind::Symlink(target) if tree.text(target).len() as u64 >= FAST_SYMLINK_LIMIT => {
                    self.dense_file(number, 1)?
                }
                _ => continue,
            };
            self.layout.nodes[id.index()] = file;
        }
        Ok(())
    }

    /// Returns a block in a new cluster.
    fn one_block(&mut self) -> OutputBlock {
        let mut block = OutputBlock(0);
        self.layout.free.take(self.geometry.blocks_per_cluster, |range| block = OutputBlock(range.start));
        block
    }

    /// Places a file without holes.
    fn dense_file(&mut self, number: InodeNr, blocks: u32) -> Result<FileLayout> {
        self.file(number, std::iter::once((0, blocks, false)), false)
    }

    /// Places a file: first its content, then its extent tree nodes or indirect blocks. If `together` is set,
    /// the content is contiguous if possible.
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
            self.layout.free.take_contiguous(total, keep);
        } else {
            self.layout.free.take(total, keep);
        }
        let mut clusters = ClusterFiller::new(self.ranges.iter().cloned(), cluster);
        for (logical, count, unwritten) in runs {
            let mut done = 0;
            while done < count {
                let (physical, part) = clusters.take(logical + done, count - done);
                let extent = Extent::new(logical + done, part, physical, unwritten);
                push(&mut self.layout.extents, first_extent, self.with_extents, extent);
                done += part;
            }
        }
        let extents = &self.layout.extents[first_extent..];
        self.check_limits(number, extents)?;
        let first_map = self.layout.map_nodes.len();
        let map_nodes = map_shape::map_nodes(extents, self.geometry, self.with_extents);
        let map = &mut self.layout.map_nodes;
        let step = fits(cluster, "a cluster has at most 2^19 blocks");
        self.layout.free.take(map_nodes * cluster, |range| map.extend(range.step_by(step).map(OutputBlock)));
        if !self.with_extents && map[first_map..].iter().any(|block| block.0 > u32::MAX.into()) {
            return Err(beyond_block_maps(number));
        }
        let lengths = (u32::try_from(extents.len()), u32::try_from(map_nodes));
        let (Ok(extents), Ok(map)) = lengths else { return Err(beyond_block_maps(number)) };
        Ok(FileLayout { first_extent, extents, first_map_node: first_map, map_nodes: map })
    }

    fn check_limits(&self, number: InodeNr, extents: &[Extent]) -> Result<()> {
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

/// Assigns clusters to the blocks of a file. Each block has the same offset in its physical cluster as in its
/// logical cluster.
struct ClusterFiller<R> {
    ranges: R,
    /// The part of the current range after the last assigned block.
    room: Range<u64>,
    /// The logical block that corresponds to the start of `room`.
    logical: u64,
    cluster: u64,
}

impl<R: Iterator<Item = Range<u64>>> ClusterFiller<R> {
    fn new(ranges: R, cluster: u64) -> Self {
        Self { ranges, room: 0..0, logical: 0, cluster }
    }

    /// Assigns the longest contiguous prefix of `count` logical blocks. Returns its first block and its
    /// length. Calls must be in the order of logical blocks.
    fn take(&mut self, logical: u32, count: u32) -> (OutputBlock, u32) {
        let wanted = u64::from(logical);
        // The free blocks of the last physical cluster can only store blocks of the same logical cluster.
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
        let start = OutputBlock(self.room.start);
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

/// Appends blocks to the extents of a file. Makes each extent as long as possible.
fn push(extents: &mut Vec<Extent>, first: usize, with_extents: bool, mut new: Extent) {
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

    /// Uses clusters of 4 blocks, and the free blocks 8..16 and 40..44. Blocks 5 and 6 share a logical
    /// cluster, and so do 8 and 11.
    #[test]
    fn blocks_keep_their_place_in_the_cluster() {
        let mut filler = ClusterFiller::new([8..16, 40..44].into_iter(), 4);
        let mut at = |logical, count| filler.take(logical, count);
        assert_eq!(at(5, 1), (OutputBlock(9), 1));
        assert_eq!(at(6, 1), (OutputBlock(10), 1));
        assert_eq!(at(8, 1), (OutputBlock(12), 1));
        assert_eq!(at(11, 3), (OutputBlock(15), 1));
        assert_eq!(at(12, 2), (OutputBlock(40), 2));
        assert_eq!(count_clusters([(5, 1), (6, 1), (8, 1), (11, 3)].into_iter(), 4), 3);
        assert_eq!(count_clusters([(5, 1), (6, 1), (8, 1), (11, 3)].into_iter(), 1), 6);
    }

    #[test]
    fn extents_are_joined_and_cut_at_their_greatest_length() {
        let mut extents = Vec::new();
        let one = |logical, count, physical| Extent::new(logical, count, OutputBlock(physical), false);
        push(&mut extents, 0, true, one(0, 10, 100));
        push(&mut extents, 0, true, one(10, 40000, 110));
        push(&mut extents, 0, true, one(50000, 5, 40110));
        assert_eq!(extents, [one(0, 32768, 100), one(32768, 7242, 32868), one(50000, 5, 40110)]);
    }
}
