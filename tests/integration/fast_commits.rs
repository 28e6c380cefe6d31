//! Fast commits: an image with live ones has the form that it has after the kernel replayed them and
//! e2fsck counted links, or there is an error.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ext4_canon::ondisk::checksum::crc32c;

use crate::support::image::{blocks_of, inode_of, patch, peek};
use crate::support::kernel::Mounted;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canon, canonical, gate, judge, refused, run, same_bytes, tool, tree};

/// The kernel stamps directories with the time at which it replays names: a fixed time for all
/// leaves that out of the comparison.
const EPOCH: [&str; 2] = ["--source-date-epoch", "1"];

/// An image that was copied while it was mounted, right after work that fast commits hold.
fn cut(lab: &Lab, options: &[&str], work: impl FnOnce(&Path)) -> PathBuf {
    let image = lab.mke2fs("live.img", "48M", &[&["-t", "ext4", "-O", "fast_commit"], options].concat());
    // No commits by the clock: one in the middle of copying would leave parts of two states.
    let mounted = Mounted::with_options(&image, "commit=600").expect("a mount");
    let root = mounted.path();
    for folder in ["one", "two"] {
        fs::create_dir(root.join(folder)).expect("a folder");
        for number in 0..6 {
            let size = 40_000 - number * 5000;
            let bytes = tree::noise(number as u64, size);
            fs::write(root.join(folder).join(format!("file{number}")), bytes).expect("writing");
        }
    }
    fs::create_dir(root.join("empty")).expect("a folder");
    run(tool("sync").arg("-f").arg(root));
    work(root);
    let copy = lab.copy(&image, "cut.img");
    mounted.unmount();
    copy
}

/// A cut that the kernel can replay: where it has not yet let go of a file that was deleted, it can't, or
/// leaves that file without a name.
fn replayable_cut(options: &[&str], work: impl Fn(&Path)) -> (Lab, PathBuf) {
    let mut cuts = (0..20).map(|_| {
        let lab = Lab::new();
        let image = cut(&lab, options, &work);
        (lab, image)
    });
    let replayable = |lab: &Lab, image: &Path| {
        let image = lab.copy(image, "try.img");
        Mounted::read_write(&image).map(Mounted::unmount).is_ok()
            && !try_run(tool("e2fsck").arg("-fn").arg(image)).stdout.contains("Unattached")
    };
    // Where the machine is so busy that the kernel did a full commit meanwhile, there are no fast ones.
    let replayable = |lab: &Lab, image: &Path| replayable(lab, image) && records(image) > 2;
    cuts.find(|(lab, image)| replayable(lab, image))
        .expect("a cut with fast commits that the kernel can replay")
}

/// A cut that has fast commits. Where the machine is so busy that the kernel did a full commit meanwhile, there
/// are none.
fn cut_with_records(work: impl Fn(&Path)) -> (Lab, PathBuf) {
    let mut cuts = (0..20).map(|_| {
        let lab = Lab::new();
        let image = cut(&lab, &[], &work);
        (lab, image)
    });
    cuts.find(|(_, image)| records(image) > 2).expect("a cut with something to replay")
}

fn fsync(path: &Path) {
    File::open(path).and_then(|file| file.sync_all()).expect("fsync");
}

fn write(path: &Path, offset: u64, length: usize) {
    let file = File::options().write(true).create(true).truncate(false).open(path).expect("a file");
    file.write_all_at(&tree::noise(offset, length), offset).and_then(|()| file.sync_all()).expect("writing");
}

/// The records that the report tells of.
fn records(image: &Path) -> u64 {
    let ran = canon(["--check", "--json"]).arg(image).run();
    ran.json()["report"]["fast_commit_records"].as_u64().unwrap_or_else(|| panic!("no number: {ran:#?}"))
}

