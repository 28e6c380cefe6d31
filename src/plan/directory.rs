//! The blocks of a directory: linear, or an htree with full leaves.

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

/// The length of `.` and `..` together, in bytes.
pub(crate) const DOTS_SIZE: usize = 24;

/// The blocks of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryPlan {
    /// The number of blocks.
    pub blocks: u32,
    /// For each block of names, the place of its first entry in the order.
    pub starts: Vec<u32>,
    /// The index; `None` for a linear directory.
    pub index: Option<Box<IndexPlan>>,
    /// The lists in the inode, for a directory that has no blocks.
    pub inline: Option<Box<InlineLists>>,
}

/// The blocks of all directories.
#[derive(Debug, Default)]
pub struct DirectoryPlans(pub(crate) Vec<(NodeId, DirectoryPlan)>);

impl DirectoryPlans {
    /// Of these directories, in the order of their nodes.
    pub fn new(plans: Vec<(NodeId, DirectoryPlan)>) -> Self {
        Self(plans)
    }

    /// The blocks of a directory; none of anything else.
    pub fn of(&self, id: NodeId) -> &DirectoryPlan {
        const NONE: &DirectoryPlan =
            &DirectoryPlan { blocks: 0, starts: Vec::new(), index: None, inline: None };
        self.0.binary_search_by_key(&id, |(id, _)| *id).map_or(NONE, |index| &self.0[index].1)
    }

    /// All of them, in the order of their nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &DirectoryPlan)> {
        self.0.iter().map(|(id, plan)| (*id, plan))
    }
}

/// The index of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexPlan {
    /// The entries in the order of their hashes.
    pub order: Vec<u32>,
    /// The hash that the index has for each leaf; that of the first is never written.
    pub hashes: Vec<u32>,
    /// Interior nodes of each level: those that point to leaves first, the root not counted.
    pub levels: Vec<u32>,
}

/// Whether the entries of a directory hold hashes.
fn has_hashes(tree: &Tree, id: NodeId) -> bool {
    tree.node(id).flags.contains(InodeFlags::HASHED_NAMES)
}

/// The least length of an entry, with its hashes or without.
fn size_of_entry(tree: &Tree, entry: &Entry, hashed: bool) -> usize {
    entry_size(tree.text(entry.name).len()) + if hashed { HASHES_SIZE } else { 0 }
}

/// What the blocks of all directories have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DirectoryRules<'g> {
    geometry: &'g Geometry,
    hash: DirHash,
    with_checksums: bool,
}

impl<'g> DirectoryRules<'g> {
    /// The rules of a geometry.
    pub(crate) fn new(geometry: &'g Geometry) -> Self {
        let with_checksums = geometry.features.has(RoCompat::METADATA_CSUM);
        Self {
            geometry,
            hash: DirHash::new(geometry.hash_version, crate::form::HASH_SEED, true),
            with_checksums,
        }
    }

    /// Bytes for entries in a block.
    fn room(&self) -> usize {
        self.geometry.block_size - if self.with_checksums { TAIL_SIZE } else { 0 }
    }

    /// Plans a directory.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the index would be deeper than the features allow.
    pub(crate) fn plan(&self, tree: &Tree, id: NodeId, number: InodeNr) -> Result<DirectoryPlan> {
        let hashed = has_hashes(tree, id);
        let sizes = |entry: u32| size_of_entry(tree, &tree.entries_of(id)[entry as usize], hashed);
        let count = fits(tree.entries_of(id).len(), "a directory has fewer than 2^32 entries");
        let starts = self.fill((0..count).map(sizes), DOTS_SIZE);
        if id == NodeId::LOST_FOUND {
            // e2fsck never indexes it, and wants room in it.
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

    /// Hashes and places of all entries. `None` where a name can't be folded but should: the kernel hashes
    /// such names as they are, but e2fsck fails at that, so their directory has no index.
    fn hashes(&self, tree: &Tree, id: NodeId) -> Option<Vec<(u32, u32, u32)>> {
        let entries = (0..).zip(tree.entries_of(id));
        entries
            .map(|(place, entry)| self.hash(tree, id, entry).map(|(hash, minor)| (hash, minor, place)))
            .collect()
    }

    /// Hash and minor hash of an entry's name; `None` for one that can't be folded but should.
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

    /// Fills blocks with entries of these sizes, and tells the first entry of each block.
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
        // Entries are in byte order already, so that the place decides between equal hashes.
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
            // The kernel wants one entry less in interior nodes than elsewhere; e2fsck takes those
            // for damaged.
            return Err(Location::of(Structure::Directory).inode(number).unsupported(
                "an encrypted directory that ignores case with an index of two levels, which kernel and e2fsck \
                 read differently",
                "move some of its files to others",
            ));
        }
        let blocks = 1 + leaves + levels.iter().sum::<u32>();
        let mut order: Vec<u32> = hashed.into_iter().map(|(_, _, place)| place).collect();
        order.shrink_to_fit();
        let index = Some(Box::new(IndexPlan { order, hashes, levels }));
        Ok(DirectoryPlan { blocks, starts, index, inline: None })
    }

    /// Interior nodes of each level for so many leaves; `None` if it would take too many levels.
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
