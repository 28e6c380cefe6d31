//! Journals that debugfs writes, in every format, and damage in each kind of their blocks: the form
//! is that of the image which debugfs, e2fsck or the kernel recovered, or there is an error.

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

/// Formats of journals: options of mke2fs, and of debugfs's command that opens the journal.
const FORMATS: [(&[&str], &str); 5] = [
    (&["-t", "ext3", "-b", "1024"], ""),
    (&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], ""),
    (&["-t", "ext4", "-b", "1024"], "-c"),
    (&["-t", "ext4", "-b", "4096", "-O", "^64bit"], "-c"),
    (&["-t", "ext4", "-b", "4096"], ""),
];

/// An image with one file of many blocks, and what is known of its places.
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

    /// A file with a block of one byte, or of the journal's magic over and over.
    fn block(&self, byte: u8) -> PathBuf {
        let path = self.lab.path(&format!("block-{byte}"));
        let size = usize::try_from(self.block_size).expect("a size");
        let bytes = if byte == ESCAPED { MAGIC.to_be_bytes().repeat(size / 4) } else { vec![byte; size] };
        fs::write(&path, bytes).expect("writing");
        path
    }

    /// Writes transactions into the journal, as debugfs does it.
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

    /// The place of a block of the journal in the image, in bytes.
    fn at(&self, place: usize) -> u64 {
        self.journal[place] * self.block_size
    }

    /// The commit block at a place of the journal.
    fn commit(&self, place: usize) -> Structure<'_> {
        let commit = structure::<CommitHeader>(&self.image, self.at(place));
        assert_eq!(commit.get32("h_blocktype"), COMMIT_BLOCK, "no commit block");
        commit
    }

    /// Lets the only tag of a descriptor block, where blocks have numbers of 32 bits, name another block.
    fn retarget(&self, image: &Path, place: usize, block: usize) {
        let tag = structure::<JournalHeader>(image, self.at(place)).end();
        patch(image, tag, &u32::try_from(block).expect("a block").to_be_bytes());
    }
}

/// The byte that stands for the journal's magic over and over.
const ESCAPED: u8 = 0xC0;

/// A transaction on a block of the file, by its place.
enum Transaction {
    Write(usize, u8),
    Revoke(usize),
}

use Transaction::{Revoke, Write};

/// What is written again, revoked, revoked and written again, and escaped.
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

/// The form that an image has after `e2fsck` replayed its journal.
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
        // What the journal holds does make a difference.
        assert_ne!(fs::read(&output).expect("reading"), fs::read(&before).expect("reading"));
        // The file's first block has the last of what was written to it.
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

/// The log goes round at its end, and so do the sequence numbers.
#[test]
fn logs_and_sequences_go_round() {
    // Where the journal has a block map, its blocks are not all of its own.
    for (options, open) in FORMATS.into_iter().skip(1) {
        let logged = Logged::new(options);
        let jsb = journal(&logged.image);
        // debugfs writes from the start of the log, so that turning it makes it go round.
        jsb.set("s_sequence", (u32::MAX - 1).into());
        if open == "-c" {
            // debugfs would rather see a checksum than none.
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
        // Turn the log: what lay in blocks 1 to 30 now begins 5 blocks before the end.
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
    // Descriptor, copy, commit: without its commit block, nothing happened.
    logged.commit(3).set("h_magic", 0);
    same_bytes(&before, &canonical(&logged.image, &[]));
}

/// One bit in each block of the log, and in each word of the journal's superblock: an error, or what
/// the kernel makes of it, and never something third.
#[test]
fn damage_is_an_error_or_what_the_kernel_makes_of_it() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for (options, open) in [FORMATS[0], FORMATS[2]] {
        let logged = Logged::new(options);
        logged.write(open, &STORY);
        // In the type of a block, and in what follows the header that most blocks have.
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
                    recovered.unwrap_or_else(|e| panic!("byte {place}: the kernel does not take it: {e}"));
                    same_bytes(&output, &canonical(&by_kernel, &[]));
                    same += 1;
                }
                _ => panic!("byte {place}: {ran}"),
            }
            let _ = fs::remove_file(&output);
        }
        assert!(errors > 5 && same > 5, "{options:?}: {errors} errors, {same} as the kernel has it");
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
    // Not empty, though nothing asks for recovery.
    superblock(&logged.image).remove("s_feature_incompat", Incompat::NEEDS_RECOVERY.bits());
    refused(&logged.image, &[], 4, &["not empty"]);
}

/// Errors are written past the journal, which may hold an older superblock without them.
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
    // A list that comes back to itself.
    let image = logged.lab.copy(&logged.image, "cycle.img");
    debugfs(&image, "set_super_value last_orphan 12\nset_inode_field <12> dtime @12\n");
    refused(&image, &[], 4, &["names the orphan 12 twice, or the list of orphans is a cycle"]);
}

/// Added by tune2fs while the filesystem is mounted, a journal has a name, and not the number of the others.
#[test]
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
        // A name of the journal anywhere else is damage.
        debugfs(&image, "ln .journal other\n");
        refused(&image, &[], 4, &["inode 2 (/), directory: has an entry 'other' for inode "]);
    }
}

