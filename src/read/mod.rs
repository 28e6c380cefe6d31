//! Blocks → `Tree`: reads everything that carries content, and believes nothing unchecked.
//!
//! What is only redundant (bitmaps, counts) is compared and warned of; anything else that is not
//! as the format demands is an error.

mod accounting;
mod assemble;
mod block_map;
mod claims;
mod directory;
mod ea_inode;
mod encryption;
mod extent_tree;
mod file_map;
mod file_size;
mod htree;
mod index;
mod inode;
mod inode_table;
mod inodes;
pub mod leftovers;
mod orphan;
mod paths;
pub mod places;
mod quota;
mod special;
mod verity;
mod xattr;
mod xattr_sets;

pub use claims::Claims;
pub use directory::{StoredDirectory, stored, stored_names};
pub use file_map::block_at;
pub use inode_table::check_checksum;
pub use orphan::Orphans;
pub use quota::{Limits, QuotaFile, QuotaRules, Usage};
pub use special::{DenseFile, JournalShape, SpecialFile, Specials, dense_file};

use std::hash::{BuildHasher as _, RandomState};

use rayon::prelude::*;
use xattr_sets::Alike;

use crate::error::Result;
use crate::observe::{Observer, Stage};
use crate::ondisk::features::RoCompat;
use crate::source::Source;
use crate::tree::Tree;
use crate::units::InodeNr;

/// What was read.
#[derive(Debug)]
pub struct Reading {
    /// The tree.
    pub tree: Tree,
    /// The inode that each node had in the input, for messages and `stable_inodes` alone; 0 for
    /// one that was not there.
    pub inodes: Vec<InodeNr>,
    /// What the input's inodes outside the tree say of its geometry.
    pub specials: Specials,
    /// What was wrong, but only redundant, and what is said of the content.
    pub warnings: Vec<String>,
    /// What was to be deleted or truncated.
    pub orphans: Orphans,
    /// The claims on blocks of the input; those of content are told by the first of the tree's runs.
    pub claims: Claims,
}

impl Reading {
    /// Blocks of the input that its structures and files take.
    pub fn claimed(&self) -> claims::Claimed<'_> {
        self.claims.claimed(&self.tree.runs)
    }
}

/// Reads the tree of an image.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, naming inode, path and block.
pub fn read(source: &Source<'_>, observer: &dyn Observer) -> Result<Reading> {
    read_unplaced(source, observer).map_err(|error| match error.inode_without_path() {
        Some(inode) => match paths::find(source, inode) {
            Some(path) => error.with_path(path),
            None => error,
        },
        None => error,
    })
}

/// Inodes with links.
#[derive(Default)]
struct Live<'a> {
    /// Those that names lead to.
    nodes: inodes::Inodes<'a>,
    /// Those that hold values of xattrs.
    values: Vec<ea_inode::EaInode>,
    claims: Vec<claims::Claim>,
}

/// Inodes that are read at once.
const ROUND: usize = 1 << 15;

impl<'a> Live<'a> {
    /// None yet, and room for so many; hashes begin with the seed.
    fn for_inodes(count: usize, seed: u64) -> Self {
        let mut live = Self::default();
        live.nodes.hashes.seed = seed;
        live.nodes.list.reserve_exact(count);
        live.nodes.nodes.reserve_exact(count);
        live
    }

    /// Reads an inode with links.
    fn read(
        &mut self,
        source: &Source<'a>,
        budget: &file_map::Budget,
        orphans: &Orphans,
        raw: &inode_table::RawInode<'a>,
    ) -> Result<()> {
        let claims = &mut self.claims;
        if ea_inode::is_one(source, raw) {
            self.values.push(ea_inode::read(source, budget, raw, claims)?);
            return Ok(());
        }
        inode::read(source, budget, raw, orphans.contains(raw.number), (&mut self.nodes, claims))
    }
}

