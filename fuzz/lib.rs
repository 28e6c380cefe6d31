//! What all fuzz targets share. Inputs are small programs of damages (see `program`), done to seeds:
//! small images of all features, which the damage test leaves in the folder EXT4_CANON_SEEDS.
//!
//! With EXT4_CANON_E2FSCK set, e2fsck judges every output that is new.

#[path = "../tests/integration/damage/anatomy.rs"]
pub mod anatomy;
#[path = "../tests/integration/damage/mending.rs"]
mod mending;
#[path = "../tests/integration/damage/mutate.rs"]
pub mod mutate;
#[path = "../tests/integration/damage/outcome.rs"]
pub mod outcome;
#[path = "../tests/integration/damage/program.rs"]
pub mod program;

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::process::Command;
use std::{env, fs};

use program::{Seed, Target};

struct State {
    target: Target,
    seeds: Vec<Seed>,
    judged: HashSet<u64>,
}

impl State {
    fn new(name: &str) -> Self {
        // One thread: its work is what the coverage is of, and several fuzzers run side by side.
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("a pool");
        let folder = env::var_os("EXT4_CANON_SEEDS").expect("EXT4_CANON_SEEDS, a folder of images");
        let target = program::TARGETS.into_iter().find(|target| target.name == name).expect("a target");
        let mut files: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let seeds: Vec<Seed> = files
            .iter()
            .filter_map(|path| {
                Seed::new(path.file_stem()?.to_str()?.to_owned(), fs::read(path).expect("a seed"))
            })
            .filter(|seed| seed.is_for(&target))
            .collect();
        assert!(!seeds.is_empty(), "no seeds for {name}");
        Self { target, seeds, judged: HashSet::new() }
    }

    fn run(&mut self, input: &[u8]) {
        match program::run(&self.target, &mut self.seeds, input) {
            Ok(None) => {}
            Ok(Some(output)) => self.judge(&output),
            Err(words) => panic!("{words}"),
        }
    }

    fn judge(&mut self, output: &[u8]) {
        let mut hasher = DefaultHasher::new();
        output.hash(&mut hasher);
        if env::var_os("EXT4_CANON_E2FSCK").is_none() || !self.judged.insert(hasher.finish()) {
            return;
        }
        let path = env::temp_dir().join(format!("fuzz-{}.img", std::process::id()));
        fs::write(&path, output).expect("writing");
        let ran = Command::new("/sbin/e2fsck").arg("-fn").arg(&path).output().expect("e2fsck");
        let told = String::from_utf8_lossy(&ran.stdout);
        let silent = told.lines().filter(|line| !line.is_empty()).count() == 6;
        if !ran.status.success() || !silent {
            panic!("e2fsck: {told} ({})", path.display());
        }
        fs::remove_file(&path).expect("removing");
    }
}

/// Runs one input of a target.
pub fn fuzz(name: &str, input: &[u8]) {
    thread_local!(static STATE: RefCell<Option<State>> = const { RefCell::new(None) });
    STATE.with_borrow_mut(|state| state.get_or_insert_with(|| State::new(name)).run(input));
}
