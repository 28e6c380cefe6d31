//! Groups paths that differ in the same way, so that a report needs only one line for them.

use std::collections::BTreeMap;

use ext4_canon::compare::{Attribute, PathDifference};

/// The maximum number of paths with the same difference that are listed one by one.
const FEW: usize = 3;

/// One or more paths that differ in the same way.
#[derive(Debug)]
pub struct Group<'c> {
    /// The differences of the first path, causes before consequences.
    pub differences: Vec<&'c PathDifference>,
    /// All paths, in the order of the differences.
    pub paths: Vec<&'c str>,
    /// The number of paths below a directory that is only in one image; 0 for all other paths.
    pub below: usize,
}

impl Group<'_> {
    /// Returns the first path.
    pub fn path(&self) -> &str {
        &self.differences[0].path
    }

    /// Returns the differences that need a cure. A different mtime needs none if anything else also differs.
    pub fn causes(&self) -> impl Iterator<Item = &PathDifference> {
        let main = rank(self.differences[0].attribute);
        let is_cause = move |difference: &&PathDifference| {
            difference.attribute != Attribute::Mtime || rank(Attribute::Mtime) == main
        };
        self.differences.iter().copied().filter(is_cause)
    }

    /// Returns the number of paths, including paths below a missing directory.
    pub fn count(&self) -> usize {
        self.paths.len() + self.below
    }
}

/// Groups the differences of two trees, which are in the order of the paths.
pub fn groups(differences: &[PathDifference]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for of_path in differences.chunk_by(|one, other| one.path == other.path) {
        if let Some(missing) = groups.last_mut()
            && holds(missing, of_path)
        {
            missing.below += 1;
            continue;
        }
        let mut differences: Vec<_> = of_path.iter().collect();
        differences.sort_by_key(|difference| rank(difference.attribute));
        groups.push(Group { paths: vec![&differences[0].path], differences, below: 0 });
    }
    joined(groups)
}

/// Returns whether a path is below a directory that is missing in the same image.
fn holds(missing: &Group<'_>, of_path: &[PathDifference]) -> bool {
    let [directory] = missing.differences[..] else { return false };
    let [inside] = of_path else { return false };
    let missing_on = |difference: &PathDifference| difference.values.each_ref().map(Option::is_none);
    [directory, inside].iter().all(|difference| difference.attribute == Attribute::Presence)
        && missing_on(directory) == missing_on(inside)
        && inside.path.strip_prefix(&*directory.path).is_some_and(|rest| rest.starts_with('/'))
}

/// Joins groups with the same change if they have more than [`FEW`] paths. The joined group has the
/// position of the first of these groups.
fn joined(groups: Vec<Group<'_>>) -> Vec<Group<'_>> {
    let mut counts: BTreeMap<Change<'_>, usize> = BTreeMap::new();
    for group in &groups {
        if let Some(change) = change(group) {
            *counts.entry(change).or_default() += 1;
        }
    }
    let mut firsts: BTreeMap<Change<'_>, usize> = BTreeMap::new();
    let mut joined: Vec<Group<'_>> = Vec::new();
    for group in groups {
        match change(&group).filter(|change| counts[change] > FEW) {
            None => joined.push(group),
            Some(change) => match firsts.get(&change) {
                Some(first) => joined[*first].paths.extend(group.paths),
                None => {
                    firsts.insert(change, joined.len());
                    joined.push(group);
                }
            },
        }
    }
    joined
}

/// A change: the attributes that differ, each with its values, and with the name if it is an xattr. The
/// values of mtimes are left out.
type Change<'c> = Vec<(Attribute, Option<&'c str>, [Option<&'c str>; 2])>;

/// Returns the change of a path, if different paths can have the same change.
fn change<'c>(group: &Group<'c>) -> Option<Change<'c>> {
    let changes = group.differences.iter().map(|difference| {
        let PathDifference { attribute, name, values, .. } = difference;
        let values = match attribute {
            // Each path needs a separate line, since the offset and number of bytes, or the linked path,
            // differ.
            Attribute::Content | Attribute::HardLink => return None,
            Attribute::Mtime => [None, None],
            _ => values.each_ref().map(Option::as_deref),
        };
        Some((*attribute, name.as_deref(), values))
    });
    changes.collect::<Option<_>>().filter(|_| group.below == 0)
}

/// Returns the sort key of an attribute. Content comes before the mtime, because a write changes both.
fn rank(attribute: Attribute) -> u8 {
    match attribute {
        Attribute::Presence | Attribute::Type => 0,
        Attribute::Size | Attribute::Content | Attribute::Target | Attribute::Device => 1,
        Attribute::Allocation => 2,
        Attribute::Mtime => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &str, attribute: Attribute, values: [&str; 2]) -> PathDifference {
        let mut difference = PathDifference::default();
        path.clone_into(&mut difference.path);
        difference.attribute = attribute;
        difference.values = values.map(|value| (!value.is_empty()).then(|| value.to_owned()));
        difference
    }

    #[test]
    fn a_missing_directory_is_one_group() {
        let all = [
            difference("/a", Attribute::Presence, ["directory", ""]),
            difference("/a/b", Attribute::Presence, ["file", ""]),
            difference("/a/b/c", Attribute::Presence, ["file", ""]),
            difference("/ab", Attribute::Presence, ["file", ""]),
            difference("/b", Attribute::Presence, ["", "directory"]),
        ];
        let told: Vec<_> = groups(&all).iter().map(|group| (group.path().to_owned(), group.below)).collect();
        assert_eq!(told, [("/a".to_owned(), 2), ("/ab".to_owned(), 0), ("/b".to_owned(), 0)]);
    }

    #[test]
    fn many_paths_with_the_same_change_are_one_group() {
        let mut all: Vec<_> = (0..5)
            .map(|number| difference(&format!("/t{number}"), Attribute::Mtime, ["1", &format!("{number}")]))
            .collect();
        all.push(difference("/u0", Attribute::Uid, ["0", "1"]));
        all.push(difference("/u1", Attribute::Uid, ["0", "1"]));
        all.push(difference("/u2", Attribute::Mtime, ["0", "1"]));
        all.push(difference("/u2", Attribute::Content, ["", ""]));
        let groups = groups(&all);
        let told: Vec<_> = groups.iter().map(|group| (group.path(), group.count())).collect();
        assert_eq!(told, [("/t0", 5), ("/u0", 1), ("/u1", 1), ("/u2", 1)]);
        assert_eq!(groups[3].differences[0].attribute, Attribute::Content);
    }
}