/// A file that was to be cut to its size: done, and its time stays, as e2fsck leaves it. (The kernel
/// would stamp it with the time of the recovery.)
#[test]
fn orphans_with_links_are_cut_to_their_size() {
    for options in [&["-t", "ext4", "-O", "^metadata_csum"][..], &["-t", "ext3", "-b", "1024"]] {
        let logged = Logged::new(options);
        debugfs(&logged.image, "set_inode_field /file size 5000\n");
        // Blocks behind the end are wrong, unless the file is an orphan.
        refused(&logged.image, &[], 4, &["(/file): i_size is 5000, expected more than"]);
        let number = inode_of(&logged.image, "/file");
        debugfs(&logged.image, &format!("set_super_value last_orphan {number}\n"));
        let output = canonical(&logged.image, &["--verify"]);
        same_bytes(&output, &form_by_e2fsck(&logged.lab, &logged.image));
    }
}

/// A journal superblock of the first version has no features, whatever stands in their place.
#[test]
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

/// Checksums of the second version: half of the bits, in tags of another length.
#[test]
fn checksums_of_the_second_version() {
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-b", "4096", "-O", "^64bit"]] {
        let logged = Logged::new(options);
        logged.write("-c -v 2", &STORY);
        let features = journal(&logged.image).get32("s_feature_incompat");
        assert_eq!(features & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3), INCOMPAT_CSUM_V2, "not version 2");
        same_bytes(&canonical(&logged.image, &["--verify"]), &form_by_e2fsck(&logged.lab, &logged.image));
        // A copy that is another.
        patch(&logged.image, logged.at(2) + 100, &[0x55; 4]);
        refused(&logged.image, &[], 4, &["wrong checksum"]);
    }
}

/// What follows the header of a commit block may never have been written.
#[test]
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
    // The last bytes of the header have no name, but count.
    patch(&logged.image, commit.end(), &[0x99]);
    refused(&logged.image, &[], 4, &["the checksum in the commit block of transaction 1 is damaged"]);
}

/// The blocks of a journal lie where there was room for them.
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

/// Group descriptors and the inode table, that of the journal's own inode, come from the journal:
/// what lies in their places on disk does not count.
#[test]
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
    // Inodes 5 to 8, and 9 to 12; the descriptors; the root directory.
    let root = blocks_of(&logged.image, "/")[0];
    for block in [2, table + 1, table + 2, root] {
        let copy = logged.lab.path(&format!("copy-{block}"));
        fs::write(&copy, peek::<1024>(&logged.image, block * 1024)).expect("writing");
        script.push_str(&format!("jw -b {block} {}\n", copy.display()));
    }
    debugfs(&logged.image, &format!("{script}jc\n"));
    // The journal's inode must be found, or there is nothing to replay: another time, and links.
    log.fill("i_mtime", 0x12);
    log.set("i_links_count", 2);
    // Inode 12, the file, and the root's entries after `.` and `..`.
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
fn orphans_on_both_lists_count_once() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let logged = Logged::new(&["-t", "ext4", "-O", "^metadata_csum,orphan_file"]);
    debugfs(&logged.image, "set_inode_field /file size 5000\n");
    let number = inode_of(&logged.image, "/file");
    let orphan_file = superblock(&logged.image).get("s_orphan_file_inum");
    let block = blocks_of(&logged.image, &format!("<{orphan_file}>"))[0];
    // In the orphan file, though the superblock does not say that anything is there.
    patch(&logged.image, block * logged.block_size, &number.to_le_bytes());
    let output = canonical(&logged.image, &[]);
    // And on the list as well.
    debugfs(&logged.image, &format!("set_super_value last_orphan {number}\n"));
    same_bytes(&output, &canonical(&logged.image, &[]));
    let by_kernel = logged.lab.by_kernel(&logged.image);
    // The kernel stamps the file with the time of the recovery.
    let epoch = ["--source-date-epoch", "1"];
    same_bytes(&canonical(&logged.image, &epoch), &canonical(&by_kernel, &epoch));
}

/// Whoever replays such a log in place reads another one from then on.
#[test]
fn a_log_that_writes_over_itself_is_refused() {
    let logged = Logged::new(FORMATS[0].0);
    let block = logged.block(1);
    debugfs(&logged.image, &format!("jo\njw -b {} {}\njc\n", logged.journal[9], block.display()));
    refused(&logged.image, &[], 4, &["none of the journal's own"]);
}

/// A filesystem that was growing: its new superblock, and all that goes with it, is in the journal.
#[test]
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
        // debugfs does not know yet that there are so many blocks: a tag is made to name them later.
        script.push_str(&format!(
            "jw -b {} {}\n",
            if number < 16 << 10 { number } else { 1 },
            copy.display()
        ));
    }
    debugfs(&logged.image, &format!("{script}jc\n"));
    run(tool("truncate").args(["-s", "40M"]).arg(&logged.image));
    // Transactions have one block each: descriptor, copy, commit.
    let wanted: Vec<usize> =
        script.lines().filter_map(|line| line.split("copy-").nth(1)?.parse().ok()).collect();
    for (transaction, number) in wanted.iter().enumerate() {
        logged.retarget(&logged.image, 1 + transaction * 3, *number);
    }
    same_bytes(&clean, &canonical(&logged.image, &[]));
    let by_kernel = logged.lab.by_kernel(&logged.image);
    same_bytes(&clean, &canonical(&by_kernel, &[]));
    // Blocks that no superblock tells of.
    logged.retarget(&logged.image, 1 + (wanted.len() - 1) * 3, 40_959);
    let smaller = logged.lab.copy(&logged.image, "smaller.img");
    logged.retarget(&smaller, 1, 5);
    refused(&smaller, &[], 4, &["holds a copy of block"]);
}

/// Orphans that were never given out, or could not be cut off.
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
