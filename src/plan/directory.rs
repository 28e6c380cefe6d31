//! Plans the blocks of directories: linear, or an htree with full leaves.

use super::inline::InlineLists;
use crate::error::{Location, Result, Structure};
use crate::form::lost_found_blocks;
use crate::geometry::Geometry;
use crate::ondisk::casefold;
use crate::ondisk::dir_entry::{HASHES_SIZE, TAIL_SIZE, entry_size};
use crate::ondisk::dirhash::DirHash;
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::ondisk::htree;
use crate::ondisk::inode::InodeFlags;
use crate::tree::{Entry, NodeId, Tree};
use crate::units::{InodeNr, fits};

/// The total length of the entries `.` and `..`, in bytes.
pub(crate) const DOTS_SIZE: usize = 24;

/// The blocks of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryPlan {
    /// The number of blocks.
    pub blocks: u32,
    /// For each leaf, the position of its first entry: in hash order with an index, otherwise in the order of
    /// names.
    pub starts: Vec<u32>,
    /// The htree index; `None` for a linear directory.
    pub index: Option<Box<IndexPlan>>,
    /// The two lists of entries of an inline directory; otherwise `None`.
    pub inline: Option<Box<InlineLists>>,
}

/// The blocks of all directories.
#[derive(Debug, Default)]
pub struct DirectoryPlans(pub(crate) Vec<(NodeId, DirectoryPlan)>);

impl DirectoryPlans {
    /// Creates the list from plans in the order of their nodes.
    pub fn new(plans: Vec<(NodeId, DirectoryPlan)>) -> Self {
        Self(plans)
    }

    /// Returns the plan of a directory, or an empty plan if the node is not a directory.
    pub fn of(&self, id: NodeId) -> &DirectoryPlan {
        const NONE: &DirectoryPlan =
            &DirectoryPlan { blocks: 0, starts: Vec::new(), index: None, inline: None };
        self.0.binary_search_by_key(&id, |(id, _)| *id).map_or(NONE, |index| &self.0[index].1)
    }

    /// Returns all plans, in the order of their nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &DirectoryPlan)> {
        self.0.iter().map(|(id, plan)| (*id, plan))
    }
}

/// The htree index of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPlan {
    /// The indices of the entries, in hash order.
    pub order: Vec<u32>,
    /// The hash of each leaf, for the index. The hash of the first leaf is not written.
    pub hashes: Vec<u32>,
    /// The number of interior nodes on each level, bottom-up, without the root.
    pub levels: Vec<u32>,
}

/// Returns whether the entries of a directory store their hashes.
fn has_hashes(tree: &Tree, id: NodeId) -> bool {
    tree.node(id).flags.contains(InodeFlags::HASHED_NAMES)
}

/// Returns the minimum length of an entry in bytes, including its hashes if `hashed` is set.
fn size_of_entry(tree: &Tree, entry: &Entry, hashed: bool) -> usize {
    entry_size(tree.text(entry.name).len()) + if hashed { HASHES_SIZE } else { 0 }
}

/// The parameters that are the same for all directories.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryRules<'g> {
    geometry: &'g Geometry,
    hash: DirHash,
    with_checksums: bool,
}

impl<'g> DirectoryRules<'g> {
    /// Creates the parameters for a geometry.
    pub(crate) fn new(geometry: &'g Geometry) -> Self {
        let with_checksums = geometry.features.has(RoCompat::METADATA_CSUM);
        Self {
            geometry,
            hash: DirHash::new(geometry.hash_version, crate::form::HASH_SEED, true),
            with_checksums,
        }
    }

    /// Returns the number of bytes for entries in each block.
    fn room(&self) -> usize {
        self.geometry.block_size - if self.with_checksums { TAIL_SIZE } else { 0 }
    }

    /// Plans a directory.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the index would be deeper than the features allow, or if an encrypted directory that
    /// ignores case would need an index of two levels.
    pub(crate) fn plan(&self, tree: &Tree, id: NodeId, number: InodeNr) -> Result<DirectoryPlan> {
        let hashed = has_hashes(tree, id);
        let sizes = |entry: u32| size_of_entry(tree, &tree.entries_of(id)[entry as usize], hashed);
        let count = fits(tree.entries_of(id).len(), "a directory has fewer than 2^32 entries");
        let starts = self.fill((0..count).map(sizes), DOTS_SIZE);
        if id == NodeId::LOST_FOUND {
            // e2fsck never indexes `lost+found`, and requires a minimum size for it.
            let blocks = starts.len().max(lost_found_blocks(self.geometry.block_size));
            return Ok(DirectoryPlan {
                blocks: fits(blocks, "a directory has fewer than 2^32 entries"),
                starts,
                ..DirectoryPlan::default()
            });
        }
        if starts.len() > 1
            && self.geometry.features.has(Compat::DIR_INDEX)
            && let Some(hashed) = self.hashes(tree, id)
        {
            return self.index(tree, id, number, hashed);
        }
        Ok(DirectoryPlan {
            blocks: fits(starts.len(), "a directory has fewer than 2^32 entries"),
            starts,
            ..DirectoryPlan::default()
        })
    }

