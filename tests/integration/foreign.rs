//! Findings from images by other people: old tools, unusual bytes that e2fsck accepts, and files that are not
//! filesystems. If an image is refused, the test follows the advice in the message, and that has to work.

use std::fs::{self, File};
use std::path::Path;

use ext4_canon::internals::ondisk::checksum::crc32c;
use ext4_canon::internals::ondisk::xattr::entry_hash;

use crate::support::dice::Dice;
use crate::support::fields::{block_size, descriptor, inode, journal, superblock};
use crate::support::image::{
    blocks_of, debugfs, debugfs_read, inode_of, patch, peek, put_encryption_context, put_xattr, set_length,
};
use crate::support::kernel::{Mounted, sync};
use crate::support::tools::try_run;
use crate::support::{
    Lab, Need, canon, canonical, fill, gate, judge, partly, refused, run, same_bytes, tool, tree,
};

/// Returns the messages about an image that is accepted.
fn said(image: &Path, options: &[&str]) -> String {
    canon([image, &image.with_extension("said")]).args(options).run().done().stderr
}

/// Asserts that e2fsck does not detect the problem, so that it can't help.
fn is_nothing_to_e2fsck(image: &Path) {
    judge::repair(image, &[]);
    judge::fsck_silent(image).unwrap_or_else(|e| panic!("{e}"));
}

/// Removes the last blocks from an internal journal, but leaves them allocated.
fn shorten_journal(image: &Path, blocks: u64) {
    let length = journal(image).get("s_maxlen") - blocks;
    journal(image).set("s_maxlen", length);
    let size = length * block_size(image);
    debugfs(
        image,
        &format!("set_inode_field <8> size {size}\nset_super_value jnl_blocks[{JOURNAL_SIZE}] {size}\n"),
    );
}

/// The index of the journal's size in `s_jnl_blocks`.
const JOURNAL_SIZE: usize = 16;

#[test]
fn journals_of_old_tools_have_a_block_past_their_end() {
    for options in [
        &["-t", "ext3", "-b", "1024", "-J", "size=2"][..],
        &["-t", "ext3", "-b", "4096", "-J", "size=8", "-I", "128"],
        &["-t", "ext4", "-b", "1024", "-J", "size=2", "-O", "^metadata_csum"],
    ] {
        let lab = Lab::new();
        let image = lab.plain_image("in.img", "24M", options);
        let size = |image: &Path| u64::from(superblock(image).word("s_jnl_blocks", JOURNAL_SIZE));
        let before = size(&canonical(&image, &[]));
        shorten_journal(&image, 1);
        is_nothing_to_e2fsck(&image);
        let output = canonical(&image, &["--verify"]);
        assert_eq!(size(&output), before - block_size(&image));
        if partly(&[Need::Mounts]) {
            judge::same_by_kernel(&image, &output);
            judge::kernel_works(&image).unwrap_or_else(|e| panic!("{e}"));
            judge::kernel_works(&output).unwrap_or_else(|e| panic!("{e}"));
        }
        shorten_journal(&image, 1);
        refused(&image, &[], 4, &["journal: i_size is"]);
    }
}

/// The kernel and debugfs read this time as 2345-08-11, e2fsck as 1937-04-21.
#[test]
fn ambiguous_times_are_those_of_the_kernel() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "16M", &["-t", "ext4"]);
    let sound = canonical(&image, &["--mtime", "set", "--source-date-epoch", "1"]);
    debugfs(&image, "set_inode_field sizes/1 mtime 0xc2800000\nset_inode_field sizes/1 mtime_extra 3\n");
    let words = said(&image, &["--verify"]);
    assert!(words.contains("1 inode has a time of the years 2310 to 2378"), "{words}");
    assert!(words.contains("(/sizes/1 11853103104.000000000)"), "{words}");
    let output = image.with_extension("said");
    let times = debugfs_read(&output, "stat sizes/1\n");
    for time in ["ctime", "atime", "mtime", "crtime"] {
        assert!(
            times.contains(&format!("{time}: 0xc2800000:00000003 -- Sat Aug 11 16:38:24 2345")),
            "{times}"
        );
    }
    // There is no other problem, and canonicalizing again changes nothing.
    let again = lab.copy(&output, "again.img");
    said(&again, &[]);
    same_bytes(&output, &again.with_extension("said"));
    let ran = try_run(tool("e2fsck").arg("-fn").arg(&output));
    assert_eq!((ran.code, ran.stdout.matches("Fix? no").count()), (Some(0), 1), "{ran:?}");
    assert!(ran.stdout.contains("are likely pre-1970"), "{ran:?}");
    if partly(&[Need::Mounts]) {
        judge::same_by_kernel(&image, &output);
    }
    // If the time is overwritten, there is no warning, and the advice in the warning works.
    same_bytes(&sound, &canonical(&image, &["--mtime", "set", "--source-date-epoch", "1"]));
    for options in [["--mtime", "set"], ["--mtime", "clamp"]] {
        let options = [&options[..], &["--source-date-epoch", "1735689600"]].concat();
        canonical(&image, &options);
        assert!(!said(&image, &options).contains("2310"));
    }
    let late = ["--source-date-epoch", "13000000000"];
    assert!(said(&image, &late).contains("2310"), "the warning is missing");
    refused(&image, &["--source-date-epoch", "11853103104"], 2, &["is not a time"]);
    if partly(&[Need::Mounts]) {
        fill::kernel(&image, |root| tree::set_mtime(&root.join("sizes/1"), 1, 0));
        canonical(&image, &[]);
        assert!(!said(&image, &[]).contains("2310"));
    }
}