/// Demands that an image has the form that kernel and e2fsck give it together.
fn recovers(lab: &Lab, image: &Path) -> PathBuf {
    let by_kernel = lab.copy(image, "by-kernel.img");
    Mounted::read_write(&by_kernel).expect("a mount").unmount();
    // The kernel does not count the links of directories that it makes.
    let ran = try_run(tool("e2fsck").arg("-fy").arg(&by_kernel));
    assert!(ran.code.is_some_and(|code| code <= 1), "{ran:#?}");
    let output = canonical(image, &EPOCH);
    // Shown where the next line fails.
    println!("{ran:#?}");
    same_bytes(&output, &canonical(&by_kernel, &EPOCH));
    output
}

type Work = fn(&Path);

/// What each kind of record comes from.
const STORIES: [(&str, Work); 9] = [
    ("a new file", |root| write(&root.join("one/new"), 0, 9000)),
    ("written over, longer, and with a hole before it", |root| {
        write(&root.join("one/file0"), 3000, 5000);
        write(&root.join("one/file0"), 100_000, 70_000);
        write(&root.join("two/file3"), 24_000, 9000);
    }),
    ("shorter", |root| {
        File::options()
            .write(true)
            .open(root.join("one/file1"))
            .and_then(|file| file.set_len(7000))
            .expect("cutting");
        fsync(&root.join("one/file1"));
    }),
    ("punched and preallocated", |root| {
        let file = root.join("one/file2");
        run(tool("fallocate").args(["-p", "-o", "4096", "-l", "8192"]).arg(&file));
        run(tool("fallocate").args(["-o", "60000", "-l", "80000"]).arg(&file));
        fsync(&file);
        write(&file, 70_000, 10_000);
    }),
    ("renamed, over another, and to another folder", |root| {
        fs::rename(root.join("one/file0"), root.join("one/renamed")).expect("renaming");
        fs::rename(root.join("one/file1"), root.join("one/file2")).expect("renaming");
        fs::rename(root.join("one/file3"), root.join("two/file3")).expect("renaming");
        fsync(&root.join("one/file2"));
    }),
    ("linked and unlinked", |root| {
        fs::hard_link(root.join("one/file4"), root.join("two/link")).expect("linking");
        fsync(&root.join("two/link"));
        fs::remove_file(root.join("one/file4")).expect("removing");
        fs::remove_file(root.join("one/file5")).expect("removing");
        fsync(&root.join("two/link"));
    }),
    ("an inode that is used again", |root| {
        for round in 0..4 {
            write(&root.join("two/again"), 0, 3000 + round * 2000);
            fs::remove_file(root.join("two/again")).expect("removing");
            write(&root.join(format!("two/other{round}")), 0, 100);
        }
    }),
    ("a new folder, and a file in it", |root| {
        fs::create_dir(root.join("empty/folder")).expect("a folder");
        write(&root.join("empty/folder/file"), 0, 5000);
        fs::create_dir(root.join("empty/folder/below")).expect("a folder");
        write(&root.join("empty/folder/below/file"), 0, 50);
    }),
    ("another mode", |root| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(root.join("two/file0"), fs::Permissions::from_mode(0o4710)).expect("a mode");
        fsync(&root.join("two/file0"));
    }),
];

#[test]
fn every_kind_of_record_is_replayed() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for (what, work) in STORIES {
        for options in [&["-b", "1024"][..], &["-O", "^metadata_csum,^64bit", "-b", "4096"]] {
            let (lab, image) = replayable_cut(options, work);
            println!("{what}");
            recovers(&lab, &image);
        }
    }
}

#[test]
fn all_stories_together_are_replayed() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for options in [&["-b", "1024", "-I", "512"][..], &["-b", "4096", "-O", "orphan_file"]] {
        let (lab, image) = replayable_cut(options, |root| {
            for (_, work) in STORIES.into_iter().filter(|(what, _)| !what.starts_with("linked")) {
                work(root);
            }
        });
        recovers(&lab, &image);
    }
}

