//! Checks that a filesystem with different settings can hold the tree without loss.

use crate::error::{Location, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::features::{Incompat, RoCompat};
use crate::ondisk::indirect;
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::superblock::Superblock;
use crate::read::Reading;
use crate::source::Source;
use crate::tree::{Kind, Node, NodeId, Tree};

/// Checks that each inode of the tree means the same in a filesystem with the settings of the output. Whether
/// there is enough room is not checked here.
///
/// # Errors
///
/// `Unsupported`, with the path, for the first inode that would change.
pub(crate) fn check_tree(
    source: &Source<'_>,
    reading: &Reading,
    superblock: &Superblock,
    geometry: &Geometry,
) -> Result<()> {
    let (rules, tree) = (Rules::new(source, superblock, geometry), &reading.tree);
    let problem = tree.ids().find_map(|id| rules.problem(tree, id).map(|problem| (id, problem)));
    let Some((id, (problem, remedy))) = problem else { return Ok(()) };
    let path = tree.paths().swap_remove(id.index());
    let number = reading.inodes[id.index()];
    Err(Location::of(Structure::Inode).inode(number).path(path).unsupported(problem, remedy))
}

/// The limits of the target that a tree can exceed.
struct Rules<'r> {
    geometry: &'r Geometry,
    /// Whether the block size of the output differs from that of the input.
    other_blocks: bool,
    /// Whether the output folds names as the input does.
    same_folding: bool,
    /// The maximum number of logical blocks of a file.
    max_blocks: u64,
}

impl<'r> Rules<'r> {
    fn new(source: &Source<'_>, superblock: &Superblock, geometry: &'r Geometry) -> Self {
        let by_map = indirect::max_blocks(geometry.pointers_per_block());
        let max: u64 = u32::MAX.into();
        let folding = |superblock: &Superblock| (superblock.s_encoding, superblock.s_encoding_flags);
        let has_folding = geometry.features.has(Incompat::CASEFOLD);
        Self {
            geometry,
            other_blocks: geometry.block_size != source.geometry.block_size,
            same_folding: has_folding && folding(superblock) == folding(&source.superblock),
            max_blocks: if geometry.features.has(Incompat::EXTENTS) { max } else { by_map.min(max) },
        }
    }

    /// Returns what would change in a node, and what to do.
    fn problem(&self, tree: &Tree, id: NodeId) -> Option<(String, &'static str)> {
        let node = tree.node(id);
        let problem = |problem: String| Some((problem, "request settings that can hold it"));
        if let Some(feature) = self.missing_feature(node) {
            return problem(format!(
                "the requested settings do not have the {feature} feature that it needs"
            ));
        }
        if self.other_blocks && node.flags.intersects(InodeFlags::ENCRYPT | InodeFlags::VERITY) {
            let what = if node.flags.contains(InodeFlags::ENCRYPT) { "encrypted" } else { "a verity file" };
            return problem(format!(
                "is {what}, and its content depends on the block size, which would change"
            ));
        }
        if node.mtime.encode(self.geometry.has_wide_inodes()).is_none() {
            return Some((
                "has an mtime that an inode of 128 bytes can't hold: whole seconds up to 2038".to_owned(),
                "set or clamp the mtimes to whole seconds, or request larger inodes",
            ));
        }
        self.too_large(tree, node).and_then(problem)
    }

    /// Returns a feature that a node needs, but the target does not have.
    fn missing_feature(&self, node: &Node) -> Option<&'static str> {
        let features = self.geometry.features;
        let has_projects = features.has(RoCompat::PROJECT) && self.geometry.has_wide_inodes();
        if node.flags.contains(InodeFlags::ENCRYPT) && !features.has(Incompat::ENCRYPT) {
            Some("encrypt")
        } else if node.flags.contains(InodeFlags::VERITY) && !features.has(RoCompat::VERITY) {
            Some("verity")
        } else if node.flags.contains(InodeFlags::CASEFOLD) && !self.same_folding {
            Some("casefold (with the same encoding)")
        } else if node.project != 0 && !has_projects {
            Some("project")
        } else {
            None
        }
    }

    /// Returns the limit of the target that the size of a node exceeds.
    fn too_large(&self, tree: &Tree, node: &Node) -> Option<String> {
        let block_bytes = self.geometry.block_bytes();
        match node.kind {
            Kind::Regular { size, .. } if size.div_ceil(block_bytes) > self.max_blocks => {
                let most = self.max_blocks.saturating_mul(block_bytes);
                Some(format!("has {size} bytes, but its map could reach only {most}"))
            }
            Kind::Symlink(target) if tree.text(target).len() as u64 >= block_bytes => Some(format!(
                "has a target of {} bytes, which must fit into a block",
                tree.text(target).len()
            )),
            _ => None,
        }
    }
}
