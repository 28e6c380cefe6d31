//! Journals that debugfs writes in every format, and damage to each kind of block. The form is the same as
//! after recovery by debugfs, e2fsck or the kernel, or there is an error.

mod external;

use std::fs;
use std::path::{Path, PathBuf};

use ext4_canon::internals::ondisk::dir_entry;
use ext4_canon::internals::ondisk::features::Incompat;
use ext4_canon::internals::ondisk::jbd2::{
    COMMIT_BLOCK, CommitHeader, INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, JournalHeader, MAGIC, SUPERBLOCK_V1,
};
use ext4_canon::internals::ondisk::superblock::STATE_ERROR;

use crate::support::dice::Dice;
use crate::support::fields::{
    Structure, block_size, descriptor, inode, journal, needs_recovery, structure, superblock,
};
use crate::support::image::{blocks_of, debugfs, debugfs_read, inode_of, patch, peek};
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canon, canonical, gate, refused, run, same_bytes, tool};

/// Formats of journals: options of mke2fs, and of debugfs's journal_open.
const FORMATS: [(&[&str], &str); 5] = [
    (&["-t", "ext3", "-b", "1024"], ""),
    (&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], ""),
    (&["-t", "ext4", "-b", "1024"], "-c"),
    (&["-t", "ext4", "-b", "4096", "-O", "^64bit"], "-c"),
    (&["-t", "ext4", "-b", "4096"], ""),
];

/// An image with one file of many blocks, and the locations of its blocks.
struct Logged {
    lab: Lab,
    image: PathBuf,
    block_size: u64,
    /// The blocks of the file.
    file: Vec<u64>,
    /// The blocks of the journal.
    journal: Vec<u64>,
}

impl Logged {
    fn new(options: &[&str]) -> Self {
        let lab = Lab::new();
        let source = lab.folder("source");
        fs::write(source.join("file"), Dice::noise(1, 100_000)).expect("writing");
        let image = lab.mke2fs_d("in.img", "16M", options, &source);
        let block_size = block_size(&image);
        let (file, journal) = (blocks_of(&image, "/file"), blocks_of(&image, "<8>"));
        assert!(file.len() > 20 && journal.len() >= 1024);
        Self { lab, image, block_size, file, journal }
    }

    /// Returns a file with a block that repeats `byte`, or the journal's magic number for [`ESCAPED`].
    fn block(&self, byte: u8) -> PathBuf {
        let path = self.lab.path(&format!("block-{byte}"));
        let size = usize::try_from(self.block_size).expect("a size");
        let bytes = if byte == ESCAPED { MAGIC.to_be_bytes().repeat(size / 4) } else { vec![byte; size] };
        fs::write(&path, bytes).expect("writing");
        path
    }

    /// Writes transactions to the journal with debugfs.
    fn write(&self, open: &str, transactions: &[Transaction]) {
        let mut script = format!("jo {open}\n");
        for transaction in transactions {
            let (file, command) = match transaction {
                Write(block, byte) => (self.block(*byte), format!("-b {}", self.file[*block])),
                Revoke(block) => (PathBuf::new(), format!("-r {}", self.file[*block])),
            };
            script.push_str(&format!("jw {command} {}\n", file.display()));
        }
        script.push_str("jc\n");
        debugfs(&self.image, &script);
        assert!(needs_recovery(&self.image), "nothing to replay");
    }

    /// Returns the byte offset in the image of a block of the journal.
    fn at(&self, place: usize) -> u64 {
        self.journal[place] * self.block_size
    }

    /// Returns the commit block at an index of the journal.
    fn commit(&self, place: usize) -> Structure<'_> {
        let commit = structure::<CommitHeader>(&self.image, self.at(place));
        assert_eq!(commit.get32("h_blocktype"), COMMIT_BLOCK, "no commit block");
        commit
    }

    /// Changes the target of the only tag in a descriptor block with 32-bit block numbers.
    fn retarget(&self, image: &Path, place: usize, block: usize) {
        let tag = structure::<JournalHeader>(image, self.at(place)).end();
        patch(image, tag, &u32::try_from(block).expect("a block").to_be_bytes());
    }
}

/// The byte that represents a block of repeated journal magic numbers.
const ESCAPED: u8 = 0xC0;

/// A transaction on a block of the file, given by its index.
enum Transaction {
    Write(usize, u8),
    Revoke(usize),
}

