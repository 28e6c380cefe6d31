//! Stores the bytes of an image file, and the ranges that are known to be zero.

use std::ops::Range;

/// The bytes of an image, and the ranges that are known to be zero.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    /// Sorted, disjoint ranges. All bytes outside them are known to be zero.
    data: Vec<Range<u64>>,
    /// The device of an external journal.
    journal: Option<&'a [u8]>,
    /// Whether the image is a part of a larger image.
    is_part: bool,
}

impl<'a> Input<'a> {
    /// Creates an input in which no byte is known to be zero.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, data: std::iter::once(0..bytes.len() as u64).collect(), journal: None, is_part: false }
    }

    /// Creates an input in which all bytes outside `data` are zero, like the holes of a sparse file. The
    /// library does not read bytes outside `data`, which saves time for large images. The ranges need not be
    /// sorted.
    pub fn sparse(bytes: &'a [u8], mut data: Vec<Range<u64>>) -> Self {
        data.retain(|range| range.start < range.end);
        data.sort_unstable_by_key(|range| range.start);
        data.dedup_by(|next, kept| {
            let touches = next.start <= kept.end;
            if touches {
                kept.end = kept.end.max(next.end);
            }
            touches
        });
        Self { bytes, data, journal: None, is_part: false }
    }

    /// Adds the device of an external journal, which is used if the filesystem needs recovery.
    #[must_use]
    pub fn with_journal(mut self, journal: &'a [u8]) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Returns the device of an external journal, if there is one.
    pub(crate) fn journal(&self) -> Option<&'a [u8]> {
        self.journal
    }

    /// Returns whether the image is a part of a larger image, so that its length can't change.
    pub(crate) fn is_part(&self) -> bool {
        self.is_part
    }

    /// Returns all bytes of the file.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns a range of bytes, if the range is in the file.
    pub(crate) fn range(&self, start: u64, end: u64) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// Returns a range of bytes as a separate input with the same journal device.
    ///
    /// # Panics
    ///
    /// If the range is not in the file. Partitions and offsets are checked when they are read.
    #[must_use]
    pub(crate) fn part(&self, range: Range<u64>) -> Self {
        let bytes =
            self.range(range.start, range.end).expect("the range was checked against the length of the file");
        let data = self.data_within(range.clone());
        let data = data.map(|data| data.start - range.start..data.end - range.start).collect();
        Self { bytes, data, journal: self.journal, is_part: self.is_part || bytes.len() < self.bytes.len() }
    }

    /// Returns whether a range of bytes is known to be zero.
    pub(crate) fn is_hole(&self, range: Range<u64>) -> bool {
        self.data_within(range).next().is_none()
    }

    /// Returns the subranges of a range that are not known to be zero, in order.
    pub(crate) fn data_within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let first = self.data.partition_point(|data| data.end <= range.start);
        let Range { start, end } = range;
        self.data[first..]
            .iter()
            .take_while(move |data| data.start < end)
            .map(move |data| data.start.max(start)..data.end.min(end))
            .filter(|data| data.start < data.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the range was checked")]
    fn a_part_is_inside_the_file() {
        let _ = Input::new(&[0; 100]).part(50..101);
    }

    #[test]
    fn ranges_are_sorted_and_merged() {
        let bytes = [0; 100];
        let input = Input::sparse(&bytes, vec![50..60, 10..20, 20..30, 5..5]);
        assert_eq!(input.data_within(0..100).collect::<Vec<_>>(), [10..30, 50..60]);
        assert_eq!(input.data_within(15..55).collect::<Vec<_>>(), [15..30, 50..55]);
        assert!(input.is_hole(30..50) && input.is_hole(0..10) && input.is_hole(60..100));
        assert!(!input.is_hole(29..30) && !input.is_hole(0..100));
    }
}
