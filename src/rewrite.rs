//! Replaces the identities that boot files name, in a copy of the blocks that contain them.

use std::collections::BTreeMap;

use crate::error::{Error, Location, Result, Structure};
use crate::identities::Identity;
use crate::mentions::{self, InFile};
use crate::ondisk::features::RoCompat;
use crate::remedy::Remedy;
use crate::report::Rewritten;
use crate::source::{Overlay, Source};
use crate::tree::{Kind, Tree};
use crate::units::{BlockNr, fits};
use crate::view::View;

/// New values for identities.
#[derive(Clone, Debug)]
pub(crate) struct NewValues<'i> {
    /// The identities of the input.
    pub identities: &'i [Identity],
    /// The new value of each; `None` for the placeholders.
    pub values: Option<Vec<[u8; 16]>>,
}

impl<'i> NewValues<'i> {
    /// Replaces each identity by its placeholder.
    pub(crate) fn placeholders(identities: &'i [Identity]) -> Self {
        Self { identities, values: None }
    }

    /// Returns the text that replaces a text in a file; `None` if the identity does not change.
    fn text_for(&self, place: &InFile) -> Option<Vec<u8>> {
        let identity = &self.identities[place.named.identity];
        let Some(values) = &self.values else { return Some(place.named.masked(&place.old, identity)) };
        let value = values[place.named.identity];
        (value != identity.value).then(|| place.named.replacement(&place.old, value))
    }
}

/// The replaced blocks of an image, and a report of the replacements.
#[derive(Debug)]
pub(crate) struct Rewrite<'a> {
    /// The blocks of the journal and the replaced blocks.
    pub overlay: Overlay<'a>,
    /// The replaced texts, in the order in which files are searched.
    pub replaced: Vec<Rewritten>,
}

/// Replaces identities in the boot files of a tree: in a copy of the blocks, or in the tree itself for inline
/// content. Returns `None` if there is nothing to replace. Texts that can't be changed stay.
///
/// # Errors
///
/// `Unsupported` if files of the image can share blocks.
pub(crate) fn rewrite<'a>(
    source: &Source<'a>,
    tree: &mut Tree,
    new: &NewValues<'_>,
) -> Result<Option<Rewrite<'a>>> {
    let found = mentions::find(View { source, tree }, new.identities);
    let places = found.in_files.into_iter().filter(|place| place.mention.fixed.is_none());
    let places: Vec<_> = places.filter_map(|place| Some((new.text_for(&place)?, place))).collect();
    let Some((_, first)) = places.first() else { return Ok(None) };
    if source.features().has(RoCompat::SHARED_BLOCKS) {
        let at = Location::of(Structure::Inode).path(first.path.clone());
        return Err(at.unsupported(
            "can't be rewritten, because files can share blocks (shared_blocks)",
            Remedy::StaleText { of_table: false },
        ));
    }
    let mut blocks = BTreeMap::new();
    for (text, place) in &places {
        replace(source, tree, place, text, &mut blocks)?;
    }
    let replaced = places.iter().map(|(text, place)| Rewritten {
        path: place.path.clone(),
        line: place.line_column.0,
        column: place.line_column.1,
        old: String::from_utf8_lossy(&place.old).into_owned(),
        new: String::from_utf8_lossy(text).into_owned(),
    });
    Ok(Some(Rewrite { replaced: replaced.collect(), overlay: source.overlay_with(blocks) }))
}

/// Replaces the text of a place.
fn replace(
    source: &Source<'_>,
    tree: &mut Tree,
    place: &InFile,
    text: &[u8],
    blocks: &mut BTreeMap<u64, Vec<u8>>,
) -> Result<()> {
    if let Kind::Regular { inline: Some(inline), .. } = tree.node(place.node).kind {
        tree.overwrite(inline, place.named.range.start, text);
        return Ok(());
    }
    let size = source.geometry.block_size;
    for (offset, byte) in (place.named.range.start..).zip(text) {
        let logical = fits::<u64, _>(offset / size, "an offset in a file that was read into memory");
        let run = tree
            .runs_of(place.node)
            .iter()
            .find(|run| u64::from(run.logical) <= logical && logical < run.end());
        let Some((run, start)) = run.and_then(|run| Some((run, run.stored_at()?))) else {
            return Err(Error::Internal(format!("{} names a UUID in a hole", place.path)));
        };
        let block = start.0 + (logical - u64::from(run.logical));
        let copy = blocks.entry(block).or_insert_with(|| source.checked_block(BlockNr(block)).to_vec());
        copy[offset % size] = *byte;
    }
    Ok(())
}