use Transaction::{Revoke, Write};

/// Blocks that are written twice, revoked, revoked and written again, and escaped.
const STORY: [Transaction; 8] = [
    Write(0, 1),
    Write(1, 2),
    Write(2, 3),
    Revoke(1),
    Write(0, 4),
    Revoke(2),
    Write(2, 5),
    Write(3, ESCAPED),
];

/// Returns the canonical form of an image after e2fsck replayed its journal.
fn form_by_e2fsck(lab: &Lab, image: &Path) -> PathBuf {
    canonical(&lab.by_e2fsck(image), &[])
}

#[test]
fn every_format_is_replayed() {
    for (options, open) in FORMATS {
        let logged = Logged::new(options);
        let before = canonical(&logged.image, &[]);
        logged.write(open, &STORY);
        let output = canonical(&logged.image, &["--verify"]);
        same_bytes(&output, &form_by_e2fsck(&logged.lab, &logged.image));
        // The replay does change the image.
        assert_ne!(fs::read(&output).expect("reading"), fs::read(&before).expect("reading"));
        // The first block of the file has the content that was written last.
        let text = debugfs_read(&output, "cat /file\n");
        let last = "\u{4}".repeat(usize::try_from(logged.block_size).expect("a size"));
        assert!(text.contains(&last) && !text.contains(&last.replace('\u{4}', "\u{1}")), "{options:?}");
    }
}

#[test]
fn a_revoked_block_is_not_replayed() {
    for (options, open) in FORMATS {
        let logged = Logged::new(options);
        let before = canonical(&logged.image, &[]);
        logged.write(open, &[Write(0, 1), Revoke(0)]);
        same_bytes(&before, &canonical(&logged.image, &[]));
    }
}

/// The feature words of a journal.
const FEATURES: [&str; 3] = ["s_feature_compat", "s_feature_incompat", "s_feature_ro_compat"];

/// The log wraps around at its end, and so do sequence numbers.
#[test]
fn logs_and_sequences_go_round() {
    // If the journal has a block map, its indirect blocks are between its other blocks.
    for (options, open) in FORMATS.into_iter().skip(1) {
        let logged = Logged::new(options);
        let jsb = journal(&logged.image);
        // debugfs always writes at the start of the log, so rotate the log to make it wrap around.
        jsb.set("s_sequence", (u32::MAX - 1).into());
        if open == "-c" {
            // Clear the features, so that debugfs does not expect a checksum.
            for field in FEATURES {
                jsb.set(field, 0);
            }
        }
        logged.write(open, &STORY);
        let written = canonical(&logged.image, &[]);
        same_bytes(&written, &form_by_e2fsck(&logged.lab, &logged.image));
        if open == "-c" {
            continue;
        }
        // Rotate the log: blocks 1 to 30 move to 5 blocks before the end.
        let size = usize::try_from(logged.block_size).expect("a size");
        let length = logged.journal.len().min(jsb.get32("s_maxlen") as usize);
        let bytes = fs::read(&logged.image).expect("reading");
        for place in 0..30 {
            let from = usize::try_from(logged.at(1 + place)).expect("an offset");
            let to = if length - 5 + place < length {
                length - 5 + place
            } else {
                length - 5 + place - length + 1
            };
            patch(&logged.image, logged.at(to), &bytes[from..from + size]);
        }
        jsb.set("s_start", length as u64 - 5);
        same_bytes(&written, &canonical(&logged.image, &[]));
        same_bytes(&written, &form_by_e2fsck(&logged.lab, &logged.image));
    }
}

#[test]
fn an_unfinished_transaction_ends_the_log() {
    let logged = Logged::new(FORMATS[0].0);
    let before = canonical(&logged.image, &[]);
    logged.write("", &[Write(0, 1)]);
    // The log contains a descriptor, a copy and a commit block. Without the commit block, the transaction is
    // ignored.
    logged.commit(3).set("h_magic", 0);
    same_bytes(&before, &canonical(&logged.image, &[]));
}

