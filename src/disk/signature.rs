//! Derives the disk signature of an MBR from the content of the disk.

use sha2::{Digest as _, Sha256};

use super::guids::Patch;
use super::partition_table::{PartitionTable, TableKind, damaged_table};
use crate::error::Result;
use crate::form;
use crate::identities::IdentityKind;

/// The offset of the signature on the disk, in bytes.
const OFFSET: u64 = 440;

/// Returns the disk signature in the first sector, if there is one: always in an MBR, and sometimes in the
/// protective MBR of a GPT.
pub(super) fn of_disk(bytes: &[u8], table: &PartitionTable) -> Option<u32> {
    match table.kind {
        TableKind::Mbr(signature) => Some(signature),
        TableKind::Gpt(_) => {
            let raw = bytes.get(OFFSET as usize..)?.first_chunk()?;
            Some(u32::from_le_bytes(*raw)).filter(|signature| *signature != 0)
        }
    }
}

/// Returns the derived signature, as bytes to replace. Returns an empty list if the disk has no signature.
/// `contents` are the digests of the content of each partition.
///
/// # Errors
///
/// `Corrupt` if a partition contains the signature, which would then depend on itself.
pub(super) fn canonical(bytes: &[u8], table: &PartitionTable, contents: &[[u8; 32]]) -> Result<Vec<Patch>> {
    if of_disk(bytes, table).is_none() {
        return Ok(Vec::new());
    }
    if let Some(partition) = table.partitions.iter().find(|partition| partition.bytes.contains(&OFFSET)) {
        return Err(damaged_table(format!("{} overlaps the partition table", partition.shown())));
    }
    let mut hash = Sha256::new_with_prefix(form::SIGNATURE_DOMAIN);
    hash.update(table.sector_size.to_le_bytes());
    for (partition, content) in table.partitions.iter().zip(contents) {
        hash.update(partition.number.to_le_bytes());
        hash.update(partition.kind.as_bytes());
        hash.update(partition.bytes.start.to_le_bytes());
        hash.update(partition.bytes.end.to_le_bytes());
        hash.update(partition.attributes.to_le_bytes());
        hash.update(content);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (words, _) = digest.as_chunks::<4>();
    let words = words.iter().map(|word| u32::from_be_bytes(*word));
    // A text with a letter shows its case. Zero means that a disk has no signature.
    let has_letter = |word: &u32| format!("{word:x}").bytes().any(|digit| digit.is_ascii_alphabetic());
    let signature = words.into_iter().find(has_letter).unwrap_or(0xA);
    Ok(vec![Patch { offset: OFFSET, bytes: signature.to_le_bytes().into() }])
}

/// Returns the signature as zeros, to compare tables whose signatures are derived.
pub(super) fn masked(bytes: &[u8], table: &PartitionTable) -> Option<Patch> {
    of_disk(bytes, table).map(|_| Patch { offset: OFFSET, bytes: vec![0; 4] })
}

/// Returns the value of the derived signature.
pub(super) fn value(patches: &[Patch]) -> Option<(IdentityKind, u32, [u8; 16])> {
    let patch = patches.iter().find(|patch| patch.offset == OFFSET)?;
    let signature = u32::from_le_bytes(*patch.bytes.first_chunk()?);
    let mut value = [0; 16];
    value[..4].copy_from_slice(&signature.to_be_bytes());
    Some((IdentityKind::Signature, 0, value))
}
