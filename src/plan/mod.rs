//! `Tree` → `Plan`: every number of the output, decided serially, and nothing by how much is free.

mod allocate;
mod content_uuid;
mod copies;
mod directory;
mod groups;
mod identity;
mod inline;
mod layout;
mod map;
mod numbering;
mod pack;
mod pieces;
mod placement;
mod quota;
mod resize;
mod smallest;
mod superblock;
mod xattr;
mod xattr_split;

pub use allocate::FreeBlocks;
pub use copies::Copies;
pub use directory::{DOTS_SIZE, DirectoryPlan, DirectoryPlans, DirectoryRules, Index};
pub use groups::GroupCounts;
pub use identity::{Identity, PART_BYTES};
pub use inline::InlineLists;
pub use layout::{FileLayout, Layout};
pub use map::{IndirectBlock, extent_levels, indirect_blocks, indirect_root};
pub use numbering::Numbering;
pub use pieces::{Content, Owner, Piece};
pub use placement::GroupPlaces;
pub use quota::{QuotaBlock, QuotaEntry, QuotaPlan};
pub use superblock::{features, settings};
pub use xattr::{SplitId, XattrPlan};

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Location, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, RoCompat};
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::Superblock;
use crate::policy::{Options, SizePolicy};
use crate::read::Reading;
use crate::source::Source;
use crate::survey::Survey;
use crate::tree::{NodeId, QuotaUsage, Tree};

/// Everything that the output will be, but for the bytes.
#[derive(Debug)]
pub struct Plan {
    /// Sizes and counts, with the output's features.
    pub geometry: Geometry,
    /// The primary superblock, without the UUID, the journal's backup and the checksum.
    pub superblock: Superblock,
    /// Which inode each node gets.
    pub numbering: Numbering,
    /// The places of each group's metadata.
    pub groups: Vec<GroupPlaces>,
    /// What is free in each group.
    pub counts: Vec<GroupCounts>,
    /// Where every file lies.
    pub layout: Layout,
    /// The blocks of each directory.
    pub directories: DirectoryPlans,
    /// Where xattrs go, and which content lies in its inode.
    pub xattrs: XattrPlan,
    /// The quota files, in the order of their types.
    pub quotas: Vec<QuotaPlan>,
    /// What is to be rendered, in the order of the blocks.
    pub rendered: Vec<Piece>,
    /// What is to be copied, and how much that is.
    pub copies: Copies,
    /// Blocks of the journal for fast commits.
    pub fast_commit_blocks: u32,
    /// The time of inodes outside the tree, in seconds since 1970.
    pub epoch: i64,
    /// Bytes of the output.
    pub image_bytes: u64,
    /// Bytes behind the input's filesystem that are copied.
    pub behind: Range<u64>,
}

/// Plans the output.
///
/// # Errors
///
/// `DoesNotFit` or `TooFewInodes` where the image has too few blocks or inodes, `Unsupported` where a structure
/// can't hold what the tree asks of it, `Options` where there is no filesystem of the size that is asked for.
pub fn plan(source: &Source<'_>, reading: &Reading, survey: &Survey, options: &Options) -> Result<Plan> {
    let Reading { tree, specials, inodes: before, .. } = reading;
    let mut geometry = source.geometry.clone();
    geometry.features = features(source, tree)?;
    let mut candidates = inline::Candidates::new(&geometry, tree, survey, xattr::body_room(&geometry));
    let (xattrs, numbering) = loop {
        let xattrs = xattr::plan(tree, &geometry, &candidates, before)?;
        let numbering = Numbering::new(&geometry, tree, specials, (before, xattrs.values.len()));
        // Each time there are fewer candidates.
        if !candidates.leave_out_lookalikes(|id| xattrs.inline_of(id).is_some(), &numbering) {
            break (xattrs, numbering);
        }
    };
    let rules = DirectoryRules::new(&geometry);
    let directories: Vec<_> = tree.ids().filter(|id| tree.node(*id).kind.is_directory()).collect();
    let directories = directories
        .into_par_iter()
        .with_max_len(64)
        .map(|id| {
            let plan = if xattrs.inline_of(id).is_some() {
                DirectoryPlan { inline: candidates.lists(id).map(Box::new), ..DirectoryPlan::default() }
            } else {
                rules.plan(tree, id, numbering.number_of(id))?
            };
            Ok((id, plan))
        })
        .collect::<Result<_>>()?;
    let directories = DirectoryPlans::new(directories);
    let quotas: Vec<_> = specials.quotas.iter().map(|file| QuotaPlan::new(file, tree, &xattrs)).collect();
    let contents = layout::Contents {
        numbering: &numbering,
        tree,
        specials,
        directories: &directories,
        quotas: &quotas,
        xattrs: &xattrs,
    };
    let demand = || demand(&geometry, contents);
    let (geometry, (groups, layout, static_clusters)) =
        resize::lay_out(source, geometry.clone(), options.size, demand, |geometry| {
            attempt(geometry, contents)
        })?;
    let with_flags =
        !geometry.features.ro_compat.intersection(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM).is_empty();
    let counts = groups::counts(&geometry, &layout, &numbering, tree, with_flags);
    let superblock = superblock::build(source, &geometry, options, &numbering, static_clusters, &layout);
    let image_bytes = resize::image_bytes(source, options.size, &geometry);
    let mut plan = Plan {
        behind: behind(source, options),
        image_bytes,
        geometry,
        superblock,
        numbering,
        groups,
        counts,
        layout,
        directories,
        xattrs,
        quotas,
        rendered: Vec::new(),
        copies: Copies::default(),
        fast_commit_blocks: specials.journal.map_or(0, |journal| journal.fast_commit_blocks),
        epoch: options.epoch.unwrap_or(0),
    };
    plan.check_sizes(tree)?;
    plan.charge_quotas(tree);
    plan.rendered = pieces::rendered(&plan, tree);
    plan.copies = Copies::count(&plan, tree);
    Ok(plan)
}

