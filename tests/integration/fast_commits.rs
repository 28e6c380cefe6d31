//! Fast commits: an image that needs a replay has the same form as after the kernel replayed it and e2fsck
//! corrected link counts. Otherwise there is an error.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ext4_canon::internals::BlockNr;
use ext4_canon::internals::ondisk::extent::Extent;
use ext4_canon::internals::ondisk::fast_commit::{
    FastCommitHead, FastCommitTag, FastCommitTail, TAG_ADD_RANGE, TAG_CREAT, TAG_DEL_RANGE, TAG_HEAD,
    TAG_INODE, TAG_LINK, TAG_PAD, TAG_UNLINK,
};
use ext4_canon::internals::ondisk::inode::Inode;
use zerocopy::IntoBytes as _;

use crate::support::dice::Dice;
use crate::support::fast_commit::{area, block, name_record, record};
use crate::support::fields::{Structure, structure};
use crate::support::image::{inode_of, patch, set_length};
use crate::support::kernel::{Mounted, sync};
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canon, canonical, gate, judge, refused, run, same_bytes, tool};

/// The kernel sets the mtime of directories when it replays names. A fixed time for all files hides this.
const EPOCH: [&str; 2] = ["--source-date-epoch", "1"];

/// Copies an image while it is mounted, immediately after changes that are in fast commits.
fn cut_after(lab: &Lab, options: &[&str], work: impl FnOnce(&Path)) -> PathBuf {
    let image = lab.mke2fs("live.img", "48M", &[&["-t", "ext4", "-O", "fast_commit"], options].concat());
    // Disable periodic commits: one during the copy would mix two states.
    let mounted = Mounted::with_options(&image, "commit=600").expect("a mount");
    let root = mounted.path();
    for folder in ["one", "two"] {
        fs::create_dir(root.join(folder)).expect("a folder");
        for number in 0..6 {
            let size = 40_000 - number * 5000;
            let bytes = Dice::noise(number as u64, size);
            fs::write(root.join(folder).join(format!("file{number}")), bytes).expect("writing");
        }
    }
    fs::create_dir(root.join("empty")).expect("a folder");
    sync(root);
    work(root);
    let copy = lab.copy(&image, "cut.img");
    mounted.unmount();
    copy
}

/// Returns an image that the kernel can replay.
fn replayable_cut(options: &[&str], work: impl Fn(&Path)) -> (Lab, PathBuf) {
    first_good_cut(options, work, replay_by_kernel)
}

/// Returns why the kernel can't replay an image. If it had not yet evicted a deleted file before the cut, the
/// replay fails, or leaves that file without a name.
fn replay_by_kernel(lab: &Lab, image: &Path) -> Result<(), String> {
    let copy = lab.copy(image, "try.img");
    Mounted::read_write(&copy).map(Mounted::unmount)?;
    let checked = try_run(tool("e2fsck").arg("-fn").arg(copy)).stdout;
    if checked.contains("Unattached") { Err("a file has no name".to_owned()) } else { Ok(()) }
}

/// Returns an image with fast commits.
fn cut_with_records(work: impl Fn(&Path)) -> (Lab, PathBuf) {
    first_good_cut(&[], work, |_, _| Ok(()))
}

/// Returns the first image that has fast commits and is `replayable`. On a busy machine the kernel may make a
/// full commit meanwhile, which leaves no fast commits, so there are many attempts. An image that is refused is
/// one that the kernel can't replay.
fn first_good_cut(
    options: &[&str],
    work: impl Fn(&Path),
    replayable: impl Fn(&Lab, &Path) -> Result<(), String>,
) -> (Lab, PathBuf) {
    let mut reasons = Vec::new();
    for _ in 0..100 {
        let lab = Lab::new();
        let image = cut_after(&lab, options, &work);
        let judged = match records(&image) {
            Ok(3..) => replayable(&lab, &image),
            Ok(records) => Err(format!("{records} records")),
            Err(refusal) => {
                let reason = replay_by_kernel(&lab, &image).expect_err(&refusal);
                Err(format!("{refusal}; the kernel: {reason}"))
            }
        };
        match judged {
            Ok(()) => return (lab, image),
            Err(reason) => reasons.push(reason),
        }
    }
    panic!("no image has fast commits that can be replayed: {reasons:#?}");
}

