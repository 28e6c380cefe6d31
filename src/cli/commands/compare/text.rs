//! Formats the report of `compare` as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use ext4_canon::compare::{
    Attribute, Comparison, Detail, FilesystemComparison, Ignored, PathDifference, SettingDifference,
};
use ext4_canon::text::counted;
use ext4_canon::{MtimePolicy, Options, SettingsPolicy};
use indicatif::HumanCount;

use super::cures;
use super::diff::unified;
use super::evidence::{self, Evidence};
use super::groups::{self, Group};
use super::settings;
use crate::cli::dates;
use crate::cli::paint::Paint;

/// The number of paths to name in a group of paths that differ in the same way.
const NAMED: usize = 3;

/// A report of `compare`: the result, and the settings for its format.
#[derive(Clone, Copy)]
pub struct Report<'r> {
    /// The names of both images.
    pub inputs: [&'r Path; 2],
    /// The result of the comparison.
    pub comparison: &'r Comparison,
    /// The options of the comparison.
    pub options: &'r Options,
    /// The options, versions and digests of the comparison.
    pub evidence: &'r Evidence,
    /// The maximum number of paths, or groups of paths, to list; 0 for all.
    pub limit: usize,
    /// The painter for colours.
    pub paint: Paint,
}

/// Returns the verdict in one word.
fn match_word(matches: bool) -> &'static str {
    if matches { "match" } else { "differ" }
}

/// Formats the warnings about both images.
pub fn warnings(inputs: [&Path; 2], comparison: &FilesystemComparison) -> Vec<String> {
    let sides = inputs.iter().zip(&comparison.warnings);
    let lines = sides.flat_map(|(input, warnings)| {
        warnings.iter().map(move |warning| format!("{}: {warning}", input.display()))
    });
    lines.collect()
}

