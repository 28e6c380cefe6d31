//! `Tree` → `Plan`: every number of the output, decided serially, and nothing by how much is free.

mod allocate;
mod content_uuid;
mod directory;
mod layout;
mod map;
mod pieces;
mod placement;
mod superblock;
mod xattr;

pub use allocate::FreeBlocks;
pub use directory::{DOTS_SIZE, DirectoryPlan, DirectoryRules};
pub use layout::{FileLayout, Layout};
pub use map::{IndirectBlock, PlannedExtent, extent_levels, indirect_blocks, indirect_root};
pub use pieces::{Content, Owner, Piece};
pub use placement::GroupPlaces;
pub use xattr::XattrPlan;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::features::Compat;
use crate::ondisk::superblock::Superblock;
use crate::policy::{Options, UuidPolicy};
use crate::read::Specials;
use crate::source::Source;
use crate::survey::Survey;
use crate::tree::{NodeId, Tree};
use crate::units::InodeNr;

/// Everything that the output will be, but for the bytes.
#[derive(Debug)]
pub struct Plan {
    /// Sizes and counts, with the output's features.
    pub geometry: Geometry,
    /// The primary superblock, without the journal's backup and the checksum.
    pub superblock: Superblock,
    /// The checksums, with their seeds.
    pub checksums: Checksums,
    /// Which inode each node gets.
    pub numbering: Numbering,
    /// The places of each group's metadata.
    pub groups: Vec<GroupPlaces>,
    /// Where every file lies.
    pub layout: Layout,
    /// The blocks of each directory, by node; empty for what is none.
    pub directories: Vec<DirectoryPlan>,
    /// Where xattrs go.
    pub xattrs: XattrPlan,
    /// What is to be written, in the order of the blocks.
    pub pieces: Vec<Piece>,
    /// Blocks of the journal for fast commits.
    pub fast_commit_blocks: u32,
    /// The time of inodes outside the tree, in seconds since 1970.
    pub epoch: i64,
}

/// Which inode each node gets: the root its own, `lost+found` the first that is not reserved,
/// then the orphan file, then all others in canonical order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbering {
    first: u32,
    orphan_file: bool,
    nodes: u32,
}

impl Numbering {
    fn new(geometry: &Geometry, tree: &Tree, specials: &Specials) -> Result<Self> {
        let nodes = u32::try_from(tree.nodes.len()).unwrap_or(u32::MAX);
        let orphan_file = specials.orphan_file_blocks.is_some();
        let first = geometry.first_inode.0;
        let needed = u64::from(first) - 1 + u64::from(nodes) - 1 + u64::from(orphan_file);
        if needed > geometry.inodes_count().into() {
            return Err(Error::DoesNotFit {
                unit: "inodes",
                needed,
                available: geometry.inodes_count().into(),
            });
        }
        Ok(Self { first, orphan_file, nodes })
    }

    /// The inode of a node.
    pub fn number_of(&self, node: NodeId) -> InodeNr {
        match node {
            NodeId::ROOT => InodeNr::ROOT,
            NodeId::LOST_FOUND => InodeNr(self.first),
            NodeId(index) => InodeNr(self.first + u32::from(self.orphan_file) + index - 1),
        }
    }

    /// The node of an inode, if it has one.
    pub fn node_of(&self, number: InodeNr) -> Option<NodeId> {
        if number == InodeNr::ROOT {
            return Some(NodeId::ROOT);
        }
        if number.0 == self.first {
            return Some(NodeId::LOST_FOUND);
        }
        let index = number.0.checked_sub(self.first + u32::from(self.orphan_file))? + 1;
        (index > 1 && index < self.nodes).then_some(NodeId(index))
    }

    /// The inode of the orphan file.
    pub fn orphan_file(&self) -> Option<InodeNr> {
        self.orphan_file.then_some(InodeNr(self.first + 1))
    }

    /// The last inode in use; all before it are in use too.
    pub fn last(&self) -> InodeNr {
        let last = self.number_of(NodeId(self.nodes - 1));
        self.orphan_file().map_or(last, |orphan_file| last.max(orphan_file))
    }
}

/// Plans the output.
///
/// # Errors
///
/// `DoesNotFit` where the image has too few blocks or inodes, `Unsupported` where a structure
/// can't hold what the tree asks of it.
pub fn plan(
    source: &Source<'_>,
    tree: &Tree,
    specials: &Specials,
    survey: &Survey,
    options: &Options,
) -> Result<Plan> {
    let mut geometry = source.geometry.clone();
    geometry.features = superblock::features(source, tree)?;
    let numbering = Numbering::new(&geometry, tree, specials)?;
    let (groups, used) = placement::place(&geometry)?;
    let rules = DirectoryRules::new(&geometry);
    let directories = (0..tree.nodes.len())
        .into_par_iter()
        .with_min_len(256)
        .map(|index| {
            let id = NodeId(u32::try_from(index).unwrap_or(u32::MAX));
            if tree.node(id).kind.is_directory() {
                rules.plan(tree, id, numbering.number_of(id))
            } else {
                Ok(DirectoryPlan::default())
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let mut xattrs = xattr::plan(tree, &geometry, |node| numbering.number_of(node))?;
    let contents = layout::Contents {
        geometry: &geometry,
        numbering,
        tree,
        specials,
        survey,
        directories: &directories,
    };
    let layout = layout::lay_out(contents, &mut xattrs, &used)?;
    let mut superblock = superblock::build(source, &geometry, options, numbering, &groups, &layout);
    superblock.s_uuid = match options.uuid {
        UuidPolicy::Content => content_uuid::derive(&superblock, tree, specials, survey),
        UuidPolicy::Keep => source.superblock.s_uuid,
        UuidPolicy::Given(uuid) => uuid,
    };
    let mut plan = Plan {
        checksums: Checksums::of(&superblock),
        geometry,
        superblock,
        numbering,
        groups,
        layout,
        directories,
        xattrs,
        pieces: Vec::new(),
        fast_commit_blocks: specials.journal.map_or(0, |journal| journal.fast_commit_blocks),
        epoch: options.epoch.unwrap_or(0),
    };
    plan.pieces = pieces::list(&plan, tree, survey)?;
    Ok(plan)
}

impl Plan {
    /// Whether files are mapped by extents.
    pub fn has_extents(&self) -> bool {
        self.geometry.features.incompat.contains(crate::ondisk::features::Incompat::EXTENTS)
    }

    /// Whether there is a resize inode.
    pub fn has_resize_inode(&self) -> bool {
        self.geometry.features.compat.contains(Compat::RESIZE_INODE)
    }

    /// Bytes that are written; the rest is holes.
    pub fn bytes_written(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes).sum()
    }
}
