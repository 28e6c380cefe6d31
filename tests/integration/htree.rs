//! Directory indexes: they are read like the kernel and e2fsck do, and refused if these would not find every
//! name.

use std::fs;
use std::path::{Path, PathBuf};

use ext4_canon::internals::ondisk::dir_entry::{self, DirEntry};
use ext4_canon::internals::ondisk::htree::{self, DxCountLimit, DxEntry, DxRootInfo};
use ext4_canon::internals::ondisk::superblock::{FLAGS_SIGNED_HASH, FLAGS_UNSIGNED_HASH};

use crate::support::contents::sha256;
use crate::support::fields::{Structure, structure, superblock};
use crate::support::image::{block_of, debugfs_read, number_after, patch};
use crate::support::judge::repair;
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canonical, gate, judge, refused, run, same_bytes, tool};

const BLOCK: u64 = 1024;
/// The offset of the root's information, after the entries `.` and `..`.
const ROOT_INFO: u64 = (htree::ROOT_HEAD - size_of::<DxRootInfo>()) as u64;

/// The entries of a root or an interior node.
#[derive(Clone, Copy)]
struct Entries<'i> {
    image: &'i Path,
    start: u64,
}

impl<'i> Entries<'i> {
    fn of_root(image: &'i Path, block: u64) -> Self {
        Self { image, start: block + htree::ROOT_HEAD as u64 }
    }

    fn of_node(image: &'i Path, block: u64) -> Self {
        Self { image, start: block + htree::NODE_HEAD as u64 }
    }

    /// Returns the limit and the count, which are stored in place of the first hash.
    fn counts(&self) -> Structure<'i> {
        structure::<DxCountLimit>(self.image, self.start)
    }

    fn entry(&self, index: u64) -> Structure<'i> {
        structure::<DxEntry>(self.image, self.start + index * htree::ENTRY_SIZE as u64)
    }
}

/// An image with blocks of 1 KiB, and a directory whose index the kernel made.
struct Indexed {
    lab: Lab,
    image: PathBuf,
    /// The byte offsets of the directory's blocks in the image.
    blocks: Vec<u64>,
}

impl Indexed {
    /// Makes a directory of `files` files with names of 200 bytes. There are no checksums, which would hide
    /// damage.
    fn new(files: u32) -> Self {
        let lab = Lab::new();
        let seed = "hash_seed=00112233-4455-6677-8899-aabbccddeeff";
        let options = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal", "-E", seed];
        let image = lab.mke2fs("in.img", "8M", &options);
        let mounted = Mounted::read_write(&image).expect("a mount");
        let folder = mounted.path().join("folder");
        fs::create_dir(&folder).expect("a folder");
        for number in 0..files {
            fs::write(folder.join(format!("{number:0>200}")), "").expect("a file");
        }
        mounted.unmount();
        let size = number_after(&debugfs_read(&image, "stat /folder\n"), "Size:");
        let asked: String = (0..size / BLOCK).map(|place| format!("bmap /folder {place}\n")).collect();
        let blocks = debugfs_read(&image, &asked);
        let blocks = blocks.lines().filter_map(|line| line.parse::<u64>().ok()).map(|block| block * BLOCK);
        Self { blocks: blocks.collect(), image, lab }
    }

    fn info(&self) -> Structure<'_> {
        structure::<DxRootInfo>(&self.image, self.blocks[0] + ROOT_INFO)
    }

    fn root(&self) -> Entries<'_> {
        Entries::of_root(&self.image, self.blocks[0])
    }

    /// Returns the byte offset of the first interior node in the image.
    fn first_node(&self) -> u64 {
        self.blocks[self.root().entry(0).get32("block") as usize]
    }
}

/// Returns the number of names that the kernel does not find.
fn names_not_found(image: &Path, files: u32) -> usize {
    let mounted = Mounted::read_only(image).expect("a mount");
    let names = (0..files).map(|number| mounted.path().join(format!("folder/{number:0>200}")));
    names.filter(|name| name.symlink_metadata().is_err()).count()
}

