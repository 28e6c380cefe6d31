//! Compares the content of regular files.

use std::ops::Range;

use super::compared_image::ComparedImage;
use super::difference::ContentDifference;
use super::walk::ComparedPath;
use crate::bytes::is_zero;
use crate::content::FileContent;
use crate::survey;
use crate::units::fits;

/// The maximum size of a window in bytes, a multiple of all block sizes.
const WINDOW_BYTES: u64 = 4 << 20;

/// A range of a file to compare. At least one image stores data in it.
#[derive(Debug)]
pub(super) struct Window {
    /// The index of the file.
    pub file: usize,
    range: Range<u64>,
}

impl Window {
    /// Returns the length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

fn files<'s, 'a>(
    sides: &'s [ComparedImage<'_, 'a>; 2],
    step: &ComparedPath<'_>,
) -> Option<[FileContent<'s, 'a>; 2]> {
    let [one, other] = step.pair()?;
    Some([sides[0].file(one)?, sides[1].file(other)?])
}

/// Returns the length of the range in which both files are compared: the smaller size. If both files have
/// opaque blocks, the range is unlimited.
fn common(files: &[FileContent<'_, '_>; 2]) -> u64 {
    let [one, other] = files;
    if one.opaque_from.is_some() && other.opaque_from.is_some() {
        return u64::MAX;
    }
    one.size.min(other.size)
}

/// Returns the windows of a file that must be compared.
pub(super) fn windows(
    sides: &[ComparedImage<'_, '_>; 2],
    file: usize,
    step: &ComparedPath<'_>,
) -> Vec<Window> {
    let Some(files) = files(sides, step) else { return Vec::new() };
    let common = common(&files);
    let ranges = files.iter().flat_map(FileContent::stored_ranges);
    let ranges = ranges.map(|range| range.start..range.end.min(common)).filter(|range| !range.is_empty());
    let mut indices: Vec<Range<u64>> =
        ranges.map(|range| range.start / WINDOW_BYTES..range.end.div_ceil(WINDOW_BYTES)).collect();
    indices.sort_unstable_by_key(|range| range.start);
    let (mut windows, mut next) = (Vec::new(), 0);
    for range in indices {
        for index in range.start.max(next)..range.end {
            let start = index * WINDOW_BYTES;
            windows.push(Window { file, range: start..(start + WINDOW_BYTES).min(common) });
        }
        next = next.max(range.end);
    }
    windows
}

/// Compares a window of a file.
pub(super) fn compare(
    sides: &[ComparedImage<'_, '_>; 2],
    step: &ComparedPath<'_>,
    window: &Window,
) -> Option<ContentDifference> {
    let files = files(sides, step)?;
    let [one, other] = files.each_ref().map(|file| file.pieces(window.range.clone()));
    differing(&one, &other)
}

/// Compares the stored pieces of two files. All other bytes are zeros. Bytes at the same address in memory
/// are equal, so they are not read.
fn differing(mut one: &[(u64, &[u8])], mut other: &[(u64, &[u8])]) -> Option<ContentDifference> {
    let (mut next, mut found) = (0, None);
    loop {
        // The next piece on each side, without the bytes before `next`.
        let [left, right] = [one, other].map(|side| {
            let (start, bytes) = side.first()?;
            let skipped: usize = fits(next.max(*start) - start, "pieces that end before are left out");
            Some((next.max(*start), &bytes[skipped..]))
        });
        let (offset, length) = match (left, right) {
            (None, None) => return found,
            (Some((start, bytes)), None) | (None, Some((start, bytes))) => (start, bytes.len()),
            (Some((start, bytes)), Some((other_start, other_bytes))) => {
                let first = start.min(other_start);
                let room =
                    |from: u64, bytes: &[u8]| if from > first { from - first } else { bytes.len() as u64 };
                let length = room(start, bytes).min(room(other_start, other_bytes));
                (first, fits(length, "it is at most the length of a piece, which is in memory"))
            }
        };
        let part = |side: Option<(u64, _)>| -> Option<&[u8]> {
            side.filter(|(start, _)| *start == offset)
                .and_then(|(_, bytes): (u64, &[u8])| bytes.get(..length))
        };
        count(offset, part(left), part(right), &mut found);
        next = offset + length as u64;
        let is_over = |side: &[(u64, &[u8])]| {
            side.first().is_some_and(|(start, bytes)| start + bytes.len() as u64 <= next)
        };
        if is_over(one) {
            one = &one[1..];
        }
        if is_over(other) {
            other = &other[1..];
        }
    }
}

/// Counts the differing bytes in two byte ranges of the same length. `None` stands for zeros.
fn count(offset: u64, one: Option<&[u8]>, other: Option<&[u8]>, found: &mut Option<ContentDifference>) {
    let differing = |index: usize, bytes: u64, found: &mut Option<ContentDifference>| {
        let first = offset + index as u64;
        found.get_or_insert(ContentDifference { first, bytes: 0 }).bytes += bytes;
    };
    let (index, bytes) = match (one, other) {
        (Some(one), Some(other)) => {
            if std::ptr::eq(one, other) || one == other {
                return;
            }
            let differs = |index: &usize| one[*index] != other[*index];
            let first = (0..one.len()).find(differs);
            (first, (0..one.len()).filter(differs).count() as u64)
        }
        (Some(bytes), None) | (None, Some(bytes)) => {
            if is_zero(bytes) {
                return;
            }
            let first = bytes.iter().position(|byte| *byte != 0);
            (first, bytes.iter().filter(|byte| **byte != 0).count() as u64)
        }
        (None, None) => return,
    };
    if let Some(index) = index {
        differing(index, bytes, found);
    }
}

/// Returns the content of both files if neither is larger than `limit` bytes.
pub(super) fn texts(
    sides: &[ComparedImage<'_, '_>; 2],
    step: &ComparedPath<'_>,
    limit: usize,
) -> Option<[Vec<u8>; 2]> {
    let [one, other] = files(sides, step)?;
    Some([one.bytes(limit)?, other.bytes(limit)?])
}

/// Returns whether the blocks that must stay allocated differ, although the content is equal. They are
/// compared as byte ranges, since the block sizes can differ.
pub(super) fn allocation_differs(sides: &[ComparedImage<'_, '_>; 2], pair: [crate::tree::NodeId; 2]) -> bool {
    let [one, other] = [0, 1].map(|side| {
        let ComparedImage { target, options, .. } = &sides[side];
        let view = sides[side].view();
        let allocation = survey::allocation(view, &target.geometry, options.holes, pair[side])?;
        let size = target.geometry.block_bytes();
        let bytes = allocation
            .into_iter()
            .map(|(logical, count, state)| (u64::from(logical) * size, u64::from(count) * size, state));
        Some(bytes.collect::<Vec<_>>())
    });
    one != other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all bytes of a file, as a simple model.
    fn spread(pieces: &[(u64, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        for (start, piece) in pieces {
            bytes[*start as usize..][..piece.len()].copy_from_slice(piece);
        }
        bytes
    }

    fn check(one: &[(u64, &[u8])], other: &[(u64, &[u8])]) {
        let (left, right) = (spread(one), spread(other));
        let places: Vec<_> = (0..64).filter(|place| left[*place] != right[*place]).collect();
        let expected = places.first().map(|first| (*first as u64, places.len() as u64));
        for (one, other) in [(one, other), (other, one)] {
            let found = differing(one, other).map(|found| (found.first, found.bytes));
            assert_eq!(found, expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn pieces_are_compared_wherever_they_begin_and_end() {
        check(&[], &[]);
        check(&[(0, b"abc")], &[(0, b"abc")]);
        check(&[(0, b"abcdef")], &[(0, b"abc"), (3, b"dxf")]);
        check(&[(4, b"\0\0\0")], &[]);
        check(&[(4, b"\0x\0")], &[]);
        check(&[(0, b"ab"), (10, b"cd")], &[(1, b"b"), (9, b"\0cd\0e")]);
        check(&[(0, b"ab\0\0ef")], &[(0, b"ab"), (4, b"ef"), (20, b"q")]);
        check(&[(8, b"long piece here")], &[(2, b"x"), (10, b"ng"), (30, b"z")]);
    }
}