// Writing to a string can't fail, so the results of `writeln` are ignored.
impl Report<'_> {
    /// Formats the report: the verdict, settings, paths, ignored differences, and the evidence.
    pub fn text(&self) -> String {
        let mut text = self.verdict();
        self.settings(&mut text, "disk", &self.comparison.settings);
        let mut left = if self.limit == 0 { usize::MAX } else { self.limit };
        for filesystem in &self.comparison.filesystems {
            if let Some(name) = &filesystem.name {
                let _ = writeln!(text, "{name}: {}", self.coloured(filesystem.is_match()));
            }
            self.settings(&mut text, "filesystem", &filesystem.settings);
            self.paths(&mut text, filesystem, &mut left);
            filesystem.ignored.iter().flatten().for_each(|ignored| {
                let line = format!("ignored: {} ({})", ignored_words(ignored), ignored.cause.words());
                let _ = writeln!(text, "{}", self.paint.dim(line));
            });
        }
        self.meeting(&mut text);
        self.circumstances(&mut text);
        text
    }

    /// Names the command that makes the settings equal, if they differ.
    fn meeting(&self, text: &mut String) {
        let [one, other] = self.inputs.map(evidence::shell_word);
        let [filesystem] = &self.comparison.filesystems[..] else { return };
        if self.options.settings == SettingsPolicy::Own && self.can_meet(filesystem) {
            let words: Vec<_> =
                ["--like".to_owned(), one].into_iter().chain(self.evidence.options.clone()).collect();
            let _ = writeln!(text, "to give B the settings of A: ext4-canon {} {other} OUT", words.join(" "));
        }
    }

    /// Returns whether settings differ that `--like` takes from the other image.
    fn can_meet(&self, filesystem: &FilesystemComparison) -> bool {
        let mut causes = filesystem.settings.iter().filter(|setting| setting.follows.is_none());
        // These belong to a filesystem, and can't be given to a different one.
        let bound = ["feature stable_inodes", "place of the journal", "revision"];
        let is_bound = |name: &str| bound.contains(&name) || name.ends_with("external journal");
        filesystem.settings.iter().all(|setting| !is_bound(&setting.name))
            && causes.any(|setting| setting.name != "UUID" && setting.name != "boot sector")
    }

    /// Returns the number of paths that differ, and the number of settings that differ and don't follow from
    /// another setting.
    pub fn counts(&self) -> (usize, usize) {
        let Comparison { filesystems, settings, .. } = self.comparison;
        let causes = |all: &[SettingDifference]| all.iter().filter(|one| one.follows.is_none()).count();
        let settings = causes(settings) + filesystems.iter().map(|one| causes(&one.settings)).sum::<usize>();
        let paths = filesystems
            .iter()
            .map(|filesystem| filesystem.differences.chunk_by(|one, other| one.path == other.path).count())
            .sum();
        (paths, settings)
    }

    fn coloured(&self, matches: bool) -> String {
        let word = match_word(matches);
        if matches { self.paint.green(word) } else { self.paint.red(word) }
    }

    fn verdict(&self) -> String {
        let [one, other] = self.inputs.map(Path::display);
        let filesystems = &self.comparison.filesystems;
        let mut text = format!("{one} and {other}: {}\n", self.coloured(self.comparison.is_match()));
        if self.comparison.is_match() {
            if filesystems.iter().any(|filesystem| filesystem.settled) {
                text.push_str(
                    "the trees match; the settings of the images differ, and the options settle that\n",
                );
            }
            return text;
        }
        let (paths, settings) = self.counts();
        let mut all = filesystems.iter().flat_map(|filesystem| &filesystem.differences);
        let _ = writeln!(
            text,
            "differences: {} and {} (A is {one}, B is {other})",
            plural(paths, "path"),
            plural(settings, "setting")
        );
        let only_times = paths > 0 && all.all(|found| found.attribute == Attribute::Mtime);
        let keeps = self.options.mtime == MtimePolicy::Keep;
        if only_times && settings == 0 && self.options.epoch.is_none() && !keeps {
            text.push_str(
                "only file times differ: set SOURCE_DATE_EPOCH, for the build and for ext4-canon\n",
            );
        }
        text
    }

    fn settings(&self, text: &mut String, of: &str, settings: &[SettingDifference]) {
        for group in settings::groups(settings) {
            for (name, values) in settings::lines(&group.causes) {
                let _ = writeln!(text, "{of}: {} {}", self.paint.bold(name), self.values(values));
            }
            for SettingDifference { name, values, .. } in &group.consequences {
                let _ = writeln!(text, "  so also: {name} {}", self.values(values));
            }
            let _ = writeln!(text, "  cure: {}", group.cure());
        }
    }

    fn values(&self, [one, other]: &[String; 2]) -> String {
        format!("{} -> {}", self.paint.red(one), self.paint.green(other))
    }

    fn paths(&self, text: &mut String, filesystem: &FilesystemComparison, left: &mut usize) {
        let groups = groups::groups(&filesystem.differences);
        let shown = groups.len().min(*left);
        *left -= shown;
        // The cures for attributes, with the attributes, in the order in which they first occur.
        let mut general: Vec<(&str, Vec<&str>)> = Vec::new();
        for group in &groups[..shown] {
            self.group(text, group);
            for cause in group.causes() {
                let cure = cures::cure(cause, self.options);
                let name = cause.attribute.name();
                if group.paths.len() > 1 || cures::of_file(&cause.path) == Some(cure) {
                    let _ = writeln!(text, "  cure: {cure}");
                } else if let Some((_, names)) = general.iter_mut().find(|(known, _)| *known == cure) {
                    names.push(name);
                } else {
                    general.push((cure, vec![name]));
                }
            }
        }
        for (cure, mut names) in general {
            let mut known = BTreeSet::new();
            names.retain(|name| known.insert(*name));
            let _ = writeln!(text, "cure for {}: {cure}", names.join(", "));
        }
        if shown < groups.len() {
            let _ = writeln!(text, "{}", rest(&groups[shown..]));
        }
    }

    fn group(&self, text: &mut String, group: &Group<'_>) {
        let words = |difference| self.words(difference);
        if group.paths.len() > 1 {
            let names = group.paths[..NAMED.min(group.paths.len())].join(", ");
            let _ = writeln!(text, "{}: {names}, …", self.paint.bold(plural(group.paths.len(), "path")));
            for difference in &group.differences {
                let of_first =
                    if difference.attribute == Attribute::Mtime { " (the first of them)" } else { "" };
                let _ = writeln!(text, "  {}{of_first}", words(difference));
            }
            return;
        }
        let path = self.paint.bold(group.path());
        let below = match group.below {
            0 => String::new(),
            below => format!(", with {}", plural(below, "path") + " below it"),
        };
        for (index, difference) in group.differences.iter().enumerate() {
            let start = if index == 0 { format!("{path}:") } else { " ".to_owned() };
            let _ = writeln!(text, "{start} {}{below}", words(difference));
            if let Some(diff) = diff(self.inputs, difference) {
                text.push_str(&self.coloured_diff(&diff));
            }
        }
    }

    fn words(&self, difference: &PathDifference) -> String {
        match words(self.inputs, difference) {
            Words { what, values: None } => what,
            Words { what, values: Some(values) } if what.is_empty() => self.values(&values),
            Words { what, values: Some(values) } => format!("{what} {}", self.values(&values)),
        }
    }

    fn coloured_diff(&self, diff: &str) -> String {
        if !self.paint.is_coloured() {
            return diff.to_owned();
        }
        let lines = diff.split_inclusive('\n').map(|line| match line.as_bytes().first() {
            Some(b'-') => self.paint.red(line),
            Some(b'+') => self.paint.green(line),
            _ => line.to_owned(),
        });
        lines.collect()
    }

    fn circumstances(&self, text: &mut String) {
        let _ = writeln!(text, "{}", self.paint.dim(format!("compared by {}", self.evidence.words())));
        for (side, digest) in ["A", "B"].iter().zip(self.evidence.digests.iter().flatten()) {
            let _ = writeln!(text, "{}", self.paint.dim(format!("SHA-256 of {side}: {digest}")));
        }
    }
}

