//! Journals that debugfs writes, in every format, and damage in each kind of their blocks: the form
//! is that of the image which debugfs, e2fsck or the kernel recovered, or there is an error.

mod external;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::image::{blocks_of, debugfs, debugfs_read, inode_of, patch, peek};
use crate::support::kernel::Mounted;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canon, canonical, gate, refused, run, same_bytes, tool, tree};

/// Formats of journals: options of mke2fs, and of debugfs's command that opens the journal.
const FORMATS: [(&[&str], &str); 5] = [
    (&["-t", "ext3", "-b", "1024"], ""),
    (&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], ""),
    (&["-t", "ext4", "-b", "1024"], "-c"),
    (&["-t", "ext4", "-b", "4096", "-O", "^64bit"], "-c"),
    (&["-t", "ext4", "-b", "4096"], ""),
];

/// An image with one file of many blocks, and what is known of its places.
struct Scene {
    lab: Lab,
    image: PathBuf,
    block_size: u64,
    /// The blocks of the file.
    file: Vec<u64>,
    /// The blocks of the journal.
    journal: Vec<u64>,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let lab = Lab::new();
        let source = lab.folder("source");
        fs::write(source.join("file"), tree::noise(1, 100_000)).expect("writing");
        let image = lab.mke2fs_d("in.img", "16M", options, &source);
        let block_size = 1024 << u32::from_le_bytes(peek(&image, 1024 + 24));
        let (file, journal) = (blocks_of(&image, "/file"), blocks_of(&image, "<8>"));
        assert!(file.len() > 20 && journal.len() >= 1024);
        Self { lab, image, block_size, file, journal }
    }

    /// A file with a block of one byte, or of the journal's magic over and over.
    fn block(&self, byte: u8) -> PathBuf {
        let path = self.lab.path(&format!("block-{byte}"));
        let size = usize::try_from(self.block_size).expect("a size");
        let bytes = if byte == 0xC0 { [0xC0, 0x3B, 0x39, 0x98].repeat(size / 4) } else { vec![byte; size] };
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
        assert_ne!(u32::from_le_bytes(peek(&self.image, 1024 + 0x60)) & 4, 0, "nothing to replay");
    }

    /// The place of a block of the journal in the image, in bytes.
    fn at(&self, place: usize) -> u64 {
        self.journal[place] * self.block_size
    }
}

/// A transaction on a block of the file, by its place.
enum Transaction {
    Write(usize, u8),
    Revoke(usize),
}

use Transaction::{Revoke, Write};

/// What is written again, revoked, revoked and written again, and escaped.
const STORY: [Transaction; 8] =
    [Write(0, 1), Write(1, 2), Write(2, 3), Revoke(1), Write(0, 4), Revoke(2), Write(2, 5), Write(3, 0xC0)];

/// The form that an image has after `e2fsck` replayed its journal.
fn by_e2fsck(lab: &Lab, image: &Path) -> PathBuf {
    let copy = lab.copy(image, "by-e2fsck.img");
    let ran = try_run(tool("e2fsck").arg("-fy").arg(&copy));
    assert!(ran.code.is_some_and(|code| code <= 1), "{ran:#?}");
    canonical(&copy, &[])
}

#[test]
fn every_format_is_replayed() {
    for (options, open) in FORMATS {
        let scene = Scene::new(options);
        let before = canonical(&scene.image, &[]);
        scene.write(open, &STORY);
        let output = canonical(&scene.image, &["--verify"]);
        same_bytes(&output, &by_e2fsck(&scene.lab, &scene.image));
        // What the journal holds does make a difference.
        assert_ne!(fs::read(&output).expect("reading"), fs::read(&before).expect("reading"));
        // The file's first block has the last of what was written to it.
        let text = debugfs_read(&output, "cat /file\n");
        let last = "\u{4}".repeat(usize::try_from(scene.block_size).expect("a size"));
        assert!(text.contains(&last) && !text.contains(&last.replace('\u{4}', "\u{1}")), "{options:?}");
    }
}

#[test]
fn a_revoked_block_is_not_replayed() {
    for (options, open) in FORMATS {
        let scene = Scene::new(options);
        let before = canonical(&scene.image, &[]);
        scene.write(open, &[Write(0, 1), Revoke(0)]);
        same_bytes(&before, &canonical(&scene.image, &[]));
    }
}

