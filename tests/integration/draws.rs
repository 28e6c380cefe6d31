//! Random filesystems, trees, histories and options.
//!
//! Each draw is derived from its seed. EXT4_CANON_SEED sets the first seed, and EXT4_CANON_DRAWS the number
//! of draws. With only a seed, there is one draw. Without a seed, the first seed depends on the date. If a
//! draw fails, its images are kept, and its seed is printed.

mod checks;
mod choices;
mod geometry;
mod history;
mod names;
mod settings;
mod tree;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use checks::Images;
use choices::Choices;
use geometry::Geometry;
use history::{History, Site};
use tree::Tree;

use crate::support::dice::Dice;
use crate::support::{Lab, Need, partly, run, tool};

/// The default number of draws in a run.
const DRAWS: u64 = 300;
/// A run ends after this number of failures.
const MOST_FAILURES: usize = 20;

/// Everything that is derived from a seed.
#[derive(Debug)]
struct Draw {
    geometry: Geometry,
    tree: Tree,
    choices: Choices,
    history: History,
    /// The type of the partition table, if the image is also put on a disk.
    table: Option<&'static str>,
    /// A number from 0 to 99, for checks that only a share of the draws make.
    share: usize,
    /// Random numbers for the choice of a different size.
    sizes: (u64, bool),
    mounts: bool,
    root: bool,
}

impl Draw {
    fn new(dice: &mut Dice, (mounts, root): (bool, bool)) -> Self {
        let mut geometry = Geometry::draw(dice);
        let tree = Tree::draw(dice, geometry.limits(root));
        geometry.fit(dice, &tree);
        let choices = Choices::draw(dice, geometry.has("stable_inodes"), geometry.has("mmp"));
        let history = History::draw(dice, &geometry, &tree, choices.keeps_holes, mounts);
        let table = dice.chance(15).then(|| dice.one(&["gpt", "dos"]));
        let (share, sizes) = (dice.roll(100), (dice.number(), dice.chance(30)));
        Self { geometry, tree, choices, history, table, share, sizes, mounts, root }
    }

    /// Returns the names of everything that this draw covers, to be counted.
    fn covers(&self) -> Vec<String> {
        let mut words = self.geometry.covers();
        words.extend(self.tree.covers().into_iter().map(str::to_owned));
        words.extend(self.table.map(str::to_owned));
        words.extend(self.choices.words.iter().filter(|word| word.starts_with("--")).cloned());
        words
    }

    /// Returns a size of at least `least` bytes for `--size`, and whether it is relative.
    fn size(&self, least: u64, own: u64) -> (String, bool) {
        let (number, is_more) = self.sizes;
        if is_more {
            return (format!("+{}", number % (64 << 20)), true);
        }
        // Choose from the smallest size to three times that, or to three times the size of the image.
        let most = if number.is_multiple_of(2) { 3 * least } else { 3 * own.max(least) };
        ((least + number / 2 % (most - least + 1)).to_string(), false)
    }
}

/// The commands of a draw, to show if it fails.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn say(&self, words: String) {
        self.0.lock().expect("no panic while it is held").push(words);
    }
}

/// The results of all draws of a run.
#[derive(Debug, Default)]
struct Summary {
    done: u64,
    refused: u64,
    covered: BTreeMap<String, u64>,
    failures: Vec<String>,
}

/// Makes the draw of a seed, and draws again if mke2fs refuses. Returns the number of refusals, and what the
/// draw covers.
fn draw(seed: u64, can: (bool, bool), lab: &Lab, notes: &Notes) -> (u64, Vec<String>) {
    let mut dice = Dice::new(seed);
    for refused in 0..200 {
        let mut draw = Draw::new(&mut dice, can);
        let source = lab.folder(&format!("source{refused}"));
        draw.tree.build(&source, None);
        let site = Site { lab, geometry: &draw.geometry, tree: &draw.tree, source: &source };
        let Ok(first) = site.first() else { continue };
        notes.say(format!(
            "mke2fs {} -d {} {} {}k",
            draw.geometry.options(&Default::default()).join(" "),
            source.display(),
            first.display(),
            draw.geometry.bytes / 1024
        ));
        let uuid = if draw.choices.keeps_uuid {
            "01234567-89ab-4cde-8f01-23456789abcd"
        } else {
            "fedcba98-7654-4321-8fed-cba987654321"
        };
        let Ok(second) = site.second(&mut draw.history, uuid, &first) else { continue };
        notes.say(format!("{:?}", draw.history));
        let images = Images { source, first, second };
        let special = checks::demand(&draw, &images, notes);
        let mut covered = draw.covers();
        covered.extend(special.into_iter().map(str::to_owned));
        covered.push(format!("twin: {:?}", draw.history.filling));
        covered.extend(draw.history.is_given_up.then(|| "history given up".to_owned()));
        return (refused, covered);
    }
    panic!("mke2fs refused all draws");
}