#[test]
fn bad_blocks_may_lie_in_metadata() {
    let lab = Lab::new();
    for (index, options) in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "8192"],
    ]
    .into_iter()
    .enumerate()
    {
        let image = lab.plain_image(&format!("in{index}.img"), "24M", options);
        let sound = canonical(&image, &[]);
        // Use bad blocks in an inode table, in the second superblock, past it, and in free space.
        let table = descriptor(&image, 0).get("bg_inode_table_lo");
        let bad = lab.path("bad");
        fs::write(&bad, format!("{}\n8193\n8194\n20000\n", table + 60)).expect("writing");
        judge::repair(&image, &["-l", bad.to_str().expect("UTF-8")]);
        same_bytes(&sound, &canonical(&image, &["--verify"]));
        let words = said(&image, &[]);
        assert!(words.contains("a list of 4 bad blocks was dropped"), "{words}");
        // e2fsck treats inodes in a bad block of a table as in use, so the bitmaps are correct.
        assert!(!words.contains("block bitmaps"), "{words}");
    }
}

#[test]
fn inline_data_without_its_flag_is_hidden() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("file"), Dice::noise(1, 5000)).expect("writing");
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-b", "1024", "-O", "inline_data"], &source);
    debugfs(&image, "ea_set file user.name value\n");
    let sound = canonical(&image, &[]);
    debugfs(&image, "ea_set file system.data abc\n");
    is_nothing_to_e2fsck(&image);
    same_bytes(&sound, &canonical(&image, &["--verify"]));
    assert!(said(&image, &[]).contains("1 inodes had the xattr system.data without inline data"));
    // Inodes without blocks have no extent tree either.
    debugfs(&image, "ea_rm file system.data\nsymlink short target\nmknod pipe p\n");
    let sound = canonical(&image, &[]);
    debugfs(&image, "ea_set short system.data abc\nea_set pipe system.data abc\n");
    is_nothing_to_e2fsck(&image);
    same_bytes(&sound, &canonical(&image, &["--verify"]));
    assert!(said(&image, &[]).contains("2 inodes had the xattr system.data without inline data"));
    // Without an extent tree, the missing flag may be the error.
    let mapped = lab.mke2fs_d("mapped.img", "16M", &["-t", "ext3", "-b", "1024", "-I", "256"], &source);
    let mapped_sound = canonical(&mapped, &[]);
    debugfs(&mapped, "ea_set file system.data abc\n");
    is_nothing_to_e2fsck(&mapped);
    refused(&mapped, &[], 4, &["(/file)", "debugfs's ea_rm"]);
    debugfs(&mapped, "ea_rm file system.data\n");
    same_bytes(&mapped_sound, &canonical(&mapped, &[]));
    if partly(&[Need::Mounts]) {
        judge::same_by_kernel(&image, &sound);
    }
}

