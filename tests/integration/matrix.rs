//! Combinations of features: every pair of options that mke2fs allows, in at least 150 images. Each has a
//! tree of all file types, put there by two writers. MMP has separate tests, because e2fsprogs wait ten
//! seconds before each operation on such images.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::image::debugfs;
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canonical, fill, gate, judge, same_bytes, tree};

/// A choice of options for mke2fs: features for `-O`, and other arguments.
struct Choice {
    features: &'static str,
    arguments: &'static str,
}

const fn features(features: &'static str) -> Choice {
    Choice { features, arguments: "" }
}

const fn arguments(arguments: &'static str) -> Choice {
    Choice { features: "", arguments }
}

const fn both(features: &'static str, arguments: &'static str) -> Choice {
    Choice { features, arguments }
}

/// The factors and their choices. The first choice of each factor is compatible with all others.
const FACTORS: [&[Choice]; 21] = [
    &[arguments("-b 4096"), arguments("-b 1024"), arguments("-b 2048")],
    &[arguments("-I 256"), arguments("-I 128"), arguments("-I 512"), arguments("-I 1024")],
    &[
        features("has_journal"),
        features("^has_journal"),
        both("has_journal", "-J size=2"),
        features("has_journal,fast_commit"),
        features("has_journal,orphan_file"),
        features("has_journal,fast_commit,orphan_file"),
    ],
    &[
        features("metadata_csum"),
        features("metadata_csum,metadata_csum_seed"),
        features("^metadata_csum,uninit_bg"),
        features("^metadata_csum,^uninit_bg"),
    ],
    &[features("extents"), features("^extents")],
    &[features("64bit"), features("^64bit")],
    &[features("^bigalloc"), both("bigalloc", "-C 8192"), both("bigalloc", "-C 65536")],
    &[features("^inline_data"), features("inline_data")],
    &[features("^ea_inode"), features("ea_inode")],
    &[both("flex_bg", "-G 16"), features("^flex_bg"), both("flex_bg", "-G 2")],
    &[features("resize_inode"), features("^resize_inode"), features("meta_bg,^resize_inode")],
    &[
        features("sparse_super"),
        features("^sparse_super"),
        both("sparse_super2", "-E num_backup_sb=0"),
        both("sparse_super2", "-E num_backup_sb=1"),
        both("sparse_super2", "-E num_backup_sb=2"),
    ],
    &[features("dir_index"), features("^dir_index")],
    &[features("filetype"), features("^filetype")],
    &[
        features("^quota"),
        both("quota", "-E quotatype=usrquota:grpquota"),
        both("quota", "-E quotatype=usrquota:prjquota"),
    ],
    &[features("^project"), features("project")],
    &[features("^casefold"), both("casefold", "-E encoding=utf8")],
    &[features("^encrypt"), features("encrypt"), features("encrypt,stable_inodes"), features("verity")],
    &[
        features("large_dir,large_file,huge_file,dir_nlink,extra_isize"),
        features("^large_dir,^huge_file,^dir_nlink,^extra_isize"),
    ],
    &[arguments(""), arguments("HASH tea"), arguments("HASH legacy")],
    &[arguments(""), arguments("-g 2048"), arguments("-m 0 -E stride=4,stripe_width=8")],
];

/// The index of a choice for each factor.
type Set = [usize; FACTORS.len()];

/// Returns whether mke2fs can make such a filesystem.
fn is_possible(set: &Set) -> bool {
    let has = |feature: &str| {
        FACTORS
            .iter()
            .zip(set)
            .any(|(choices, choice)| choices[*choice].features.split(',').any(|f| f == feature))
    };
    let says = |words: &str| {
        FACTORS.iter().zip(set).any(|(choices, choice)| choices[*choice].arguments.contains(words))
    };
    let small_inodes = says("-I 128");
    let rules = [
        !has("bigalloc") || has("extents"),
        !has("64bit") || has("extents"),
        !has("resize_inode") || has("sparse_super"),
        // A journal needs at least 1024 blocks.
        !says("-J size=2") || says("-b 1024") || says("-b 2048"),
        !has("fast_commit") || !says("-J size=2"),
        !small_inodes || !(has("inline_data") || has("project") || says("prjquota") || has("extra_isize")),
        !says("prjquota") || has("project"),
        !says("-g 2048") || !has("bigalloc"),
        // Without flex_bg, each group contains all of its inode table.
        !says("-g 2048") || !says("-I 1024") || !has("^flex_bg"),
    ];
    rules.into_iter().all(|rule| rule)
}