/// Makes a draw, and records its result.
fn record_draw(seed: u64, can: (bool, bool), summary: &Mutex<Summary>) {
    let (lab, notes) = (Lab::in_memory(), Notes::default());
    let result = catch_unwind(AssertUnwindSafe(|| draw(seed, can, &lab, &notes)));
    let mut summary = summary.lock().expect("no panic while it is held");
    summary.done += 1;
    match result {
        Ok((refused, covered)) => {
            summary.refused += refused;
            covered.into_iter().for_each(|word| *summary.covered.entry(word).or_default() += 1);
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let commands = notes.0.into_inner().expect("no panic while it was held").join("\n");
            let text = shortened(&text.unwrap_or_default());
            let kept = env::temp_dir().join(format!("ext4-canon-draw-{seed}"));
            run(tool("cp").args(["-a", "--sparse=always"]).arg(lab.path(".")).arg(&kept));
            summary.failures.push(format!(
                "seed {seed} (EXT4_CANON_SEED={seed} repeats it), kept in {}\n{commands}\n{text}",
                kept.display()
            ));
        }
    }
}

/// Removes the middle of a long text.
fn shortened(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() < 4000 {
        return text.to_owned();
    }
    let [start, end] =
        [&letters[..2000], &letters[letters.len() - 1500..]].map(|part| part.iter().collect::<String>());
    format!("{start}\n[…]\n{end}")
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// Returns the first seed, and the number of seeds.
fn seeds() -> (u64, u64) {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() / 86_400;
    match (number("EXT4_CANON_SEED"), number("EXT4_CANON_DRAWS")) {
        (Some(seed), count) => (seed, count.unwrap_or(1)),
        (None, count) => (days * 1000, count.unwrap_or(DRAWS)),
    }
}

/// Returns the first seed, for other tests that draw.
pub fn first_seed() -> u64 {
    seeds().0
}

#[test]
fn whatever_is_drawn_holds() {
    let can = (partly(&[Need::Mounts]), rustix::process::geteuid().is_root());
    let (first, count) = seeds();
    let (next, failed) = (AtomicU64::new(0), AtomicUsize::new(0));
    let (summary, start) = (Mutex::new(Summary::default()), Instant::now());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, |threads| threads.get().min(8)) {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) < MOST_FAILURES {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    record_draw(first + number, can, &summary);
                    let failures = summary.lock().expect("no panic while it is held").failures.len();
                    failed.store(failures, Ordering::Relaxed);
                }
            });
        }
    });
    let Summary { done, refused, covered, failures } =
        summary.into_inner().expect("no panic while it was held");
    let given_up = covered.get("history given up").copied().unwrap_or(0);
    let words = format!(
        "draws from seed {first} on: {done} in {:.0?}; mke2fs refused {refused} more, other tools spoilt {given_up} \
         histories; {} failed",
        start.elapsed(),
        failures.len()
    );
    // Print this even if the test passes, so that a run can be repeated.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{words}");
    eprintln!("{covered:#?}");
    assert!(given_up <= 1 + done / 10, "too few histories were tested: {words}");
    assert!(failures.is_empty(), "{words}\n{}", failures.join("\n\n"));
}

/// Draws cover every option sufficiently often, and equal seeds give equal draws.
#[test]
fn draws_cover_everything() {
    let mut covered = BTreeMap::<String, u32>::new();
    for seed in 0..3000 {
        let draw = Draw::new(&mut Dice::new(seed), (true, true));
        if seed < 20 {
            let again = Draw::new(&mut Dice::new(seed), (true, true));
            assert_eq!(format!("{draw:?}"), format!("{again:?}"), "seed {seed}");
        }
        draw.covers().into_iter().for_each(|word| *covered.entry(word).or_default() += 1);
    }
    let rare: Vec<_> = geometry::features()
        .chain(EXPECTED.iter().map(|word| (*word).to_owned()))
        .filter(|word| covered.get(word).is_none_or(|count| *count < 10))
        .collect();
    assert!(rare.is_empty(), "too rare: {rare:?}\n{covered:#?}");
}

/// The names that draws must cover, in addition to all features.
const EXPECTED: [&str; 55] = [
    "ext2",
    "ext3",
    "ext4",
    "revision 0",
    "-b 1024",
    "-b 2048",
    "-b 4096",
    "-b 8192",
    "-b 65536",
    "-g",
    "-G",
    "-N",
    "-i",
    "-I",
    "-J",
    "-m",
    "-C",
    "-e",
    "-L",
    "-o",
    "stride",
    "stripe_width",
    "resize",
    "num_backup_sb",
    "packed_meta_blocks",
    "desc_size",
    "quotatype",
    "orphan_file_size",
    "encoding",
    "encoding_flags",
    "hash tea",
    "hash legacy",
    "bytes after the filesystem",
    "xattrs",
    "ACLs",
    "large xattrs",
    "project ids",
    "hard links",
    "devices",
    "long symlinks",
    "far blocks",
    "many extents",
    "written zeros",
    "many names",
    "odd names",
    "--holes",
    "--mtime",
    "--source-date-epoch",
    "--uuid",
    "--label",
    "--threads",
    "fast_commit_size",
    "location",
    "gpt",
    "dos",
];