#[test]
fn symlinks_with_a_nul_are_made_again() {
    let long = "t".repeat(70);
    for (options, target, is_silent) in [
        ("^metadata_csum,inline_data", &long[..], true),
        ("^metadata_csum", &long, false),
        ("^metadata_csum", "short", false),
    ] {
        let lab = Lab::new();
        let image = lab.plain_image("in.img", "16M", &["-t", "ext4", "-b", "1024", "-O", options]);
        debugfs(&image, &format!("symlink nul {target}\n"));
        let sound = lab.copy(&image, "sound.img");
        let at = match blocks_of(&image, "nul")[..] {
            [block] => block * 1024,
            _ => inode(&image, "/nul").at("i_block"),
        };
        patch(&image, at + 3, &[0]);
        if is_silent {
            is_nothing_to_e2fsck(&image);
        }
        refused(&image, &[], 4, &["(/nul)", "remove it with debugfs's rm"]);
        debugfs(&image, &format!("rm nul\nsymlink nul {target}\n"));
        judge::repair(&image, &[]);
        let epoch = ["--mtime", "set", "--source-date-epoch", "1"];
        same_bytes(&canonical(&sound, &epoch), &canonical(&image, &epoch));
    }
}

/// The kernel refuses to open the inode: "invalid size in ea xattr".
#[test]
fn values_of_no_bytes_have_no_inode() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("file"), "x").expect("writing");
    let options = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit,^has_journal,ea_inode"];
    let image = lab.mke2fs_d("in.img", "8M", &options, &source);
    let sound = canonical(&image, &[]);
    put_xattr(&image, "file", "user.big", [7; 1024]);
    // The hash of an empty value is the checksum seed. It is stored in the i_atime of the EA inode.
    let seed = crc32c(!0, &superblock(&image).bytes("s_uuid"));
    let holder = format!("<{}>", inode_of(&image, "/file") + 1);
    let holder = inode(&image, &holder);
    holder.set("i_atime", seed.into());
    for field in ["i_size_lo", "i_blocks_lo"] {
        holder.set(field, 0);
    }
    holder.extent_header().set("eh_entries", 0);
    let file = inode(&image, "/file");
    let entry = file.first_xattr();
    assert_eq!(peek(&image, entry.end()), *b"big");
    entry.set("e_value_size", 0);
    entry.set("e_hash", entry_hash(b"big", &seed.to_le_bytes(), false).into());
    is_nothing_to_e2fsck(&image);
    refused(&image, &[], 4, &["(/file)", "debugfs's ea_rm"]);
    debugfs(&image, "ea_rm file user.big\n");
    judge::fsck_silent(&image).unwrap_or_else(|e| panic!("{e}"));
    same_bytes(&sound, &canonical(&image, &[]));
}

#[test]
fn unknown_encryption_contexts_go_with_their_files() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit,encrypt"];
    let image = lab.plain_image("in.img", "16M", &options);
    let epoch = ["--mtime", "set", "--source-date-epoch", "1"];
    let sound = canonical(&image, &epoch);
    // Use version 3, and an unknown flag of version 2.
    for (name, start) in [("three", [3, 1, 4, 0]), ("flags", [2, 1, 4, 0x80])] {
        debugfs(&image, &format!("mkdir {name}\n"));
        put_encryption_context(&image, name, start);
        refused(&image, &[], 3, &[&format!("(/{name})"), "or remove all"]);
        debugfs(&image, &format!("rmdir {name}\n"));
        judge::repair(&image, &[]);
        same_bytes(&sound, &canonical(&image, &epoch));
    }
}

#[test]
fn reserved_inodes_in_use_are_named_at_once() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "16M", &["-t", "ext4", "-O", "^has_journal"]);
    let sound = canonical(&image, &[]);
    let numbers = [6, 9, 10];
    for number in numbers {
        debugfs(
            &image,
            &format!("set_inode_field <{number}> mode 0100644\nset_inode_field <{number}> links_count 1\n"),
        );
        let others = match number {
            6 => "clear it with debugfs's clri",
            9 => "and so are <9>; clear each of them with debugfs's clri",
            _ => "and so are <9>, <10>; clear each of them with debugfs's clri",
        };
        refused(&image, &[], 4, &["inode 6: is reserved, but in use", others]);
    }
    for number in numbers {
        debugfs(&image, &format!("clri <{number}>\n"));
    }
    judge::repair(&image, &[]);
    same_bytes(&sound, &canonical(&image, &[]));
}