/// The log goes round at its end, and so do the sequence numbers.
#[test]
fn logs_and_sequences_go_round() {
    // Where the journal has a block map, its blocks are not all of its own.
    for (options, open) in FORMATS.into_iter().skip(1) {
        let scene = Scene::new(options);
        let jsb = scene.at(0);
        // s_sequence; debugfs writes from the start of the log, so that turning it makes it go round.
        patch(&scene.image, jsb + 0x18, &(u32::MAX - 1).to_be_bytes());
        if open == "-c" {
            // debugfs would rather see a checksum than none.
            patch(&scene.image, jsb + 0x24, &[0; 12]);
        }
        scene.write(open, &STORY);
        let written = canonical(&scene.image, &[]);
        same_bytes(&written, &by_e2fsck(&scene.lab, &scene.image));
        if open == "-c" {
            continue;
        }
        // Turn the log: what lay in blocks 1 to 30 now begins 5 blocks before the end.
        let size = usize::try_from(scene.block_size).expect("a size");
        let length = scene.journal.len().min(u32::from_be_bytes(peek(&scene.image, jsb + 0x10)) as usize);
        let bytes = fs::read(&scene.image).expect("reading");
        for place in 0..30 {
            let from = usize::try_from(scene.at(1 + place)).expect("an offset");
            let to = if length - 5 + place < length {
                length - 5 + place
            } else {
                length - 5 + place - length + 1
            };
            patch(&scene.image, scene.at(to), &bytes[from..from + size]);
        }
        let start = u32::try_from(length - 5).expect("a place");
        patch(&scene.image, jsb + 0x1C, &start.to_be_bytes());
        same_bytes(&written, &canonical(&scene.image, &[]));
        same_bytes(&written, &by_e2fsck(&scene.lab, &scene.image));
    }
}

#[test]
fn an_unfinished_transaction_ends_the_log() {
    let scene = Scene::new(FORMATS[0].0);
    let before = canonical(&scene.image, &[]);
    scene.write("", &[Write(0, 1)]);
    // Descriptor, copy, commit: without its commit block, nothing happened.
    patch(&scene.image, scene.at(3), &[0; 4]);
    same_bytes(&before, &canonical(&scene.image, &[]));
}

/// One bit in each block of the log, and in each word of the journal's superblock: an error, or what
/// the kernel makes of it, and never something third.
#[test]
fn damage_is_an_error_or_what_the_kernel_makes_of_it() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for (options, open) in [FORMATS[0], FORMATS[2]] {
        let scene = Scene::new(options);
        scene.write(open, &STORY);
        let places =
            (1..24).map(|place| (scene.at(place), 5)).chain((1..24).map(|place| (scene.at(place), 13)));
        let words = (0..14).map(|word| (scene.at(0), word * 4 + 3));
        let (mut errors, mut same) = (0, 0);
        for (block, offset) in places.chain(words) {
            let image = scene.lab.copy(&scene.image, "damaged.img");
            let [byte] = peek(&image, block + offset);
            patch(&image, block + offset, &[byte ^ 2]);
            let by_kernel = scene.lab.copy(&image, "by-kernel.img");
            let recovered = Mounted::read_write(&by_kernel).map(Mounted::unmount);
            let output = scene.lab.path("damaged.out");
            let ran = canon(["-q"]).args([&image, &output]).run();
            match ran.code {
                Some(3 | 4) => errors += 1,
                Some(0) => {
                    recovered
                        .unwrap_or_else(|e| panic!("{block}+{offset}: the kernel does not take it: {e}"));
                    same_bytes(&output, &canonical(&by_kernel, &[]));
                    same += 1;
                }
                _ => panic!("{block}+{offset}: {ran:#?}"),
            }
            let _ = fs::remove_file(&output);
        }
        assert!(errors > 5 && same > 5, "{options:?}: {errors} errors, {same} as the kernel has it");
    }
}

#[test]
fn a_journal_that_contradicts_the_filesystem_is_refused() {
    let scene = Scene::new(FORMATS[0].0);
    scene.write("", &STORY);
    for (offset, what) in
        [(0, "magic"), (0xC, "s_blocksize"), (0x10, "s_maxlen"), (0x14, "s_first"), (0x1C, "s_start")]
    {
        let image = scene.lab.copy(&scene.image, "contrary.img");
        patch(&image, scene.at(0) + offset, &[0x7F; 4]);
        refused(&image, &[], 4, &["journal", what]);
    }
    // Not empty, though nothing asks for recovery.
    let features = u32::from_le_bytes(peek(&scene.image, 1024 + 0x60));
    patch(&scene.image, 1024 + 0x60, &(features & !4).to_le_bytes());
    refused(&scene.image, &[], 4, &["not empty"]);
}

