//! Reads all inodes with links in parallel, except those outside the tree.

use std::hash::{BuildHasher as _, RandomState};

use rayon::prelude::*;

use super::claims::Claim;
use super::inode::InodeReader;
use super::inodes::Inodes;
use super::special::orphans::Orphans;
use super::special::specials::Specials;
use super::xattr::ea_inode::{self, EaInode};
use crate::error::Result;
use crate::map::{Budget, RawInode};
use crate::observe::Observer;
use crate::source::Source;

/// The inodes with links, and their claims on blocks.
pub(super) struct LiveInodes<'a> {
    /// The inodes of the tree.
    pub nodes: Inodes<'a>,
    /// The EA inodes.
    pub values: Vec<EaInode>,
    /// The claims on the blocks of all these inodes, except the content of regular files.
    pub claims: Vec<Claim>,
}

/// The number of inodes that are read in a round.
const ROUND: usize = 1 << 15;

impl<'a> LiveInodes<'a> {
    /// Creates an empty list with capacity for `count` inodes. `seed` seeds the hashes.
    fn for_inodes(count: usize, seed: u64) -> Self {
        let mut nodes = Inodes::default();
        nodes.hashes.seed = seed;
        nodes.list.reserve_exact(count);
        nodes.nodes.reserve_exact(count);
        Self { nodes, values: Vec::new(), claims: Vec::new() }
    }

    fn append(&mut self, more: Self) {
        self.claims.extend(more.claims);
        self.nodes.append(more.nodes);
        self.values.extend(more.values);
    }
}

/// Reads all inodes with links, except those outside the tree.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, with the inode.
pub(super) fn read<'a>(
    source: &Source<'a>,
    live: &[RawInode<'a>],
    specials: &Specials,
    orphans: &Orphans,
    observer: &dyn Observer,
) -> Result<LiveInodes<'a>> {
    let budget = Budget::new(source);
    // Random seed, so that crafted images can't force hash collisions.
    let seed = RandomState::new().hash_one(0);
    let read = |raws: &[RawInode<'a>]| {
        let LiveInodes { nodes, mut values, claims: _ } = LiveInodes::for_inodes(raws.len(), seed);
        let mut reader = InodeReader::new(source, &budget, nodes);
        for raw in raws.iter().filter(|raw| !specials.is_special(raw.number)) {
            if ea_inode::is_ea_inode(source, raw) {
                values.push(ea_inode::read(source, &budget, raw, &mut reader.claims)?);
            } else {
                reader.read(raw, orphans.contains(raw.number))?;
            }
        }
        observer.advance(raws.len() as u64);
        Ok(LiveInodes { nodes: reader.inodes, values, claims: reader.claims })
    };
    let mut all = LiveInodes::for_inodes(live.len(), seed);
    let mut add = |batches: Vec<LiveInodes<'a>>| batches.into_iter().for_each(|batch| all.append(batch));
    // Rounds limit the memory for results. The results of a round are collected while the next round is read.
    let mut batches = Vec::new();
    for round in live.chunks(ROUND) {
        let next = || round.par_chunks(512).map(read).collect::<Result<Vec<_>>>();
        let ((), next) = rayon::join(|| add(std::mem::take(&mut batches)), next);
        batches = next?;
    }
    add(batches);
    Ok(all)
}
