//! Small programs that damage partition tables, as a fuzzer generates them: they are applied to a disk, and
//! then the invariants are checked.

use std::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc};
use ext4_canon::Silent;
use ext4_canon::{Disk, Error, Input, Options, Selection};

use super::outcome::{Memory, flaw};

/// The size in bytes of one step.
pub const STEP: usize = 8;
/// The maximum number of steps in a program.
const MOST_STEPS: usize = 12;

const SECTOR: usize = 512;
/// The size in bytes of a GPT header and of a GPT entry, and the number of entries that are damaged.
const HEADER: usize = 92;
const ENTRY: usize = 128;
const ENTRIES: usize = 5;
/// Offsets of fields in a GPT header, with the names of the UEFI specification.
const HEADER_CRC32: usize = 16;
const PARTITION_ENTRY_LBA: usize = 72;
const NUMBER_OF_PARTITION_ENTRIES: usize = 80;
const SIZE_OF_PARTITION_ENTRY: usize = 84;
const PARTITION_ENTRY_ARRAY_CRC32: usize = 88;
/// The offset of the entries in an MBR, and its last bytes.
const PARTITION_RECORD: usize = 446;
const MBR_SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// A disk that is damaged.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    bytes: Vec<u8>,
    /// The byte ranges of the partition table and its copies.
    areas: Vec<Range<usize>>,
    /// The byte offsets of the GPT headers.
    headers: Vec<usize>,
}

impl Table {
    /// Creates a table, or returns `None` if the bytes don't begin with an MBR.
    pub fn new(name: String, bytes: Vec<u8>) -> Option<Self> {
        bytes.get(..SECTOR)?.ends_with(&MBR_SIGNATURE).then_some(())?;
        let mut areas: Vec<_> = std::iter::once(PARTITION_RECORD..SECTOR).collect();
        let mut headers = Vec::new();
        for start in (SECTOR..bytes.len()).step_by(SECTOR) {
            let sector = &bytes[start..bytes.len().min(start + SECTOR)];
            if sector.starts_with(b"EFI PART") {
                headers.push(start);
                areas.push(start..start + HEADER);
            } else if sector.ends_with(&MBR_SIGNATURE) {
                areas.push(start + PARTITION_RECORD..start + SECTOR);
            }
        }
        let mut table = Self { name, bytes, areas, headers };
        for header in table.headers.clone() {
            let entries = table.entries(&table.bytes, header)?.start;
            table.areas.push(entries..entries + ENTRIES * ENTRY);
        }
        Some(table)
    }

    /// Returns the sector size in bytes: the primary GPT header is in the second sector.
    fn sector(&self) -> usize {
        self.headers.first().copied().unwrap_or(SECTOR)
    }

    /// Returns the byte range of the entries that a header refers to.
    fn entries(&self, bytes: &[u8], header: usize) -> Option<Range<usize>> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(header + at..)?.first_chunk()?) as usize);
        let start = word(PARTITION_ENTRY_LBA)?.checked_mul(self.sector())?;
        let size = word(NUMBER_OF_PARTITION_ENTRIES)?.checked_mul(word(SIZE_OF_PARTITION_ENTRY)?)?;
        let end = start.checked_add(size)?;
        (end <= bytes.len()).then_some(start..end)
    }

    /// Updates the checksums of a GPT.
    fn refresh(&self, bytes: &mut [u8]) {
        let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        for header in &self.headers {
            if let Some(entries) = self.entries(bytes, *header) {
                let sum = crc.checksum(&bytes[entries]);
                bytes[header + PARTITION_ENTRY_ARRAY_CRC32..][..4].copy_from_slice(&sum.to_le_bytes());
            }
            bytes[header + HEADER_CRC32..][..4].fill(0);
            let sum = crc.checksum(&bytes[*header..header + HEADER]);
            bytes[header + HEADER_CRC32..][..4].copy_from_slice(&sum.to_le_bytes());
        }
    }

    /// Returns the disk after a program has damaged it.
    fn damaged(&self, steps: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut fresh = true;
        for [op, area, at, value @ ..] in steps.as_chunks::<STEP>().0.iter().take(MOST_STEPS) {
            let area = self.areas[usize::from(*area) % self.areas.len()].clone();
            let at = area.start + usize::from(*at) * (usize::from(op & 8) / 2).max(1) % area.len();
            let size = (1 << (op & 3)).min(area.end - at).min(value.len());
            for (byte, value) in bytes[at..at + size].iter_mut().zip(value) {
                *byte = match op >> 4 & 3 {
                    0 => *value,
                    1 => *byte ^ value,
                    _ => byte.wrapping_add(*value),
                };
            }
            // Sometimes, don't update checksums.
            fresh &= op >> 6 != 3;
        }
        if fresh {
            self.refresh(&mut bytes);
        }
        bytes
    }
}

/// Runs a program on the disk that the low bits of its first byte select; the high bits select options for
/// the bytes outside filesystems. Returns whether there was an output.
///
/// # Errors
///
/// Returns a description of the violated invariant.
pub fn run(tables: &[Table], program: &[u8]) -> Result<bool, String> {
    let (Some((first, steps)), false) = (program.split_first(), tables.is_empty()) else { return Ok(false) };
    let table = &tables[usize::from(first & 0x3F) % tables.len()];
    let options = Options::new().canonical_table(first & 0x80 != 0).zero_gaps(first & 0x40 != 0);
    let bytes = table.damaged(steps);
    holds(&bytes, &options).map_err(|words| {
        let kept = std::env::temp_dir().join("ext4-canon-table.img");
        let stored = std::fs::write(&kept, &bytes).map(|()| kept);
        format!("{}: {options:?}: {words} (kept as {stored:?})", table.name)
    })
}

fn refusal_helps(error: &Error) -> Result<bool, String> {
    match flaw(error) {
        None => Ok(false),
        Some(flaw) => Err(format!("{flaw}: {error} ({error:?})")),
    }
}

/// Checks the invariant: either an error with a remedy, or an output with the same partition table that is
/// its own canonical form, with no other changes.
fn holds(bytes: &[u8], options: &Options) -> Result<bool, String> {
    let disk = match Disk::open(&Input::new(bytes), &Selection::all()) {
        Ok(disk) => disk,
        Err(error) => return refusal_helps(&error),
    };
    let sink = Memory::default();
    if let Err(error) = disk.canonicalize(options, &sink, &Silent) {
        return refusal_helps(&error);
    }
    let written = sink.into_output(bytes.len())?.bytes();
    let output = Input::new(&written);
    disk.verify(&output, options, &Silent).map_err(|error| format!("another disk: {error}"))?;
    let again = Disk::open(&output, &Selection::all()).map_err(|error| format!("no disk: {error}"))?;
    let places: Vec<_> = disk.filesystems().collect();
    if !again.filesystems().eq(disk.filesystems()) {
        return Err(format!("other filesystems: {again:?}, and not {places:?}"));
    }
    let checked = again.check(options, 1, &Silent).map_err(|error| format!("not read: {error}"))?;
    if !checked.1.is_empty() {
        return Err(format!("not canonical: {:?}", checked.1));
    }
    let is_around = |at: &usize| !places.iter().any(|(_, bytes)| bytes.contains(&(*at as u64)));
    let changed = (0..bytes.len()).filter(is_around).find(|at| written[*at] != bytes[*at]);
    match changed {
        Some(at) if *options == Options::new() => Err(format!("byte {at} is another")),
        Some(at) if !options.canonical_table && written[at] != 0 => Err(format!("byte {at} is not zero")),
        _ => Ok(true),
    }
}
