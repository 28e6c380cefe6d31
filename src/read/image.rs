//! Reads a whole image: first each structure, then the checks across structures.

use rayon::prelude::*;

use super::accounting::{self, InUse};
use super::claims::{BlockClaims, FileRuns};
use super::inodes::Inodes;
use super::live_inodes::{self, LiveInodes};
use super::reading::Reading;
use super::special::orphans::{self, Orphans};
use super::special::specials::Specials;
use super::special::{self, quota_usage};
use super::xattr::blocks;
use super::xattr::ea_values::{self, EaValues};
use super::xattr::entries::EaInodeRef;
use super::xattr::sets::XattrSets;
use super::{assemble, directory, encryption};
use crate::error::Result;
use crate::map;
use crate::observe::{Observer, Stage};
use crate::ondisk::features::RoCompat;
use crate::source::Source;
use crate::tree::Tree;
use crate::units::InodeNr;

/// Reads the tree of an image. Errors can contain an inode number without the path.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, with the inode and the block.
pub(super) fn read(source: &Source<'_>, observer: &dyn Observer) -> Result<Reading> {
    let mut claims = BlockClaims::of_metadata(source);
    // Check now: overlapping inode tables could result in an unlimited number of inodes.
    let cluster = source.geometry.blocks_per_cluster;
    claims.check(FileRuns::NONE, cluster)?;
    let mut orphans = orphans::read(source)?;
    orphans.claims.check(FileRuns::NONE, cluster)?;
    let tables = map::scan(source, orphans.set())?;
    observer.begin(Stage::Read, tables.live.len() as u64);
    let specials = special::read(source, &tables, claims.claimed(&[]))?;
    claims.extend(specials.claims.iter().copied());
    let mut warnings = tables.warnings;
    let LiveInodes { nodes: mut inodes, values: ea_inodes, claims: of_inodes } =
        live_inodes::read(source, &tables.live, &specials, &orphans, observer)?;
    claims.extend(of_inodes);
    drop(tables.live);
    inodes.check_counts()?;
    if inodes.stray_inline_data > 0 {
        warnings.push(format!(
            "{} inodes had the xattr system.data without inline data, which the kernel never shows; dropped",
            inodes.stray_inline_data
        ));
    }
    let xattr_blocks = blocks::read_blocks(source, &inodes, &orphans)?;
    claims.extend(xattr_blocks.claims(false));
    orphans.claims.extend(xattr_blocks.claims(true));
    warnings.extend(check_claims(source, &mut claims, &inodes, &mut orphans)?);
    let of_orphans = blocks::ea_inodes_of_orphans(source, &xattr_blocks, &orphans)?;
    let values = ea_values::read(source, ea_inodes, &mut inodes, &xattr_blocks, &of_orphans)?;
    let directories = inodes
        .list
        .par_iter()
        .enumerate()
        .filter(|(_, inode)| inode.is_directory())
        .map(|(index, _)| directory::read(source, inodes.directory(index)))
        .collect::<Result<Vec<_>>>()?;
    let redundant = RedundantData { source, claims: &claims, orphans: &orphans, specials: &specials };
    let stale = redundant.compare(&inodes, &values, &of_orphans);
    let mut tree = Tree::of_runs(std::mem::take(&mut inodes.runs));
    tree.nodes = std::mem::take(&mut inodes.nodes);
    let hashes = std::mem::take(&mut inodes.hashes);
    let xattr_sets = XattrSets::of(&inodes, &xattr_blocks, &values, hashes);
    let assembled = assemble::assemble(source, &inodes, tree, directories, xattr_sets)?;
    encryption::check(source, &assembled.tree, &assembled.inodes)?;
    warnings.extend(assembled.warnings);
    warnings.extend(stale);
    warnings.extend(specials.warnings());
    Ok(Reading { tree: assembled.tree, inodes: assembled.inodes, specials, warnings, orphans, claims })
}

/// Checks that no block has two owners. Returns a warning if files share blocks, with the feature that allows
/// it.
fn check_claims(
    source: &Source<'_>,
    claims: &mut BlockClaims,
    inodes: &Inodes<'_>,
    orphans: &mut Orphans,
) -> Result<Option<String>> {
    let cluster = source.geometry.blocks_per_cluster;
    orphans.claims.check(FileRuns::NONE, cluster)?;
    let mut content = FileRuns { runs: &inodes.runs, inodes: &inodes.list };
    let mut shared = 0;
    if source.features().has(RoCompat::SHARED_BLOCKS) {
        shared = claims.settle_shared(content);
        content = FileRuns::NONE;
    }
    claims.check(content, cluster)?;
    claims.claimed(&inodes.runs).check_orphans(content, &orphans.claims, cluster)?;
    Ok((shared > 0).then(|| {
        format!(
            "files shared {shared} blocks (shared_blocks); each file now has separate blocks, and the \
             feature is cleared"
        )
    }))
}

/// The inodes, claims and orphans to compare with bitmaps, counts and quota files.
struct RedundantData<'r, 'a> {
    source: &'r Source<'a>,
    claims: &'r BlockClaims,
    orphans: &'r Orphans,
    specials: &'r Specials,
}

impl RedundantData<'_, '_> {
    /// Compares bitmaps, counts and quota files with the inodes, and returns warnings. `of_orphans` are the
    /// EA inodes of orphans.
    fn compare(
        &self,
        inodes: &Inodes<'_>,
        values: &EaValues<'_>,
        of_orphans: &[(InodeNr, EaInodeRef)],
    ) -> Vec<String> {
        let Self { source, claims, orphans, specials } = self;
        let outside = specials.numbers.iter().copied().chain(values.numbers());
        let mut others: Vec<_> = outside.chain(orphans.without_links.iter().copied()).collect();
        others.sort_unstable();
        let in_use = InUse {
            blocks: claims.claimed(&inodes.runs),
            orphan_blocks: orphans.claims.claimed(&[]),
            inodes: &inodes.list,
            others: &others,
            bad: &specials.bad_inodes,
            orphan_directories: &orphans.directories,
        };
        let mut stale = accounting::compare(source, in_use);
        stale.extend(accounting::blocks_outside(source, specials.wrong_blocks + values.wrong_blocks()));
        let of_orphans = quota_usage::of_orphans(source, orphans, of_orphans);
        stale.extend(quota_usage::compare(source, &specials.quotas, inodes, &of_orphans));
        stale
    }
}
