//! Selects filesystems in an image.

use super::chosen::ChosenFilesystem;
use super::detect::is_ext;
use super::partition::Partition;
use super::partition_table::PartitionTable;
use crate::error::{Error, Location, Result, Structure};
use crate::remedy::Remedy;
use crate::source::Input;

/// A selection of filesystems in an image. By default, all are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Partitions by number, name or PARTUUID. If empty, all partitions with an ext filesystem.
    pub partitions: Vec<String>,
    /// The offset and size of a filesystem in bytes. Without a size, the filesystem may extend to the end of
    /// the image.
    pub place: Option<(u64, Option<u64>)>,
    /// The sector size in bytes. By default, it is detected for a GPT, and is 512 for an MBR.
    pub sector_size: Option<u64>,
}

impl Selection {
    /// Selects all filesystems.
    pub fn all() -> Self {
        Self::default()
    }

    /// Adds a partition, by its number, name or PARTUUID.
    #[must_use]
    pub fn partition(mut self, name: impl Into<String>) -> Self {
        self.partitions.push(name.into());
        self
    }

    /// Selects the filesystem at an offset in bytes. Without a size in bytes, the filesystem may extend to
    /// the end of the image.
    #[must_use]
    pub fn at(mut self, offset: u64, size: Option<u64>) -> Self {
        self.place = Some((offset, size));
        self
    }

    /// Sets the sector size in bytes: 512 or 4096.
    #[must_use]
    pub fn sector_size(mut self, bytes: u64) -> Self {
        self.sector_size = Some(bytes);
        self
    }

    /// Returns the selected filesystems, in the order of their offsets.
    pub(super) fn parts(&self, table: &PartitionTable, input: &Input<'_>) -> Result<Vec<ChosenFilesystem>> {
        let bytes = input.bytes();
        let rest = |partition: &Partition| bytes.get(usize::try_from(partition.bytes.start).ok()?..);
        let holds_ext = |partition: &Partition| rest(partition).is_some_and(is_ext);
        let mut chosen: Vec<usize> = if self.partitions.is_empty() {
            (0..table.partitions.len()).filter(|index| holds_ext(&table.partitions[*index])).collect()
        } else {
            self.partitions.iter().map(|wanted| find(table, wanted)).collect::<Result<_>>()?
        };
        if chosen.is_empty() {
            // Some ISO images have a partition table, too.
            if let Some(foreign) = crate::source::foreign(bytes) {
                return Err(foreign);
            }
            if let Some(overwritten) = overwritten(table, input) {
                return Err(overwritten);
            }
            return Err(Location::of(Structure::PartitionTable).unsupported(
                format!("none of the {} partitions holds an ext filesystem", table.partitions.len()),
                Remedy::GiveOffsetOrSectorSize,
            ));
        }
        chosen.sort_by_key(|index| table.partitions[*index].bytes.start);
        chosen.dedup();
        let part = |index: usize| {
            let partition = &table.partitions[index];
            ChosenFilesystem {
                bytes: partition.bytes.clone(),
                partition: Some(index),
                name: Some(partition.shown()),
            }
        };
        Ok(chosen.into_iter().map(part).collect())
    }
}

/// Returns an error for the first partition whose superblock was overwritten, but has a backup.
fn overwritten(table: &PartitionTable, input: &Input<'_>) -> Option<Error> {
    table.partitions.iter().find_map(|partition| {
        let part = input.part(partition.bytes.clone());
        let error = crate::source::overwritten(&part)?;
        let (name, offset) = (partition.shown(), partition.bytes.start);
        Some(Error::Partition { name, offset, error: Box::new(error) })
    })
}

/// Finds a partition by number, PARTUUID or name, in this order.
fn find(table: &PartitionTable, wanted: &str) -> Result<usize> {
    let indices = 0..table.partitions.len();
    let by = |is: &dyn Fn(&Partition) -> bool| {
        indices.clone().filter(|index| is(&table.partitions[*index])).collect::<Vec<_>>()
    };
    let number = wanted.parse::<u32>().ok();
    let found = [
        by(&|partition| Some(partition.number) == number),
        by(&|partition| partition.uuid.eq_ignore_ascii_case(wanted)),
        by(&|partition| !wanted.is_empty() && partition.name == wanted),
    ];
    match found.iter().find(|found| !found.is_empty()).map(|found| &found[..]) {
        Some([index]) => Ok(*index),
        Some(several) => Err(Error::options(
            format!("{} partitions are called '{wanted}'", several.len()),
            Remedy::ChooseByNumber,
        )),
        None => {
            let names = table.partitions.iter().map(Partition::shown).collect();
            Err(Error::options(format!("there is no partition '{wanted}'"), Remedy::ChooseAmong(names)))
        }
    }
}