/// One flipped bit in each block of the log, or in each word of the journal's superblock: either there is an
/// error, or the result is that of the kernel.
#[test]
#[ignore = "needs root: mounts images"]
fn damage_is_an_error_or_what_the_kernel_makes_of_it() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for (options, open) in [FORMATS[0], FORMATS[2]] {
        let logged = Logged::new(options);
        logged.write(open, &STORY);
        // Flip a bit in the block type, and in the data after the common header.
        let headers = (1..24).map(|place| structure::<JournalHeader>(&logged.image, logged.at(place)));
        let places = headers.flat_map(|header| [header.at("h_blocktype") + 1, header.end() + 1]);
        let words = (0..14).map(|word| logged.at(0) + word * 4 + 3);
        let (mut errors, mut same) = (0, 0);
        for place in places.chain(words) {
            let image = logged.lab.copy(&logged.image, "damaged.img");
            let [byte] = peek(&image, place);
            patch(&image, place, &[byte ^ 2]);
            let by_kernel = logged.lab.copy(&image, "by-kernel.img");
            let recovered = Mounted::read_write(&by_kernel).map(Mounted::unmount);
            let output = logged.lab.path("damaged.out");
            let ran = canon(["-q"]).args([&image, &output]).run();
            match ran.code {
                Some(3 | 4) => errors += 1,
                Some(0) => {
                    recovered.unwrap_or_else(|e| panic!("byte {place}: the kernel refuses it: {e}"));
                    same_bytes(&output, &canonical(&by_kernel, &[]));
                    same += 1;
                }
                _ => panic!("byte {place}: {ran}"),
            }
            let _ = fs::remove_file(&output);
        }
        assert!(errors > 5 && same > 5, "{options:?}: {errors} errors, {same} equal to the kernel");
    }
}

#[test]
fn a_journal_that_contradicts_the_filesystem_is_refused() {
    let logged = Logged::new(FORMATS[0].0);
    logged.write("", &STORY);
    for (field, words) in [
        ("h_magic", "bad magic 0x7f7f7f7f"),
        ("s_blocksize", "s_blocksize is 2139062143"),
        ("s_maxlen", "s_maxlen is 2139062143"),
        ("s_first", "s_first is 2139062143"),
        ("s_start", "s_start is 2139062143"),
    ] {
        let image = logged.lab.copy(&logged.image, "contrary.img");
        journal(&image).fill(field, 0x7F);
        refused(&image, &[], 4, &["inode 8, journal block", words]);
    }
    // The log is not empty, although the filesystem does not need recovery.
    superblock(&logged.image).remove("s_feature_incompat", Incompat::NEEDS_RECOVERY.bits());
    refused(&logged.image, &[], 4, &["not empty"]);
}

/// The error state is kept, although the journal may contain an older superblock without it.
#[test]
fn an_error_flag_is_not_lost_in_the_replay() {
    let logged = Logged::new(FORMATS[0].0);
    let block = logged.lab.path("superblock");
    fs::write(&block, peek::<1024>(&logged.image, superblock(&logged.image).start)).expect("writing");
    debugfs(&logged.image, &format!("jo\njw -b 1 {}\njc\n", block.display()));
    superblock(&logged.image).add("s_state", STATE_ERROR.into());
    refused(&logged.image, &[], 4, &["errors were found"]);
    canonical(&logged.image, &["--ignore-error-state"]);
}

#[test]
fn wild_lists_of_orphans_are_refused() {
    let logged = Logged::new(&["-t", "ext4", "-O", "^metadata_csum"]);
    for orphan in [3, 9_999_999] {
        let image = logged.lab.copy(&logged.image, "wild.img");
        superblock(&image).set("s_last_orphan", orphan);
        refused(&image, &[], 4, &[&format!("an orphan is {orphan}, expected")]);
    }
    // The list of orphans has a cycle.
    let image = logged.lab.copy(&logged.image, "cycle.img");
    debugfs(&image, "set_super_value last_orphan 12\nset_inode_field <12> dtime @12\n");
    refused(&image, &[], 4, &["lists orphan 12 twice, or the list of orphans is a cycle"]);
}

