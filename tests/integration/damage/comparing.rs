//! `compare` and `explain` on damaged images with all features: the verdict agrees with the bytes of the
//! canonical forms, and `explain` finds nothing in an output.

use std::collections::HashMap;
use std::fs;

use ext4_canon::Options;
use ext4_canon::Silent;
use ext4_canon::compare::{Comparison, Details};

use super::anatomy;
use super::dice::Dice;
use super::images::{RECIPES, Recipe, make};
use super::mutate::{self, PLANNED};
use super::outcome::{Outcome, filesystem, outcome};
use crate::support::{Lab, Need, partly};

/// The number of random mutations of each image.
const RANDOM: usize = 25;

fn compared(one: &[u8], other: &[u8]) -> Option<Comparison> {
    let details = Details::new().ignored(true).texts(1000);
    let [one, other] = [one, other].map(filesystem);
    one.ok()?.compare(&other.ok()?, &Options::new(), details, &Silent).ok()
}

/// The results for the mutants of an image.
#[derive(Default)]
struct Seen {
    matches: usize,
    differences: usize,
}

fn check(name: &str, whole: (&[u8], &[u8]), image: &[u8], seen: &mut Seen) {
    let output = match outcome(image) {
        Outcome::Written(output) => output.bytes(),
        // The image may be readable without having a canonical form. Then only a panic is an error.
        _ => {
            compared(whole.0, image);
            return;
        }
    };
    let comparison = compared(whole.0, image).expect("readable images");
    let equal = whole.1 == output;
    if comparison.is_match() != equal {
        let kept = std::env::temp_dir().join("ext4-canon-compared.img");
        fs::write(&kept, image).expect("writing");
        panic!("{name}: {} {comparison:#?} ({})", if equal { "equal" } else { "unequal" }, kept.display());
    }
    *(if equal { &mut seen.matches } else { &mut seen.differences }) += 1;
    // The output has the same tree, and no history.
    let comparison = compared(image, &output).expect("readable images");
    assert!(comparison.is_match(), "{name}: {comparison:#?}");
    let open = |bytes| filesystem(bytes).expect("an image");
    let digest = |bytes| open(bytes).tree_digest(&Options::new(), &Silent).expect("a tree").sha256;
    assert_eq!(digest(image), digest(&output), "{name}");
    let findings =
        |bytes| open(bytes).explain(&Options::new(), 2, &Silent).expect("an image").remove(0).findings;
    assert_eq!(findings(&output), [], "{name}");
    if image != output {
        assert!(!findings(image).is_empty(), "{name}");
    }
}

fn check_all(recipe: &Recipe, seed: u64) -> Seen {
    let lab = Lab::new();
    let bytes = fs::read(make(&lab, recipe)).expect("reading");
    let Outcome::Written(output) = outcome(&bytes) else { panic!("{}", recipe.0) };
    let (output, whole) = (output.bytes(), bytes.clone());
    let anatomy = anatomy::dissect(&bytes).expect("a valid superblock");
    let (mut canvas, mut dice) = (anatomy::Canvas::new(bytes), Dice::new(seed));
    let mut seen = Seen::default();
    check(recipe.0, (&whole, &output), &whole, &mut seen);
    for number in 0..PLANNED + RANDOM {
        let damage = if number < PLANNED {
            mutate::planned(number, &anatomy, &mut canvas, &mut dice)
        } else {
            Some(mutate::random(&anatomy, &mut canvas, &mut dice))
        };
        if let Some(damage) = damage {
            let length = damage.length.unwrap_or(canvas.bytes.len());
            let name = format!("{}: {}", recipe.0, damage.words);
            check(&name, (&whole, &output), &canvas.bytes[..length], &mut seen);
        }
        canvas.undo();
    }
    seen
}

#[test]
fn verdicts_on_damaged_images_are_those_of_the_canonical_bytes() {
    let mounts = partly(&[Need::Mounts, Need::Program("xfs_io")]);
    let mut totals: HashMap<bool, usize> = HashMap::new();
    for (recipe, seed) in RECIPES.iter().filter(|recipe| mounts || !recipe.3.mounts()).zip(1000..) {
        let seen = check_all(recipe, seed);
        *totals.entry(true).or_default() += seen.matches;
        *totals.entry(false).or_default() += seen.differences;
    }
    // About half of the differences are in images that need a mount.
    let differences = if mounts { 100 } else { 50 };
    assert!(totals[&true] > 300 && totals[&false] > differences, "{totals:?}");
}
