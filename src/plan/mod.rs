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
mod resized_geometry;
mod smallest_size;
mod static_placement;
mod superblock;
mod xattr_placement;
mod xattr_plan;
mod xattr_split;

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

use std::ops::Range;

use rayon::prelude::*;

use crate::error::Result;
use crate::geometry::Geometry;
use crate::policy::{Options, SizePolicy};
use crate::read::Reading;
use crate::source::Source;
use crate::survey::Survey;
use crate::tree::Tree;
use attempt::{Placed, attempt, demand};
use file_placement::PlacementInput;
use inline::InlineCandidates;

/// Plans the output.
///
/// # Errors
///
/// `DoesNotFit` or `TooFewInodes` if the image has too few blocks or inodes; `Unsupported` if the tree
/// exceeds the limits of a structure, or needs features that revision 0 does not have, or if the static
/// metadata can't be placed; `Options` if no filesystem can have the requested size.
pub fn plan(source: &Source<'_>, reading: &Reading, survey: &Survey, options: &Options) -> Result<Plan> {
    let Reading { tree, specials, .. } = reading;
    let mut geometry = source.geometry.clone();
    geometry.features = features(source, tree)?;
    let mut candidates =
        InlineCandidates::new(&geometry, tree, survey, xattr_placement::body_room(&geometry));
    let (xattrs, numbering) = xattrs_and_numbering(&geometry, reading, &mut candidates)?;
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
        source,
        geometry.clone(),
        options.size,
        || demand(&geometry, input),
        |geometry| attempt(geometry, input),
    )?;
    let superblock = superblock::build(source, &geometry, options, &numbering, &placed);
    let Placed { groups, layout, .. } = placed;
    let mut plan = Plan {
        behind: behind(source, options),
        image_bytes: chosen_size::image_bytes(source, options.size, &geometry),
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
    reading: &Reading,
    candidates: &mut InlineCandidates<'_>,
) -> Result<(XattrPlan, Numbering)> {
    let Reading { tree, specials, inodes: before, .. } = reading;
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

/// Returns the byte range past the end of the filesystem that is copied. It is empty if the output has a
/// different size.
fn behind(source: &Source<'_>, options: &Options) -> Range<u64> {
    let end = source.input().bytes().len() as u64;
    match options.size {
        SizePolicy::Keep => source.geometry.filesystem_bytes()..end,
        _ => end..end,
    }
}
