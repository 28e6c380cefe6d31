//! Damaged images: each either is refused with a useful message, or has an output that e2fsck and the kernel
//! accept. The damage is the same in every run.
//!
//! EXT4_CANON_SEEDS names a directory for the undamaged images, which are the seeds of the fuzzers in fuzz/.
//! EXT4_CANON_DAMAGE sets the number of random mutations of each image, for more than the few of a default
//! run. If a check fails, the damaged image is kept in the temporary directory.

pub mod anatomy;
mod comparing;
mod court;
mod findings;
mod images;
mod indexes;
mod mending;
pub mod mutate;
pub mod outcome;
pub mod program;
pub mod tables;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::support::dice::{self, Dice};
use crate::support::disk::partitioned;
use crate::support::{Canon, Lab, Need, gate, judge, partly};
use anatomy::Canvas;
use court::Court;
use images::{RECIPES, Recipe};
use mutate::{Damage, PLANNED};
use outcome::LIMIT;
use program::{Seed, TARGETS};
use tables::Table;

/// The number of times that each planned mutation is applied to an image, each time at a different place.
const ROUNDS: usize = 2;
/// The number of random mutations of an image.
const RANDOM: usize = 70;

/// The results for all mutations of one image.
#[derive(Debug, Default)]
struct Tally {
    mutants: usize,
    refused: usize,
    outputs: usize,
    /// The number of inputs that were compared with their outputs.
    compared: usize,
    wrong: Vec<String>,
}

/// Messages from a worker thread, so that a hanging one can be named.
type Progress = Sender<String>;

fn random_count() -> usize {
    std::env::var("EXT4_CANON_DAMAGE").ok().and_then(|count| count.parse().ok()).unwrap_or(RANDOM)
}

fn damage_all(recipe: &Recipe, seed: u64, progress: &Progress, mounts: bool) -> Tally {
    let lab = Lab::new();
    let image = images::make(&lab, recipe);
    let bytes = fs::read(&image).expect("reading");
    if let Some(folder) = std::env::var_os("EXT4_CANON_SEEDS") {
        fs::write(Path::new(&folder).join(format!("{}.img", recipe.0)), &bytes).expect("writing a seed");
    }
    let anatomy = anatomy::dissect(&bytes).expect("a valid superblock");
    let mut canvas = Canvas::new(bytes);
    let mut court = Court {
        lab,
        recipe,
        anatomy: &anatomy,
        progress,
        mounts,
        outputs: HashMap::new(),
        tally: Tally::default(),
    };
    court.judge(&canvas, &Damage::default());
    assert_eq!((court.tally.outputs, &court.tally.wrong[..]), (1, &[][..]), "{}: whole", recipe.0);
    let mut dice = Dice::new(seed);
    for number in (0..PLANNED).flat_map(|number| std::iter::repeat_n(number, ROUNDS)) {
        if let Some(damage) = mutate::planned(number, &anatomy, &mut canvas, &mut dice) {
            court.judge(&canvas, &damage);
        }
        canvas.undo();
    }
    for _ in 0..random_count() {
        let damage = mutate::random(&anatomy, &mut canvas, &mut dice);
        court.judge(&canvas, &damage);
        canvas.undo();
    }
    court.tally
}