/// Inodes are added by groups, so a slightly larger size does not help.
#[test]
fn the_size_that_has_enough_inodes_is_said() {
    for options in [
        &["-t", "ext2", "-b", "1024", "-N", "16"][..],
        &["-t", "ext4", "-b", "1024", "-N", "16", "-O", "^has_journal"],
        &["-t", "ext2", "-b", "2048", "-N", "64", "-g", "4096"],
    ] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "7M", options);
        let free = superblock(&image).get("s_free_inodes_count") + 1;
        let script: String = (0..free).map(|number| format!("mknod pipe{number} p\n")).collect();
        debugfs(&image, &format!("rmdir lost+found\n{script}"));
        let words = refused(&image, &[], 3, &["1 too few; make the image larger"]);
        let bytes = words.split("--size ").nth(1).and_then(|rest| rest.split(' ').next());
        let bytes: u64 = bytes.expect("a size").parse().expect("a number");
        let sized = |bytes: u64| vec!["--size".to_owned(), bytes.to_string()];
        // resize2fs rounds the length of a file down to pages.
        for (size, is_enough) in [(bytes, true), (bytes - 65536, false)] {
            let options = sized(size);
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            if is_enough {
                said(&image, &options);
                judge::fsck_silent(&image.with_extension("said")).unwrap_or_else(|e| panic!("{e}"));
            } else {
                refused(&image, &options, 3, &["1 too few"]);
            }
        }
        // An image that resize2fs grew to this size has enough inodes too.
        set_length(&image, bytes);
        judge::repair(&image, &[]);
        run(tool("resize2fs").arg("-f").arg(&image));
        canonical(&image, &[]);
    }
}

#[test]
fn bitmaps_and_their_checksums_are_compared() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "24M", &["-t", "ext4", "-b", "1024"]);
    let sound = canonical(&image, &[]);
    let bitmap = |image: &Path, kind: &str| {
        descriptor(image, 0).get(&format!("bg_{kind}_bitmap_lo")) * block_size(image)
    };
    assert_eq!(said(&image, &[]).matches("bitmaps").count(), 0);
    for kind in ["block", "inode"] {
        // Clear bits of the first group that are in use.
        let broken = lab.copy(&image, &format!("{kind}.img"));
        patch(&broken, bitmap(&broken, kind), &[0]);
        let words = said(&broken, &[]);
        assert!(words.contains(&format!("the {kind} bitmaps of 1 groups were wrong; rebuilt")), "{words}");
        let sums = format!("the checksums of the {kind} bitmaps of 1 groups were wrong; recomputed");
        assert!(words.contains(&sums), "{words}");
        same_bytes(&sound, &canonical(&broken, &[]));
        // Change only the checksum.
        let broken = lab.copy(&image, &format!("{kind}-sum.img"));
        debugfs(
            &broken,
            &format!("set_block_group 0 {kind}_bitmap_csum 1\nset_block_group 0 checksum calc\n"),
        );
        let words = said(&broken, &[]);
        assert!(words.contains(&sums) && !words.contains("rebuilt"), "{words}");
        same_bytes(&sound, &canonical(&broken, &[]));
    }
    // The bitmaps are also checked after a replay, which here writes an unrelated block.
    let broken = lab.copy(&image, "replayed.img");
    let content = lab.path("content");
    fs::write(&content, [7; 1024]).expect("writing");
    let target = blocks_of(&broken, "/sizes/1023")[0];
    debugfs(&broken, &format!("jo -c\njw -b {target} {}\njc\n", content.display()));
    assert_eq!(said(&broken, &[]).matches("bitmaps").count(), 0, "the replay alone");
    patch(&broken, bitmap(&broken, "block"), &[0]);
    let words = said(&broken, &[]);
    assert!(words.contains("the block bitmaps of 1 groups were wrong; rebuilt"), "{words}");
}