fn fsync(path: &Path) {
    File::open(path).and_then(|file| file.sync_all()).expect("fsync");
}

fn write_and_sync(path: &Path, offset: u64, length: usize) {
    let file = File::options().write(true).create(true).truncate(false).open(path).expect("a file");
    file.write_all_at(&Dice::noise(offset, length), offset).and_then(|()| file.sync_all()).expect("writing");
}

/// Returns the number of fast commit records in the report, or the error if the image is refused.
fn records(image: &Path) -> Result<u64, String> {
    let ran = canon(["--check", "--json"]).arg(image).run();
    let report = ran.json();
    match report["error"]["message"].as_str() {
        Some(refusal) => Err(refusal.to_owned()),
        None => Ok(report["report"]["fast_commit_records"].as_u64().expect("a number of records")),
    }
}

/// Asserts that an image has the same form as after the kernel replayed it and e2fsck repaired it.
fn is_replayed(lab: &Lab, image: &Path) -> PathBuf {
    let by_kernel = lab.by_kernel(image);
    // The kernel does not update the link counts of directories that a replay creates.
    let ran = judge::repair(&by_kernel, &[]);
    let output = canonical(image, &EPOCH);
    // The test harness shows this if the test fails.
    println!("{ran:#?}");
    same_bytes(&output, &canonical(&by_kernel, &EPOCH));
    output
}

type Work = fn(&Path);

/// Changes that make each kind of record.
const STORIES: [(&str, Work); 9] = [
    ("a new file", |root| write_and_sync(&root.join("one/new"), 0, 9000)),
    ("written over, longer, and with a hole before it", |root| {
        write_and_sync(&root.join("one/file0"), 3000, 5000);
        write_and_sync(&root.join("one/file0"), 100_000, 70_000);
        write_and_sync(&root.join("two/file3"), 24_000, 9000);
    }),
    ("shorter", |root| {
        set_length(root.join("one/file1"), 7000);
        fsync(&root.join("one/file1"));
    }),
    ("punched and preallocated", |root| {
        let file = root.join("one/file2");
        run(tool("fallocate").args(["-p", "-o", "4096", "-l", "8192"]).arg(&file));
        run(tool("fallocate").args(["-o", "60000", "-l", "80000"]).arg(&file));
        fsync(&file);
        write_and_sync(&file, 70_000, 10_000);
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
            write_and_sync(&root.join("two/again"), 0, 3000 + round * 2000);
            fs::remove_file(root.join("two/again")).expect("removing");
            write_and_sync(&root.join(format!("two/other{round}")), 0, 100);
        }
    }),
    ("a new folder, and a file in it", |root| {
        fs::create_dir(root.join("empty/folder")).expect("a folder");
        write_and_sync(&root.join("empty/folder/file"), 0, 5000);
        fs::create_dir(root.join("empty/folder/below")).expect("a folder");
        write_and_sync(&root.join("empty/folder/below/file"), 0, 50);
    }),
    ("another mode", |root| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(root.join("two/file0"), fs::Permissions::from_mode(0o4710)).expect("a mode");
        fsync(&root.join("two/file0"));
    }),
];

#[test]
#[ignore = "needs root: mounts images"]
fn every_kind_of_record_is_replayed() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for (what, work) in STORIES {
        for options in [&["-b", "1024"][..], &["-O", "^metadata_csum,^64bit", "-b", "4096"]] {
            let (lab, image) = replayable_cut(options, work);
            println!("{what}");
            is_replayed(&lab, &image);
        }
    }
}

