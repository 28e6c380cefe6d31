//! Crashes: images copied under load at random times, with every mode of the journal, have the same form as
//! after the kernel's recovery.
//!
//! EXT4_CANON_CUTS sets the number of such images, for more than the few of a default run.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ext4_canon::internals::ondisk::jbd2::MAGIC;

use crate::support::dice::Dice;
use crate::support::image::sparse_copy;
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canon, canonical, gate, judge, run, same_bytes, tool};

/// Options of mke2fs, and mount options.
const MODES: [(&[&str], &str); 12] = [
    (&["-t", "ext4"], "data=ordered"),
    (&["-t", "ext4"], "data=journal"),
    (&["-t", "ext4", "-b", "1024"], "data=writeback"),
    (&["-t", "ext4", "-O", "^metadata_csum"], "journal_checksum"),
    (&["-t", "ext4", "-O", "^metadata_csum"], "data=writeback,journal_async_commit"),
    (&["-t", "ext4"], "data=writeback,journal_async_commit"),
    (&["-t", "ext4", "-O", "fast_commit"], "data=ordered"),
    (&["-t", "ext4", "-O", "orphan_file"], "data=ordered"),
    (&["-t", "ext4", "-O", "^64bit,^metadata_csum", "-b", "1024"], "data=ordered"),
    (&["-t", "ext4", "-b", "1024", "-J", "size=1"], "data=journal"),
    (&["-t", "ext3"], "data=ordered"),
    (&["-t", "ext3", "-b", "1024"], "data=journal"),
];

/// Changes a tree until `stop` is set, or until the filesystem is shut down.
fn load(root: &Path, seed: u64, stop: &AtomicBool) {
    let mut dice = Dice::new(seed);
    let mut open: Vec<File> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let folder = root.join(format!("folder{}", dice.roll(6)));
        let name = |dice: &mut Dice| folder.join(format!("{:x>1$}", dice.roll(60), 1 + seed as usize % 40));
        // Ignore errors: a different thread may have changed the file first.
        let _ = match dice.roll(12) {
            0 => fs::remove_dir_all(&folder),
            1 | 2 => fs::remove_file(name(&mut dice)),
            3 => fs::rename(name(&mut dice), name(&mut dice)),
            4 => fs::hard_link(name(&mut dice), folder.join(format!("link{}", dice.roll(99)))),
            5 => File::options()
                .write(true)
                .open(name(&mut dice))
                .and_then(|file| file.set_len(dice.between(0, 70_000))),
            6 => File::open(name(&mut dice)).and_then(|file| {
                // If this file is removed while it is open, it becomes an orphan.
                open.truncate(12);
                open.insert(0, file);
                fs::remove_file(name(&mut dice))
            }),
            7 if dice.roll(9) == 0 => File::open(&folder).and_then(|folder| folder.sync_all()),
            _ => fs::create_dir_all(&folder).and_then(|()| {
                let size = dice.roll(30_000);
                // Blocks that begin with the journal's magic number must be escaped in the log.
                let magic = MAGIC.to_be_bytes().repeat(size / 4);
                let bytes = if dice.roll(5) == 0 { magic } else { Dice::noise(dice.number(), size) };
                fs::write(name(&mut dice), bytes)
            }),
        };
    }
}

/// Shuts a filesystem down under load, with or without writing the log, and checks the recovery of its image.
fn cut_is_recovered(lab: &Lab, number: u64) {
    let (options, mount_options) = MODES[usize::try_from(number).expect("a number") % MODES.len()];
    let mut dice = Dice::new(number + 1);
    let image = lab.mke2fs("live.img", "48M", options);
    let mounted = Mounted::with_options(&image, mount_options).expect("a mount");
    let stop = AtomicBool::new(false);
    let flush = if dice.roll(2) == 0 { "shutdown -f" } else { "shutdown" };
    thread::scope(|scope| {
        for seed in 0..2 {
            let (root, stop, seed) = (mounted.path(), &stop, number * 2 + seed);
            scope.spawn(move || load(root, seed, stop));
        }
        thread::sleep(Duration::from_millis(dice.between(300, 1200)));
        run(tool("xfs_io").args(["-x", "-c", flush]).arg(mounted.path()));
        stop.store(true, Ordering::Relaxed);
    });
    let cut = lab.copy(&image, "cut.img");
    mounted.unmount();

    let by_kernel = lab.by_kernel(&cut);
    // Without a replay, the tree would be different, or the kernel could not read all of it.
    let without = std::panic::catch_unwind(|| judge::kernel_tree(&cut));
    let what = format!("cut {number}, {options:?}, {mount_options}, {flush}");
    let output = canonical(&cut, &["--verify"]);
    let recovered = judge::kernel_tree(&output).expect("it mounts");
    let same = without.is_ok_and(|listed| listed.as_ref() == Ok(&recovered));
    assert!(!same, "{what}: there was nothing to replay");
    // The kernel updates the mtime of an orphan that it truncates. e2fsck does not.
    let ran = canon(["--check", "--json"]).arg(&cut).run().with_code(1);
    let expected = if ran.json()["report"]["orphans_truncated"].as_u64().expect("a number") == 0 {
        canonical(&by_kernel, &[])
    } else {
        canonical(&lab.by_e2fsck(&cut), &[])
    };
    // Keep a failing image, because a crash can't be repeated.
    if fs::read(&output).ok() != fs::read(&expected).ok() {
        let kept = std::env::temp_dir().join(format!("ext4-canon-cut-{number}.img"));
        sparse_copy(&cut, &kept);
        eprintln!("{what}: kept as {}", kept.display());
    }
    same_bytes(&output, &expected);
}

#[test]
#[ignore = "needs root: mounts images"]
fn cut_off_images_have_the_form_that_the_kernel_recovers() {
    if !gate(&[Need::Mounts, Need::Program("xfs_io")]) {
        return;
    }
    let cuts = std::env::var("EXT4_CANON_CUTS").ok().and_then(|cuts| cuts.parse().ok());
    for number in 0..cuts.unwrap_or(MODES.len() as u64) {
        cut_is_recovered(&Lab::new(), number);
    }
}
