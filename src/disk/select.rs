//! Which filesystems of an image are meant.

use super::chosen::ChosenFilesystem;
use super::detect::is_ext;
use super::partition::Partition;
use super::partition_table::PartitionTable;
use crate::error::{Error, Location, Result, Structure};
use crate::remedy::Remedy;

/// How filesystems in an image are chosen. By default, all are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Partitions by number, name or PARTUUID; all with an ext filesystem if there are none.
    pub partitions: Vec<String>,
    /// The offset of a filesystem in bytes, and how many bytes it may have, if not all up to the end.
    pub place: Option<(u64, Option<u64>)>,
    /// Bytes of a sector, if not those that the table is found with, or 512 with an MBR.
    pub sector_size: Option<u64>,
}

impl Selection {
    /// All filesystems.
    pub fn all() -> Self {
        Self::default()
    }

    /// Adds a partition, by its number, name or PARTUUID.
    #[must_use]
    pub fn partition(mut self, name: impl Into<String>) -> Self {
        self.partitions.push(name.into());
        self
    }

    /// Chooses the filesystem at an offset in bytes, which has `size` bytes or all up to the end.
    #[must_use]
    pub fn at(mut self, offset: u64, size: Option<u64>) -> Self {
        self.place = Some((offset, size));
        self
    }

    /// Sets the bytes of a sector: 512 or 4096.
    #[must_use]
    pub fn sector_size(mut self, bytes: u64) -> Self {
        self.sector_size = Some(bytes);
        self
    }

    /// The filesystems that are meant, in the order of their offsets.
    pub(super) fn parts(&self, table: &PartitionTable, bytes: &[u8]) -> Result<Vec<ChosenFilesystem>> {
        let rest = |partition: &Partition| bytes.get(usize::try_from(partition.bytes.start).ok()?..);
        let holds_ext = |partition: &Partition| rest(partition).is_some_and(is_ext);
        let mut chosen: Vec<usize> = if self.partitions.is_empty() {
            (0..table.partitions.len()).filter(|index| holds_ext(&table.partitions[*index])).collect()
        } else {
            self.partitions.iter().map(|wanted| find(table, wanted)).collect::<Result<_>>()?
        };
        if chosen.is_empty() {
            // Some ISO images have a partition table as well.
            if let Some(foreign) = crate::source::foreign(bytes) {
                return Err(foreign);
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

/// A partition by number, PARTUUID or name, in this order.
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
