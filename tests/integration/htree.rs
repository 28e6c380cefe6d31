//! The index of a directory: read as the kernel and e2fsck read it, and refused where they would
//! not find every name.

use std::fs;
use std::path::Path;

use crate::support::image::{debugfs_read, patch, peek};
use crate::support::kernel::Mounted;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, gate, judge, refused, run, tool};

const BLOCK: u64 = 1024;
/// Where the entries of a root and of an interior node begin, in bytes.
const ROOT: u64 = 32;
const NODE: u64 = 8;

/// An image of 1 KiB blocks with a directory whose index the kernel made.
struct Indexed {
    lab: Lab,
    /// Where the directory's blocks lie, in bytes.
    blocks: Vec<u64>,
}

impl Indexed {
    /// With so many files, whose names have 200 bytes; without checksums, which would hide damages.
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
        let said = debugfs_read(&image, "stat /folder\n");
        let size = said.split("Size: ").nth(1).and_then(|rest| rest.lines().next()).expect("a size");
        let count = size.trim().parse::<u64>().expect("a number") / BLOCK;
        let asked: String = (0..count).map(|place| format!("bmap /folder {place}\n")).collect();
        let blocks = debugfs_read(&image, &asked);
        let blocks = blocks.lines().filter_map(|line| line.parse::<u64>().ok()).map(|block| block * BLOCK);
        Self { blocks: blocks.collect(), lab }
    }

    /// The numbers of an index entry: hash and block.
    fn entry(&self, offset: u64) -> [u32; 2] {
        let bytes: [u8; 8] = peek(&self.lab.path("in.img"), offset);
        [0, 4].map(|at| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")))
    }

    /// The first interior node, in bytes of the image.
    fn node(&self) -> u64 {
        self.blocks[self.entry(self.blocks[0] + ROOT)[1] as usize]
    }
}

/// How many of the names a kernel does not find.
fn names_not_found(image: &Path, files: u32) -> usize {
    let mounted = Mounted::read_only(image).expect("a mount");
    let names = (0..files).map(|number| mounted.path().join(format!("folder/{number:0>200}")));
    names.filter(|name| name.symlink_metadata().is_err()).count()
}

/// A place in an image, and the bytes to put there.
type Patch = (u64, Vec<u8>);

/// Damages of an index; the second level exists in some only.
fn damages(image: &Indexed) -> Vec<(&'static str, Vec<Patch>)> {
    let root = image.blocks[0];
    let byte = |at| peek::<1>(&image.lab.path("in.img"), at)[0];
    let number = |value: u32| value.to_le_bytes().to_vec();
    let swap = |one: u64, other: u64| {
        let bytes = |at| peek::<4>(&image.lab.path("in.img"), at).to_vec();
        vec![(one, bytes(other)), (other, bytes(one))]
    };
    let mut damages = vec![
        ("reserved_zero", vec![(root + 24, number(1))]),
        ("hash_version", vec![(root + 28, vec![3])]),
        ("hash_version of SipHash", vec![(root + 28, vec![6])]),
        ("another hash_version", vec![(root + 28, vec![2])]),
        ("info_length", vec![(root + 29, vec![16])]),
        ("no info_length", vec![(root + 29, vec![0])]),
        ("more levels", vec![(root + 30, vec![byte(root + 30) + 1])]),
        ("too many levels", vec![(root + 30, vec![3])]),
        ("unused_flags", vec![(root + 31, vec![1])]),
        ("limit", vec![(root + ROOT, vec![100, 0])]),
        ("count of none", vec![(root + ROOT + 2, vec![0, 0])]),
        ("one less", vec![(root + ROOT + 2, vec![byte(root + ROOT + 2) - 1])]),
        ("count beyond the limit", vec![(root + ROOT + 2, vec![255, 0])]),
        ("the root as a leaf", vec![(root + ROOT + 4, number(0))]),
        ("a block behind the end", vec![(root + ROOT + 4, number(0x0FF_FFFF))]),
        ("a block twice", vec![(root + ROOT + 12, number(image.entry(root + ROOT)[1]))]),
        ("two leaves changed places", swap(root + ROOT + 4, root + ROOT + 12)),
        ("hashes that fall", swap(root + ROOT + 8, root + ROOT + 16)),
        ("a hash too high", vec![(root + ROOT + 8, number(image.entry(root + ROOT + 16)[0] - 2))]),
        ("a hash too low", vec![(root + ROOT + 8, number(2))]),
        ("another seed", vec![(1024 + 0xEC, vec![7; 16])]),
        ("a root with names", vec![(root + 16, vec![12, 0])]),
    ];
    if byte(root + 30) == 1 {
        let node = image.node();
        damages.extend([
            ("less levels", vec![(root + 30, vec![0])]),
            ("limit of a node", vec![(node + NODE, vec![100, 0])]),
            ("count of a node", vec![(node + NODE + 2, vec![255, 0])]),
            ("a leaf less in a node", vec![(node + NODE + 2, vec![byte(node + NODE + 2) - 1])]),
            ("a node that leads to the root", vec![(node + NODE + 4, number(0))]),
            ("a node that leads to itself", vec![(node + NODE + 4, number(image.entry(root + ROOT)[1]))]),
            ("a node with hashes that fall", swap(node + NODE + 8, node + NODE + 16)),
            ("a node with names", vec![(node + 4, vec![12, 0])]),
        ]);
    }
    damages
}