/// Where static metadata and everything else goes in a geometry, and how many clusters the former takes.
type Places = (Vec<GroupPlaces>, Layout, u64);

/// Lays everything out in a geometry. It depends on nothing but its arguments, so that an attempt that
/// fails leaves no trace in the next one.
fn attempt(geometry: &Geometry, contents: layout::Contents<'_>) -> Result<resize::Attempt<Places>> {
    contents.numbering.check(geometry)?;
    let (groups, used) = match placement::place(geometry) {
        Ok(places) => places,
        Err(error) => return Ok(resize::Attempt::Lacks(error)),
    };
    let layout = layout::lay_out(geometry, contents, &used)?;
    let missing = layout.free.missing();
    if missing > 0 {
        let available = geometry.blocks_count;
        let error = Error::DoesNotFit { unit: "blocks", needed: available + missing, available };
        return Ok(resize::Attempt::Lacks(error));
    }
    let static_clusters = used.count_clusters(geometry.blocks_per_cluster);
    Ok(resize::Attempt::Fits((groups, layout, static_clusters)))
}

/// What any geometry must have room for: a layout without static metadata is not fragmented.
fn demand(geometry: &Geometry, contents: layout::Contents<'_>) -> Result<smallest::Demand> {
    let layout = layout::lay_out(geometry, contents, &allocate::UsedBlocks::default())?;
    let there = geometry.blocks_count - geometry.first_data_block;
    let blocks = there - layout.free.count() + layout.free.missing();
    Ok(smallest::Demand { last_inode: contents.numbering.last(), blocks })
}

/// What is not the filesystem's: an output of another size does not have it.
fn behind(source: &Source<'_>, options: &Options) -> Range<u64> {
    let end = source.input().bytes().len() as u64;
    match options.size {
        SizePolicy::Keep => source.geometry.blocks_count * source.geometry.block_size as u64..end,
        _ => end..end,
    }
}

impl Plan {
    /// What is charged to a node: the blocks that are allocated for it, in whole clusters (its content,
    /// its own map and its xattr block, which counts in full for each inode that shares it), and
    /// the values of its xattrs in inodes of their own. `i_blocks` tells of the bytes.
    pub fn usage_of(&self, tree: &Tree, node: NodeId) -> QuotaUsage {
        let size = self.geometry.block_size as u64;
        let cluster = self.geometry.blocks_per_cluster;
        let xattrs = u64::from(self.xattrs.block_of(node).is_some()) * cluster;
        let blocks = self.layout.blocks(self.layout.nodes[node.index()]) + xattrs;
        let mut usage = QuotaUsage { inodes: 1, bytes: blocks * size };
        usage.add(self.xattrs.charge(tree, node, cluster * size));
        usage
    }

    /// Refuses a file whose `i_blocks` needs more than 32 bits, where no feature gives it more.
    fn check_sizes(&self, tree: &Tree) -> Result<()> {
        if self.geometry.features.ro_compat.contains(RoCompat::HUGE_FILE) {
            return Ok(());
        }
        match tree.ids().find(|id| self.usage_of(tree, *id).bytes / 512 > u32::MAX.into()) {
            Some(id) => Err(Location::of(Structure::Inode).inode(self.numbering.number_of(id)).unsupported(
                "a file with 2 TiB or more in blocks, without the huge_file feature",
                "set it with tune2fs -O huge_file",
            )),
            None => Ok(()),
        }
    }

    /// Charges every inode to its owners, as e2fsck does.
    fn charge_quotas(&mut self, tree: &Tree) {
        let mut quotas = std::mem::take(&mut self.quotas);
        for quota in &mut quotas {
            for id in quota::charged(tree, &self.xattrs) {
                quota.charge(quota::owner(tree, id, quota.kind), self.usage_of(tree, id));
            }
        }
        self.quotas = quotas;
    }

    /// The quota file of a type.
    pub fn quota(&self, kind: QuotaType) -> Option<&QuotaPlan> {
        self.quotas.iter().find(|quota| quota.kind == kind)
    }

    /// Whether files are mapped by extents.
    pub fn has_extents(&self) -> bool {
        self.geometry.features.incompat.contains(crate::ondisk::features::Incompat::EXTENTS)
    }

    /// Whether there is a resize inode.
    pub fn has_resize_inode(&self) -> bool {
        self.geometry.features.compat.contains(Compat::RESIZE_INODE)
    }
}