#[test]
#[ignore = "needs root: mounts images"]
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
        is_replayed(&lab, &image);
    }
}

/// The kernel can't replay this, but e2fsck can.
#[test]
#[ignore = "needs root: mounts images"]
fn a_file_that_was_open_when_it_was_deleted_is_gone() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let (lab, image) = cut_with_records(|root| {
        let _held = File::open(root.join("one/file0")).expect("a file");
        fs::remove_file(root.join("one/file0")).expect("removing");
        write_and_sync(&root.join("one/file1"), 0, 10);
    });
    same_bytes(&canonical(&image, &[]), &canonical(&lab.by_e2fsck(&image), &[]));
}

/// The kernel and e2fsck move the directory to lost+found, where it is empty.
#[test]
#[ignore = "needs root: mounts images"]
fn a_directory_that_was_removed_is_gone() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let (_lab, image) = cut_with_records(|root| {
        fs::remove_dir(root.join("empty")).expect("removing");
        write_and_sync(&root.join("one/file1"), 0, 10);
    });
    let text = judge::kernel_tree(&canonical(&image, &[])).expect("it mounts");
    assert!(text.contains("one/file1 ") && !text.contains("empty") && !text.contains("lost+found"), "{text}");
}

/// An image whose first fast commit block is written by the test.
struct ByHand {
    lab: Lab,
    image: PathBuf,
    /// The byte offset of that block in the image, and its transaction ID.
    at: u64,
    transaction: u32,
}

impl ByHand {
    fn new() -> Self {
        let lab = Lab::new();
        let image = cut_after(&lab, &["-b", "1024"], |root| write_and_sync(&root.join("one/file5"), 0, 10));
        let tag = structure::<FastCommitTag>(&image, area(&image));
        assert_eq!(tag.get("fc_tag"), u64::from(TAG_HEAD), "no head");
        let transaction = structure::<FastCommitHead>(&image, tag.end()).get32("fc_tid");
        Self { lab, transaction, at: tag.start, image }
    }

    /// Returns the head of the fast commit in a copy of the image.
    fn head<'i>(&self, image: &'i Path) -> Structure<'i> {
        structure::<FastCommitHead>(image, structure::<FastCommitTag>(image, self.at).end())
    }

    /// Returns a copy of the image with these records.
    fn with(&self, records: &[Vec<u8>]) -> PathBuf {
        self.with_head(0, records)
    }

    fn with_head(&self, features: u32, records: &[Vec<u8>]) -> PathBuf {
        let image = self.lab.copy(&self.image, "by-hand.img");
        patch(&image, self.at, &block(features, self.transaction, records, 1024));
        // The next block ends the fast commits.
        patch(&image, self.at + 1024, &[0; 1024]);
        image
    }
}

fn add(inode: u32, logical: u32, count: u16, block: u32) -> Vec<u8> {
    let mut extent = Extent::new(logical, 1, BlockNr(block.into()), false);
    extent.ee_len = count.into();
    record(TAG_ADD_RANGE, &[&inode.to_le_bytes()[..], extent.as_bytes()].concat())
}

fn remove(inode: u32, logical: u32, count: u32) -> Vec<u8> {
    record(TAG_DEL_RANGE, &[inode, logical, count].map(u32::to_le_bytes).concat())
}