/// Damage to an index.
struct IndexDamage {
    what: &'static str,
    /// A part of the expected message.
    words: &'static str,
    /// Offsets in the image, and the bytes to write there.
    patches: Vec<(u64, Vec<u8>)>,
}

const NOT_FOUND: &str = "which the index assigns to a different block";
const NOT_RISING: &str = "in ascending order";

/// Returns all kinds of damage to an index. Interior nodes exist only in a deep index.
fn damages(indexed: &Indexed) -> Vec<IndexDamage> {
    let is_deep = indexed.info().get("indirect_levels") == 1;
    let mut damages = damages_of_info(indexed, is_deep);
    damages.extend(damages_of_root(indexed, is_deep));
    if is_deep {
        damages.extend(damages_of_node(indexed));
    }
    damages
}

/// Returns damage that overwrites one field.
fn one(what: &'static str, words: &'static str, place: u64, bytes: &[u8]) -> IndexDamage {
    IndexDamage { what, words, patches: vec![(place, bytes.to_vec())] }
}

fn damages_of_info(indexed: &Indexed, is_deep: bool) -> Vec<IndexDamage> {
    let (info, image) = (indexed.info(), &indexed.image);
    let parent = structure::<DirEntry>(image, indexed.blocks[0] + dir_entry::entry_size(1) as u64);
    let [reserved, version, length, levels, flags] =
        ["reserved_zero", "hash_version", "info_length", "indirect_levels", "unused_flags"]
            .map(|field| info.at(field));
    let (more, words) = if is_deep {
        (2, "indirect_levels is 2")
    } else {
        (1, "is a node of an index, but has directory entries")
    };
    vec![
        one("reserved_zero", "reserved_zero is 1", reserved, &[1]),
        one("hash_version", "hash_version is 3", version, &[3]),
        one("hash_version of SipHash", "hash_version is 6", version, &[htree::SIPHASH]),
        one("another hash_version", NOT_FOUND, version, &[2]),
        one("info_length", "info_length is 16", length, &[16]),
        one("no info_length", "info_length is 0", length, &[0]),
        one("more levels", words, levels, &[more]),
        one("too many levels", "indirect_levels is 3", levels, &[3]),
        one("unused_flags", "unused_flags is 1", flags, &[1]),
        one("another seed", NOT_FOUND, superblock(image).at("s_hash_seed"), &[7; 16]),
        one("a root with names", "'.' and '..' do not fill it", parent.at("rec_len"), &[12, 0]),
    ]
}

/// Returns damage that swaps two fields.
fn exchanged(what: &'static str, words: &'static str, fields: [(Structure, &str); 2]) -> IndexDamage {
    let [(one, name), (other, _)] = fields;
    let patches = vec![(one.at(name), other.bytes(name)), (other.at(name), one.bytes(name))];
    IndexDamage { what, words, patches }
}

fn damages_of_root(indexed: &Indexed, is_deep: bool) -> Vec<IndexDamage> {
    let root = indexed.root();
    let (limit, count) = (root.counts().at("limit"), root.counts().at("count"));
    let (first, second, third) = (root.entry(0), root.entry(1), root.entry(2));
    let less = u16::try_from(root.counts().get("count") - 1).expect("16 bits").to_le_bytes();
    // In an interior node, the order of hashes is checked before the names.
    let wrong_place = if is_deep { NOT_RISING } else { NOT_FOUND };
    let (block, high) = (first.get32("block").to_le_bytes(), third.get32("hash") - 2);
    vec![
        one("limit", "the limit of the index is 100", limit, &[100, 0]),
        one("count of none", "the count of the index is 0", count, &[0, 0]),
        one("one less", "has an index that does not lead to block", count, &less),
        one("count beyond the limit", "the count of the index is 255", count, &[255, 0]),
        one("the root as a leaf", "the block of an index entry is 0,", first.at("block"), &[0; 4]),
        one(
            "a block past the end",
            "the block of an index entry is 16777215",
            first.at("block"),
            &0x00FF_FFFF_u32.to_le_bytes(),
        ),
        one("a block twice", "has an index that leads to block", second.at("block"), &block),
        exchanged("two leaves changed places", wrong_place, [(first, "block"), (second, "block")]),
        exchanged("hashes that fall", NOT_RISING, [(second, "hash"), (third, "hash")]),
        one("a hash too high", wrong_place, second.at("hash"), &high.to_le_bytes()),
        one("a hash too low", wrong_place, second.at("hash"), &2_u32.to_le_bytes()),
    ]
}