/// If tune2fs adds a journal to a mounted filesystem, it has a name, and a different inode number.
#[test]
#[ignore = "needs root: mounts images"]
fn a_journal_with_a_name_is_one_like_any_other() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for options in [&["-t", "ext2"][..], &["-t", "ext4", "-O", "^has_journal"]] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "24M", options);
        let mounted = Mounted::read_write(&image).expect("a mount");
        fs::write(mounted.path().join("file"), "content").expect("writing");
        run(tool("tune2fs").arg("-j").arg(Path::new("/dev").join(mounted.device())));
        mounted.unmount();
        let root = |image: &Path| debugfs_read(image, "ls /\n");
        assert!(root(&image).contains(".journal"));
        let output = canonical(&image, &["--verify"]);
        assert!(!root(&output).contains(".journal"));
        same_bytes(&output, &form_by_e2fsck(&lab, &image));
        // A second name of the journal is damage.
        debugfs(&image, "ln .journal other\n");
        refused(&image, &[], 4, &["inode 2 (/), directory: has an entry 'other' for inode "]);
    }
}

/// An orphan that has to be truncated is truncated, and keeps its mtime, like with e2fsck. (The kernel would
/// set the mtime to the time of recovery.)
#[test]
fn orphans_with_links_are_cut_to_their_size() {
    for options in [&["-t", "ext4", "-O", "^metadata_csum"][..], &["-t", "ext3", "-b", "1024"]] {
        let logged = Logged::new(options);
        debugfs(&logged.image, "set_inode_field /file size 5000\n");
        // Blocks past the end are an error, unless the file is an orphan.
        refused(&logged.image, &[], 4, &["(/file): i_size is 5000, expected more than"]);
        let number = inode_of(&logged.image, "/file");
        debugfs(&logged.image, &format!("set_super_value last_orphan {number}\n"));
        let output = canonical(&logged.image, &["--verify"]);
        same_bytes(&output, &form_by_e2fsck(&logged.lab, &logged.image));
    }
}

/// A journal superblock of version 1 has no features: these bytes are ignored.
#[test]
#[ignore = "needs root: mounts images"]
fn journals_of_the_first_version() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let logged = Logged::new(FORMATS[0].0);
    logged.write("", &[Write(0, 1), Write(3, 2), Write(0, ESCAPED)]);
    let before = canonical(&logged.image, &[]);
    journal(&logged.image).set("h_blocktype", SUPERBLOCK_V1.into());
    for field in FEATURES {
        journal(&logged.image).fill(field, 0xFF);
    }
    same_bytes(&before, &canonical(&logged.image, &[]));
    let by_kernel = logged.lab.by_kernel(&logged.image);
    same_bytes(&before, &canonical(&by_kernel, &[]));
}

/// Checksums of version 2 have 16 bits, and tags have a different length.
#[test]
fn checksums_of_the_second_version() {
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-b", "4096", "-O", "^64bit"]] {
        let logged = Logged::new(options);
        logged.write("-c -v 2", &STORY);
        let features = journal(&logged.image).get32("s_feature_incompat");
        assert_eq!(features & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3), INCOMPAT_CSUM_V2, "not version 2");
        same_bytes(&canonical(&logged.image, &["--verify"]), &form_by_e2fsck(&logged.lab, &logged.image));
        // Damage the copy of a block.
        patch(&logged.image, logged.at(2) + 100, &[0x55; 4]);
        refused(&logged.image, &[], 4, &["wrong checksum"]);
    }
}

/// The bytes after the header of a commit block may never have been written.
#[test]
#[ignore = "needs root: mounts images"]
fn a_commit_block_is_its_header() {
    const HEADER: u64 = 64;
    if !gate(&[Need::Mounts]) {
        return;
    }
    let logged = Logged::new(&["-t", "ext4", "-b", "4096"]);
    logged.write("-c", &[Write(0, 1)]);
    let before = canonical(&logged.image, &[]);
    let commit = logged.commit(3);
    patch(&logged.image, commit.start + HEADER, &[0x99; 4096 - HEADER as usize]);
    same_bytes(&before, &canonical(&logged.image, &[]));
    let by_kernel = logged.lab.by_kernel(&logged.image);
    same_bytes(&before, &canonical(&by_kernel, &[]));
    // The last bytes of the header are not in a named field, but the checksum covers them.
    patch(&logged.image, commit.end(), &[0x99]);
    refused(&logged.image, &[], 4, &["the checksum in the commit block of transaction 1 is damaged"]);
}

