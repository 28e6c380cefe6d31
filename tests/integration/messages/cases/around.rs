//! Messages about filesystems in disks, and about sizes.

use std::fs::{self, File};
use std::io::Write as _;

use super::making::{EXT2, made, sound_image};
use super::{Case, case, command};
use crate::support::Lab;
use crate::support::disk::{GptHeader, disk, gpt_header, seal_header};
use crate::support::fields::{structure, superblock_at};
use crate::support::image::{patch, peek, set_length};

const MBR: &str = "label: dos\nlabel-id: 0x11223344\nstart=1MiB, size=4MiB\n";

/// Makes a disk with a GPT and two filesystems, in partitions with the same name.
pub fn two_filesystems(lab: &Lab) {
    let image = made(lab, EXT2, "4M");
    let filesystem = lab.path("filesystem");
    fs::rename(&image, &filesystem).expect("renaming");
    let table = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
                 start=1MiB, size=4MiB, name=twice\nstart=8MiB, size=4MiB, name=twice\n";
    disk(&image, 16, table, &[(1, &filesystem), (8, &filesystem)]);
    fs::remove_file(filesystem).expect("removing");
}

pub const CASES: &[Case] = &[
    case("a disk whose partition is damaged", |lab| {
        two_filesystems(lab);
        superblock_at(&lab.path("in.img"), 1 << 20).put("s_log_block_size", &[0xFF]);
    }),
    case("a disk without a filesystem", |lab| disk(&lab.path("in.img"), 16, MBR, &[])),
    case("a filesystem and a table", |lab| {
        let image = made(lab, EXT2, "4M");
        disk(&lab.path("disk"), 16, MBR, &[]);
        let table: [u8; 512] = peek(&lab.path("disk"), 0);
        patch(&image, 0, &table);
        fs::remove_file(lab.path("disk")).expect("removing");
    }),
    case("headers for two sizes of sectors", |lab| {
        two_filesystems(lab);
        structure::<GptHeader>(&lab.path("in.img"), 4096).put("Signature", b"EFI PART");
    }),
    case("a damaged GPT", |lab| {
        two_filesystems(lab);
        gpt_header(&lab.path("in.img")).put("DiskGUID", b"other");
    }),
    case("a GPT with larger entries", |lab| {
        two_filesystems(lab);
        let image = lab.path("in.img");
        gpt_header(&image).set("SizeOfPartitionEntry", 256);
        seal_header(&image, gpt_header(&image));
    }),
    case("a partition behind the end", |lab| {
        disk(&lab.path("in.img"), 16, MBR, &[]);
        set_length(lab.path("in.img"), 3 << 20);
    }),
    command("no such partition", r#""$0" --partition 7 in.img out.img"#, two_filesystems),
    command("a name of two partitions", r#""$0" --partition twice in.img out.img"#, two_filesystems),
    command("no table", r#""$0" --partition 1 in.img out.img"#, sound_image),
    command("no GPT", r#""$0" --table canonical in.img out.img"#, sound_image),
    command("no gaps", r#""$0" --zero-gaps in.img out.img"#, sound_image),
    command("less than metadata takes", r#""$0" --size 8K in.img out.img"#, sound_image),
    command("more than 32 bits of blocks", r#""$0" --size 5T in.img out.img"#, sound_image),
    command("more than 32 bits of inodes", r#""$0" --size 100000T in.img out.img"#, |lab| {
        made(lab, "-t ext4 -O ^metadata_csum,^has_journal -g 256 -N 256", "4M");
    }),
    command("more descriptors than a group has room for", r#""$0" --size 20G in.img out.img"#, |lab| {
        made(lab, "-t ext4 -O ^metadata_csum,^has_journal,^resize_inode -g 1024 -N 256", "4M");
    }),
    command("something behind the filesystem", r#""$0" --size +4M in.img out.img"#, |lab| {
        sound_image(lab);
        let file = File::options().append(true).open(lab.path("in.img")).expect("opening");
        (&file).write_all(&[0, 0, 0, 7]).expect("writing");
    }),
    command("another size in a disk", r#""$0" --size min in.img out.img"#, two_filesystems),
    command("no place for all metadata", r#""$0" --size 280K in.img out.img"#, sound_image),
    case("packed metadata that needs more room elsewhere", |lab| {
        let options = "-t ext4 -b 1024 -O ^resize_inode,^has_journal -N 300 -G 64 -E packed_meta_blocks=1";
        lab.mke2fs("in.img", "130K", &options.split(' ').collect::<Vec<_>>());
    }),
    command("too little for the tree", r#""$0" --size 310K in.img out.img"#, sound_image),
    command("behind the end", r#""$0" --offset 5000000 in.img out.img"#, sound_image),
    command("one of several filesystems", r#""$0" ls in.img"#, two_filesystems),
    command("a label for several", r#""$0" --label x in.img out.img"#, two_filesystems),
    command(
        "a UUID for several",
        r#""$0" --uuid 00112233-4455-6677-8899-aabbccddeeff in.img out.img"#,
        two_filesystems,
    ),
    command("a journal for several", r#""$0" --journal no in.img out.img"#, |lab| {
        two_filesystems(lab);
        fs::write(lab.path("no"), [0; 4096]).expect("writing");
    }),
    command("a disk and a filesystem", r#""$0" compare in.img none.img"#, |lab| {
        let image = made(lab, EXT2, "4M");
        fs::rename(image, lab.path("none.img")).expect("renaming");
        two_filesystems(lab);
    }),
];
