//! Small programs of damages, as fuzzers write them: what they do to a seed, and what must hold then.

use ext4_canon::observe::Silent;
use ext4_canon::{Input, Options, verify};

use super::anatomy::{Anatomy, Canvas, dissect};
use super::mutate::{self, Dice, PLANNED};
use super::outcome::{Outcome, outcome};

/// What a fuzzer is about.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// The classes of parts that it damages; none for all.
    pub classes: &'static [u8],
    /// Names of seeds have one of these words.
    pub seeds: &'static [&'static str],
}

/// All fuzzers. The invariant of each is that of [`holds`].
pub const TARGETS: [Target; 8] = [
    Target { name: "image", classes: &[], seeds: &[""] },
    Target { name: "journal", classes: &[9, 10, 10, 10], seeds: &["dirty", "orphans"] },
    Target { name: "fast_commits", classes: &[11], seeds: &["fast"] },
    Target { name: "directories", classes: &[5, 5, 5, 2], seeds: &["index", "ext2", "ext4", "casefold"] },
    Target { name: "maps", classes: &[3, 4, 2], seeds: &["ext2", "ext3", "ext4", "bigalloc", "groups"] },
    Target { name: "xattrs", classes: &[6, 2], seeds: &["xattrs", "inodes", "ea_inode"] },
    Target { name: "inline_data", classes: &[2], seeds: &["inline"] },
    Target { name: "quota", classes: &[12, 12, 0], seeds: &["quota"] },
];

/// An image to be damaged.
#[derive(Debug)]
pub struct Seed {
    pub name: String,
    anatomy: Anatomy,
    canvas: Canvas,
}

impl Seed {
    /// `None` for bytes that are no image.
    pub fn new(name: String, bytes: Vec<u8>) -> Option<Self> {
        let anatomy = dissect(&bytes)?;
        Some(Self { name, anatomy, canvas: Canvas::new(bytes) })
    }

    /// Whether it is one for a target.
    pub fn is_for(&self, target: &Target) -> bool {
        target.seeds.iter().any(|word| self.name.contains(word))
    }
}

/// The bytes of one step.
const STEP: usize = 10;
/// The most steps of a program.
const MOST_STEPS: usize = 16;

/// Runs a program on the seed that its first byte picks. Returns the output where there is one.
///
/// # Errors
///
/// What does not hold, in words.
pub fn run(target: &Target, seeds: &mut [Seed], program: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let (Some((first, steps)), false) = (program.split_first(), seeds.is_empty()) else { return Ok(None) };
    let count = seeds.len();
    let seed = &mut seeds[usize::from(*first) % count];
    for step in steps.as_chunks::<STEP>().0.iter().take(MOST_STEPS) {
        damage(target, seed, step);
    }
    let result = holds(&seed.canvas.bytes).map_err(|words| {
        let kept = std::env::temp_dir().join(format!("ext4-canon-{}.img", target.name));
        let stored = std::fs::write(&kept, &seed.canvas.bytes).map(|()| kept);
        format!("{}: {}: {words} (kept as {stored:?})", target.name, seed.name)
    });
    seed.canvas.undo();
    result
}

/// One step: a field of some part gets another value.
fn damage(target: &Target, seed: &mut Seed, step: &[u8; STEP]) {
    let [op, class, part_lo, part_hi, field_lo, field_hi, value @ ..] = *step;
    let (anatomy, canvas) = (&seed.anatomy, &mut seed.canvas);
    let classes = if target.classes.is_empty() { anatomy.classes() } else { target.classes.to_vec() };
    let parts = anatomy.of_class(classes[usize::from(class) % classes.len()]);
    let number = usize::from(u16::from_le_bytes([part_lo, part_hi]));
    let field = usize::from(u16::from_le_bytes([field_lo, field_hi]));
    let value = u32::from_le_bytes(value);
    let Some(part) = parts.get(number % parts.len().max(1)) else { return };
    if op & 7 == 7 && target.classes.is_empty() {
        let mut dice = Dice::new(u64::from(value));
        mutate::planned(field % PLANNED, anatomy, canvas, &mut dice);
        return;
    }
    if op & 7 == 6 {
        let at = part.start + field % part.length;
        let byte = canvas.get(at, 1).first().copied().unwrap_or(0) ^ value.to_le_bytes()[0];
        canvas.set(at, &[byte]);
    } else {
        let fields = anatomy.fields(&canvas.bytes, part);
        let Some(&(at, size)) = fields.get(field % fields.len().max(1)) else { return };
        let mut old = [0; 4];
        let found = canvas.get(at, size.min(4));
        old[..found.len()].copy_from_slice(found);
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
        canvas.set(at, &new.to_le_bytes()[..size.min(4)]);
    }
    // Now and then, checksums stay as they are.
    if op >> 4 != 15 {
        anatomy.refresh(canvas, part);
    }
}

/// Demands what holds for all bytes: an error that helps; or an output that is read as the same tree,
/// and whose canonical form is itself.
pub fn holds(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let output = match outcome(bytes) {
        Outcome::Refused => return Ok(None),
        Outcome::Wrong(words) => return Err(words),
        Outcome::Written(output) => output.bytes(),
    };
    match outcome(&output) {
        Outcome::Written(again) if again.bytes() == output => {}
        Outcome::Written(_) => return Err("its output is not canonical".to_owned()),
        other => return Err(format!("its output can't be read: {other:?}")),
    }
    verify(&Input::new(bytes), &Input::new(&output), &Options::default(), &Silent)
        .map_err(|error| format!("its output is another tree: {error}"))?;
    Ok(Some(output))
}