/// The journal is fragmented.
#[test]
fn journals_in_pieces() {
    let lab = Lab::new();
    let source = lab.folder("source");
    for number in 0..1500 {
        fs::write(source.join(format!("file{number:04}")), Dice::noise(number, 2000)).expect("writing");
    }
    for kind in ["ext2", "ext4"] {
        let image = lab.mke2fs_d(kind, "8M", &["-t", kind, "-b", "1024", "-O", "^has_journal"], &source);
        let gone: String = (0..1400).step_by(2).map(|number| format!("rm /file{number:04}\n")).collect();
        debugfs(&image, &gone);
        run(tool("tune2fs").args(["-J", "size=1"]).arg(&image));
        let (file, journal) = (blocks_of(&image, "/file0001"), blocks_of(&image, "<8>"));
        assert!(
            journal.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() > 100,
            "{kind}: in one piece"
        );
        let logged = Logged { lab: Lab::new(), image, block_size: 1024, file, journal };
        logged.write(
            if kind == "ext4" { "-c" } else { "" },
            &[Write(0, 1), Write(1, 2), Revoke(1), Write(0, 3)],
        );
        same_bytes(&canonical(&logged.image, &[]), &form_by_e2fsck(&logged.lab, &logged.image));
    }
}

/// Group descriptors and inode tables, including the inode of the journal, are read from the journal. The
/// content of the blocks on disk is ignored.
#[test]
#[ignore = "needs root: mounts images"]
fn metadata_is_read_after_the_replay() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let logged = Logged::new(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg"]);
    let clean = canonical(&logged.image, &[]);
    let group = descriptor(&logged.image, 0);
    let table = group.get("bg_inode_table_lo");
    let [log, file] = ["<8>", "<12>"].map(|number| inode(&logged.image, number));
    let mut script = "jo\n".to_owned();
    // Blocks with the descriptors, inodes 5 to 8, inodes 9 to 12, and the root directory.
    let root = blocks_of(&logged.image, "/")[0];
    for block in [2, table + 1, table + 2, root] {
        let copy = logged.lab.path(&format!("copy-{block}"));
        fs::write(&copy, peek::<1024>(&logged.image, block * 1024)).expect("writing");
        script.push_str(&format!("jw -b {block} {}\n", copy.display()));
    }
    debugfs(&logged.image, &format!("{script}jc\n"));
    // The journal's inode must stay valid, or nothing can be replayed. Change only its time and link count.
    log.fill("i_mtime", 0x12);
    log.set("i_links_count", 2);
    // Overwrite inode 12, which is the file, and the entries of the root directory after `.` and `..`.
    patch(&logged.image, file.start, &[0; 256]);
    patch(&logged.image, root * 1024 + 2 * dir_entry::entry_size(2) as u64, &[0xFF; 100]);
    for field in ["bg_free_blocks_count_lo", "bg_free_inodes_count_lo", "bg_used_dirs_count_lo"] {
        group.fill(field, 0x34);
    }
    let output = canonical(&logged.image, &["--verify"]);
    same_bytes(&clean, &output);
    let by_kernel = logged.lab.by_kernel(&logged.image);
    same_bytes(&clean, &canonical(&by_kernel, &[]));
}

#[test]
#[ignore = "needs root: mounts images"]
fn orphans_on_both_lists_count_once() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let logged = Logged::new(&["-t", "ext4", "-O", "^metadata_csum,orphan_file"]);
    debugfs(&logged.image, "set_inode_field /file size 5000\n");
    let number = inode_of(&logged.image, "/file");
    let orphan_file = superblock(&logged.image).get("s_orphan_file_inum");
    let block = blocks_of(&logged.image, &format!("<{orphan_file}>"))[0];
    // Add the orphan to the orphan file, although the superblock does not say that it is in use.
    patch(&logged.image, block * logged.block_size, &number.to_le_bytes());
    let output = canonical(&logged.image, &[]);
    // Also add it to the list of orphans.
    debugfs(&logged.image, &format!("set_super_value last_orphan {number}\n"));
    same_bytes(&output, &canonical(&logged.image, &[]));
    let by_kernel = logged.lab.by_kernel(&logged.image);
    // The kernel sets the mtime of the file to the time of recovery.
    let epoch = ["--source-date-epoch", "1"];
    same_bytes(&canonical(&logged.image, &epoch), &canonical(&by_kernel, &epoch));
}

