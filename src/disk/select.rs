//! Which filesystems of an image are meant.

use super::chosen::ChosenFilesystem;
use super::detect::is_ext;
use super::partition::Partition;
use super::partition_table::PartitionTable;
use crate::error::{Error, Location, Result, Structure};

/// How filesystems in an image are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Partitions by number, name or PARTUUID; all with an ext filesystem if there are none.
    pub partitions: Vec<String>,
    /// The offset of a filesystem in bytes, and how many bytes it may have, if not all up to the end.
    pub place: Option<(u64, Option<u64>)>,
    /// Bytes of a sector, if not those that the table is found with, or 512 with an MBR.
    pub sector_size: Option<u64>,
}

impl Selection {
    /// Whether nothing was chosen.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.place.is_none()
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
                "give a disk with an ext filesystem, or use --offset, or --sector-size if its sectors are larger",
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
        Some(several) => Err(Error::Options(format!(
            "{} partitions are called '{wanted}': use --partition with a number",
            several.len()
        ))),
        None => {
            let names: Vec<_> = table.partitions.iter().map(Partition::shown).collect();
            Err(Error::Options(format!(
                "there is no partition '{wanted}': use --partition with one of {}",
                names.join(", ")
            )))
        }
    }
}
