//! Explains why an image has no magic of ext2, ext3 or ext4: it has a format that can be converted, contains
//! a different filesystem, or its superblock was overwritten and has backups.

use zerocopy::FromBytes;

use super::input::Input;
use crate::error::{Error, Location, Structure};
use crate::ondisk::checksum::Checksums;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::remedy::Remedy;
/// The magic of VHD images, and the length of their footer in bytes.
const VHD: &[u8] = b"conectix";
const VHD_FOOTER_BYTES: usize = 512;

const QEMU: &str = "convert it first: qemu-img convert -O raw";
const EWF: &str = "convert it first: ewfexport -f raw";
const ANDROID: &str = "convert it first: simg2img";
const FAT: &str = "a FAT filesystem";
const ZSTD: &str = "a zstd file";
const UNZSTD: &str = "decompress it first: unzstd";
const OTHER: &str = "use an ext2, ext3 or ext4 image: other filesystems have no canonical form";

/// A file format that is recognized by its magic.
struct ForeignFormat {
    /// The offset of the magic, in bytes.
    at: usize,
    magic: &'static [u8],
    name: &'static str,
    remedy: &'static str,
}

const fn format(at: usize, magic: &'static [u8], name: &'static str, remedy: &'static str) -> ForeignFormat {
    ForeignFormat { at, magic, name, remedy }
}

/// The known formats. If a file can match two magics, the longer magic comes first.
const FORMATS: [ForeignFormat; 38] = [
    // Disks of virtual machines, and forensic images.
    format(0, b"QFI\xfb", "a qcow2 image", QEMU),
    format(0, b"QED\0", "a QED image", QEMU),
    format(0, b"KDMV", "a VMDK image", QEMU),
    format(0, b"COWD", "a VMDK image", QEMU),
    format(0, b"# Disk DescriptorFile", "the descriptor of a VMDK image", QEMU),
    format(0, VHD, "a VHD image", QEMU),
    format(0, b"vhdxfile", "a VHDX image", QEMU),
    format(0x40, b"\x7f\x10\xda\xbe", "a VDI image", QEMU),
    format(0, b"EVF\x09\x0d\x0a\xff\x00", "an E01 image (EnCase)", EWF),
    format(0, b"EVF2\x0d\x0a\x81\x00", "an Ex01 image (EnCase)", EWF),
    format(0, b"\x3a\xff\x26\xed", "an Android sparse image", ANDROID),
    // Compressed files and archives.
    format(0, b"\xfd7zXZ\0", "an xz file", "decompress it first: unxz"),
    format(0, b"\x1f\x8b", "a gzip file", "decompress it first: gunzip"),
    format(0, b"\x28\xb5\x2f\xfd", ZSTD, UNZSTD),
    format(0, b"BZh", "a bzip2 file", "decompress it first: bunzip2"),
    format(0, b"\x04\x22\x4d\x18", "an lz4 file", "decompress it first: unlz4"),
    format(0, b"LZIP", "an lzip file", "decompress it first: lzip -d"),
    format(0, b"\x89LZO\0\x0d\x0a\x1a\x0a", "an lzop file", "decompress it first: lzop -d"),
    format(0, b"PK\x03\x04", "a zip archive", "extract the image first: unzip"),
    format(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "extract the image first: 7z x"),
    format(
        257,
        b"ustar",
        "a tar archive",
        "extract the image first (tar -x), or make an image of the files with mke2fs -d",
    ),
    // Other filesystems.
    format(0, b"hsqs", "a squashfs filesystem", OTHER),
    format(1024, b"\xe2\xe1\xf5\xe0", "an EROFS filesystem", OTHER),
    format(0, b"XFSB", "an XFS filesystem", OTHER),
    format(0x1_0040, b"_BHRfS_M", "a btrfs filesystem", OTHER),
    format(1024, b"\x10\x20\xf5\xf2", "an F2FS filesystem", OTHER),
    format(0x8001, b"CD001", "an ISO 9660 filesystem", OTHER),
    format(3, b"NTFS    ", "an NTFS filesystem", OTHER),
    format(3, b"EXFAT   ", "an exFAT filesystem", OTHER),
    format(54, b"FAT12   ", FAT, OTHER),
    format(54, b"FAT16   ", FAT, OTHER),
    format(82, b"FAT32   ", FAT, OTHER),
    // Containers of filesystems, and files of other types.
    format(
        0,
        b"LUKS\xba\xbe",
        "an encrypted volume (LUKS)",
        "unlock it with cryptsetup open, and use the device in /dev/mapper",
    ),
    format(512, b"LABELONE", "a physical volume of LVM", "use one of its logical volumes"),
    format(0, b"LABELONE", "a physical volume of LVM", "use one of its logical volumes"),
    format(4086, b"SWAPSPACE2", "swap space", OTHER),
    format(0, b"070701", "a cpio archive", "make an image of its files with mke2fs -d"),
    format(0, b"\x7fELF", "a program", OTHER),
];

