//! Checks a finished plan before the first byte is written.
//!
//! A bug in layout or placement would produce a damaged image that looks complete. Therefore the finished
//! plan is checked as e2fsck would check the image: each block in use has exactly one owner, each pointer
//! leads to blocks of its owner, each piece to write is at a block that a pointer leads to, and all counts
//! match. The audit does not call the code that made the plan. It has separate code for the formulas of the
//! format.

mod contradiction;
mod copy_batches;
mod counts;
mod directories;
mod directory_index;
mod expected_copies;
mod file;
mod inodes;
mod ownership;
mod pieces;
mod quotas;
mod static_metadata;
#[cfg(test)]
mod tests;
mod xattrs;

use crate::error::Result;
use crate::plan::Plan;
use crate::read::Specials;
use crate::survey::StoredTree;
use contradiction::ensure;
use static_metadata::StaticMetadata;

/// Checks that a plan is consistent, and that it matches the tree. `specials` are the inodes of the input
/// outside the tree.
///
/// # Errors
///
/// `Internal` for any contradiction, which is a bug in this program.
pub(crate) fn audit(plan: &Plan, stored: StoredTree<'_>, specials: &Specials) -> Result<()> {
    let tree = stored.tree;
    ensure(plan.groups.len() == plan.geometry.groups as usize, || "the number of groups".to_owned())?;
    ensure(plan.counts.len() == plan.geometry.groups as usize, || "the number of group counts".to_owned())?;
    let metadata = StaticMetadata::of(plan);
    let (owned, written) = rayon::join(
        || {
            let used_inodes = inodes::check(plan, tree)?;
            directories::check(plan, tree)?;
            xattrs::check(plan, tree)?;
            let owned = ownership::check(plan, stored, specials, &metadata)?;
            counts::check(plan, tree, &metadata, &owned, &used_inodes)?;
            quotas::check(plan, tree)
        },
        || pieces::check(plan, stored, &metadata),
    );
    owned?;
    written
}
