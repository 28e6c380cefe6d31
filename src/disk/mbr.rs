//! Reads MBR partition tables, including the chain of tables for logical partitions.
//!
//! No existing crate is used, because those add numbers from the image without checks, so that a crafted
//! image can cause an overflow. Logical partitions are numbered as in Linux, in the order of the chain, which
//! need not be their order on the disk.

use std::ops::Range;

use super::partition::Partition;
use super::partition_table::{PartitionTable, TableKind, check_inside, damaged_table};
use crate::error::{Error, Result};

/// The offset of the entries in a table, and the size of an entry, in bytes.
const ENTRIES: usize = 446;
const ENTRY: usize = 16;
/// The offset in bytes of the signature at the end of the table, and its value.
const SIGNATURE: (usize, [u8; 2]) = (510, [0x55, 0xAA]);
/// The type of the partition that protects a GPT.
const PROTECTIVE: u8 = 0xEE;
/// The types of extended partitions, which contain logical partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0F, 0x85];
/// The maximum number of logical partitions, which is more than Linux supports.
const MAX_LOGICAL: usize = 256;

/// The content of the first sector of a disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstSector {
    /// No table, or a table without partitions.
    NoTable,
    /// A protective MBR, which means that there is a GPT.
    Protective,
    /// A table with partitions.
    Table(PartitionTable),
}

#[derive(Clone, Copy)]
struct MbrEntry {
    status: u8,
    kind: u8,
    start: u32,
    sectors: u32,
}

impl MbrEntry {
    /// Returns whether the entry is in use. Linux treats every entry with sectors as a partition, even an
    /// entry of type 0, which is the default of genimage.
    const fn is_used(&self) -> bool {
        self.sectors > 0
    }
}

/// Reads the table at the start of a disk. Bytes that are not a table are ignored, such as the boot code of a
/// filesystem, which ends with the same signature.
///
/// # Errors
///
/// `Corrupt` for a second extended partition, for an inconsistent chain of logical partitions, or for
/// partitions past the end of the image.
pub(super) fn read(bytes: &[u8], sector_size: u64) -> Result<FirstSector> {
    let Some(entries) = entries(bytes, 0) else { return Ok(FirstSector::NoTable) };
    // In boot code, these bytes are not valid status bytes.
    if entries.iter().any(|entry| entry.status & 0x7F != 0) || !entries.iter().any(MbrEntry::is_used) {
        return Ok(FirstSector::NoTable);
    }
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        return Ok(FirstSector::Protective);
    }
    let signature =
        bytes.get(440..).and_then(|rest| rest.first_chunk()).map_or(0, |raw| u32::from_le_bytes(*raw));
    let mut table = PartitionTable {
        sector_size,
        kind: TableKind::Mbr(signature),
        partitions: Vec::new(),
        reserved: std::iter::once(0..sector_size).collect(),
        hybrid: Vec::new(),
    };
    let length = bytes.len() as u64;
    let add = |table: &mut PartitionTable, number: u32, entry: &MbrEntry, base: u64| {
        let start = (base + u64::from(entry.start)) * sector_size;
        let range = start..start + u64::from(entry.sectors) * sector_size;
        let uuid = format!("{signature:08x}-{number:02x}");
        let partition = Partition {
            number,
            name: String::new(),
            uuid,
            kind: format!("{:02x}", entry.kind),
            attributes: entry.status.into(),
            bytes: range,
        };
        check_inside(&partition, length)?;
        table.partitions.push(partition);
        Ok::<_, Error>(())
    };
    let mut extended = None;
    for (number, entry) in (1..).zip(&entries).filter(|(_, entry)| entry.is_used()) {
        if EXTENDED.contains(&entry.kind) {
            if extended.replace(*entry).is_some() {
                return Err(damaged_table("there are two extended partitions"));
            }
        } else {
            add(&mut table, number, entry, 0)?;
        }
    }
    if let Some(extended) = extended {
        for (number, (base, entry)) in (5..).zip(logical(bytes, &extended, &mut table.reserved, sector_size)?)
        {
            add(&mut table, number, &entry, base)?;
        }
    }
    table.reserved.sort_unstable_by_key(|range| range.start);
    Ok(FirstSector::Table(table))
}

/// Returns the byte ranges of the partitions in a protective MBR, except the one that protects the GPT. Only
/// a hybrid MBR has these partitions, for systems without GPT support.
pub(super) fn beside_gpt(bytes: &[u8], sector_size: u64) -> Vec<Range<u64>> {
    let used =
        entries(bytes, 0).into_iter().flatten().filter(|entry| entry.is_used() && entry.kind != PROTECTIVE);
    let ranges = used.map(|entry| {
        let start = u64::from(entry.start) * sector_size;
        start..start + u64::from(entry.sectors) * sector_size
    });
    ranges.collect()
}