#[test]
fn whole_indexes_are_read() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for files in [12, 100, 1200] {
        let image = Indexed::new(files);
        let root = image.blocks[0];
        assert_eq!(peek(&image.lab.path("in.img"), root + 30), [u8::from(files > 1000)], "levels");
        canonical(&image.lab.path("in.img"), &[]);
        // The same directory with the index that e2fsck makes.
        let packed = image.lab.copy(&image.lab.path("in.img"), "packed.img");
        try_run(tool("e2fsck").arg("-fyD").arg(&packed));
        crate::support::same_bytes(&canonical(&packed, &[]), &canonical(&image.lab.path("in.img"), &[]));
    }
}

#[test]
fn what_is_not_found_through_the_index_is_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for files in [100, 1200] {
        let image = Indexed::new(files);
        for (words, patches) in damages(&image) {
            let damaged = image.lab.copy(&image.lab.path("in.img"), "damaged.img");
            for (offset, bytes) in &patches {
                patch(&damaged, *offset, bytes);
            }
            let message = refused(&damaged, &[], 4, &["/folder", "directory"]);
            println!("{files} files, {words}: {}", message.trim());
            // e2fsck does not compare the hashes of a node with those above it.
            assert!(
                judge::fsck_silent(&damaged).is_err() || names_not_found(&damaged, files) > 0,
                "{words}: kernel and e2fsck are content; we: {message}"
            );
        }
    }
}

/// Names with bytes above 127 have two hashes, and the superblock tells which is meant.
#[test]
fn the_sign_of_name_bytes_counts() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"];
    let mut outputs = Vec::new();
    for flag in [1_u8, 2] {
        let image = lab.mke2fs(&format!("{flag}.img"), "8M", &options);
        patch(&image, 1024 + 0x160, &[flag]);
        let mounted = Mounted::read_write(&image).expect("a mount");
        fs::create_dir(mounted.path().join("folder")).expect("a folder");
        for number in 0..100 {
            fs::write(mounted.path().join(format!("folder/{}{number}", "\u{e4}".repeat(80))), "")
                .expect("a file");
        }
        mounted.unmount();
        outputs.push(canonical(&image, &["--mtime", "clamp", "--source-date-epoch", "0"]));
        patch(&image, 1024 + 0x160, &[3 - flag]);
        refused(&image, &[], 4, &["the index does not look for"]);
        assert!(judge::fsck_silent(&image).is_err());
    }
}

/// Six names with one hash, of the legacy kind, found by trying 2^28: more than a leaf holds, so that
/// the index has to say that it goes on in the next.
#[test]
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
    assert_eq!(judge::kernel_tree(&image), judge::kernel_tree(&output));
    for image in [image, output] {
        let odd = odd_entries(&image);
        assert!(!odd.is_empty(), "{}: no leaf goes on", image.display());
        for offset in odd {
            let [low] = peek(&image, offset);
            patch(&image, offset, &[low - 1]);
        }
        refused(&image, &[], 4, &["with the hash 0xa707ede8"]);
        let mounted = Mounted::read_only(&image).expect("a mount");
        let found = alike.iter().filter(|end| {
            mounted.path().join(format!("folder/{}{end}", "a".repeat(250))).symlink_metadata().is_ok()
        });
        assert!(found.count() < alike.len(), "the kernel finds all");
    }
}

/// Where the hashes lie that say that a leaf goes on, in the root of /folder.
fn odd_entries(image: &Path) -> Vec<u64> {
    let said = debugfs_read(image, "bmap /folder 0\n");
    let block = said.lines().find_map(|line| line.parse::<u64>().ok());
    let root = block.expect("a block") * BLOCK + ROOT;
    let [low, high] = peek(image, root + 2);
    let hashes = (1..u64::from(u16::from_le_bytes([low, high]))).map(|entry| root + entry * 8);
    hashes.filter(|offset| peek::<1>(image, *offset)[0] & 1 != 0).collect()
}

/// Where the superblock does not tell whether the bytes of names have signs, e2fsck takes it that they
/// have, and newer kernels that they have not: such names are in doubt, others are not.
#[test]
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
        patch(&image, 1024 + 0x160, &[0]);
        if sure {
            canonical(&image, &[]);
        } else {
            refused(&image, &[], 4, &["the index does not look for"]);
        }
    }
}
