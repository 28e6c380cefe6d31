//! Disk images with partitions, and the structures of partition tables.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ext4_canon::internals::ondisk::Field;

use super::fields::{Named, Structure, structure};
use super::image::{patch, peek, peek_all};
use super::tools::{run, tool};

/// The default sector size in bytes.
pub const SECTOR: u64 = 512;

/// Lays out fields without gaps, from their names and sizes in bytes.
const fn fields<const N: usize>(sizes: [(&'static str, usize); N]) -> [Field; N] {
    let mut fields = [Field { name: "", offset: 0, size: 0 }; N];
    let (mut index, mut offset) = (0, 0);
    while index < N {
        let (name, size) = sizes[index];
        fields[index] = Field { name, offset, size };
        offset += size;
        index += 1;
    }
    fields
}

/// The header of a GPT, with the field names of the UEFI specification.
pub struct GptHeader;

impl Named for GptHeader {
    const FIELDS: &'static [Field] = &fields([
        ("Signature", 8),
        ("Revision", 4),
        ("HeaderSize", 4),
        ("HeaderCRC32", 4),
        ("Reserved", 4),
        ("MyLBA", 8),
        ("AlternateLBA", 8),
        ("FirstUsableLBA", 8),
        ("LastUsableLBA", 8),
        ("DiskGUID", 16),
        ("PartitionEntryLBA", 8),
        ("NumberOfPartitionEntries", 4),
        ("SizeOfPartitionEntry", 4),
        ("PartitionEntryArrayCRC32", 4),
    ]);
}

/// An entry of a GPT.
pub struct GptEntry;

impl Named for GptEntry {
    const FIELDS: &'static [Field] = &fields([
        ("PartitionTypeGUID", 16),
        ("UniquePartitionGUID", 16),
        ("StartingLBA", 8),
        ("EndingLBA", 8),
        ("Attributes", 8),
        ("PartitionName", 72),
    ]);
}

/// An entry of an MBR.
pub struct MbrEntry;

impl Named for MbrEntry {
    const FIELDS: &'static [Field] = &fields([
        ("BootIndicator", 1),
        ("StartingCHS", 3),
        ("OSType", 1),
        ("EndingCHS", 3),
        ("StartingLBA", 4),
        ("SizeInLBA", 4),
    ]);
}

/// Returns the primary GPT header.
pub fn gpt_header(disk: &Path) -> Structure<'_> {
    structure::<GptHeader>(disk, SECTOR)
}

/// Returns the GPT entry at `index` in the partition array of `header`.
pub fn gpt_entry<'d>(disk: &'d Path, header: Structure, index: u64) -> Structure<'d> {
    let first = header.get("PartitionEntryLBA") * SECTOR;
    structure::<GptEntry>(disk, first + index * header.get("SizeOfPartitionEntry"))
}

/// Returns the MBR entry at `index`.
pub fn mbr_entry(disk: &Path, index: u64) -> Structure<'_> {
    const FIRST: u64 = 446;
    let entry = structure::<MbrEntry>(disk, FIRST);
    structure::<MbrEntry>(disk, FIRST + index * (entry.end() - entry.start))
}

/// Updates the checksum of a GPT header.
pub fn seal_header(disk: &Path, header: Structure) {
    header.set("HeaderCRC32", 0);
    let bytes: [u8; 92] = peek(disk, header.start);
    header.set("HeaderCRC32", crc32(&bytes).into());
}

/// Updates both checksums in a GPT header: the checksum of the partition array, then that of the header
/// itself.
pub fn seal(disk: &Path, header: Structure) {
    let size = header.get("NumberOfPartitionEntries") * header.get("SizeOfPartitionEntry");
    let entries = peek_all(disk, gpt_entry(disk, header, 0).start, usize::try_from(size).expect("a size"));
    header.set("PartitionEntryArrayCRC32", crc32(&entries).into());
    seal_header(disk, header);
}

fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}

/// Creates a disk of `size` MiB with sfdisk, and writes files at the given offsets in MiB.
pub fn disk(path: &Path, size: u64, table: &str, contents: &[(u64, &Path)]) {
    partitioned(path, size << 20, table, &[]);
    for (offset, content) in contents {
        patch(path, offset << 20, &fs::read(content).expect("reading"));
    }
}

/// Creates an empty disk of `bytes` bytes, partitioned by the sfdisk script `table` with the given sfdisk
/// options.
pub fn partitioned(path: &Path, bytes: u64, table: &str, options: &[&str]) {
    File::create(path).and_then(|file| file.set_len(bytes)).expect("a file");
    let script = path.with_extension("sfdisk");
    fs::write(&script, table).expect("writing");
    let input = File::open(&script).expect("the script");
    run(tool("sfdisk").arg("--quiet").args(options).arg(path).stdin(input));
    fs::remove_file(script).expect("removing");
}

/// Copies `bytes` bytes at offset `from` of a disk to a file.
pub fn cut_out(disk: &Path, from: u64, bytes: u64, to: &Path) {
    let mut part = vec![0; usize::try_from(bytes).expect("a length")];
    File::open(disk).and_then(|file| file.read_exact_at(&mut part, from)).expect("reading");
    fs::write(to, part).expect("writing");
}
