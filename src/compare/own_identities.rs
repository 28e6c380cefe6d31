//! Finds boot files that differ only because they name the identities of their own images.

use super::compared_image::ComparedImage;
use super::difference::{Attribute, PathDifference};
use crate::boot_files;
use crate::content::FileContent;
use crate::identities::{self, Identity};
use crate::tree::NodeId;

/// The maximum size of a boot file, in bytes.
const LIMIT: usize = 1 << 20;

/// Marks the differences between contents that would be equal if both named the same identities.
pub(super) fn mark(
    sides: &[ComparedImage<'_, '_>; 2],
    identities: [&[Identity]; 2],
    differences: &mut [PathDifference],
) {
    if !differences.iter().any(|difference| difference.attribute == Attribute::Content) {
        return;
    }
    let files = [0, 1].map(|side| boot_files::files(&sides[side].reading.tree));
    for file in &files[0] {
        let path = format!("/{}", file.path);
        let mut found = differences.iter_mut();
        let found = found.find(|one| one.attribute == Attribute::Content && one.path == path);
        let twin = files[1].iter().find(|twin| twin.path == file.path);
        let (Some(difference), Some(twin)) = (found, twin) else { continue };
        let masked = |side: usize, node| masked(&sides[side], node, identities[side], &path);
        let (one, other) = (masked(0, file.node), masked(1, twin.node));
        difference.names_own = one.is_some() && one == other;
    }
}

/// Returns the content of a file with placeholders in place of identities.
fn masked(
    side: &ComparedImage<'_, '_>,
    node: NodeId,
    identities: &[Identity],
    path: &str,
) -> Option<Vec<u8>> {
    let mut bytes = FileContent::of(side.view(), node)?.bytes(LIMIT)?;
    for place in
        identities::find(&bytes, identities, boot_files::MBRIDS.contains(&path.trim_start_matches('/')))
    {
        let text = place.masked(&bytes[place.range.clone()], &identities[place.identity]);
        bytes[place.range].copy_from_slice(&text);
    }
    Some(bytes)
}