/// Returns an error with a remedy if the image has a different known format.
pub(crate) fn foreign(bytes: &[u8]) -> Option<Error> {
    let has =
        |format: &&ForeignFormat| bytes.get(format.at..).is_some_and(|rest| rest.starts_with(format.magic));
    // A VHD of fixed size has its header at the end.
    let has_footer = |format: &&ForeignFormat| {
        let footer = bytes.len().checked_sub(VHD_FOOTER_BYTES).and_then(|start| bytes.get(start..));
        format.magic == VHD && footer.is_some_and(|footer| footer.starts_with(VHD))
    };
    let known = FORMATS.iter().find(has).or_else(|| FORMATS.iter().find(has_footer));
    let (name, remedy) = known
        .map(|format| (format.name, format.remedy))
        .or_else(|| begins_with_fat(bytes).then_some((FAT, OTHER)))
        .or_else(|| begins_with_skippable_frame(bytes).then_some((ZSTD, UNZSTD)))?;
    let what = format!("{name}, not an ext2, ext3 or ext4 filesystem");
    Some(Location::of(Structure::Image).unsupported(what, remedy))
}

/// Returns whether an image begins with the BIOS parameter block of a FAT filesystem. The name of the FAT type
/// in a boot sector is optional.
fn begins_with_fat(bytes: &[u8]) -> bool {
    let Some(sector) = bytes.first_chunk::<512>() else { return false };
    let half = |at: usize| u16::from_le_bytes([sector[at], sector[at + 1]]);
    let jumps = sector[0] == 0xE9 || (sector[0] == 0xEB && sector[2] == 0x90);
    let has_sizes = matches!(half(11), 512 | 1024 | 2048 | 4096) && sector[13].is_power_of_two();
    let has_tables = half(14) != 0 && matches!(sector[16], 1 | 2);
    // The media descriptor.
    let has_media = sector[21] == 0xF0 || sector[21] >= 0xF8;
    jumps && has_sizes && has_tables && has_media && sector[510..] == [0x55, 0xAA]
}

/// Returns whether an image begins with a skippable frame, as files of pzstd do. Files of lz4 can begin with
/// the same frame, but usually don't.
fn begins_with_skippable_frame(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..])
}

/// Returns an error for an image whose superblock was overwritten, if there is a backup superblock, and the
/// image has no other known format.
pub(crate) fn overwritten(input: &Input<'_>) -> Option<Error> {
    let bytes = input.bytes();
    let superblock = bytes.get(sb::OFFSET..)?.first_chunk::<{ sb::SIZE }>()?;
    let magic = Superblock::read_from_bytes(superblock).ok()?.s_magic.get();
    if magic == sb::MAGIC || foreign(bytes).is_some() {
        return None;
    }
    let Backup { block, block_size } = Backup::find(input)?;
    let words = format!(
        "s_magic is {magic:#06x}, expected {:#06x}, but there is a backup of it: -b {block} -B {block_size}",
        sb::MAGIC
    );
    let remedy = Remedy::fsck("run e2fsck -f with these options on the image");
    Some(Location::of(Structure::Superblock).wrong(words).with_remedy(remedy))
}

/// The location of a backup superblock, and the block size.
#[derive(Debug, PartialEq, Eq)]
struct Backup {
    block: u64,
    block_size: u64,
}

/// The number of bytes at the start of the image that are searched for backups, in case groups are smaller
/// than usual.
const SEARCHED: u64 = 128 << 20;