/// Errors are written past the journal, which may hold an older superblock without them.
#[test]
fn an_error_flag_is_not_lost_in_the_replay() {
    let scene = Scene::new(FORMATS[0].0);
    let block = scene.lab.path("superblock");
    fs::write(&block, peek::<1024>(&scene.image, 1024)).expect("writing");
    debugfs(&scene.image, &format!("jo\njw -b 1 {}\njc\n", block.display()));
    let state = u16::from_le_bytes(peek(&scene.image, 1024 + 0x3A));
    patch(&scene.image, 1024 + 0x3A, &(state | 2).to_le_bytes());
    refused(&scene.image, &[], 4, &["errors were found"]);
    canonical(&scene.image, &["--ignore-error-state"]);
}

#[test]
fn wild_lists_of_orphans_are_refused() {
    let scene = Scene::new(&["-t", "ext4", "-O", "^metadata_csum"]);
    for orphan in [3_u32, 9_999_999] {
        let image = scene.lab.copy(&scene.image, "wild.img");
        patch(&image, 1024 + 0xE8, &orphan.to_le_bytes());
        refused(&image, &[], 4, &["orphan"]);
    }
    // A list that comes back to itself.
    let image = scene.lab.copy(&scene.image, "cycle.img");
    debugfs(&image, "set_super_value last_orphan 12\nset_inode_field <12> dtime @12\n");
    refused(&image, &[], 4, &["cycle"]);
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
        let by_e2fsck = lab.copy(&image, "by-e2fsck.img");
        try_run(tool("e2fsck").arg("-fy").arg(&by_e2fsck));
        same_bytes(&output, &canonical(&by_e2fsck, &[]));
        // A name of the journal anywhere else is damage.
        debugfs(&image, "ln .journal other\n");
        refused(&image, &[], 4, &["'other'"]);
    }
}

/// A file that was to be cut to its size: done, and its time stays, as e2fsck leaves it. (The kernel
/// would stamp it with the time of the recovery.)
#[test]
fn orphans_with_links_are_cut_to_their_size() {
    for options in [&["-t", "ext4", "-O", "^metadata_csum"][..], &["-t", "ext3", "-b", "1024"]] {
        let scene = Scene::new(options);
        debugfs(&scene.image, "set_inode_field /file size 5000\n");
        // Blocks behind the end are wrong, unless the file is an orphan.
        refused(&scene.image, &[], 4, &["(/file): i_size is 5000, expected more than"]);
        let number = inode_of(&scene.image, "/file");
        debugfs(&scene.image, &format!("set_super_value last_orphan {number}\n"));
        let output = canonical(&scene.image, &["--verify"]);
        same_bytes(&output, &by_e2fsck(&scene.lab, &scene.image));
    }
}

/// A journal superblock of the first version has no features, whatever stands in their place.
#[test]
fn journals_of_the_first_version() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new(FORMATS[0].0);
    scene.write("", &[Write(0, 1), Write(3, 2), Write(0, 0xC0)]);
    let before = canonical(&scene.image, &[]);
    patch(&scene.image, scene.at(0) + 4, &3_u32.to_be_bytes());
    patch(&scene.image, scene.at(0) + 0x24, &[0xFF; 12]);
    same_bytes(&before, &canonical(&scene.image, &[]));
    let by_kernel = scene.lab.copy(&scene.image, "by-kernel.img");
    Mounted::read_write(&by_kernel).expect("a mount").unmount();
    same_bytes(&before, &canonical(&by_kernel, &[]));
}

/// Checksums of the second version: half of the bits, in tags of another length.
#[test]
fn checksums_of_the_second_version() {
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-b", "4096", "-O", "^64bit"]] {
        let scene = Scene::new(options);
        scene.write("-c -v 2", &STORY);
        assert_eq!(u32::from_be_bytes(peek(&scene.image, scene.at(0) + 0x28)) & 0x18, 8, "not version 2");
        same_bytes(&canonical(&scene.image, &["--verify"]), &by_e2fsck(&scene.lab, &scene.image));
        // A copy that is another.
        patch(&scene.image, scene.at(2) + 100, &[0x55; 4]);
        refused(&scene.image, &[], 4, &["wrong checksum"]);
    }
}