/// A pair of choices for two factors: (factor, choice, factor, choice).
type Pair = (usize, usize, usize, usize);

/// Returns all pairs, including impossible ones.
fn all_pairs() -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for (a, first) in FACTORS.iter().enumerate() {
        for (b, second) in FACTORS.iter().enumerate().skip(a + 1) {
            pairs.extend((0..first.len()).flat_map(|x| (0..second.len()).map(move |y| (a, x, b, y))));
        }
    }
    pairs
}

fn pairs_of(set: Set) -> impl Iterator<Item = Pair> {
    (0..set.len()).flat_map(move |a| (a + 1..set.len()).map(move |b| (a, set[a], b, set[b])))
}

/// Searches for a possible set that contains a given pair.
fn with_pair(dice: &mut Dice, (a, x, b, y): Pair) -> Option<Set> {
    (0..400).find_map(|_| {
        let mut set: Set = std::array::from_fn(|factor| {
            // Prefer the default choice, so that most sets are possible.
            let plain = dice.roll(3) == 0;
            if plain { 0 } else { dice.roll(FACTORS[factor].len()) }
        });
        (set[a], set[b]) = (x, y);
        is_possible(&set).then_some(set)
    })
}

/// Returns the sets, and the pairs that are impossible.
fn sets() -> (Vec<Set>, BTreeSet<Pair>) {
    let (mut wanted, mut impossible) = (all_pairs(), BTreeSet::new());
    let (mut dice, mut sets) = (Dice::new(1), vec![[0; FACTORS.len()]]);
    let anything: Vec<Pair> = wanted.iter().copied().collect();
    while sets.len() < 150 || !wanted.is_empty() {
        let pair = wanted.first().copied().unwrap_or_else(|| dice.one(&anything));
        let candidates: Vec<Set> = (0..12).map_while(|_| with_pair(&mut dice, pair)).collect();
        let best = candidates
            .into_iter()
            .max_by_key(|set| pairs_of(*set).filter(|pair| wanted.contains(pair)).count());
        match best {
            Some(best) => {
                pairs_of(best).for_each(|pair| _ = wanted.remove(&pair));
                sets.push(best);
            }
            None => _ = wanted.remove(&pair) && impossible.insert(pair),
        }
    }
    (sets, impossible)
}

fn options(set: &Set) -> Vec<String> {
    let chosen = FACTORS.iter().zip(set).map(|(choices, choice)| &choices[*choice]);
    let (mut features, mut words, mut extended) = (vec!["none"], Vec::new(), Vec::new());
    for choice in chosen {
        features.extend(
            choice.features.split(',').filter(|feature| !feature.is_empty() && !feature.starts_with('^')),
        );
        let mut arguments = choice.arguments.split_whitespace();
        while let Some(word) = arguments.next() {
            match word {
                "-E" => extended.extend(arguments.next()),
                // This is not an option of mke2fs.
                "HASH" => _ = arguments.next(),
                word => words.push(word.to_owned()),
            }
        }
    }
    features.push("ext_attr");
    // With stable_inodes, the UUID is part of the tree.
    let uuid = "01234567-89ab-4cde-8f01-23456789abcd";
    let mut options: Vec<String> =
        ["-t", "ext4", "-U", uuid, "-O", &features.join(",")].map(str::to_owned).into();
    options.extend(words);
    if !extended.is_empty() {
        options.extend(["-E".to_owned(), extended.join(",")]);
    }
    options
}