/// Reads all inodes with links but for those outside the tree.
fn read_live<'a>(
    source: &Source<'a>,
    live: &[inode_table::RawInode<'a>],
    (specials, orphans): (&Specials, &Orphans),
    observer: &dyn Observer,
) -> Result<Live<'a>> {
    let budget = file_map::Budget::new(source);
    // Nobody who makes images can know which sets of xattrs will have one hash.
    let seed = RandomState::new().hash_one(0);
    let read = |raws: &[inode_table::RawInode<'a>]| {
        let mut batch = Live::for_inodes(raws.len(), seed);
        for raw in raws.iter().filter(|raw| !specials.is_special(raw.number)) {
            batch.read(source, &budget, orphans, raw)?;
        }
        observer.advance(raws.len() as u64);
        Ok(batch)
    };
    let mut all = Live::for_inodes(live.len(), seed);
    let mut add = |batches: Vec<Live<'a>>| {
        for batch in batches {
            all.claims.extend(batch.claims);
            all.nodes.append(batch.nodes);
            all.values.extend(batch.values);
        }
    };
    // In rounds, so that what is in flight stays little; what was read is put together meanwhile.
    let mut batches = Vec::new();
    for round in live.chunks(ROUND) {
        let next = || round.par_chunks(512).map(read).collect::<Result<Vec<_>>>();
        let ((), next) = rayon::join(|| add(std::mem::take(&mut batches)), next);
        batches = next?;
    }
    add(batches);
    Ok(all)
}

fn read_unplaced<'a>(source: &Source<'a>, observer: &dyn Observer) -> Result<Reading> {
    let mut claims = Claims::of_metadata(source);
    // Inode tables that lie in each other would be read as many inodes as one likes.
    let (cluster, none) = (source.geometry.blocks_per_cluster, claims::Content::NONE);
    claims.check(none, cluster)?;
    let mut orphans = orphan::read(source)?;
    orphans.claims.check(none, cluster)?;
    let scan = inode_table::scan(source, &orphans)?;
    observer.begin(Stage::Read, scan.live.len() as u64);
    let specials = special::read(source, &scan, claims.claimed(&[]))?;

    claims.extend(specials.claims.iter().copied());
    let mut warnings = scan.warnings;
    let Live { nodes: mut inodes, values: ea_inodes, claims: of_inodes } =
        read_live(source, &scan.live, (&specials, &orphans), observer)?;
    claims.extend(of_inodes);
    drop(scan.live);
    inodes.check_counts()?;
    if inodes.stray_inline_data > 0 {
        warnings.push(format!(
            "{} inodes had the xattr system.data without inline data, which the kernel shows to nobody; dropped",
            inodes.stray_inline_data
        ));
    }
    let xattr_blocks = xattr::read_blocks(source, &inodes, &orphans)?;
    claims.extend(xattr_blocks.claims(false));
    orphans.claims.extend(xattr_blocks.claims(true));
    orphans.claims.check(none, cluster)?;
    let mut content = claims::Content { runs: &inodes.runs, inodes: &inodes.list };
    let shared = if source.features().ro_compat.contains(RoCompat::SHARED_BLOCKS) {
        let shared = claims.settle_shared(content);
        content = none;
        shared
    } else {
        0
    };
    if shared > 0 {
        warnings.push(format!(
            "files shared {shared} blocks (shared_blocks); each has its own now, and the feature is gone"
        ));
    }
    claims.check(content, cluster)?;
    claims.claimed(&inodes.runs).check_orphans(content, &orphans.claims, cluster)?;
    let of_orphans = xattr::values_of_orphans(source, &xattr_blocks, &orphans)?;
    let values = ea_inode::values(source, ea_inodes, &mut inodes, &xattr_blocks, &of_orphans)?;
    let directories = inodes
        .list
        .par_iter()
        .enumerate()
        .filter(|(_, inode)| inode.is_directory())
        .map(|(index, _)| directory::read(source, inodes.get(index)))
        .collect::<Result<Vec<_>>>()?;
    let outside = specials.numbers.iter().copied().chain(values.numbers());
    let mut others: Vec<_> = outside.chain(orphans.without_links.iter().copied()).collect();
    others.sort_unstable();
    let in_use = accounting::InUse {
        blocks: claims.claimed(&inodes.runs),
        orphan_blocks: orphans.claims.claimed(&[]),
        inodes: &inodes.list,
        others: &others,
    };
    let mut stale = accounting::compare(source, in_use);
    let of_orphans = quota::of_orphans(source, &orphans, &of_orphans);
    stale.extend(quota::compare(source, &specials.quotas, &inodes, &of_orphans));
    let mut tree = Tree::of_runs(std::mem::take(&mut inodes.runs));
    tree.nodes = std::mem::take(&mut inodes.nodes);
    let hashes = std::mem::take(&mut inodes.hashes);
    let alike = Alike::of(&inodes, (&xattr_blocks, &values), hashes);
    let assembled = assemble::assemble(source, (&inodes, tree), directories, alike)?;
    encryption::check(source, &assembled.tree, &assembled.inodes)?;
    warnings.extend(assembled.warnings);
    warnings.extend(stale);
    warnings.extend(specials.warnings());
    Ok(Reading { tree: assembled.tree, inodes: assembled.inodes, specials, warnings, orphans, claims })
}