/// Takes images from a list and checks them until the list is empty.
fn judge_images(
    list: &Mutex<Vec<(u64, Recipe)>>,
    progress: &Progress,
    results: &Sender<(&'static str, Tally)>,
    mounts: bool,
) {
    loop {
        let next = list.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((seed, recipe)) = next else { return };
        let tally = damage_all(&recipe, seed, progress, mounts);
        results.send((recipe.0, tally)).expect("a receiver");
    }
}

#[test]
fn damaged_images_are_refused_or_read_as_e2fsck_and_kernel_read_them() {
    let mounts = partly(&[Need::Mounts, Need::Program("xfs_io")]);
    let recipes = RECIPES.into_iter().filter(|recipe| mounts || !recipe.3.mounts());
    let list: Vec<_> = recipes.enumerate().map(|(number, recipe)| (number as u64, recipe)).collect();
    let count = list.len();
    assert!(count >= 30);
    let list = Arc::new(Mutex::new(list));
    let (results, found) = channel();
    let workers: Vec<(thread::JoinHandle<()>, Receiver<String>)> = (0..2)
        .map(|_| {
            let (progress, told) = channel();
            let (list, results) = (Arc::clone(&list), results.clone());
            (thread::spawn(move || judge_images(&list, &progress, &results, mounts)), told)
        })
        .collect();
    drop(results);
    for (_, told) in &workers {
        // Messages of the second worker are queued meanwhile, so that a hang is found there too.
        let mut doing = String::new();
        loop {
            match told.recv_timeout(LIMIT * 6) {
                Ok(words) => doing = words,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("timeout: {doing}"),
            }
        }
    }
    for (worker, _) in workers {
        worker.join().expect("a worker that ends well");
    }
    let (mut total, mut wrong) = (Tally::default(), Vec::new());
    for (name, tally) in found {
        println!("{name}: {} damages, {} refused, {} outputs", tally.mutants, tally.refused, tally.outputs);
        total.mutants += tally.mutants;
        total.refused += tally.refused;
        total.outputs += tally.outputs;
        total.compared += tally.compared;
        wrong.extend(tally.wrong);
    }
    println!("{count} images: {total:?}");
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!mounts || total.mutants >= 5000, "{total:?}");
    // If one of the outcomes is rare, the mutations are not useful.
    assert!(total.refused > total.mutants / 3 && total.outputs > total.mutants / 50, "{total:?}");
}

/// Runs each fuzz target briefly, with pseudo-random programs, on the seeds that don't need a mount.
#[test]
fn fuzz_targets_hold_for_a_moment() {
    let lab = Lab::new();
    let mut seeds: Vec<Seed> = Vec::new();
    for recipe in RECIPES.into_iter().filter(|recipe| !recipe.3.mounts()) {
        let lab = Lab::new();
        let bytes = fs::read(images::make(&lab, &recipe)).expect("reading");
        seeds.extend(Seed::new(recipe.0.to_owned(), bytes));
    }
    if partly(&[Need::Mounts, Need::Program("xfs_io")]) {
        for recipe in RECIPES.into_iter().filter(|recipe| recipe.3.mounts()) {
            let lab = Lab::new();
            let bytes = fs::read(images::make(&lab, &recipe)).expect("reading");
            seeds.extend(Seed::new(recipe.0.to_owned(), bytes));
        }
    }
    let path = lab.path("out.img");
    for target in TARGETS {
        let (mut mine, others): (Vec<_>, Vec<_>) = seeds.into_iter().partition(|seed| seed.is_for(&target));
        let mut dice = Dice::new(77);
        let (mut written, mut seen) = (0, HashSet::new());
        for _ in 0..150 {
            let program: Vec<u8> = (0..21).map(|_| dice.number().to_le_bytes()[0]).collect();
            let output = program::run(&target, &mut mine, &program, &mut seen);
            let output = output.unwrap_or_else(|words| panic!("{program:x?}: {words}"));
            let Some(output) = output else { continue };
            written += 1;
            if written <= 10 {
                output.store(&path);
                judge::fsck_silent(&path)
                    .unwrap_or_else(|words| panic!("{}: {program:x?}: {words}", target.name));
            }
        }
        assert!(mine.is_empty() || (1..150).contains(&written), "{}: {written}", target.name);
        seeds = mine.into_iter().chain(others).collect();
    }
}