/// What follows the first 64 bytes of a commit block may never have been written.
#[test]
fn a_commit_block_is_its_header() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new(&["-t", "ext4", "-b", "4096"]);
    scene.write("-c", &[Write(0, 1)]);
    let before = canonical(&scene.image, &[]);
    assert_eq!(u32::from_be_bytes(peek(&scene.image, scene.at(3) + 4)), 2, "no commit block");
    patch(&scene.image, scene.at(3) + 64, &[0x99; 4032]);
    same_bytes(&before, &canonical(&scene.image, &[]));
    let by_kernel = scene.lab.copy(&scene.image, "by-kernel.img");
    Mounted::read_write(&by_kernel).expect("a mount").unmount();
    same_bytes(&before, &canonical(&by_kernel, &[]));
    patch(&scene.image, scene.at(3) + 60, &[0x99]);
    refused(&scene.image, &[], 4, &["commit"]);
}

/// The blocks of a journal lie where there was room for them.
#[test]
fn journals_in_pieces() {
    let lab = Lab::new();
    let source = lab.folder("source");
    for number in 0..1500 {
        fs::write(source.join(format!("file{number:04}")), tree::noise(number, 2000)).expect("writing");
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
        let scene = Scene { lab: Lab::new(), image, block_size: 1024, file, journal };
        scene.write(
            if kind == "ext4" { "-c" } else { "" },
            &[Write(0, 1), Write(1, 2), Revoke(1), Write(0, 3)],
        );
        same_bytes(&canonical(&scene.image, &[]), &by_e2fsck(&scene.lab, &scene.image));
    }
}

/// Group descriptors and the inode table, that of the journal's own inode, come from the journal:
/// what lies in their places on disk does not count.
#[test]
fn metadata_is_read_after_the_replay() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg"]);
    let clean = canonical(&scene.image, &[]);
    let said = try_run(tool("dumpe2fs").arg(&scene.image)).stdout;
    let table = said.split("Inode table at ").nth(1).and_then(|rest| rest.split('-').next());
    let table: u64 = table.and_then(|block| block.parse().ok()).expect("a table");
    let mut script = "jo\n".to_owned();
    // Inodes 5 to 8, and 9 to 12; the descriptors; the root directory.
    let root = blocks_of(&scene.image, "/")[0];
    for block in [2, table + 1, table + 2, root] {
        let copy = scene.lab.path(&format!("copy-{block}"));
        fs::write(&copy, peek::<1024>(&scene.image, block * 1024)).expect("writing");
        script.push_str(&format!("jw -b {block} {}\n", copy.display()));
    }
    debugfs(&scene.image, &format!("{script}jc\n"));
    // The journal's inode must be found, or there is nothing to replay: another time, and links.
    let journal = (table + 1) * 1024 + 3 * 256;
    patch(&scene.image, journal + 0x10, &[0x12; 4]);
    patch(&scene.image, journal + 0x1A, &[2]);
    // Inode 12, the file, and the root's first entries.
    patch(&scene.image, (table + 2) * 1024 + 3 * 256, &[0; 256]);
    patch(&scene.image, root * 1024 + 24, &[0xFF; 100]);
    // Free counts and flags of the first group.
    patch(&scene.image, 2 * 1024 + 0xC, &[0x34; 6]);
    let output = canonical(&scene.image, &["--verify"]);
    same_bytes(&clean, &output);
    let by_kernel = scene.lab.copy(&scene.image, "by-kernel.img");
    Mounted::read_write(&by_kernel).expect("a mount").unmount();
    same_bytes(&clean, &canonical(&by_kernel, &[]));
}

#[test]
fn orphans_on_both_lists_count_once() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new(&["-t", "ext4", "-O", "^metadata_csum,orphan_file"]);
    debugfs(&scene.image, "set_inode_field /file size 5000\n");
    let number = inode_of(&scene.image, "/file");
    let orphan_file = u32::from_le_bytes(peek(&scene.image, 1024 + 0x280));
    let block = blocks_of(&scene.image, &format!("<{orphan_file}>"))[0];
    // In the orphan file, though the superblock does not say that anything is there.
    patch(&scene.image, block * scene.block_size, &number.to_le_bytes());
    let output = canonical(&scene.image, &[]);
    // And on the list as well.
    debugfs(&scene.image, &format!("set_super_value last_orphan {number}\n"));
    same_bytes(&output, &canonical(&scene.image, &[]));
    let by_kernel = scene.lab.copy(&scene.image, "by-kernel.img");
    Mounted::read_write(&by_kernel).expect("a mount").unmount();
    // The kernel stamps the file with the time of the recovery.
    let epoch = ["--source-date-epoch", "1"];
    same_bytes(&canonical(&scene.image, &epoch), &canonical(&by_kernel, &epoch));
}