/// The kernel can't replay this at all; e2fsck can.
#[test]
fn a_file_that_was_open_when_it_was_deleted_is_gone() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let (lab, image) = cut_with_records(|root| {
        let _held = File::open(root.join("one/file0")).expect("a file");
        fs::remove_file(root.join("one/file0")).expect("removing");
        write(&root.join("one/file1"), 0, 10);
    });
    let by_e2fsck = lab.copy(&image, "by-e2fsck.img");
    let ran = try_run(tool("e2fsck").arg("-fy").arg(&by_e2fsck));
    assert!(ran.code.is_some_and(|code| code <= 1), "{ran:#?}");
    same_bytes(&canonical(&image, &[]), &canonical(&by_e2fsck, &[]));
}

/// Kernel and e2fsck leave it in lost+found, empty.
#[test]
fn a_directory_that_was_removed_is_gone() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let (_lab, image) = cut_with_records(|root| {
        fs::remove_dir(root.join("empty")).expect("removing");
        write(&root.join("one/file1"), 0, 10);
    });
    let text = judge::kernel_tree(&canonical(&image, &[])).expect("it mounts");
    assert!(text.contains("one/file1 ") && !text.contains("empty") && !text.contains("lost+found"), "{text}");
}

/// An image whose first fast-commit block is written by hand.
struct ByHand {
    lab: Lab,
    image: PathBuf,
    /// Where that block lies, in bytes, and the transaction that it must name.
    at: u64,
    transaction: u32,
}

impl ByHand {
    fn new() -> Self {
        let lab = Lab::new();
        let image = cut(&lab, &["-b", "1024"], |root| write(&root.join("one/file5"), 0, 10));
        let blocks = blocks_of(&image, "<8>");
        let word = |offset| u32::from_be_bytes(peek(&image, blocks[0] * 1024 + offset)) as usize;
        let at = blocks[word(0x10) - word(0x54) + 1] * 1024;
        assert_eq!(u16::from_le_bytes(peek(&image, at)), 9, "no head");
        let transaction = u32::from_le_bytes(peek(&image, at + 8));
        Self { lab, image, at, transaction }
    }

    /// The image with these records.
    fn with(&self, records: &[Vec<u8>]) -> PathBuf {
        self.with_head(0, records)
    }

    fn with_head(&self, features: u32, records: &[Vec<u8>]) -> PathBuf {
        let head = [features.to_le_bytes(), self.transaction.to_le_bytes()].concat();
        let mut block = record(9, &head);
        records.iter().for_each(|record| block.extend(record));
        let rest = u16::try_from(1024 - block.len() - 4).expect("room for the tail");
        block.extend([8_u16.to_le_bytes(), rest.to_le_bytes()].concat());
        block.extend(self.transaction.to_le_bytes());
        block.extend(crc32c(0, &block).to_le_bytes());
        block.resize(1024, 0);
        let image = self.lab.copy(&self.image, "by-hand.img");
        patch(&image, self.at, &block);
        // Nothing behind it counts.
        patch(&image, self.at + 1024, &[0; 1024]);
        image
    }
}

