//! Small programs of mutations, as fuzzers generate them: they are applied to a seed, and then the invariants
//! are checked.

use std::collections::HashSet;
use std::ops::Range;

use ext4_canon::Silent;
use ext4_canon::{Input, Options};

use super::anatomy::{Anatomy, Canvas, dissect};
use super::dice::Dice;
use super::mutate::{self, IN_DIRECTORIES, IN_INDEXES, IN_INODES, IN_MAPS, PLANNED};
use super::outcome::{Outcome, Output, filesystem, outcome};

/// The scope of a fuzz target.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    /// The classes of parts that are mutated; all classes if this is empty.
    pub classes: &'static [u8],
    /// The planned mutations that are also used.
    pub planned: Range<usize>,
    /// The names of suitable seeds contain one of these words.
    pub seeds: &'static [&'static str],
}

/// All fuzz targets. The invariant of each is that of [`holds`].
pub const TARGETS: [Target; 8] = [
    Target { name: "image", classes: &[], planned: 0..PLANNED, seeds: &[""] },
    Target { name: "journal", classes: &[9, 10, 10, 10], planned: 0..0, seeds: &["dirty", "orphans"] },
    Target { name: "fast_commits", classes: &[11], planned: 0..0, seeds: &["fast"] },
    Target {
        name: "directories",
        classes: &[5, 5, 5, 2],
        planned: IN_DIRECTORIES.start..IN_INDEXES.end,
        seeds: &["index", "ext2", "ext4", "casefold"],
    },
    Target {
        name: "maps",
        classes: &[3, 4, 2],
        planned: IN_MAPS,
        seeds: &["ext2", "ext3", "ext4", "bigalloc", "groups", "verity"],
    },
    Target { name: "xattrs", classes: &[6, 2], planned: 0..0, seeds: &["xattrs", "inodes", "ea_inode"] },
    Target { name: "inline_data", classes: &[2], planned: IN_INODES, seeds: &["inline"] },
    Target { name: "quota", classes: &[12, 12, 0], planned: 0..0, seeds: &["quota"] },
];

/// An image that is mutated.
#[derive(Debug)]
pub struct Seed {
    pub name: String,
    anatomy: Anatomy,
    canvas: Canvas,
}

impl Seed {
    /// Creates a seed, or returns `None` if the bytes are not an image.
    pub fn new(name: String, bytes: Vec<u8>) -> Option<Self> {
        let anatomy = dissect(&bytes)?;
        Some(Self { name, anatomy, canvas: Canvas::new(bytes) })
    }

    /// Returns whether the seed is suitable for a target.
    pub fn is_for(&self, target: &Target) -> bool {
        target.seeds.iter().any(|word| self.name.contains(word))
    }
}

/// The size in bytes of one step.
pub const STEP: usize = 10;
/// The maximum number of steps in a program.
pub const MOST_STEPS: usize = 16;

/// Runs a program on the seed that its first byte selects. Returns the output if its digest is not in `seen`,
/// and adds it there.
///
/// # Errors
///
/// Returns a description of the violated invariant.
pub fn run(
    target: &Target,
    seeds: &mut [Seed],
    program: &[u8],
    seen: &mut HashSet<u128>,
) -> Result<Option<Output>, String> {
    let (Some((first, steps)), false) = (program.split_first(), seeds.is_empty()) else { return Ok(None) };
    let count = seeds.len();
    let seed = &mut seeds[usize::from(*first) % count];
    for step in steps.as_chunks::<STEP>().0.iter().take(MOST_STEPS) {
        damage(target, seed, step);
    }
    let result = holds(&seed.canvas.bytes, seen).map_err(|words| {
        let kept = std::env::temp_dir().join(format!("ext4-canon-{}.img", target.name));
        let stored = std::fs::write(&kept, &seed.canvas.bytes).map(|()| kept);
        format!("{}: {}: {words} (kept as {stored:?})", target.name, seed.name)
    });
    seed.canvas.undo();
    result
}

/// Runs one step, which changes a field of a part.
fn damage(target: &Target, seed: &mut Seed, step: &[u8; STEP]) {
    let [op, class, part_lo, part_hi, field_lo, field_hi, value @ ..] = *step;
    let (anatomy, canvas) = (&seed.anatomy, &mut seed.canvas);
    let classes = if target.classes.is_empty() { anatomy.classes() } else { target.classes.to_vec() };
    let parts = anatomy.of_class(classes[usize::from(class) % classes.len()]);
    let number = usize::from(u16::from_le_bytes([part_lo, part_hi]));
    let field = usize::from(u16::from_le_bytes([field_lo, field_hi]));
    let value = u32::from_le_bytes(value);
    let Some(part) = parts.get(number % parts.len().max(1)) else { return };
    if op & 7 == 7 && !target.planned.is_empty() {
        let mut dice = Dice::new(u64::from(value));
        let number = target.planned.start + field % target.planned.len();
        mutate::planned(number, anatomy, canvas, &mut dice);
        return;
    }
    if op & 7 == 6 {
        let at = part.start + field % part.length;
        let byte = canvas.get(at, 1).first().copied().unwrap_or(0) ^ value.to_le_bytes()[0];
        canvas.set(at, &[byte]);
    } else {
        let fields = anatomy.fields(&canvas.bytes, part);
        let Some(&(at, size)) = fields.get(field % fields.len().max(1)) else { return };
        let size = size.min(4);
        let ordered = |mut bytes: Vec<u8>| {
            if part.kind.is_big_endian() {
                bytes.reverse();
            }
            bytes
        };
        let mut old = [0; 4];
        let found = ordered(canvas.get(at, size).to_vec());
        old[..found.len()].copy_from_slice(&found);
        let old = u32::from_le_bytes(old);
        let new = match op & 7 {
            4 => old.wrapping_add(value),
            5 => {
                let other = &anatomy.parts[value as usize % anatomy.parts.len()];
                u32::try_from(other.start / anatomy.block_size).unwrap_or(0)
            }
            3 => old ^ 1 << (value & 31),
            _ => value,
        };
        canvas.set(at, &ordered(new.to_le_bytes()[..size].to_vec()));
    }
    // Sometimes, don't update checksums.
    if op >> 4 != 15 {
        anatomy.refresh(canvas, part);
    }
}

/// Checks the invariant: either an error with a remedy, or an output that has the same tree and is its own
/// canonical form. The latter depends only on the output, so it is checked once.
fn holds(bytes: &[u8], seen: &mut HashSet<u128>) -> Result<Option<Output>, String> {
    let output = match outcome(bytes) {
        Outcome::Refused => return Ok(None),
        Outcome::Wrong(words) => return Err(words),
        Outcome::Written(output) => output,
    };
    let written = output.bytes();
    let is_new = seen.insert(output.digest());
    if is_new {
        match outcome(&written) {
            Outcome::Written(again) if again.bytes() == written => {}
            Outcome::Written(_) => return Err("its output is not canonical".to_owned()),
            other => return Err(format!("its output can't be read: {other:?}")),
        }
    }
    filesystem(bytes)
        .and_then(|disk| disk.verify(&Input::new(&written), &Options::new(), &Silent))
        .map_err(|error| format!("its output is another tree: {error}"))?;
    Ok(is_new.then_some(output))
}
