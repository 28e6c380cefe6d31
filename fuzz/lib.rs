//! Common code of the fuzz targets. An input is a small program of mutations (see `program`). It is applied
//! to seeds: small images that cover all features, in the directory `EXT4_CANON_SEEDS`. The damage test
//! writes them.
//!
//! If `EXT4_CANON_E2FSCK` is set, e2fsck checks every new output.

#[path = "../tests/integration/damage/anatomy.rs"]
pub mod anatomy;
#[path = "../tests/integration/support/dice.rs"]
mod dice;
#[path = "../tests/integration/damage/indexes.rs"]
mod indexes;
#[path = "../tests/integration/damage/mending.rs"]
mod mending;
#[path = "../tests/integration/damage/mutate.rs"]
pub mod mutate;
#[path = "../tests/integration/damage/outcome.rs"]
pub mod outcome;
#[path = "../tests/integration/damage/program.rs"]
pub mod program;
#[path = "../tests/integration/damage/tables.rs"]
pub mod tables;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use dice::Dice;
pub use libfuzzer_sys;
use outcome::Output;
use program::{MOST_STEPS, STEP, Seed, Target};
use tables::Table;

struct State {
    target: Target,
    seeds: Vec<Seed>,
    /// Digests of all outputs so far.
    seen: HashSet<u128>,
}

impl State {
    fn new(name: &str) -> Self {
        // Use one thread: libFuzzer measures the coverage of this thread, and several fuzzers run in
        // parallel.
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("a pool");
        let target = program::TARGETS.into_iter().find(|target| target.name == name).expect("a target");
        let seeds = seeds().into_iter().filter_map(|(name, bytes)| Seed::new(name, bytes));
        let seeds: Vec<Seed> = seeds.filter(|seed| seed.is_for(&target)).collect();
        assert!(!seeds.is_empty(), "no seeds for {name}");
        Self { target, seeds, seen: HashSet::new() }
    }

    fn run(&mut self, input: &[u8]) {
        match program::run(&self.target, &mut self.seeds, input, &mut self.seen) {
            Ok(Some(output)) if env::var_os("EXT4_CANON_E2FSCK").is_some() => judge(&output),
            Ok(_) => {}
            Err(words) => panic!("{words}"),
        }
    }
}

fn judge(output: &Output) {
    let path = env::temp_dir().join(format!("fuzz-{}.img", std::process::id()));
    output.store(&path);
    let ran = Command::new("/sbin/e2fsck").arg("-fn").arg(&path).output().expect("e2fsck");
    let told = String::from_utf8_lossy(&ran.stdout);
    // With a long MMP interval, e2fsck announces a wait, although a read-only check does not wait.
    let is_news = |line: &&str| !line.is_empty() && !line.starts_with("MMP interval is ");
    let silent = told.lines().filter(is_news).count() == 6;
    if !ran.status.success() || !silent {
        panic!("e2fsck: {told} ({})", path.display());
    }
    fs::remove_file(&path).expect("removing");
}

/// Runs one input of a target.
pub fn fuzz(name: &str, input: &[u8]) {
    thread_local!(static STATE: RefCell<Option<State>> = const { RefCell::new(None) });
    STATE.with_borrow_mut(|state| state.get_or_insert_with(|| State::new(name)).run(input));
}

/// Runs one input of the partition table target, whose seeds are disks.
pub fn fuzz_tables(input: &[u8]) {
    thread_local!(static TABLES: Vec<Table> = seeds().into_iter().filter_map(|(name, bytes)| {
        name.starts_with("disk-").then(|| Table::new(name, bytes)).flatten()
    }).collect());
    TABLES.with(|tables| {
        assert!(!tables.is_empty(), "no seeds for tables");
        tables::run(tables, input).unwrap_or_else(|words| panic!("{words}"));
    });
}

/// Reads all seeds, and returns them with their names.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = env::var_os("EXT4_CANON_SEEDS").expect("EXT4_CANON_SEEDS, a folder of images");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let name = |path: &PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    files.iter().filter_map(|path| Some((name(path)?, fs::read(path).expect("a seed")))).collect()
}

/// Mutates a program by adding, removing or replacing a step, or delegates to libFuzzer. Returns the new
/// size.
pub fn mutate(program: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice::new(seed.into());
    let start = |step: usize| 1 + step * STEP;
    let steps = size.saturating_sub(1) / STEP;
    let most = (max_size.saturating_sub(1) / STEP).min(MOST_STEPS);
    let step = dice.roll(steps);
    let mut fill = |bytes: &mut [u8]| bytes.fill_with(|| dice.number().to_le_bytes()[0]);
    match seed % 4 {
        0 if steps < most => {
            fill(&mut program[size.min(1)..1]);
            fill(&mut program[start(steps)..start(steps + 1)]);
            start(steps + 1)
        }
        1 if steps > 1 => {
            program.copy_within(start(step + 1)..start(steps), start(step));
            start(steps - 1)
        }
        2 if steps > 0 => {
            fill(&mut program[start(step)..start(step + 1)]);
            size
        }
        _ => libfuzzer_sys::fuzzer_mutate(program, size, max_size),
    }
}

/// Defines a fuzz target whose programs are mutated in whole steps.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        use $crate::libfuzzer_sys;

        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::fuzz($name, input));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate(data, size, max_size, seed)
        });
    };
}