/// Whoever replays such a log in place reads another one from then on.
#[test]
fn a_log_that_writes_over_itself_is_refused() {
    let scene = Scene::new(FORMATS[0].0);
    let block = scene.block(1);
    debugfs(&scene.image, &format!("jo\njw -b {} {}\njc\n", scene.journal[9], block.display()));
    refused(&scene.image, &[], 4, &["none of the journal's own"]);
}

/// A filesystem that was growing: its new superblock, and all that goes with it, is in the journal.
#[test]
fn a_journal_may_make_the_filesystem_larger() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]);
    let grown = scene.lab.copy(&scene.image, "grown.img");
    run(tool("truncate").args(["-s", "40M"]).arg(&grown));
    run(tool("resize2fs").arg(&grown));
    let clean = canonical(&grown, &[]);
    let (old, new) = (fs::read(&scene.image).expect("reading"), fs::read(&grown).expect("reading"));
    let mut script = "jo\n".to_owned();
    let journal: Vec<usize> = scene.journal.iter().map(|block| *block as usize).collect();
    for (number, block) in new.chunks(1024).enumerate() {
        if old.chunks(1024).nth(number).is_some_and(|before| before == block)
            || block.iter().all(|byte| *byte == 0)
            || journal.contains(&number)
        {
            continue;
        }
        let copy = scene.lab.path(&format!("copy-{number}"));
        fs::write(&copy, block).expect("writing");
        // debugfs does not know yet that there are so many blocks: a tag is made to name them later.
        script.push_str(&format!(
            "jw -b {} {}\n",
            if number < 16 << 10 { number } else { 1 },
            copy.display()
        ));
    }
    debugfs(&scene.image, &format!("{script}jc\n"));
    run(tool("truncate").args(["-s", "40M"]).arg(&scene.image));
    // Tags of transactions with one block each: descriptor, copy, commit.
    let wanted: Vec<usize> =
        script.lines().filter_map(|line| line.split("copy-").nth(1)?.parse().ok()).collect();
    for (transaction, number) in wanted.iter().enumerate() {
        let tag = scene.at(1 + transaction * 3) + 12;
        patch(&scene.image, tag, &u32::try_from(*number).expect("a block").to_be_bytes());
    }
    same_bytes(&clean, &canonical(&scene.image, &[]));
    let by_kernel = scene.lab.copy(&scene.image, "by-kernel.img");
    Mounted::read_write(&by_kernel).expect("a mount").unmount();
    same_bytes(&clean, &canonical(&by_kernel, &[]));
    // Blocks that no superblock tells of.
    let last = scene.at(1 + (wanted.len() - 1) * 3) + 12;
    patch(&scene.image, last, &40_959_u32.to_be_bytes());
    let smaller = scene.lab.copy(&scene.image, "smaller.img");
    patch(&smaller, scene.at(1) + 12, &5_u32.to_be_bytes());
    refused(&smaller, &[], 4, &["holds a copy of block"]);
}

/// Orphans that were never given out, or could not be cut off.
#[test]
fn orphans_are_in_use_and_of_a_kind() {
    let scene = Scene::new(&["-t", "ext4", "-O", "^metadata_csum"]);
    debugfs(&scene.image, "mknod fifo p\nwrite /dev/null gone\n");
    let (fifo, gone) = (inode_of(&scene.image, "/fifo"), inode_of(&scene.image, "/gone"));
    debugfs(&scene.image, "rm /gone\n");
    for (orphan, words) in
        [(fifo, "with links"), (gone, "marked as in use"), (gone + 500, "marked as in use"), (8, "reserved")]
    {
        let image = scene.lab.copy(&scene.image, "orphan.img");
        patch(&image, 1024 + 0xE8, &orphan.to_le_bytes());
        refused(&image, &[], 4, &[words]);
    }
}

#[test]
fn a_journal_device_is_for_who_has_one() {
    let lab = Lab::new();
    let device = lab.mke2fs("journal.img", "8M", &["-O", "journal_dev", "-b", "4096"]);
    let device = device.to_str().expect("a name");
    for (options, words) in [(&["-t", "ext4"][..], "inside"), (&["-t", "ext2"], "no journal")] {
        let image = lab.mke2fs("in.img", "16M", options);
        refused(&image, &["--journal", device], 2, &[words]);
    }
    let image = lab.mke2fs("other.img", "16M", &["-t", "ext4"]);
    refused(&image, &["--journal", "/nowhere/at/all"], 5, &["journal device"]);
}