impl Backup {
    /// Searches for a backup superblock: first where mke2fs usually puts backups, then in each block at the
    /// start of the image.
    fn find(input: &Input<'_>) -> Option<Self> {
        let usual = (0..7).flat_map(|log| {
            let size = 1024_u64 << log;
            let first = u64::from(size == 1024);
            [1, 3, 5, 7, 9].map(|group| (first + group * 8 * size) * size)
        });
        let step = sb::SIZE as u64;
        let stored = input.data_within(0..SEARCHED.min(input.bytes().len() as u64));
        let anywhere =
            stored.flat_map(|data| (data.start.div_ceil(step)..data.end / step).map(|at| at * step));
        usual.chain(anywhere).find_map(|at| Self::at(input, at))
    }

    /// Returns the backup at an offset, if it is valid and belongs at this offset.
    fn at(input: &Input<'_>, at: u64) -> Option<Self> {
        let raw = input.range(at, at.checked_add(sb::SIZE as u64)?)?.first_chunk::<{ sb::SIZE }>()?;
        let superblock = Superblock::read_from_bytes(raw).ok()?;
        let group = u64::from(superblock.s_block_group_nr.get());
        if superblock.s_magic.get() != sb::MAGIC || group == 0 || superblock.s_log_block_size.get() > 6 {
            return None;
        }
        let block_size = 1024 << superblock.s_log_block_size.get();
        let first = u64::from(superblock.s_first_data_block.get());
        let block = first + group * u64::from(superblock.s_blocks_per_group.get());
        let sum = Checksums::of(&superblock).superblock(raw);
        let is_whole = sum.is_none_or(|sum| sum == superblock.s_checksum.get());
        (at == block * block_size && is_whole).then_some(Self { block, block_size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vhd_of_fixed_size_is_known_by_its_footer() {
        let mut bytes = vec![0; 4096];
        assert!(foreign(&bytes).is_none());
        bytes[4096 - 512..][..8].copy_from_slice(VHD);
        let error = foreign(&bytes).expect("a known format").to_string();
        assert!(error.contains("a VHD image"), "{error}");
    }

    #[test]
    fn formats_are_known_by_their_magic() {
        for format in &FORMATS {
            let mut bytes = vec![0; 1 << 17];
            bytes[format.at..format.at + format.magic.len()].copy_from_slice(format.magic);
            let said = foreign(&bytes).expect("an error").to_string();
            assert!(said.starts_with(format.name) && said.ends_with(format.remedy), "{said}");
            // A file that ends within the magic has no known format.
            assert!(foreign(&bytes[..format.at + format.magic.len() - 1]).is_none(), "{}", format.name);
        }
        assert!(foreign(&[]).is_none() && foreign(&[0; 1 << 17]).is_none());
    }

    #[test]
    fn fat_and_zstd_are_known_without_their_usual_magic() {
        let mut fat = vec![0; 4096];
        fat[..3].copy_from_slice(b"\xeb\x3c\x90");
        fat[11..17].copy_from_slice(&[0, 2, 4, 1, 0, 2]);
        fat[21] = 0xF8;
        fat[510..512].copy_from_slice(&[0x55, 0xAA]);
        for (bytes, name) in [(fat.clone(), FAT), (b"\x50\x2a\x4d\x18\x04\0\0\0".to_vec(), ZSTD)] {
            let said = foreign(&bytes).expect("an error").to_string();
            assert!(said.starts_with(name), "{said}");
        }
        // Boot code in the first sector of an ext filesystem is not a FAT filesystem.
        fat[11] = 1;
        assert!(foreign(&fat).is_none());
    }

    #[test]
    fn a_backup_counts_only_where_it_belongs() {
        let mut bytes = vec![0; 9 << 20];
        let mut put = |at: usize, group: u8| {
            let backup = &mut bytes[at..at + 1024];
            backup[0x38..0x3A].copy_from_slice(&sb::MAGIC.to_le_bytes());
            backup[0x14] = 1;
            backup[0x20..0x24].copy_from_slice(&8192_u32.to_le_bytes());
            backup[0x5A] = group;
            bytes.clone()
        };
        let find = |bytes: &[u8]| Backup::find(&Input::new(bytes));
        // Neither a copy in a journal nor a superblock in a nested image is a backup.
        assert_eq!(find(&put(100 << 10, 0)), None);
        assert_eq!(find(&put(200 << 10, 1)), None);
        assert_eq!(find(&put(8193 << 10, 1)), Some(Backup { block: 8193, block_size: 1024 }));
    }
}
