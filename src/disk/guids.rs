//! Derives the GUIDs of a GPT from the content of the disk.
//!
//! The GUID of a partition is derived from its number, type, byte range, attributes, name and content. The
//! GUID of the disk is derived from the sector size, the first and the last usable sector, and the GUIDs of
//! the partitions. The derived GUIDs are UUIDs of version 8 (RFC 9562), like the derived UUIDs of
//! filesystems.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::gpt::{self, ENTRY, HEADER, crc32};
use super::partition::Partition;
use super::partition_table::{PartitionTable, TableKind, damaged_table};
use crate::error::Result;
use crate::form;
use crate::identities::IdentityKind;

/// Bytes that replace the bytes at an offset of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    /// The offset on the disk, in bytes.
    pub offset: u64,
    /// The new bytes.
    pub bytes: Vec<u8>,
}

/// Returns the headers and entries of a GPT with derived GUIDs, in the order of their offsets. Returns an
/// empty list if the table is not a GPT.
///
/// `contents` are the digests of the content of each partition.
///
/// # Errors
///
/// `Corrupt` if a copy of the GPT is damaged, if the copies differ, if headers and entries overlap, or if a
/// partition overlaps them. `Unsupported` if a header or the entries have unusual sizes.
pub(super) fn canonical(bytes: &[u8], table: &PartitionTable, contents: &[[u8; 32]]) -> Result<Vec<Patch>> {
    if !matches!(table.kind, TableKind::Gpt(_)) {
        return Ok(Vec::new());
    }
    let primary = gpt::copy(bytes, table.sector_size, 1)?;
    let backup = gpt::copy(bytes, table.sector_size, primary.header.backup_lba)?;
    let of = |copy: &gpt::GptCopy| slice(bytes, &copy.entries).to_vec();
    let mut entries = of(&primary);
    if entries != of(&backup) || backup.header.backup_lba != 1 {
        return Err(damaged_table("the backup GPT differs from the primary GPT"));
    }
    let mut all = Sha256::new_with_prefix(form::DISK_DOMAIN);
    all.update(table.sector_size.to_le_bytes());
    all.update(primary.header.first_usable.to_le_bytes());
    all.update(primary.header.last_usable.to_le_bytes());
    for (partition, content) in table.partitions.iter().zip(contents) {
        let guid = guid(partition, content);
        all.update(guid.as_bytes());
        entries[place_of_guid(partition)].copy_from_slice(&guid.to_bytes_le());
    }
    let disk = form::uuid(&all.finalize().into());
    let crc = crc32(&entries);
    let mut patches: Vec<_> = [&primary, &backup]
        .into_iter()
        .flat_map(|copy| {
            let mut header = slice(bytes, &copy.place).to_vec();
            header[56..72].copy_from_slice(&disk.to_bytes_le());
            header[88..92].copy_from_slice(&crc.to_le_bytes());
            header[16..20].fill(0);
            let own = crc32(&header);
            header[16..20].copy_from_slice(&own.to_le_bytes());
            let header = Patch { offset: copy.place.start, bytes: header };
            [header, Patch { offset: copy.entries.start, bytes: entries.clone() }]
        })
        .collect();
    patches.sort_by_key(|patch| patch.offset);
    let end = |patch: &Patch| patch.offset + patch.bytes.len() as u64;
    if !patches.is_sorted_by(|one, next| end(one) <= next.offset) {
        return Err(damaged_table("the headers and entries of the GPT overlap"));
    }
    // If a partition contained the table, its GUID would depend on the table that contains the GUID.
    let holds = |partition: &&Partition, patch: &Patch| {
        partition.bytes.start < end(patch) && patch.offset < partition.bytes.end
    };
    let holding = |partition: &&Partition| patches.iter().any(|patch| holds(partition, patch));
    if let Some(partition) = table.partitions.iter().find(holding) {
        return Err(damaged_table(format!("{} overlaps the partition table", partition.shown())));
    }
    Ok(patches)
}

/// Returns the headers and entries of a GPT, with zeros instead of the checksums and the GUIDs of the disk
/// and the partitions. If two disks have equal canonical forms with derived GUIDs, these bytes are equal.
pub(super) fn masked(bytes: &[u8], table: &PartitionTable) -> Vec<Patch> {
    let mut patches = Vec::new();
    let Ok(primary) = gpt::copy(bytes, table.sector_size, 1) else { return patches };
    let backup = gpt::copy(bytes, table.sector_size, primary.header.backup_lba);
    for copy in std::iter::once(primary).chain(backup) {
        let mut header = slice(bytes, &copy.place).to_vec();
        for derived in [16..20, 56..72, 88..92] {
            header[derived].fill(0);
        }
        let mut entries = slice(bytes, &copy.entries).to_vec();
        for partition in &table.partitions {
            // A backup that differs from the primary table can have fewer entries.
            if let Some(guid) = entries.get_mut(place_of_guid(partition)) {
                guid.fill(0);
            }
        }
        patches.push(Patch { offset: copy.place.start, bytes: header });
        patches.push(Patch { offset: copy.entries.start, bytes: entries });
    }
    patches.sort_by_key(|patch| patch.offset);
    patches
}