/// A replay in place would overwrite the log itself, and then read a different log.
#[test]
fn a_log_that_writes_over_itself_is_refused() {
    let logged = Logged::new(FORMATS[0].0);
    let block = logged.block(1);
    debugfs(&logged.image, &format!("jo\njw -b {} {}\njc\n", logged.journal[9], block.display()));
    refused(&logged.image, &[], 4, &["a block outside the journal"]);
}

/// The filesystem was growing: its new superblock and all metadata that depends on it are in the journal.
#[test]
#[ignore = "needs root: mounts images"]
fn a_journal_may_make_the_filesystem_larger() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let logged = Logged::new(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]);
    let grown = logged.lab.copy(&logged.image, "grown.img");
    run(tool("truncate").args(["-s", "40M"]).arg(&grown));
    run(tool("resize2fs").arg(&grown));
    let clean = canonical(&grown, &[]);
    let (old, new) = (fs::read(&logged.image).expect("reading"), fs::read(&grown).expect("reading"));
    let mut script = "jo\n".to_owned();
    let journal: Vec<usize> = logged.journal.iter().map(|block| *block as usize).collect();
    for (number, block) in new.chunks(1024).enumerate() {
        if old.chunks(1024).nth(number).is_some_and(|before| before == block)
            || block.iter().all(|byte| *byte == 0)
            || journal.contains(&number)
        {
            continue;
        }
        let copy = logged.lab.path(&format!("copy-{number}"));
        fs::write(&copy, block).expect("writing");
        // debugfs does not accept block numbers past the old end, so change the tag afterwards.
        script.push_str(&format!(
            "jw -b {} {}\n",
            if number < 16 << 10 { number } else { 1 },
            copy.display()
        ));
    }
    debugfs(&logged.image, &format!("{script}jc\n"));
    run(tool("truncate").args(["-s", "40M"]).arg(&logged.image));
    // Each transaction has one block: descriptor, copy, commit.
    let wanted: Vec<usize> =
        script.lines().filter_map(|line| line.split("copy-").nth(1)?.parse().ok()).collect();
    for (transaction, number) in wanted.iter().enumerate() {
        logged.retarget(&logged.image, 1 + transaction * 3, *number);
    }
    same_bytes(&clean, &canonical(&logged.image, &[]));
    let by_kernel = logged.lab.by_kernel(&logged.image);
    same_bytes(&clean, &canonical(&by_kernel, &[]));
    // Write to a block that is past the end according to every superblock.
    logged.retarget(&logged.image, 1 + (wanted.len() - 1) * 3, 40_959);
    let smaller = logged.lab.copy(&logged.image, "smaller.img");
    logged.retarget(&smaller, 1, 5);
    refused(&smaller, &[], 4, &["holds a copy of block"]);
}

/// Orphans that are not in use, or that can't be truncated, are refused.
#[test]
fn orphans_are_in_use_and_of_a_kind() {
    let logged = Logged::new(&["-t", "ext4", "-O", "^metadata_csum"]);
    debugfs(&logged.image, "mknod fifo p\nwrite /dev/null gone\n");
    let (fifo, gone) = (inode_of(&logged.image, "/fifo"), inode_of(&logged.image, "/gone"));
    debugfs(&logged.image, "rm /gone\n");
    for (orphan, words) in [
        (fifo, "an orphan with links is"),
        (gone, "marked as in use"),
        (gone + 500, "marked as in use"),
        (8, "an orphan is 8, expected an inode that is marked as in use and not reserved"),
    ] {
        let image = logged.lab.copy(&logged.image, "orphan.img");
        superblock(&image).set("s_last_orphan", orphan.into());
        refused(&image, &[], 4, &[words]);
    }
}

#[test]
fn a_journal_device_is_for_who_has_one() {
    let lab = Lab::new();
    let device = lab.mke2fs("journal.img", "8M", &["-O", "journal_dev", "-b", "4096"]);
    let device = device.to_str().expect("a name");
    for (options, words) in [
        (&["-t", "ext4"][..], "the journal is inside the image"),
        (&["-t", "ext2"], "the image has no journal"),
    ] {
        let image = lab.mke2fs("in.img", "16M", options);
        refused(&image, &["--journal", device], 2, &[words]);
    }
    let image = lab.mke2fs("other.img", "16M", &["-t", "ext4"]);
    refused(
        &image,
        &["--journal", "/nowhere/at/all"],
        5,
        &["/nowhere/at/all: opening the journal device: No such file or directory"],
    );
}