fn record(tag: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a length");
    [&tag.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
}

fn name(tag: u16, parent: u32, inode: u32, name: &str) -> Vec<u8> {
    record(tag, &[&parent.to_le_bytes()[..], &inode.to_le_bytes(), name.as_bytes()].concat())
}

fn add(inode: u32, logical: u32, count: u16, block: u32) -> Vec<u8> {
    let extent = [&logical.to_le_bytes()[..], &count.to_le_bytes(), &[0; 2], &block.to_le_bytes()].concat();
    record(1, &[&inode.to_le_bytes()[..], &extent].concat())
}

fn remove(inode: u32, logical: u32, count: u32) -> Vec<u8> {
    record(2, &[inode, logical, count].map(u32::to_le_bytes).concat())
}

const LINK: u16 = 4;
const UNLINK: u16 = 5;

#[test]
fn records_by_hand_do_what_the_kernel_does() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = ByHand::new();
    let (folder, file, other) = (
        inode_of(&scene.image, "/one"),
        inode_of(&scene.image, "/one/file0"),
        inode_of(&scene.image, "/one/file1"),
    );
    let stories: [&[Vec<u8>]; 7] = [
        &[],
        &[record(7, &[1, 2, 3])],
        &[name(LINK, folder, file, "linked"), name(UNLINK, folder, file, "file0")],
        // What was done already, and what is not there, does nothing.
        &[name(LINK, folder, file, "file0"), name(UNLINK, folder, file, "nothing")],
        // Nor do records of inodes that are not in use.
        &[name(LINK, folder, 3000, "unknown"), name(UNLINK, folder, 3000, "file0"), remove(3000, 0, 1)],
        &[name(UNLINK, folder, file, "file0"), remove(file, 0, 3), name(LINK, folder, file, "again")],
        &[name(UNLINK, folder, other, "file1"), name(UNLINK, folder, other, "file1")],
    ];
    for records in stories {
        recovers(&scene.lab, &scene.with(records));
    }
}

#[test]
fn records_that_make_no_sense_are_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = ByHand::new();
    let (folder, file, other) = (
        inode_of(&scene.image, "/one"),
        inode_of(&scene.image, "/one/file0"),
        inode_of(&scene.image, "/one/file1"),
    );
    let inode = |number: u32| {
        let mut fields = vec![0; 164];
        fields[..4].copy_from_slice(&number.to_le_bytes());
        record(6, &fields)
    };
    let stories: [(&[Vec<u8>], &str); 13] = [
        (&[name(LINK, file, other, "in-a-file")], "no directory"),
        (&[name(LINK, folder, other, "file0")], "has it"),
        (&[name(LINK, folder, folder, "folder")], "another name"),
        (&[name(UNLINK, 2, folder, "one")], "not empty"),
        (&[name(LINK, folder, file, "a/b")], "a\\x2fb"),
        (&[name(LINK, folder, file, "..")], ".."),
        (&[name(3, folder, 3000, "new")], "not in use"),
        (&[add(file, 0, 4, 49_150)], "blocks of the filesystem"),
        (&[add(file, 0, 0, 9000)], "blocks of the filesystem"),
        (&[remove(file, 5, u32::MAX)], "below 2^32"),
        (&[add(folder, 0, 1, 9000), add(file, 0, 1, 9000)], "also claimed"),
        (&[inode(8)], "reserved"),
        (&[inode(9_999_999)], "an inode of the filesystem"),
    ];
    for (records, words) in stories {
        refused(&scene.with(records), &[], 4, &[words]);
    }
}

/// What a kernel would not mount is refused, with a remedy that works.
#[test]
fn fast_commits_that_no_kernel_replays_are_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = ByHand::new();
    let wrong_sum = scene.lab.copy(&scene.with(&[]), "sum.img");
    patch(&wrong_sum, scene.at + 12 + 8, &[!peek::<1>(&wrong_sum, scene.at + 12 + 8)[0]]);
    let unknown_kind = scene.lab.copy(&scene.with(&[record(99, &[1])]), "kind.img");
    let cases =
        [(wrong_sum, "checksum"), (unknown_kind, "unknown kind"), (scene.with_head(1, &[]), "features")];
    for (image, words) in cases {
        assert!(Mounted::read_write(&scene.lab.copy(&image, "mounted.img")).is_err(), "{words}");
        refused(&image, &[], 4, &["fast commits", words]);
        run(tool("sh").arg("-c").arg(format!("e2fsck -fy {} >&2 || test $? = 1", image.display())));
        canonical(&image, &[]);
    }
    // Of another transaction: they are old, and count for nothing.
    let old = scene.with(&[]);
    patch(&old, scene.at + 8, &(scene.transaction - 1).to_le_bytes());
    assert_eq!(records(&old), 0);
    recovers(&scene.lab, &old);
}