    /// Returns the hash, minor hash and index of each entry, or `None` if casefolding fails for a name. The
    /// kernel hashes such a name without folding, but e2fsck reports an error for it, so the directory gets
    /// no index.
    fn hashes(&self, tree: &Tree, id: NodeId) -> Option<Vec<(u32, u32, u32)>> {
        let entries = (0..).zip(tree.entries_of(id));
        entries
            .map(|(place, entry)| self.hash(tree, id, entry).map(|(hash, minor)| (hash, minor, place)))
            .collect()
    }

    /// Returns the hash and minor hash of a name, or `None` if casefolding fails.
    fn hash(&self, tree: &Tree, id: NodeId, entry: &Entry) -> Option<(u32, u32)> {
        if has_hashes(tree, id) {
            return Some(entry.hashes.into());
        }
        let name = tree.text(entry.name);
        if tree.node(id).flags.contains(InodeFlags::CASEFOLD) {
            return casefold::fold(name).map(|folded| self.hash.hash(&folded));
        }
        Some(self.hash.hash(name))
    }

    /// Fills blocks with entries of these sizes. Returns the index of the first entry in each block.
    fn fill(&self, sizes: impl Iterator<Item = usize>, first_used: usize) -> Vec<u32> {
        let room = self.room();
        let (mut starts, mut used) = (vec![0], first_used);
        for (entry, size) in (0..).zip(sizes) {
            if used + size > room {
                starts.push(entry);
                used = 0;
            }
            used += size;
        }
        starts
    }

    fn index(
        &self,
        tree: &Tree,
        id: NodeId,
        number: InodeNr,
        mut hashed: Vec<(u32, u32, u32)>,
    ) -> Result<DirectoryPlan> {
        let entries = tree.entries_of(id);
        let with_hashes = has_hashes(tree, id);
        // Entries are in byte order of their names, so entries with equal hashes are ordered by their index.
        hashed.sort_unstable();
        let starts = self.fill(
            hashed.iter().map(|(_, _, place)| size_of_entry(tree, &entries[*place as usize], with_hashes)),
            0,
        );
        let hashes = starts
            .iter()
            .map(|start| {
                let start = *start as usize;
                let hash = hashed[start].0;
                let goes_on = start > 0 && hashed[start - 1].0 == hash;
                hash | u32::from(goes_on)
            })
            .collect();
        let leaves = fits(starts.len(), "a directory has fewer than 2^32 entries");
        let levels = self.levels(leaves).ok_or_else(|| {
            Location::of(Structure::Directory).inode(number).unsupported(
                "an index of three levels without the large_dir feature",
                "set it with tune2fs -O large_dir",
            )
        })?;
        if with_hashes && !levels.is_empty() {
            // If the entries of a directory store hashes, the kernel's limit for the entries of an interior
            // node is lower by one, and e2fsck reports a node with this limit as corrupt.
            return Err(Location::of(Structure::Directory).inode(number).unsupported(
                "an encrypted directory that ignores case with an index of two levels, which kernel and e2fsck \
                 read differently",
                "move some of its files to other directories",
            ));
        }
        let blocks = 1 + leaves + levels.iter().sum::<u32>();
        let mut order: Vec<u32> = hashed.into_iter().map(|(_, _, place)| place).collect();
        order.shrink_to_fit();
        let index = Some(Box::new(IndexPlan { order, hashes, levels }));
        Ok(DirectoryPlan { blocks, starts, index, inline: None })
    }

    /// Returns the number of interior nodes on each level, or `None` if there would be too many levels.
    fn levels(&self, leaves: u32) -> Option<Vec<u32>> {
        let size = self.geometry.block_size;
        let root = fits(
            htree::limit(size, htree::ROOT_HEAD, self.with_checksums),
            "a block has fewer entries than bytes",
        );
        let node = fits(
            htree::limit(size, htree::NODE_HEAD, self.with_checksums),
            "a block has fewer entries than bytes",
        );
        let large = self.geometry.features.has(Incompat::LARGE_DIR);
        let mut levels = Vec::new();
        let mut below = leaves;
        while below > root {
            below = below.div_ceil(node);
            levels.push(below);
        }
        (levels.len() <= usize::from(htree::max_levels(large))).then_some(levels)
    }
}