#[test]
#[ignore = "needs root: mounts images"]
fn records_by_hand_do_what_the_kernel_does() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let by_hand = ByHand::new();
    let (folder, file, other) = (
        inode_of(&by_hand.image, "/one"),
        inode_of(&by_hand.image, "/one/file0"),
        inode_of(&by_hand.image, "/one/file1"),
    );
    let stories: [&[Vec<u8>]; 7] = [
        &[],
        &[record(TAG_PAD, &[1, 2, 3])],
        &[name_record(TAG_LINK, folder, file, "linked"), name_record(TAG_UNLINK, folder, file, "file0")],
        // A link that exists already and an unlink of a missing name have no effect.
        &[name_record(TAG_LINK, folder, file, "file0"), name_record(TAG_UNLINK, folder, file, "nothing")],
        // Records of inodes that are not in use have no effect.
        &[
            name_record(TAG_LINK, folder, 3000, "unknown"),
            name_record(TAG_UNLINK, folder, 3000, "file0"),
            remove(3000, 0, 1),
        ],
        &[
            name_record(TAG_UNLINK, folder, file, "file0"),
            remove(file, 0, 3),
            name_record(TAG_LINK, folder, file, "again"),
        ],
        &[name_record(TAG_UNLINK, folder, other, "file1"), name_record(TAG_UNLINK, folder, other, "file1")],
    ];
    for records in stories {
        is_replayed(&by_hand.lab, &by_hand.with(records));
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn records_that_make_no_sense_are_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let by_hand = ByHand::new();
    let (folder, file, other) = (
        inode_of(&by_hand.image, "/one"),
        inode_of(&by_hand.image, "/one/file0"),
        inode_of(&by_hand.image, "/one/file1"),
    );
    let inode =
        |number: u32| record(TAG_INODE, &[&number.to_le_bytes()[..], &[0; size_of::<Inode>()]].concat());
    let stories: [(&[Vec<u8>], &str); 13] = [
        (&[name_record(TAG_LINK, file, other, "in-a-file")], "not a directory"),
        (&[name_record(TAG_LINK, folder, other, "file0")], "has it"),
        (&[name_record(TAG_LINK, folder, folder, "folder")], "a second name"),
        (&[name_record(TAG_UNLINK, 2, folder, "one")], "not empty"),
        (&[name_record(TAG_LINK, folder, file, "a/b")], "a\\x2fb"),
        (&[name_record(TAG_LINK, folder, file, "..")], "the name '..'"),
        (&[name_record(TAG_CREAT, folder, 3000, "new")], "not in use"),
        (&[add(file, 0, 4, 49_150)], "blocks of the filesystem"),
        (&[add(file, 0, 0, 9000)], "blocks of the filesystem"),
        (&[remove(file, 5, u32::MAX)], "below 2^32"),
        (&[add(folder, 0, 1, 9000), add(file, 0, 1, 9000)], "also claimed"),
        (&[inode(8)], "reserved"),
        (&[inode(9_999_999)], "an inode of the filesystem"),
    ];
    for (records, words) in stories {
        refused(&by_hand.with(records), &[], 4, &[words]);
    }
}

/// Fast commits that the kernel would refuse to mount are refused, with a remedy that works.
#[test]
#[ignore = "needs root: mounts images"]
fn fast_commits_that_no_kernel_replays_are_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let by_hand = ByHand::new();
    let mount =
        |image: &Path| Mounted::read_write(&by_hand.lab.copy(image, "mounted.img")).map(Mounted::unmount);
    mount(&by_hand.with(&[])).expect("without damage, it is mounted");
    let wrong_sum = by_hand.lab.copy(&by_hand.with(&[]), "sum.img");
    let tail = structure::<FastCommitTag>(&wrong_sum, by_hand.head(&wrong_sum).end());
    structure::<FastCommitTail>(&wrong_sum, tail.end()).flip("fc_crc");
    let unknown_kind = by_hand.lab.copy(&by_hand.with(&[record(99, &[1])]), "kind.img");
    let cases =
        [(wrong_sum, "checksum"), (unknown_kind, "unknown kind"), (by_hand.with_head(1, &[]), "features")];
    for (image, words) in cases {
        mount(&image).expect_err(words);
        refused(&image, &[], 4, &["fast commits", words]);
        judge::repair(&image, &[]);
        canonical(&image, &[]);
    }
    // Fast commits of a different transaction are old, and ignored.
    let old = by_hand.with(&[]);
    by_hand.head(&old).set("fc_tid", (by_hand.transaction - 1).into());
    assert_eq!(records(&old), Ok(0));
    is_replayed(&by_hand.lab, &old);
}
