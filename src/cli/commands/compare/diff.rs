//! Creates unified diffs of small text files.

use std::fmt::Write as _;

/// The number of context lines around a change.
const CONTEXT: usize = 3;

/// The maximum number of changed lines for which the shortest diff is computed.
const MOST_CHANGES: usize = 1000;

/// A step of an edit script, with line indices into the two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep(usize, usize),
    Remove(usize, usize),
    Add(usize, usize),
}

impl Edit {
    fn places(self) -> (usize, usize) {
        match self {
            Self::Keep(one, other) | Self::Remove(one, other) | Self::Add(one, other) => (one, other),
        }
    }
}

/// Returns the unified diff of two texts, with `names` in its header. Returns `None` if one of them is not
/// UTF-8, or contains characters that can change how a terminal shows it.
pub fn unified(texts: [&[u8]; 2], names: [&str; 2]) -> Option<String> {
    // Control characters except newline and tab, and controls for bidirectional text.
    let is_hidden = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    let [one, other] = texts.map(|text| str::from_utf8(text).ok().filter(|text| !text.contains(is_hidden)));
    let (one, other): (Vec<&str>, Vec<&str>) =
        (one?.split_inclusive('\n').collect(), other?.split_inclusive('\n').collect());
    let script = script(&one, &other);
    let mut text = format!("--- {}\n+++ {}\n", names[0], names[1]);
    for hunk in hunks(&script) {
        let count = |skip: fn(&Edit) -> bool| hunk.iter().filter(|edit| !skip(edit)).count();
        let (removed, added) =
            (count(|edit| matches!(edit, Edit::Add(..))), count(|edit| matches!(edit, Edit::Remove(..))));
        let (start, other_start) = hunk.first().map_or((0, 0), |edit| edit.places());
        // Writing to a string can't fail.
        let _ = writeln!(text, "@@ -{} +{} @@", range(start, removed), range(other_start, added));
        for edit in hunk {
            let (mark, line) = match *edit {
                Edit::Keep(place, _) => (' ', one[place]),
                Edit::Remove(place, _) => ('-', one[place]),
                Edit::Add(_, place) => ('+', other[place]),
            };
            text.push(mark);
            text.push_str(line);
            if !line.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    Some(text)
}

/// Formats the line range of a hunk as diff(1) does: an empty range has the number of the line before it.
fn range(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    }
}

/// Returns the hunks of the script: its changes, with context.
fn hunks(script: &[Edit]) -> Vec<&[Edit]> {
    let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
    let changes = script.iter().enumerate().filter(|(_, edit)| !matches!(edit, Edit::Keep(..)));
    for (place, _) in changes {
        let range = place.saturating_sub(CONTEXT)..(place + CONTEXT + 1).min(script.len());
        match ranges.last_mut() {
            Some(last) if last.end >= range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges.into_iter().map(|range| &script[range]).collect()
}

/// Returns an edit script that turns the first list of lines into the second.
fn script(one: &[&str], other: &[&str]) -> Vec<Edit> {
    let same = |(one, other): &(&&str, &&str)| one == other;
    let head = one.iter().zip(other).take_while(same).count();
    let (rest, other_rest) = (&one[head..], &other[head..]);
    let tail = rest.iter().rev().zip(other_rest.iter().rev()).take_while(same).count();
    let (middle, other_middle) = (&rest[..rest.len() - tail], &other_rest[..other_rest.len() - tail]);
    let mut script: Vec<Edit> = (0..head).map(|place| Edit::Keep(place, place)).collect();
    script.extend(shortest(middle, other_middle).into_iter().map(|edit| match edit {
        Edit::Keep(one, other) => Edit::Keep(one + head, other + head),
        Edit::Remove(one, other) => Edit::Remove(one + head, other + head),
        Edit::Add(one, other) => Edit::Add(one + head, other + head),
    }));
    script.extend((0..tail).map(|place| Edit::Keep(one.len() - tail + place, other.len() - tail + place)));
    script
}

/// For each diagonal, the furthest index into the first list that was reached. On diagonal k, the indices
/// into the two lists differ by k. The position of diagonal k in the vector is k + [`MOST_CHANGES`] + 1.
type Reach = Vec<usize>;

fn index(k: isize) -> usize {
    (k + MOST_CHANGES.cast_signed() + 1).cast_unsigned()
}

/// Returns the diagonal from which diagonal k is reached with `changes` changes. If it is k + 1, the last
/// change adds a line; if it is k - 1, the last change removes a line.
fn before(reach: &Reach, k: isize, changes: isize) -> isize {
    let adds = k == -changes || k != changes && reach[index(k - 1)] < reach[index(k + 1)];
    if adds { k + 1 } else { k - 1 }
}

/// Returns the shortest edit script, computed with Myers's algorithm. If it would have too many changes,
/// returns a script that removes all old lines and adds all new lines.
fn shortest(one: &[&str], other: &[&str]) -> Vec<Edit> {
    let Some(trace) = trace(one, other) else {
        let removed = (0..one.len()).map(|place| Edit::Remove(place, 0));
        return removed.chain((0..other.len()).map(|place| Edit::Add(one.len(), place))).collect();
    };
    let (mut x, mut y, mut script) = (one.len(), other.len(), Vec::new());
    for (changes, reach) in trace.iter().enumerate().rev() {
        let changes = changes.cast_signed();
        let before = before(reach, x.cast_signed() - y.cast_signed(), changes);
        // Before the first change, all lines are equal.
        let (start, start_y) = if changes == 0 {
            (0, 0)
        } else {
            let start = reach[index(before)];
            (start, (start.cast_signed() - before).cast_unsigned())
        };
        while x > start && y > start_y {
            (x, y) = (x - 1, y - 1);
            script.push(Edit::Keep(x, y));
        }
        if changes > 0 {
            script.push(if x == start { Edit::Add(x, start_y) } else { Edit::Remove(start, y) });
            (x, y) = (start, start_y);
        }
    }
    script.reverse();
    script
}

/// Returns a list whose element n is the reach after n - 1 changes (zeros for n = 0). The index of the last
/// element is the number of changes that are needed. Returns `None` if more than [`MOST_CHANGES`] changes are
/// needed.
fn trace(one: &[&str], other: &[&str]) -> Option<Vec<Reach>> {
    let mut reach = vec![0; 2 * MOST_CHANGES + 3];
    let mut trace = Vec::new();
    for changes in 0..=MOST_CHANGES.cast_signed() {
        trace.push(reach.clone());
        for k in (-changes..=changes).step_by(2) {
            let before = before(&reach, k, changes);
            let mut x = reach[index(before)] + usize::from(before < k);
            let mut y = (x.cast_signed() - k).cast_unsigned();
            while x < one.len() && y < other.len() && one[x] == other[y] {
                (x, y) = (x + 1, y + 1);
            }
            reach[index(k)] = x;
            if x >= one.len() && y >= other.len() {
                return Some(trace);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(one: &str, other: &str) -> String {
        unified([one.as_bytes(), other.as_bytes()], ["a", "b"]).unwrap()
    }

    #[test]
    fn it_reads_like_diff_u() {
        let one: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let other = one.replace("\n5\n", "\nfive\n").replace("\n18\n", "\n").replace("20\n", "20");
        let expected = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
                        @@ -15,6 +15,5 @@\n 15\n 16\n 17\n-18\n 19\n-20\n+20\n\\ No newline at end of file\n";
        assert_eq!(diff(&one, &other), expected);
        assert_eq!(diff("", "x\n"), "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
        assert_eq!(diff("x\n", ""), "--- a\n+++ b\n@@ -1 +0,0 @@\n-x\n");
        assert_eq!(unified([b"\0", b"x"], ["a", "b"]), None);
        assert_eq!(unified([b"\xff", b"x"], ["a", "b"]), None);
    }

    /// Checks that applying the script results in the second text, and that the script is as short as the
    /// longest common subsequence allows.
    #[test]
    fn scripts_are_right_and_short() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            let mut text = || (0..random(9)).map(|_| ["a", "b", "c"][random(3) as usize]).collect::<Vec<_>>();
            let (one, other) = (text(), text());
            let script = script(&one, &other);
            let (mut from, mut made) = (Vec::new(), Vec::new());
            for edit in &script {
                match *edit {
                    Edit::Keep(place, to) => {
                        assert_eq!(one[place], other[to]);
                        from.push(one[place]);
                        made.push(other[to]);
                    }
                    Edit::Remove(place, _) => from.push(one[place]),
                    Edit::Add(_, place) => made.push(other[place]),
                }
            }
            assert_eq!((&from, &made), (&one, &other), "{script:?}");
            let kept = script.iter().filter(|edit| matches!(edit, Edit::Keep(..))).count();
            assert_eq!(kept, longest_common(&one, &other), "{one:?} {other:?} {script:?}");
        }
    }

    fn longest_common(one: &[&str], other: &[&str]) -> usize {
        let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
        for x in 0..one.len() {
            for y in 0..other.len() {
                table[x + 1][y + 1] =
                    if one[x] == other[y] { table[x][y] + 1 } else { table[x][y + 1].max(table[x + 1][y]) };
            }
        }
        table[one.len()][other.len()]
    }

    #[test]
    fn a_long_script_is_all_of_both() {
        let lines = |word: &str| (0..MOST_CHANGES).map(|n| format!("{word}{n}\n")).collect::<String>();
        let text = diff(&lines("a"), &lines("b"));
        assert!(text.contains(&format!("@@ -1,{MOST_CHANGES} +1,{MOST_CHANGES} @@")), "{}", &text[..80]);
    }
}
