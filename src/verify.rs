//! Compares the trees of the input and the output, to verify an output.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::content::FileContent;
use crate::error::{Location, Result, Structure};
use crate::observe::{Observer, Stage};
use crate::ondisk::quota::QuotaType;
use crate::read::Specials;
use crate::tree::{Kind, NodeId, Tree};
use crate::units::fits;
use crate::view::View;

/// Checks that the output has the same tree as the input.
///
/// # Errors
///
/// `Corrupt`, with the difference: for nodes, a path of the first node that differs and the attribute.
pub(crate) fn same_tree(input: View<'_, '_>, output: View<'_, '_>, observer: &dyn Observer) -> Result<()> {
    let (wanted, found) = (input.tree.nodes.len(), output.tree.nodes.len());
    if wanted != found {
        return Err(Location::of(Structure::Image)
            .wrong(format!("the output has {found} inodes, but the tree has {wanted}")));
    }
    if input.tree.boot_loader != output.tree.boot_loader {
        return Err(Location::of(Structure::Image).wrong("only one of input and output has a boot loader"));
    }
    observer.begin(Stage::Verify, wanted as u64);
    let difference = (0..wanted)
        .into_par_iter()
        .with_min_len(16)
        .filter_map(|index| {
            let id = NodeId(fits(index, "there are fewer than 2^32 nodes"));
            let difference = difference(input, output, id).map(|what| (index, what));
            observer.advance(1);
            difference
        })
        .min_by_key(|(index, _)| *index);
    let Some((index, what)) = difference else { return Ok(()) };
    let path = input.tree.paths().swap_remove(index);
    Err(Location::of(Structure::Image)
        .wrong(format!("the output is not the same tree: {path} has a different {what}")))
}

/// Checks that the output has the same quota limits and grace times as the input.
///
/// # Errors
///
/// `Corrupt`, with the quota type that differs.
pub(crate) fn same_quotas(input: &Specials, output: &Specials) -> Result<()> {
    for kind in QuotaType::ALL {
        let rules = |specials: &Specials| {
            specials.quotas.iter().find(|file| file.kind == kind).map(|file| file.rules.clone())
        };
        if rules(input) != rules(output) {
            return Err(Location::of(Structure::QuotaFile)
                .wrong(format!("the output has different {} quotas", kind.word())));
        }
    }
    Ok(())
}

/// Returns the first attribute of a node that differs between input and output; `None` if all are equal.
fn difference(input: View<'_, '_>, output: View<'_, '_>, id: NodeId) -> Option<&'static str> {
    let (one, other) = (input.tree.node(id), output.tree.node(id));
    let fields = [
        (one.mode == other.mode, "mode"),
        ((one.uid, one.gid) == (other.uid, other.gid), "owner"),
        (one.project == other.project, "project id"),
        (one.flags == other.flags, "flags"),
        (one.mtime == other.mtime, "mtime"),
        (one.links == other.links, "link count"),
        (xattrs(input.tree, id) == xattrs(output.tree, id), "set of xattrs"),
    ];
    if let Some((_, what)) = fields.into_iter().find(|(same, _)| !same) {
        return Some(what);
    }
    let same = match (one.kind, other.kind) {
        (Kind::Directory { parent, .. }, Kind::Directory { parent: other_parent, .. }) => {
            parent == other_parent && entries(input.tree, id).eq(entries(output.tree, id))
        }
        (Kind::Regular { .. }, Kind::Regular { .. }) => same_content(input, output, id),
        (Kind::Symlink(target), Kind::Symlink(other)) => input.tree.text(target) == output.tree.text(other),
        (Kind::Device { major, minor }, Kind::Device { major: other_major, minor: other_minor }) => {
            (major, minor) == (other_major, other_minor)
        }
        (Kind::Empty, Kind::Empty) => true,
        _ => false,
    };
    (!same).then_some("content")
}

fn entries(tree: &Tree, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId, [u32; 2])> {
    tree.entries_of(id).iter().map(|entry| (tree.text(entry.name), entry.node, entry.hashes))
}

fn xattrs(tree: &Tree, id: NodeId) -> Vec<(u8, &[u8], &[u8])> {
    let set = tree.node(id).xattrs.map(|set| tree.xattr_set(set)).unwrap_or_default();
    set.iter().map(|xattr| (xattr.index, tree.text(xattr.name), tree.text(xattr.value))).collect()
}

/// Returns whether a file has the same content in both images.
fn same_content(input: View<'_, '_>, output: View<'_, '_>, id: NodeId) -> bool {
    let (Some(one), Some(other)) = (FileContent::of(input, id), FileContent::of(output, id)) else {
        return false;
    };
    if input.source.geometry.block_size == output.source.geometry.block_size {
        one.equals(&other)
    } else {
        one.size == other.size && same_bytes(&one, &other)
    }
}

/// Returns whether two files of the same size have the same bytes, whatever their block sizes are. Only files
/// whose content ends at their size change their block size.
fn same_bytes(one: &FileContent<'_, '_>, other: &FileContent<'_, '_>) -> bool {
    /// A multiple of every block size.
    const WINDOW: u64 = 1 << 20;
    let starts = |file: &FileContent<'_, '_>| {
        let windows = file.stored_ranges().flat_map(|range| range.start / WINDOW..range.end.div_ceil(WINDOW));
        windows.collect::<BTreeSet<_>>()
    };
    let filled = |file: &FileContent<'_, '_>, window: u64| {
        let start = window * WINDOW;
        let mut bytes = vec![0; fits(WINDOW, "it is a small constant")];
        for (offset, piece) in file.pieces(start..start + WINDOW) {
            let at = fits::<usize, _>(offset - start, "pieces are within the window");
            bytes[at..at + piece.len()].copy_from_slice(piece);
        }
        bytes
    };
    let all: BTreeSet<u64> = starts(one).union(&starts(other)).copied().collect();
    all.into_iter().all(|window| filled(one, window) == filled(other, window))
}