#[test]
fn counts_that_are_rebuilt_are_compared() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "24M", &["-t", "ext4", "-b", "1024"]);
    let sound = canonical(&image, &[]);
    assert_eq!(said(&image, &[]), "");
    for (index, (command, words)) in [
        (
            "set_block_group 0 free_blocks_count 5",
            "the counts of free blocks of 1 groups were wrong; recomputed",
        ),
        (
            "set_block_group 0 free_inodes_count 5",
            "the counts of free inodes of 1 groups were wrong; recomputed",
        ),
        (
            "set_block_group 0 used_dirs_count 77",
            "the counts of directories of 1 groups were wrong; recomputed",
        ),
        ("set_inode_field <7> size 5", "the size of the resize inode was 5, expected"),
        ("set_inode_field <7> mode 0", "the map of the resize inode was wrong; rebuilt"),
        (
            "set_super_value free_blocks_count 77",
            "the count of free blocks in the superblock was 77, expected",
        ),
        ("set_super_value free_inodes_count 5", "the count of free inodes in the superblock was 5, expected"),
    ]
    .into_iter()
    .enumerate()
    {
        let broken = lab.copy(&image, &format!("{index}.img"));
        debugfs(&broken, &format!("{command}\nset_block_group 0 checksum calc\n"));
        // e2fsck exits with 0 if only counts in the superblock are wrong.
        let judged = try_run(tool("e2fsck").arg("-fn").arg(&broken));
        assert!(judged.code == Some(4) || judged.stdout.contains("count wrong"), "{command}: {judged:?}");
        let told = said(&broken, &[]);
        assert!(told.contains(words) && told.lines().count() == 1, "{command}: {told}");
        same_bytes(&sound, &canonical(&broken, &[]));
    }
    // An entry in the double-indirect block of the resize inode is wrong.
    let broken = lab.copy(&image, "map.img");
    let double = u64::from(inode(&broken, "<7>").word("i_block", 13));
    patch(&broken, double * 1024 + 4, &9_u32.to_le_bytes());
    let judged = try_run(tool("e2fsck").arg("-fn").arg(&broken));
    assert!(judged.stdout.contains("Resize inode not valid"), "{judged:?}");
    assert_eq!(
        said(&broken, &[]).trim_end(),
        "ext4-canon: warning: the map of the resize inode was wrong; rebuilt"
    );
    same_bytes(&sound, &canonical(&broken, &[]));
    let broken = lab.copy(&image, "reserved.img");
    // Damage a reserved inode that is not in use.
    inode(&broken, "<9>").put("l_i_checksum_lo", &[1, 2]);
    let told = said(&broken, &[]);
    assert!(told.contains("the checksums of 1 reserved inodes not in use were wrong"), "{told}");
    same_bytes(&sound, &canonical(&broken, &[]));
}

/// Without checksums, only a comparison can find this.
#[test]
fn the_padding_of_bitmaps_is_compared() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-g", "8000", "-O", "^metadata_csum,^uninit_bg"];
    let image = lab.plain_image("in.img", "24M", &options);
    let sound = canonical(&image, &[]);
    assert_eq!(said(&image, &[]), "");
    for (field, what) in [("bg_block_bitmap_lo", "block"), ("bg_inode_bitmap_lo", "inode")] {
        let broken = lab.copy(&image, &format!("{what}.img"));
        let bitmap = descriptor(&broken, 1).get(field);
        patch(&broken, (bitmap + 1) * 1024 - 1, &[0x7F]);
        let told = said(&broken, &[]);
        assert!(told.contains(&format!("the {what} bitmaps of 1 groups were wrong; rebuilt")), "{told}");
        same_bytes(&sound, &canonical(&broken, &[]));
    }
}

/// Deleted files that were open when the image was copied are still set in the bitmaps.
#[test]
#[ignore = "needs root: mounts images"]
fn bitmaps_count_orphans() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-O", "quota,orphan_file"]] {
        let lab = Lab::new();
        let image = lab.plain_image("mounted.img", "24M", options);
        let Ok(mounted) = Mounted::read_write(&image) else { continue };
        let path = mounted.path().join("open");
        fs::write(&path, Dice::noise(1, 300_000)).expect("writing");
        let open = File::open(&path).expect("a file");
        fs::remove_file(&path).expect("removing");
        sync(mounted.path());
        let copy = lab.copy(&image, "copy.img");
        drop(open);
        mounted.unmount();
        let words = said(&copy, &[]);
        assert!(!words.contains("wrong"), "{words}");
        canonical(&copy, &["--verify"]);
    }
}

#[test]
fn compressed_images_are_decompressed_first() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "8M", &["-t", "ext4"]);
    let sound = canonical(&image, &[]);
    for (program, what) in [
        ("xz", "an xz file, "),
        ("gzip", "a gzip file, "),
        ("bzip2", "a bzip2 file, "),
        ("zstd", "a zstd file, "),
    ] {
        if !partly(&[Need::Program(program)]) {
            continue;
        }
        let (packed, unpacked) = (lab.path("packed.img"), lab.path("unpacked.img"));
        let shell = |script: String| run(tool("sh").args(["-c", &script]));
        shell(format!("{program} -c {} >{}", image.display(), packed.display()));
        let words = refused(&packed, &[], 3, &[what, "; decompress it first: "]);
        let advice = words.trim_end().rsplit(": ").next().expect("a program");
        shell(format!("{advice} <{} >{}", packed.display(), unpacked.display()));
        same_bytes(&sound, &canonical(&unpacked, &[]));
    }
}