/// Returns the GUIDs of the disk and the partitions that the patches of [`canonical`] contain.
pub(super) fn values(table: &PartitionTable, patches: &[Patch]) -> Vec<(IdentityKind, u32, [u8; 16])> {
    let guid = |bytes: &[u8]| bytes.first_chunk().map(|guid| Uuid::from_bytes_le(*guid).into_bytes());
    // The patch of a signature is shorter than a header.
    let patches = patches.iter().filter(|patch| patch.bytes.len() as u64 >= HEADER);
    let header = patches.clone().find(|patch| patch.bytes.len() as u64 == HEADER);
    let disk = header.and_then(|patch| Some((IdentityKind::Disk, 0, guid(patch.bytes.get(56..)?)?)));
    let entries = patches.clone().find(|patch| patch.bytes.len() as u64 != HEADER);
    let partitions = table.partitions.iter().filter_map(|partition| {
        let bytes = &entries?.bytes[place_of_guid(partition)];
        Some((IdentityKind::Partition, partition.number, guid(bytes)?))
    });
    partitions.chain(disk).collect()
}

/// Returns the byte range of a partition's GUID in the entries.
fn place_of_guid(partition: &Partition) -> std::ops::Range<usize> {
    let at = (u64::from(partition.number) - 1) * ENTRY + 16;
    let at = usize::try_from(at).expect("a place in a list of entries that was read into memory");
    at..at + 16
}

fn guid(partition: &Partition, content: &[u8; 32]) -> Uuid {
    let mut hash = Sha256::new_with_prefix(form::PARTITION_DOMAIN);
    hash.update(partition.number.to_le_bytes());
    hash.update(partition.kind.as_bytes());
    hash.update(partition.bytes.start.to_le_bytes());
    hash.update(partition.bytes.end.to_le_bytes());
    hash.update(partition.attributes.to_le_bytes());
    hash.update((partition.name.len() as u64).to_le_bytes());
    hash.update(partition.name.as_bytes());
    hash.update(content);
    form::uuid(&hash.finalize().into())
}

/// Returns the bytes of a header or of entries. [`gpt::copy`] checked that they are in the image.
fn slice<'b>(bytes: &'b [u8], range: &std::ops::Range<u64>) -> &'b [u8] {
    let at = |offset| usize::try_from(offset).expect("at most the length of a slice");
    &bytes[at(range.start)..at(range.end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = 512;

    /// Writes a header with this number of entries, which are in the next sector.
    fn header(disk: &mut [u8], sector: u64, other: u64, entries: u32) {
        let at = usize::try_from(sector).unwrap() * SECTOR;
        let length = usize::try_from(u64::from(entries) * ENTRY).unwrap();
        let sum = crc32(&disk[at + SECTOR..at + SECTOR + length]);
        let mut header = b"EFI PART".to_vec();
        for word in [0x1_0000, 92, 0, 0] {
            header.extend(u32::to_le_bytes(word));
        }
        for word in [sector, other, 8, 100] {
            header.extend(word.to_le_bytes());
        }
        header.extend([7; 16]);
        header.extend((sector + 1).to_le_bytes());
        for word in [entries, 128, sum] {
            header.extend(word.to_le_bytes());
        }
        let own = crc32(&header);
        header[16..20].copy_from_slice(&own.to_le_bytes());
        disk[at..at + header.len()].copy_from_slice(&header);
    }

    #[test]
    fn a_backup_may_have_fewer_entries() {
        let mut disk = vec![0; 128 * SECTOR];
        // The second entry: a type, a GUID, sectors 8 to 15.
        let entry = 2 * SECTOR + 128;
        disk[entry..entry + 32].fill(5);
        disk[entry + 32] = 8;
        disk[entry + 40] = 15;
        header(&mut disk, 1, 120, 4);
        header(&mut disk, 120, 1, 1);
        let table = gpt::read(&disk, Some(512)).unwrap();
        assert_eq!(table.partitions.iter().map(|one| one.number).collect::<Vec<_>>(), [2]);
        let masked = masked(&disk, &table);
        assert_eq!(masked.iter().map(|patch| patch.bytes.len()).collect::<Vec<_>>(), [92, 512, 92, 128]);
        assert_eq!(masked[1].bytes[128 + 16..128 + 32], [0; 16]);
    }
}