fn damages_of_node(indexed: &Indexed) -> Vec<IndexDamage> {
    let (image, start) = (&indexed.image, indexed.first_node());
    let node = Entries::of_node(image, start);
    let (limit, count, first) = (node.counts().at("limit"), node.counts().at("count"), node.entry(0));
    let less = u16::try_from(node.counts().get("count") - 1).expect("16 bits").to_le_bytes();
    let own = indexed.root().entry(0).get32("block").to_le_bytes();
    let unused = structure::<DirEntry>(image, start);
    let lost = "has an index that does not lead to block";
    vec![
        one("less levels", lost, indexed.info().at("indirect_levels"), &[0]),
        one("limit of a node", "the limit of the index is 100", limit, &[100, 0]),
        one("count of a node", "the count of the index is 255", count, &[255, 0]),
        one("a leaf less in a node", lost, count, &less),
        one("a node that leads to the root", "the block of an index entry is 0,", first.at("block"), &[0; 4]),
        one("a node that leads to itself", "has an index that leads to block", first.at("block"), &own),
        exchanged(
            "a node with hashes that fall",
            NOT_RISING,
            [(node.entry(1), "hash"), (node.entry(2), "hash")],
        ),
        one(
            "a node with names",
            "is a node of an index, but has directory entries",
            unused.at("rec_len"),
            &[12, 0],
        ),
    ]
}

#[test]
#[ignore = "needs root: mounts images"]
fn whole_indexes_are_read() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for files in [12, 100, 1200] {
        let indexed = Indexed::new(files);
        assert_eq!(indexed.info().get("indirect_levels"), u64::from(files > 1000), "levels");
        // The same directory with an index by e2fsck has the same form.
        let packed = indexed.lab.copy(&indexed.image, "packed.img");
        repair(&packed, &["-D"]);
        same_bytes(&canonical(&packed, &[]), &canonical(&indexed.image, &[]));
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn what_is_not_found_through_the_index_is_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for files in [100, 1200] {
        let indexed = Indexed::new(files);
        for IndexDamage { what, words, patches } in damages(&indexed) {
            let damaged = indexed.lab.copy(&indexed.image, "damaged.img");
            for (offset, bytes) in &patches {
                patch(&damaged, *offset, bytes);
            }
            println!("{files} files, {what}");
            let message = refused(&damaged, &[], 4, &["(/folder), directory", words]);
            // e2fsck does not compare the hashes of a node with its parent, so also count the names that the
            // kernel misses.
            assert!(
                judge::fsck_silent(&damaged).is_err() || names_not_found(&damaged, files) > 0,
                "{what}: the kernel and e2fsck find no error; ext4-canon: {message}"
            );
        }
    }
}

