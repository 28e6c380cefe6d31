//! `Tree` → `Plan`: computes all locations, counts and sizes of the output. The placement rules never depend
//! on the amount of free space.

mod attempt;
mod chosen_size;
mod content_uuid;
mod copied_pieces;
mod copy_batches;
mod directory;
mod extent;
mod file_placement;
mod finished;
mod free_blocks;
mod group_counts;
mod identity;
mod inline;
mod layout;
mod map_shape;
mod numbering;
mod pack;
mod piece;
mod quota;
mod rendered_pieces;
mod smallest_size;
mod static_placement;
mod superblock;
mod xattr_placement;
mod xattr_plan;
mod xattr_split;

pub(crate) use chosen_size::resized_target;
pub(crate) use copy_batches::{CopyBatch, CopyBatches, CopyStart};
pub(crate) use directory::{DOTS_SIZE, DirectoryPlan, DirectoryPlans, DirectoryRules, IndexPlan};
pub(crate) use extent::Extent;
pub(crate) use finished::Plan;
pub(crate) use group_counts::GroupCounts;
pub(crate) use identity::Identity;
pub(crate) use inline::InlineLists;
pub(crate) use layout::FileLayout;
pub(crate) use map_shape::{IndirectBlock, extent_levels, indirect_blocks, indirect_root};
pub(crate) use numbering::Numbering;
pub(crate) use piece::{MapOwner, Piece, PieceContent};
pub(crate) use quota::{QuotaBlock, QuotaEntry, QuotaPlan};
pub(crate) use static_placement::GroupPlaces;
pub(crate) use superblock::{features, settings};
pub(crate) use xattr_plan::{SplitId, XattrPlan};

use rayon::prelude::*;

use crate::error::Result;
use crate::geometry::Geometry;
use crate::policy::Options;
use crate::read::Specials;
use crate::resized_geometry::fewest_inodes_per_group;
use crate::survey::Survey;
use crate::target::Target;
use crate::tree::Tree;
use crate::units::InodeNr;
use attempt::{Placed, attempt, demand};
use file_placement::PlacementInput;
use inline::InlineCandidates;

/// Plans the output, with the settings of the target. `before` contains the inode number of each node in the
/// input, or 0.
///
/// # Errors
///
/// `DoesNotFit` or `TooFewInodes` if the image has too few blocks or inodes; `Unsupported` if the tree
/// exceeds the limits of a structure, or needs features that revision 0 does not have, or if the static
/// metadata can't be placed; `Options` if no filesystem can have the requested size.
pub fn plan(
    tree: &Tree,
    before: &[InodeNr],
    target: &Target,
    survey: &Survey,
    options: &Options,
) -> Result<Plan> {
    let specials = &target.specials;
    let mut geometry = target.geometry.clone();
    geometry.features = features(target, tree)?;
    let mut candidates =
        InlineCandidates::new(&geometry, tree, survey, xattr_placement::body_room(&geometry));
    let (xattrs, mut numbering) = xattrs_and_numbering(&geometry, (tree, specials), before, &mut candidates)?;
    if geometry.least_inodes.is_some() {
        let least = numbering.last().0.max(geometry.first_inode.0 + 1);
        geometry.least_inodes = Some(least);
        geometry.inodes_per_group = fewest_inodes_per_group(&geometry, least);
    }
    let directories = directory_plans(&geometry, tree, &candidates, &xattrs, &numbering)?;
    let quotas: Vec<_> = specials.quotas.iter().map(|file| QuotaPlan::new(file, tree, &xattrs)).collect();
    let input = PlacementInput {
        numbering: &numbering,
        stored: survey.stored(tree),
        specials,
        directories: &directories,
        quotas: &quotas,
        xattrs: &xattrs,
    };
    let (geometry, placed) = chosen_size::place(
        target,
        geometry.clone(),
        options.size,
        || demand(&geometry, input),
        |geometry| attempt(geometry, input),
    )
    .map_err(|error| target.with_enough_inodes(error, numbering.last()))?;
    // From here on, the number of inodes in a group is fixed.
    let geometry = Geometry { least_inodes: None, ..geometry };
    numbering.set_groups(&geometry);
    let superblock = superblock::build(target, &geometry, options, &numbering, &placed);
    let Placed { groups, layout, .. } = placed;
    let mut plan = Plan {
        rest: target.rest.clone(),
        image_bytes: chosen_size::image_bytes(target, options.size, &geometry),
        counts: group_counts::counts(&geometry, &layout, &numbering, tree),
        geometry,
        superblock,
        numbering,
        groups,
        layout,
        directories,
        xattrs,
        quotas,
        rendered: Vec::new(),
        copies: CopyBatches::default(),
        fast_commit_blocks: specials.journal.map_or(0, |journal| journal.fast_commit_blocks),
        epoch: options.epoch.unwrap_or(0),
    };
    plan.check_sizes(tree)?;
    plan.charge_quotas(tree);
    plan.rendered = rendered_pieces::rendered(&plan, survey.stored(tree));
    plan.copies = copied_pieces::batches(&plan, survey.stored(tree));
    Ok(plan)
}

/// Places xattrs, decides which content is inline, and numbers the inodes. These three steps depend on each
/// other, since a directory can't be inline with certain inode numbers.
fn xattrs_and_numbering(
    geometry: &Geometry,
    (tree, specials): (&Tree, &Specials),
    before: &[InodeNr],
    candidates: &mut InlineCandidates<'_>,
) -> Result<(XattrPlan, Numbering)> {
    loop {
        let xattrs = xattr_placement::plan(tree, geometry, candidates, before)?;
        let numbering = Numbering::new(geometry, tree, specials, before, xattrs.ea_inodes.len());
        // The loop ends, since each pass has fewer candidates.
        if !candidates.leave_out_lookalikes(|id| xattrs.inline_of(id).is_some(), &numbering) {
            return Ok((xattrs, numbering));
        }
    }
}

/// Plans all directories.
fn directory_plans(
    geometry: &Geometry,
    tree: &Tree,
    candidates: &InlineCandidates<'_>,
    xattrs: &XattrPlan,
    numbering: &Numbering,
) -> Result<DirectoryPlans> {
    let rules = DirectoryRules::new(geometry);
    let directories: Vec<_> = tree.ids().filter(|id| tree.node(*id).kind.is_directory()).collect();
    let plans = directories
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
    Ok(DirectoryPlans::new(plans))
}