#[test]
fn other_filesystems_are_named() {
    let lab = Lab::new();
    let mut named = 0;
    for (program, script, what) in [
        ("mkfs.xfs", "truncate -s 320M \"$0\" && mkfs.xfs -q \"$0\"", "an XFS filesystem"),
        ("mkfs.btrfs", "truncate -s 128M \"$0\" && mkfs.btrfs -q \"$0\"", "a btrfs filesystem"),
        ("mkfs.vfat", "truncate -s 16M \"$0\" && mkfs.vfat \"$0\"", "a FAT filesystem"),
        ("mkswap", "truncate -s 1M \"$0\" && mkswap -q \"$0\"", "swap space"),
        ("tar", "tar -cf \"$0\" /etc/hostname 2>/dev/null", "a tar archive"),
        ("qemu-img", "qemu-img create -q -f qcow2 \"$0\" 8M", "a qcow2 image"),
        ("qemu-img", "qemu-img create -q -f vmdk \"$0\" 8M", "a VMDK image"),
        ("qemu-img", "qemu-img create -q -f vpc \"$0\" 8M", "a VHD image"),
        ("qemu-img", "qemu-img create -q -f vpc -o subformat=fixed \"$0\" 8M", "a VHD image"),
        ("mksquashfs", "mksquashfs /etc/hostname \"$0\" -quiet -noappend", "a squashfs filesystem"),
        ("mkfs.erofs", "mkdir e; mkfs.erofs --quiet \"$0\" e", "an EROFS filesystem"),
        ("genisoimage", "genisoimage -quiet -o \"$0\" /etc/hostname", "an ISO 9660 filesystem"),
    ] {
        // If a program is missing on the test machine, unit tests cover its magic bytes.
        if try_run(tool("sh").args(["-c", "command -v \"$0\"", program])).code != Some(0) {
            continue;
        }
        let file = lab.path("file.img");
        let _ = fs::remove_file(&file);
        run(tool("sh").args(["-c", script]).arg(&file).current_dir(lab.path("")));
        refused(&file, &[], 3, &[&format!("{what}, not an ext2, ext3 or ext4 filesystem; ")]);
        named += 1;
    }
    // tar and mkswap are always available.
    assert!(named >= 2, "{named}");
}

#[test]
fn a_backup_of_an_overwritten_superblock_is_found() {
    for (size, options) in [
        ("16M", &["-t", "ext4", "-b", "1024"][..]),
        ("48M", &["-t", "ext3", "-b", "2048"]),
        ("160M", &["-t", "ext4", "-b", "4096"]),
        ("32M", &["-t", "ext4", "-b", "4096", "-g", "2048"]),
        ("64M", &["-t", "ext4", "-b", "1024", "-O", "sparse_super2", "-E", "num_backup_sb=1"]),
    ] {
        let lab = Lab::new();
        let image = lab.plain_image("in.img", size, options);
        let sound = canonical(&image, &[]);
        patch(&image, superblock(&image).start, &[0; 1024]);
        let words = refused(&image, &[], 4, &["s_magic is 0x0000", "run e2fsck -f with these options"]);
        let place = words.split("of it: ").nth(1).and_then(|rest| rest.split(';').next()).expect("options");
        judge::repair(&image, &place.split(' ').collect::<Vec<_>>());
        same_bytes(&sound, &canonical(&image, &[]));
    }
    // The only group has no backup superblock.
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "7M", &["-t", "ext4", "-b", "1024"]);
    patch(&image, superblock(&image).start, &[0; 1024]);
    refused(&image, &[], 3, &["not an ext2, ext3 or ext4 filesystem"]);
}

#[test]
fn an_interval_between_checks_is_warned_of() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "8M", &["-t", "ext4"]);
    run(tool("tune2fs").args(["-i", "180d"]).arg(&image));
    let words = said(&image, &[]);
    assert!(
        words.contains("every 15552000 seconds (s_checkinterval)") && words.contains("tune2fs -i 0"),
        "{words}"
    );
    if partly(&[Need::Mounts]) {
        // The kernel warns about this, and e2fsck -p checks the whole filesystem.
        let ran = try_run(tool("e2fsck").arg("-p").arg(image.with_extension("said")));
        assert!(ran.stdout.contains("without being checked, check forced"), "{ran:?}");
    }
    run(tool("tune2fs").args(["-i", "0"]).arg(&image));
    assert!(!said(&image, &[]).contains("s_checkinterval"));
    let ran = try_run(tool("e2fsck").arg("-p").arg(image.with_extension("said")));
    assert!(ran.stdout.contains("clean"), "{ran:?}");
}