/// Names with bytes above 127 have two possible hashes, and a flag in the superblock selects one.
#[test]
#[ignore = "needs root: mounts images"]
fn the_sign_of_name_bytes_counts() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"];
    let mut outputs = Vec::new();
    for flag in [FLAGS_SIGNED_HASH, FLAGS_UNSIGNED_HASH] {
        let image = lab.mke2fs(&format!("{flag}.img"), "8M", &options);
        superblock(&image).set("s_flags", flag.into());
        let mounted = Mounted::read_write(&image).expect("a mount");
        fs::create_dir(mounted.path().join("folder")).expect("a folder");
        for number in 0..100 {
            fs::write(mounted.path().join(format!("folder/{}{number}", "\u{e4}".repeat(80))), "")
                .expect("a file");
        }
        mounted.unmount();
        outputs.push(canonical(&image, &["--mtime", "clamp", "--source-date-epoch", "0"]));
        superblock(&image).set("s_flags", (FLAGS_SIGNED_HASH + FLAGS_UNSIGNED_HASH - flag).into());
        refused(&image, &[], 4, &[NOT_FOUND]);
        let complaint = judge::fsck_silent(&image).expect_err("e2fsck reports the hashes");
        assert!(complaint.contains("Problem in HTREE directory inode 12"), "{complaint}");
    }
    let [one, other] = [0, 1].map(|index| sha256(&outputs[index]));
    assert_eq!(one, other, "the form does not depend on the signedness");
}

/// Six names with the same legacy hash, found among 2^28 names. One leaf can't hold all of them, so the index
/// must mark that they continue in the next leaf.
#[test]
#[ignore = "needs root: mounts images"]
fn a_run_of_one_hash_goes_on_in_the_next_leaf() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image =
        lab.mke2fs("in.img", "8M", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"]);
    run(tool("tune2fs").args(["-E", "hash_alg=legacy"]).arg(&image));
    let mounted = Mounted::read_write(&image).expect("a mount");
    let folder = mounted.path().join("folder");
    fs::create_dir(&folder).expect("a folder");
    let alike = ["f2acT", "f2aLk", "f2lcT", "f2lLk", "f2tcT", "f2tLk"].map(str::to_owned);
    let others = (0..30).map(|number| format!("{number:05}"));
    for end in others.clone().take(15).chain(alike.clone()).chain(others.skip(15)) {
        fs::write(folder.join(format!("{}{end}", "a".repeat(250))), "").expect("a file");
    }
    mounted.unmount();
    let output = canonical(&image, &[]);
    judge::same_by_kernel(&image, &output);
    for image in [image, output] {
        let odd = odd_entries(&image);
        assert!(!odd.is_empty(), "{}: no leaf is continued", image.display());
        for entry in odd {
            entry.remove("hash", 1);
        }
        refused(&image, &[], 4, &["with the hash 0xa707ede8"]);
        let mounted = Mounted::read_only(&image).expect("a mount");
        let found = alike.iter().filter(|end| {
            mounted.path().join(format!("folder/{}{end}", "a".repeat(250))).symlink_metadata().is_ok()
        });
        assert!(found.count() < alike.len(), "the kernel finds all");
    }
}

/// Returns the entries in the root of /folder whose hashes mark the continuation of a leaf.
fn odd_entries(image: &Path) -> Vec<Structure<'_>> {
    let root = Entries::of_root(image, block_of(image, "/folder", 0) * BLOCK);
    let entries = (1..root.counts().get("count")).map(|index| root.entry(index));
    entries.filter(|entry| entry.has("hash", 1)).collect()
}

/// If the superblock does not say whether chars in names are signed, e2fsck assumes signed, and newer kernels
/// unsigned. Names for which this matters are refused.
#[test]
#[ignore = "needs root: mounts images"]
fn names_whose_hash_is_in_doubt_are_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for (letter, sure) in [("\u{e4}", false), ("a", true)] {
        let lab = Lab::new();
        let image =
            lab.mke2fs("in.img", "8M", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"]);
        let mounted = Mounted::read_write(&image).expect("a mount");
        fs::create_dir(mounted.path().join("folder")).expect("a folder");
        for number in 0..100 {
            fs::write(mounted.path().join(format!("folder/{}{number}", letter.repeat(80))), "")
                .expect("a file");
        }
        mounted.unmount();
        superblock(&image).set("s_flags", 0);
        if sure {
            canonical(&image, &[]);
        } else {
            refused(&image, &[], 4, &[NOT_FOUND]);
        }
    }
}
