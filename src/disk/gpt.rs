//! Reads the GUID partition table (GPT).

use std::io::Cursor;
use std::ops::Range;

use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, read_header_from_arbitrary_device};
use gpt::partition::file_read_partitions;

use super::mbr;
use super::partition::Partition;
use super::partition_table::{PartitionTable, TableKind, check_inside, damaged_table};
use crate::error::{Error, Location, Result, Structure};
use crate::remedy::Remedy;

/// The signature at the start of a header.
const MAGIC: &[u8] = b"EFI PART";
/// The size of a header in bytes. The other bytes of its sector are reserved.
pub(super) const HEADER: u64 = 92;
/// The size of an entry in bytes.
pub(super) const ENTRY: u64 = 128;
/// The maximum number of entries. The gpt crate allocates memory for all of them.
const MAX_ENTRIES: u32 = 4096;

/// A copy of the GPT (primary or backup), with the byte ranges of its header and entries.
#[derive(Debug)]
pub(super) struct GptCopy {
    /// The header as stored.
    pub header: Header,
    /// The byte range of the header.
    pub place: Range<u64>,
    /// The byte range of the entries.
    pub entries: Range<u64>,
}

/// Reads the primary table of a disk.
///
/// # Errors
///
/// `Corrupt` if there is no header, if the table is damaged, or if a partition ends past the end of the
/// image. `Unsupported` if there are headers for both sector sizes, or if the header or the entries have
/// unusual sizes.
pub(super) fn read(bytes: &[u8], sector_size: Option<u64>) -> Result<PartitionTable> {
    let sizes = [512, 4096].into_iter().filter(|size| sector_size.is_none_or(|wanted| wanted == *size));
    let sizes: Vec<u64> = sizes.filter(|size| has_magic(bytes, *size)).collect();
    let [sector_size] = sizes[..] else {
        if sizes.is_empty() {
            return Err(damaged_table("the protective MBR lists a GPT, but there is no GPT header"));
        }
        return Err(Location::of(Structure::PartitionTable).unsupported(
            "there are headers of a GPT for sectors of 512 and of 4096 bytes",
            Remedy::GiveSectorSize,
        ));
    };
    let primary = copy(bytes, sector_size, 1)?;
    let mut entries = entries(bytes, &primary, sector_size)?;
    entries.sort_by_key(|partition| partition.number);
    let mut reserved: Vec<_> = [0..sector_size, primary.place.start..primary.place.start + sector_size]
        .into_iter()
        .chain([primary.entries])
        .collect();
    // The bytes of a damaged backup do not count as part of the table.
    if let Ok(backup) = copy(bytes, sector_size, primary.header.backup_lba) {
        reserved.extend([backup.place.start..backup.place.start + sector_size, backup.entries]);
    }
    reserved.sort_unstable_by_key(|range| range.start);
    let kind = TableKind::Gpt(primary.header.disk_guid);
    let hybrid = mbr::beside_gpt(bytes, sector_size);
    Ok(PartitionTable { sector_size, kind, partitions: entries, reserved, hybrid })
}