/// Returns the logical partitions, each with the sector that its start is relative to.
fn logical(
    bytes: &[u8],
    extended: &MbrEntry,
    reserved: &mut Vec<Range<u64>>,
    sector_size: u64,
) -> Result<Vec<(u64, MbrEntry)>> {
    let first = u64::from(extended.start);
    let (mut found, mut seen) = (Vec::new(), vec![first]);
    loop {
        let at = seen.last().copied().unwrap_or(first);
        let place = at * sector_size;
        let Some(entries) = entries(bytes, place) else {
            // An extended partition without logical partitions can lack a table.
            if seen.len() == 1 {
                return Ok(found);
            }
            return Err(damaged_table(format!("sector {at} has no valid table of logical partitions")));
        };
        reserved.push(place..place + sector_size);
        let used = entries.into_iter().filter(MbrEntry::is_used);
        let (links, parts): (Vec<_>, Vec<_>) = used.partition(|entry| EXTENDED.contains(&entry.kind));
        if links.len() > 1 || parts.len() > 1 {
            let what = "has more than one partition or more than one link to a next table";
            return Err(damaged_table(format!("the table of logical partitions in sector {at} {what}")));
        }
        found.extend(parts.first().map(|entry| (at, *entry)));
        let Some(next) = links.first() else { return Ok(found) };
        let after = first + u64::from(next.start);
        // A table that occurs again is an error, so the loop ends.
        if next.start >= extended.sectors || seen.contains(&after) {
            return Err(damaged_table(format!(
                "the table of logical partitions in sector {at} leads to sector {after}, which is outside \
                 the extended partition or in the chain twice"
            )));
        }
        if seen.len() == MAX_LOGICAL {
            return Err(damaged_table(format!("there are more than {MAX_LOGICAL} logical partitions")));
        }
        seen.push(after);
    }
}

