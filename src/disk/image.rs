//! Opens an image, and finds the selected filesystems in it.

use std::ops::Range;

use super::chosen::ChosenFilesystem;
use super::detect::{is_ext, partition_table};
use super::partition_table::{PartitionTable, damaged_table};
use super::select::Selection;
use crate::error::{Error, Location, Result, Structure};
use crate::remedy::Remedy;
use crate::source::Input;

/// An image, and the selected filesystems in it.
///
/// An image that is a single filesystem is a disk with one filesystem. All operations are methods of this
/// type.
#[derive(Clone, Debug)]
pub struct Disk<'a> {
    pub(super) input: Input<'a>,
    /// The partition table, if it was used to find the filesystems.
    pub(super) table: Option<PartitionTable>,
    /// The filesystems, in the order of their offsets; at least one.
    pub(super) parts: Vec<ChosenFilesystem>,
    /// Whether filesystems were selected by partition or offset, or there is no partition table.
    named: bool,
}

impl<'a> Disk<'a> {
    /// Finds the filesystems in an image. An image without a partition table is a single filesystem.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a damaged partition table. `Unsupported` for an unsupported table, if no partition has a
    /// filesystem, or if the image starts with a filesystem and with a partition table. `Options` for a
    /// selection or a journal device that doesn't match the image.
    pub fn open(input: &Input<'a>, selection: &Selection) -> Result<Self> {
        let found = Self::find(input, selection)?;
        if input.journal().is_some() && found.parts.len() > 1 {
            return Err(Error::options(
                "the journal device can't belong to all filesystems of the disk",
                Remedy::ChooseOne,
            ));
        }
        Ok(found)
    }

    fn find(input: &Input<'a>, selection: &Selection) -> Result<Self> {
        let length = input.bytes().len() as u64;
        if let Some((offset, size)) = selection.place {
            return Self::at(input, offset, size);
        }
        let table = partition_table(input.bytes(), selection.sector_size);
        if is_ext(input.bytes()) && selection.partitions.is_empty() && !matches!(table, Ok(None)) {
            return Err(Location::of(Structure::PartitionTable).unsupported(
                "the image begins with a filesystem as well as with a partition table",
                Remedy::ChooseOffsetOrPartition,
            ));
        }
        let Some(table) = table? else {
            if let Some(wanted) = selection.partitions.first() {
                return Err(Error::options(
                    format!("there is no partition table with a partition '{wanted}'"),
                    Remedy::ChooseNone,
                ));
            }
            let whole = ChosenFilesystem { bytes: 0..length, partition: None, name: None };
            return Ok(Self::alone(input, whole));
        };
        let parts = selection.parts(&table, input)?;
        check_places(&table, &parts)?;
        let named = !selection.partitions.is_empty();
        Ok(Self { input: input.clone(), table: Some(table), parts, named })
    }

    /// Selects the filesystem at an offset, and ignores everything else.
    fn at(input: &Input<'a>, offset: u64, size: Option<u64>) -> Result<Self> {
        let length = input.bytes().len() as u64;
        let end = size.map_or(Some(length), |size| offset.checked_add(size));
        let Some(end) = end.filter(|end| *end <= length && offset < *end) else {
            return Err(Error::options(
                format!("the filesystem would end after the image, which has {length} bytes"),
                Remedy::CorrectOffset,
            ));
        };
        let whole = offset == 0 && end == length;
        let name = (!whole).then(|| format!("filesystem at byte {offset}"));
        let part = ChosenFilesystem { bytes: offset..end, partition: None, name };
        Ok(Self::alone(input, part))
    }

    /// Selects a filesystem without a partition table.
    fn alone(input: &Input<'a>, part: ChosenFilesystem) -> Self {
        Self { input: input.clone(), table: None, parts: vec![part], named: true }
    }

    /// Returns whether the image has a partition table, and no filesystem was selected by partition or
    /// offset.
    pub fn is_whole_disk(&self) -> bool {
        !self.named
    }

    /// Returns whether the filesystems were found through a partition table.
    pub fn has_partitions(&self) -> bool {
        self.table.is_some()
    }

    /// Returns the filesystems in the order of their offsets: name and byte range. A filesystem that is the
    /// whole image has no name.
    pub fn filesystems(&self) -> impl Iterator<Item = (Option<&str>, Range<u64>)> {
        self.parts.iter().map(|part| (part.name.as_deref(), part.bytes.clone()))
    }

    /// Returns a filesystem as a separate image.
    pub(super) fn filesystem(&self, part: &ChosenFilesystem) -> Input<'a> {
        self.input.part(part.bytes.clone())
    }

    /// Returns whether the whole image is a single filesystem.
    pub(super) fn is_filesystem(&self) -> bool {
        self.parts.iter().any(|part| part.name.is_none())
    }

    /// Returns the only selected filesystem.
    ///
    /// # Errors
    ///
    /// `Options` if several filesystems are selected.
    pub(super) fn only(&self) -> Result<&ChosenFilesystem> {
        match &self.parts[..] {
            [part] => Ok(part),
            parts => {
                let names: Vec<_> = parts.iter().filter_map(|part| part.name.as_deref()).collect();
                Err(Error::options(
                    format!("a disk with {} filesystems ({})", parts.len(), names.join(", ")),
                    Remedy::ChooseOne,
                ))
            }
        }
    }

    /// Adds the name of a filesystem to an error.
    pub(super) fn error(part: &ChosenFilesystem, error: Error) -> Error {
        match &part.name {
            Some(name) => {
                Error::Partition { name: name.clone(), offset: part.bytes.start, error: Box::new(error) }
            }
            None => error,
        }
    }
}

/// Checks that the filesystems do not overlap other partitions or the table.
fn check_places(table: &PartitionTable, parts: &[ChosenFilesystem]) -> Result<()> {
    let overlap = |one: &Range<u64>, other: &Range<u64>| one.start < other.end && other.start < one.end;
    for part in parts {
        let others = table.partitions.iter().enumerate();
        let others = others.filter(|(index, _)| part.partition != Some(*index));
        let other = others.map(|(_, other)| other).find(|other| overlap(&other.bytes, &part.bytes));
        let what = match other {
            Some(other) => other.shown(),
            None if table.reserved.iter().any(|bytes| overlap(bytes, &part.bytes)) => {
                "the partition table".to_owned()
            }
            None => continue,
        };
        let name = part.name.as_deref().unwrap_or("a partition");
        return Err(damaged_table(format!("{name} overlaps {what}")));
    }
    Ok(())
}