/// Returns the chosen hash of directories, if it is not the default.
fn hash(set: &Set) -> Option<&'static str> {
    FACTORS.iter().zip(set).find_map(|(choices, choice)| choices[*choice].arguments.strip_prefix("HASH "))
}

/// Writes temporary files, then copies the tree in reverse order, then removes the temporary files.
fn fill_with_history(root: &Path, source: &Path) {
    for number in 0..30 {
        fs::write(root.join(format!("old{number}")), Dice::noise(number, 3000)).expect("writing");
    }
    fill::copy_in_order(source, root, &fill::backwards(source));
    for number in 0..30 {
        fs::remove_file(root.join(format!("old{number}"))).expect("removing");
    }
    tree::set_mtime(root, tree::SOME_TIME, 0);
}

/// Checks that two writers of one tree lead to the same canonical form, and that all judges accept it.
fn two_writers_meet(set: &Set) {
    let options = options(set);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    // The test harness shows this if the test fails.
    eprintln!("{}", options.join(" "));
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    if options.iter().any(|option| option.contains("inline_data")) {
        // `mke2fs -d` drops the content of the first file if it is inline, and the trailing zeros of the
        // second.
        for name in ["zeros", "gaps"] {
            fs::remove_file(source.join("sizes").join(name)).expect("removing");
        }
        tree::set_all_mtimes(&source);
    }
    let with_hash = |image: PathBuf| {
        if let Some(hash) = hash(set) {
            debugfs(&image, &format!("set_super_value def_hash_version {hash}\n"));
        }
        image
    };
    let one = with_hash(lab.mke2fs_d("one.img", "40M", &options, &source));
    let output = canonical(&one, &["--verify"]);
    let other = with_hash(lab.mke2fs("other.img", "40M", &options));
    match Mounted::read_write(&other) {
        // With stable_inodes, inode numbers are part of the tree, and the kernel would choose different ones.
        Ok(mounted) if !options.iter().any(|option| option.contains("stable_inodes")) => {
            fill_with_history(mounted.path(), &source);
            mounted.unmount();
            judge::same_by_kernel(&one, &output);
            judge::kernel_works(&output).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        }
        // Otherwise, or if the kernel lacks one of the features, use e2fsprogs.
        mounted => {
            drop(mounted);
            let again = with_hash(lab.mke2fs_d("other.img", "40M", &options, &source));
            fill::clutter_by_debugfs(&again);
            judge::repair(&again, &["-D"]);
            // debugfs reads 60 bytes from an empty inline file.
            if !options.iter().any(|option| option.contains("inline_data")) {
                judge::same_by_debugfs(&one, &output);
            }
        }
    }
    let by_other = canonical(&other, &[]);
    same_bytes(&output, &by_other);
}

/// Runs one of four parts of the sets, so that they run in parallel.
fn run_part(number: usize) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for set in sets().0.iter().skip(number).step_by(4) {
        two_writers_meet(set);
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn every_pair_in_the_first_quarter() {
    run_part(0);
}

#[test]
#[ignore = "needs root: mounts images"]
fn every_pair_in_the_second_quarter() {
    run_part(1);
}

#[test]
#[ignore = "needs root: mounts images"]
fn every_pair_in_the_third_quarter() {
    run_part(2);
}

#[test]
#[ignore = "needs root: mounts images"]
fn every_pair_in_the_last_quarter() {
    run_part(3);
}

/// Only the pairs that the rules exclude are missing.
#[test]
fn the_sets_cover_all_pairs_that_are_possible() {
    let (sets, impossible) = sets();
    assert!(sets.len() >= 150);
    let covered: BTreeSet<Pair> = sets.iter().flat_map(|set| pairs_of(*set)).collect();
    assert_eq!(covered.len() + impossible.len(), all_pairs().len());
    assert!(impossible.len() < 30, "{impossible:?}");
    eprintln!("{} sets with {} pairs; {} are impossible", sets.len(), covered.len(), impossible.len());
}