/// Reads the entries of a table at an offset in bytes.
fn entries(bytes: &[u8], at: u64) -> Option<[MbrEntry; 4]> {
    let table = bytes.get(usize::try_from(at).ok()?..)?.first_chunk::<512>()?;
    if table[SIGNATURE.0..] != SIGNATURE.1 {
        return None;
    }
    let number = |at: usize| u32::from_le_bytes([table[at], table[at + 1], table[at + 2], table[at + 3]]);
    Some([0, 1, 2, 3].map(|index| {
        let at = ENTRIES + index * ENTRY;
        MbrEntry { status: table[at], kind: table[at + 4], start: number(at + 8), sectors: number(at + 12) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table: its sector, and its entries as type, start and number of sectors.
    type Entries<'e> = (usize, &'e [(u8, u32, u32)]);

    /// Creates a disk with `sectors` sectors of 512 bytes.
    fn disk(sectors: usize, tables: &[Entries<'_>]) -> Vec<u8> {
        let mut bytes = vec![0; sectors * 512];
        for (at, entries) in tables {
            let table = &mut bytes[at * 512..][..512];
            table[510..].copy_from_slice(&SIGNATURE.1);
            for (raw, (kind, start, sectors)) in table[ENTRIES..].chunks_mut(ENTRY).zip(*entries) {
                raw[4] = *kind;
                raw[8..12].copy_from_slice(&start.to_le_bytes());
                raw[12..].copy_from_slice(&sectors.to_le_bytes());
            }
        }
        bytes
    }

    fn found(bytes: &[u8]) -> Vec<(u32, Range<u64>)> {
        match read(bytes, 512).unwrap() {
            FirstSector::Table(table) => table.partitions.into_iter().map(|p| (p.number, p.bytes)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn primary_and_logical_partitions() {
        let bytes = disk(
            100,
            &[
                (0, &[(0x83, 10, 5), (0, 0, 0), (0x0F, 20, 60)]),
                (20, &[(0x83, 2, 10), (5, 30, 20)]),
                (50, &[(0x83, 1, 4)]),
            ],
        );
        assert_eq!(found(&bytes), [(1, 5120..7680), (5, 22 * 512..32 * 512), (6, 51 * 512..55 * 512)]);
    }

    #[test]
    fn logical_partitions_in_any_order() {
        let bytes = disk(
            100,
            &[
                (0, &[(0x0F, 20, 60)]),
                (20, &[(0x83, 40, 10), (5, 30, 20)]),
                (50, &[(5, 5, 10), (0, 0, 0), (0x83, 1, 4)]),
                (25, &[(0x83, 2, 3)]),
            ],
        );
        assert_eq!(
            found(&bytes),
            [(5, 60 * 512..70 * 512), (6, 51 * 512..55 * 512), (7, 27 * 512..30 * 512)]
        );
        // The first logical partition was deleted.
        let bytes =
            disk(100, &[(0, &[(0x0F, 20, 60)]), (20, &[(0, 0, 0), (5, 30, 1)]), (50, &[(0x83, 1, 4)])]);
        assert_eq!(found(&bytes), [(5, 51 * 512..55 * 512)]);
    }

    #[test]
    fn partitions_of_type_0_count_as_linux_counts() {
        let bytes = disk(
            100,
            &[
                (0, &[(0, 5, 4), (0x83, 10, 5), (5, 20, 60), (0, 90, 0)]),
                (20, &[(0, 2, 10), (5, 30, 20)]),
                (50, &[(0x83, 1, 4)]),
            ],
        );
        let starts = [(1, 5), (2, 10), (5, 22), (6, 51)];
        let read = found(&bytes);
        assert_eq!(
            read.iter().map(|(number, range)| (*number, range.start / 512)).collect::<Vec<_>>(),
            starts
        );
        // An entry of type 0 also counts in a protective MBR.
        let bytes = disk(9, &[(0, &[(PROTECTIVE, 1, 3), (0, 5, 2), (0x83, 8, 0)])]);
        assert_eq!(beside_gpt(&bytes, 512).as_slice(), std::slice::from_ref(&(5 * 512..7 * 512)));
    }

    #[test]
    fn a_chain_has_an_end() {
        // Creates a chain of `count` tables, each with a partition in the next sector.
        let chain = |count: u32| {
            let entries: Vec<_> = (0..count)
                .map(|index| {
                    let next = if index + 1 < count { (5, index * 2 + 2, 2) } else { (0, 0, 0) };
                    [(0x83, 1, 1), next]
                })
                .collect();
            let mut tables: Vec<Entries<'_>> = vec![(0, &[(5, 20, 1000)])];
            tables.extend(entries.iter().enumerate().map(|(index, entries)| (20 + index * 2, &entries[..])));
            disk(1100, &tables)
        };
        assert_eq!(found(&chain(256)).len(), 256);
        assert!(read(&chain(257), 512).unwrap_err().to_string().contains("more than 256 logical partitions"));
        for entries in [&[(0x83, 1, 1), (0x83, 2, 1)][..], &[(5, 5, 1), (0, 0, 0), (5, 9, 1)]] {
            let error = read(&disk(100, &[(0, &[(5, 20, 60)]), (20, entries)]), 512).unwrap_err();
            assert!(error.to_string().contains("more than one partition"), "{error}");
        }
    }

    #[test]
    fn chains_that_go_round_or_away_are_refused() {
        for next in [0, 30, 60, u32::MAX] {
            let bytes = disk(
                100,
                &[
                    (0, &[(5, 20, 60)]),
                    (20, &[(0x83, 2, 10), (5, 30, 1)]),
                    (50, &[(0x83, 1, 1), (5, next, 1)]),
                ],
            );
            let error = read(&bytes, 512).unwrap_err().to_string();
            assert!(error.contains("sector"), "{next}: {error}");
        }
        let bytes = disk(100, &[(0, &[(0x83, 90, 11)])]);
        assert!(read(&bytes, 512).unwrap_err().to_string().contains("ends at byte 51712"));
        assert!(read(&disk(100, &[(0, &[(0x83, u32::MAX, u32::MAX)])]), 512).is_err());
    }

    #[test]
    fn boot_code_and_nothing_are_no_table() {
        assert_eq!(read(&[0; 5000], 512).unwrap(), FirstSector::NoTable);
        assert_eq!(read(&disk(9, &[(0, &[])]), 512).unwrap(), FirstSector::NoTable);
        let mut code = disk(9, &[(0, &[(0x83, 1, 1)])]);
        code[ENTRIES + ENTRY] = 0x31;
        assert_eq!(read(&code, 512).unwrap(), FirstSector::NoTable);
        assert_eq!(read(&disk(9, &[(0, &[(PROTECTIVE, 1, 8)])]), 512).unwrap(), FirstSector::Protective);
        assert_eq!(read(b"short", 512).unwrap(), FirstSector::NoTable);
    }
}