/// Reads the header in a sector, and makes all checks that don't need the entries.
///
/// # Errors
///
/// `Corrupt` if the header is damaged, `Unsupported` if the header or the entries have unusual sizes.
pub(super) fn copy(bytes: &[u8], sector_size: u64, sector: u64) -> Result<GptCopy> {
    let wrong = |what: &str| damaged_table(format!("the header of the GPT in sector {sector} {what}"));
    let length = bytes.len() as u64;
    let start = sector.checked_mul(sector_size).filter(|start| *start >= sector_size && *start < length);
    let Some(start) = start else { return Err(wrong("is past the end of the image")) };
    let in_memory = |at: u64| usize::try_from(at).expect("less than the length of a slice");
    if has_other_sizes(&bytes[in_memory(start)..], sector_size) {
        return Err(Location::of(Structure::PartitionTable).unsupported(
            format!(
                "a GPT whose header or entries do not have the usual sizes of {HEADER} and {ENTRY} bytes"
            ),
            Remedy::RecreateTable,
        ));
    }
    // The gpt crate reads the header from sector 1 of its input.
    let mut window = Cursor::new(&bytes[in_memory(start - sector_size)..]);
    let header = read_header_from_arbitrary_device(&mut window, block_size(sector_size))
        .map_err(|error| wrong(&format!("can't be read: {error}")))?;
    // The gpt crate does not check the sizes if the checksum is correct.
    if u64::from(header.header_size_le) != HEADER || u64::from(header.part_size) != ENTRY {
        return Err(wrong("does not have the usual sizes: 92 bytes for the header, 128 bytes for an entry"));
    }
    if header.current_lba != sector {
        return Err(wrong("says that it is in a different sector"));
    }
    if header.num_parts > MAX_ENTRIES {
        return Err(wrong("has more entries than any tool makes"));
    }
    let first = header.part_start.checked_mul(sector_size);
    let entries =
        first.and_then(|first| Some(first..first.checked_add(u64::from(header.num_parts) * ENTRY)?));
    let Some(entries) = entries.filter(|entries| entries.start >= sector_size && entries.end <= length)
    else {
        return Err(wrong("has its entries outside the image"));
    };
    let place = start..start + HEADER;
    if place.end > length {
        return Err(wrong("is cut short"));
    }
    Ok(GptCopy { header, place, entries })
}

/// Reads the partitions, and checks the checksum of the entries.
fn entries(bytes: &[u8], copy: &GptCopy, sector_size: u64) -> Result<Vec<Partition>> {
    let found = file_read_partitions(&mut Cursor::new(bytes), &copy.header, block_size(sector_size))
        .map_err(|error| damaged_table(format!("the entries of the GPT can't be read: {error}")))?;
    let used = found.into_iter().filter(|(_, entry)| entry.is_used());
    used.map(|(number, entry)| {
        let range = entry.first_lba.checked_mul(sector_size).and_then(|start| {
            let end = entry.last_lba.checked_add(1)?.checked_mul(sector_size)?;
            (start < end).then_some(start..end)
        });
        let bounds = || damaged_table(format!("partition {number} ends before it begins"));
        let partition = Partition {
            number,
            name: entry.name,
            uuid: entry.part_guid.to_string(),
            kind: entry.part_type_guid.guid.to_string(),
            attributes: entry.flags,
            bytes: range.ok_or_else(bounds)?,
        };
        check_inside(&partition, bytes.len() as u64)?;
        Ok::<_, Error>(partition)
    })
    .collect()
}

fn has_magic(bytes: &[u8], sector_size: u64) -> bool {
    let at = usize::try_from(sector_size).expect("512 or 4096");
    bytes.get(at..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// Returns whether a header is valid except for unusual sizes, which a later version of the format can have.
fn has_other_sizes(header: &[u8], sector_size: u64) -> bool {
    let number =
        |at: usize| header.get(at..).and_then(<[u8]>::first_chunk).map(|raw| u32::from_le_bytes(*raw));
    let (Some(size), Some(entry)) = (number(12), number(84)) else { return false };
    if !header.starts_with(MAGIC) || [size, entry].map(u64::from) == [HEADER, ENTRY] {
        return false;
    }
    let whole = Some(size).filter(|size| (HEADER..=sector_size).contains(&u64::from(*size)));
    let whole = whole.and_then(|size| header.get(..usize::try_from(size).ok()?));
    whole.is_some_and(|whole| {
        let mut whole = whole.to_vec();
        whole[16..20].fill(0);
        number(16) == Some(crc32(&whole))
    })
}

fn block_size(sector_size: u64) -> LogicalBlockSize {
    if sector_size == 4096 { LogicalBlockSize::Lb4096 } else { LogicalBlockSize::Lb512 }
}

/// Computes the checksum of a GPT, which is CRC-32 as in Ethernet and zip.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}