/// Makes disks with filesystems of 64 KiB, and all kinds of partition tables.
fn disks() -> Vec<Table> {
    const SCRIPTS: [(&str, &str); 3] = [
        ("gpt", "label: gpt\nfirst-lba: 34\nstart=64,size=128,name=boot\nstart=192,size=128,name=root\n"),
        ("mbr", "label: dos\nstart=64,size=128,type=83,bootable\nstart=192,size=128,type=c\n"),
        (
            "logical",
            "label: dos\nstart=64,size=128,type=83\nstart=192,size=600,type=5\nstart=256,size=128,type=83\n\
             start=448,size=128,type=83\nstart=640,size=128,type=82\n",
        ),
    ];
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "64K", &["-t", "ext2", "-b", "1024", "-N", "16"]);
    let image = fs::read(image).expect("reading");
    let mut tables = Vec::new();
    for (name, script) in SCRIPTS {
        let path = lab.path(name);
        partitioned(&path, 512 << 10, script, &["--force"]);
        let mut bytes = fs::read(&path).expect("reading");
        for start in [64, 192, 256, 448].into_iter().filter(|start| *start != 192 || name != "logical") {
            if name == "logical" || start < 256 {
                bytes[start * 512..start * 512 + image.len()].copy_from_slice(&image);
            }
        }
        if let Some(folder) = std::env::var_os("EXT4_CANON_SEEDS") {
            fs::write(Path::new(&folder).join(format!("disk-{name}.img")), &bytes).expect("writing a seed");
        }
        tables.push(Table::new(name.to_owned(), bytes).expect("a table"));
    }
    tables
}

/// Runs the fuzz target of partition tables briefly.
#[test]
fn damaged_partition_tables_are_refused_or_kept() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let tables = disks();
    let mut dice = Dice::new(4);
    let mut written = 0;
    for number in 0..3000 {
        // Most mutations need one step; some need two or three.
        let steps = 1 + number % 3;
        let program: Vec<u8> = (0..=steps * tables::STEP).map(|_| dice.number().to_le_bytes()[0]).collect();
        let output = tables::run(&tables, &program);
        written += u32::from(output.unwrap_or_else(|words| panic!("{program:x?}: {words}")));
    }
    assert!((300..2700).contains(&written), "{written}");
    for number in 0..3 {
        assert_eq!(tables::run(&tables, &[number]), Ok(true), "whole");
    }
    // Regression test from fuzzing: a GPT with entries of 149 bytes, and a header of 93 bytes with the
    // checksum for 92.
    let program = [0, 8, 1, 21, 149, 0, 0, 0, 0, 8, 1, 3, 93, 0, 0, 0, 0];
    assert_eq!(tables::run(&tables, &program), Ok(false));
}

/// Damaged images of 64 KiB need at most 64 MiB of memory. The limit covers the heap and the stacks of all
/// threads but the first, but no mapped files.
#[test]
fn small_hostile_images_take_little_memory() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "64K", &["-t", "ext4", "-b", "1024", "-N", "16", "-O", "^has_journal"]);
    let bytes = fs::read(&image).expect("reading");
    assert_eq!(bytes.len(), 64 << 10);
    let anatomy = anatomy::dissect(&bytes).expect("a valid superblock");
    let (mut canvas, mut dice) = (Canvas::new(bytes), Dice::new(64));
    let mut codes = BTreeSet::new();
    for number in 0..160 {
        let damage = match number {
            0 => Damage::default(),
            1..=PLANNED => mutate::planned(number - 1, &anatomy, &mut canvas, &mut dice).unwrap_or_default(),
            _ => mutate::random(&anatomy, &mut canvas, &mut dice),
        };
        fs::write(&image, &canvas.bytes).expect("writing");
        canvas.undo();
        let script = r#"ulimit -d 65536 && exec "$0" --check --threads=4 "$1""#;
        let ran = Canon::script(script).arg(&image).run();
        assert!(matches!(ran.code, Some(0 | 1 | 3 | 4)), "{}: {ran:?}", damage.words);
        codes.extend(ran.code);
    }
    assert!(codes.contains(&1) && codes.contains(&4), "{codes:?}");
}
