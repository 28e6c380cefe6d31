//! Folds names like the kernel, which compares and hashes folded names in casefolded directories.
//!
//! Folding applies the case folding and canonical decomposition of Unicode 12.1 until nothing changes. It
//! removes code points with the property Default_Ignorable_Code_Point, and puts combining marks into
//! canonical order.

use super::decompositions::DECOMPOSITIONS;
use super::unicode::{CLASSES, FOLDS, IGNORABLE, LONG_FOLDS};

const HANGUL: u32 = 0xAC00;
const LEADING: u32 = 0x1100;
const VOWELS: u32 = 0x1161;
const TRAILING: u32 = 0x11A7;
const VOWEL_COUNT: u32 = 21;
const TRAILING_COUNT: u32 = 28;
const HANGUL_COUNT: u32 = 19 * VOWEL_COUNT * TRAILING_COUNT;

/// Returns the folded name; `None` for a name that is not UTF-8, which is compared and hashed verbatim. Code
/// points that Unicode 12.1 does not define are unchanged.
pub fn fold(name: &[u8]) -> Option<Vec<u8>> {
    let name = std::str::from_utf8(name).ok()?;
    if name.is_ascii() {
        return Some(name.to_ascii_lowercase().into_bytes());
    }
    let mut folded = String::with_capacity(name.len() * 2);
    // Combining marks since the last code point with combining class 0.
    let mut marks: Vec<(u8, char)> = Vec::new();
    let mut waiting = Vec::new();
    for character in name.chars() {
        waiting.push(u32::from(character));
        while let Some(point) = waiting.pop() {
            if holds(IGNORABLE, point) {
                put(&mut folded, &mut marks);
            } else if !replace(point, &mut waiting) {
                let character = char::from_u32(point)?;
                match class(point) {
                    0 => {
                        put(&mut folded, &mut marks);
                        folded.push(character);
                    }
                    class => marks.push((class, character)),
                }
            }
        }
    }
    put(&mut folded, &mut marks);
    Some(folded.into_bytes())
}

/// Moves the combining marks to the folded name, in canonical order.
fn put(folded: &mut String, marks: &mut Vec<(u8, char)>) {
    marks.sort_by_key(|(class, _)| *class);
    folded.extend(marks.drain(..).map(|(_, mark)| mark));
}

/// Pushes the folding or decomposition of a code point, with the last code point first. Returns `false` if
/// there is none.
fn replace(point: u32, waiting: &mut Vec<u32>) -> bool {
    if let Some(target) = simple_fold(point) {
        waiting.push(target);
    } else if let Ok(place) = LONG_FOLDS.binary_search_by_key(&point, |(point, _)| *point) {
        waiting.extend(LONG_FOLDS[place].1.iter().rev().filter(|target| **target != 0));
    } else if let Some(index) = point.checked_sub(HANGUL).filter(|index| *index < HANGUL_COUNT) {
        let trailing = index % TRAILING_COUNT;
        if trailing > 0 {
            waiting.push(TRAILING + trailing);
        }
        waiting.push(VOWELS + index / TRAILING_COUNT % VOWEL_COUNT);
        waiting.push(LEADING + index / TRAILING_COUNT / VOWEL_COUNT);
    } else if let Ok(place) = DECOMPOSITIONS.binary_search_by_key(&point, |(point, ..)| *point) {
        let (_, first, second) = DECOMPOSITIONS[place];
        waiting.extend([second, first].iter().filter(|target| **target != 0));
    } else {
        return false;
    }
    true
}

fn simple_fold(point: u32) -> Option<u32> {
    let place = FOLDS.partition_point(|(_, last, ..)| *last < point);
    let (first, _, step, distance) = *FOLDS.get(place)?;
    let inside = point >= first && (point - first).is_multiple_of(step);
    inside.then(|| point.checked_add_signed(distance)).flatten()
}

fn class(point: u32) -> u8 {
    let place = CLASSES.partition_point(|(_, last, _)| *last < point);
    CLASSES.get(place).filter(|(first, ..)| *first <= point).map_or(0, |(.., class)| *class)
}

fn holds(ranges: &[(u32, u32)], point: u32) -> bool {
    let place = ranges.partition_point(|(_, last)| *last < point);
    ranges.get(place).is_some_and(|(first, _)| *first <= point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(name: &str) -> String {
        String::from_utf8(fold(name.as_bytes()).unwrap()).unwrap()
    }

    /// The expected values were derived by hand from the Unicode Character Database.
    #[test]
    fn names_are_folded_and_decomposed() {
        for (name, expected) in [
            ("README.Txt", "readme.txt"),
            ("\u{c4}", "a\u{308}"),
            ("Stra\u{df}e", "strasse"),
            // ΐ folds to three code points, of which the first has no case.
            ("\u{390}", "\u{3b9}\u{308}\u{301}"),
            // ᾴ folds to ά and ι, and ά is decomposed into α and an accent.
            ("\u{1fb4}", "\u{3b1}\u{301}\u{3b9}"),
            ("\u{130}", "i\u{307}"),
            ("\u{ac00}", "\u{1100}\u{1161}"),
            ("\u{d7a3}", "\u{1112}\u{1175}\u{11c2}"),
            // The Angstrom sign is Å, which folds to å.
            ("\u{212b}", "a\u{30a}"),
            ("\u{345}", "\u{3b9}"),
        ] {
            assert_eq!(folded(name), expected, "{name:?}");
        }
    }

    #[test]
    fn marks_come_in_canonical_order_but_not_across_what_counts_as_nothing() {
        assert_eq!(folded("a\u{301}\u{323}"), "a\u{323}\u{301}");
        assert_eq!(folded("a\u{301}\u{300}"), "a\u{301}\u{300}");
        assert_eq!(folded("a\u{301}\u{34f}\u{323}"), "a\u{301}\u{323}");
        assert_eq!(folded("a\u{ad}b\u{200d}"), "ab");
        assert_eq!(folded("\u{200b}"), "");
    }

    #[test]
    fn unknown_code_points_stand_for_themselves_and_other_bytes_are_not_folded() {
        assert_eq!(fold(b"A\xff"), None);
        assert_eq!(fold(b"A\xed\xa0\x80"), None);
        assert_eq!(folded("A\u{378}"), "a\u{378}");
        // From Unicode 13: LATIN CAPITAL LETTER D WITH SHORT STROKE OVERLAY.
        assert_eq!(folded("\u{a7c7}"), "\u{a7c7}");
        assert_eq!(folded("\u{fdd0}"), "\u{fdd0}");
        // This range is default-ignorable, although not all of it is assigned.
        assert_eq!(folded("\u{e0080}"), "");
    }

    #[test]
    fn folding_again_changes_nothing() {
        for character in (0..0x11_0000).filter_map(char::from_u32) {
            let mut name = [0; 4];
            if let Some(once) = fold(character.encode_utf8(&mut name).as_bytes()) {
                assert_eq!(fold(&once).as_ref(), Some(&once), "{character:?}");
            }
        }
    }
}
