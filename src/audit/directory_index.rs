//! Checks the index of a directory: each level has exactly the nodes that its children need, and lookups by
//! hash find each entry.

use super::contradiction::{ensure, wrong};
use crate::error::Result;
use crate::ondisk::casefold;
use crate::ondisk::dirhash::{DirHash, HashVersion};
use crate::ondisk::features::{Incompat, RoCompat};
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::superblock::FLAGS_SIGNED_HASH;
use crate::plan::{IndexPlan, Plan};
use crate::tree::{NodeId, Tree};
use crate::units::fits;

/// Checks the index of a directory. `starts` has the position of the first entry of each leaf. The order of
/// the entries must already be checked.
///
/// Only the first and the last name of each leaf are hashed, so that the audit takes little time.
pub(super) fn check(plan: &Plan, tree: &Tree, id: NodeId, starts: &[u32], index: &IndexPlan) -> Result<()> {
    let about = |what: &str| format!("{what} of directory {}", plan.numbering.number_of(id));
    ensure(has_room(plan, starts.len(), &index.levels), || about("the index levels"))?;
    ensure(index.hashes.len() == starts.len(), || about("the hashes"))?;
    let hashes = LeafHashes::of(plan, tree, id).ok_or_else(|| wrong("an unknown hash function"))?;
    let hash = |place: u32| {
        let hash = index.order.get(place as usize).and_then(|entry| hashes.of_entry(*entry));
        hash.ok_or_else(|| wrong(about("a name without a hash")))
    };
    let end = fits(index.order.len(), "a directory has fewer than 2^32 entries");
    let ends = starts.iter().copied().skip(1).chain(std::iter::once(end));
    let mut before = None;
    for ((start, end), stored) in starts.iter().zip(ends).zip(&index.hashes) {
        let (first, last) = (hash(*start)?, hash(end - 1)?);
        ensure(before.is_none_or(|before| before <= first) && first <= last, || about("the hash order"))?;
        // The lowest bit says that entries with this hash are also in the previous leaf.
        ensure(*stored == first | u32::from(before == Some(first)), || about("the hashes"))?;
        before = Some(last);
    }
    Ok(())
}

/// Returns whether each level has exactly the nodes that its children need. The writer fills all nodes of a
/// level except the last.
fn has_room(plan: &Plan, leaves: usize, levels: &[u32]) -> bool {
    let features = plan.geometry.features;
    let checksum = if features.has(RoCompat::METADATA_CSUM) { 8 } else { 0 };
    let limit = |head: usize| (plan.geometry.block_size - head - checksum) / 8;
    let deepest = if features.has(Incompat::LARGE_DIR) { 2 } else { 1 };
    let mut children = leaves;
    for nodes in levels {
        let nodes = *nodes as usize;
        if nodes != children.div_ceil(limit(8)) {
            return false;
        }
        children = nodes;
    }
    children <= limit(32) && levels.len() <= deepest
}

/// The hashes of the names in a directory.
struct LeafHashes<'t> {
    tree: &'t Tree,
    id: NodeId,
    function: DirHash,
}

impl<'t> LeafHashes<'t> {
    fn of(plan: &Plan, tree: &'t Tree, id: NodeId) -> Option<Self> {
        let superblock = &plan.superblock;
        let version = HashVersion::from_disk(superblock.s_def_hash_version)?;
        let signed = superblock.s_flags.get() & FLAGS_SIGNED_HASH != 0;
        Some(Self { tree, id, function: DirHash::new(version, superblock.s_hash_seed, signed) })
    }

    /// Returns the hash of an entry; `None` if the name has no hash.
    fn of_entry(&self, entry: u32) -> Option<u32> {
        let entry = self.tree.entries_of(self.id).get(entry as usize)?;
        let (name, flags) = (self.tree.text(entry.name), self.tree.node(self.id).flags);
        if flags.contains(InodeFlags::HASHED_NAMES) {
            return Some(entry.hashes[0]);
        }
        if flags.contains(InodeFlags::CASEFOLD) {
            return Some(self.function.hash(&casefold::fold(name)?).0);
        }
        Some(self.function.hash(name).0)
    }
}