/// Formats a count with a noun.
pub fn plural(count: usize, noun: &str) -> String {
    let one = counted(count as u64, noun);
    let noun = one.split_once(' ').map_or(noun, |(_, noun)| noun);
    format!("{} {noun}", HumanCount(count as u64))
}

/// Formats the totals of the groups that are not listed.
fn rest(groups: &[Group<'_>]) -> String {
    let mut counts: BTreeMap<Attribute, usize> = BTreeMap::new();
    for group in groups {
        *counts.entry(group.differences[0].attribute).or_default() += group.count();
    }
    let total: usize = counts.values().sum();
    let counts: Vec<_> = counts
        .iter()
        .map(|(attribute, count)| format!("{} {}", attribute.name(), HumanCount(*count as u64)))
        .collect();
    format!("not shown: {} ({}); --limit 0 shows all", plural(total, "path"), counts.join(", "))
}

/// Describes a difference that is ignored.
fn ignored_words(ignored: &Ignored) -> String {
    let what = ignored.what;
    match &ignored.detail {
        Detail::Values([one, other]) => format!("{what}: {one} -> {other}"),
        Detail::Differing(count) => format!("{what}: {count}"),
        Detail::Counts([one, other]) => format!("{what}: {one} and {other}"),
    }
}

/// A description of a difference, without the path.
#[derive(Debug)]
pub struct Words {
    /// The difference in words; can be empty if the values are enough.
    pub what: String,
    /// The values in both images, unless `what` is enough.
    pub values: Option<[String; 2]>,
}

/// Describes a difference.
pub fn words(inputs: [&Path; 2], difference: &PathDifference) -> Words {
    let [one, other] = difference.values.each_ref().map(|value| value.as_deref());
    let only_in = |input: &Path, what: &str| format!("only in {} ({what})", input.display());
    let name = difference.attribute.name();
    let plain = |what: String| Words { what, values: None };
    match (difference.attribute, one, other) {
        (Attribute::Presence, Some(what), _) => plain(only_in(inputs[0], what)),
        (Attribute::Presence, _, Some(what)) => plain(only_in(inputs[1], what)),
        (Attribute::Content, ..) => {
            let (first, bytes) = difference.content.map_or((0, 0), |content| (content.first, content.bytes));
            let noun = if bytes == 1 { "byte differs" } else { "bytes differ" };
            plain(format!("content, {bytes} {noun}, the first is at offset {first}"))
        }
        (Attribute::Allocation, ..) => plain("block allocation (written blocks or holes)".to_owned()),
        (Attribute::Mtime, Some(one), Some(other)) => {
            Words { what: name.to_owned(), values: Some([dates::iso(one), dates::iso(other)]) }
        }
        (Attribute::HardLink, ..) => {
            let values =
                [one, other].map(|first| format!("hard link to {}", first.unwrap_or("no path before it")));
            Words { what: String::new(), values: Some(values) }
        }
        _ => {
            let what = difference.name.as_ref().map_or(name.to_owned(), |xattr| format!("{name} {xattr}"));
            Words { what, values: Some([one, other].map(|value| value.unwrap_or("(none)").to_owned())) }
        }
    }
}

/// Returns the unified diff of two text files, if the texts of both are known.
pub fn diff(inputs: [&Path; 2], difference: &PathDifference) -> Option<String> {
    let texts = difference.texts.as_ref()?;
    let names = inputs.map(|input| format!("{}:{}", input.display(), difference.path));
    unified([&texts[0], &texts[1]], [&names[0], &names[1]])
}
