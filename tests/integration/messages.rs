//! Exact error messages: a case for each kind of error, its message, and the rules for all messages.
//!
//! The messages are in messages/snapshots.txt. Run with EXT4_CANON_BLESS=1 to update it.

mod cases;
mod literals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use ext4_canon::Silent;
use ext4_canon::{Disk, Error, Input, Options, Selection};
use ext4_canon::{Location, Problem, Structure};

use crate::support::contents::digest_of;
use crate::support::tools::project;
use crate::support::{Canon, Lab, Need, partly};
use cases::{Case, PLAIN};

/// The path of the snapshots in the source tree.
const SNAPSHOTS: &str = "tests/integration/messages/snapshots.txt";

/// The kinds of error. A new kind needs an arm in the match, an entry here, and a case.
const KINDS: [&str; 10] = [
    "io",
    "unsupported",
    "unclean",
    "does not fit",
    "options",
    "magic",
    "checksum",
    "value",
    "in words",
    "in a partition",
];

fn kind_name(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => KINDS[0],
        Error::Unsupported { .. } => KINDS[1],
        Error::Unclean { .. } => KINDS[2],
        Error::DoesNotFit { .. } | Error::TooFewInodes { .. } => KINDS[3],
        Error::Options { .. } => KINDS[4],
        Error::Corrupt { problem: Problem::Magic { .. }, .. } => KINDS[5],
        Error::Corrupt { problem: Problem::Checksum { .. }, .. } => KINDS[6],
        Error::Corrupt { problem: Problem::Value { .. }, .. } => KINDS[7],
        Error::Corrupt { problem: Problem::Other(_), .. } => KINDS[8],
        Error::Partition { .. } => KINDS[9],
        _ => panic!("no image should cause an internal error: {error}"),
    }
}

/// The structures that errors name. A new structure needs the same.
const STRUCTURES: [&str; 15] = [
    "image",
    "superblock",
    "group descriptor",
    "inode",
    "block map",
    "extent block",
    "indirect block",
    "directory",
    "xattrs",
    "EA inode",
    "journal",
    "orphan file",
    "quota file",
    "MMP block",
    "partition table",
];

fn structure_name(at: &Location) -> &'static str {
    match at.structure {
        Structure::Image => STRUCTURES[0],
        Structure::Superblock => STRUCTURES[1],
        Structure::GroupDescriptor => STRUCTURES[2],
        Structure::Inode => STRUCTURES[3],
        Structure::FileMap => STRUCTURES[4],
        Structure::ExtentBlock => STRUCTURES[5],
        Structure::IndirectBlock => STRUCTURES[6],
        Structure::Directory => STRUCTURES[7],
        Structure::Xattr => STRUCTURES[8],
        Structure::EaInode => STRUCTURES[9],
        Structure::Journal => STRUCTURES[10],
        Structure::OrphanFile => STRUCTURES[11],
        Structure::QuotaFile => STRUCTURES[12],
        Structure::Mmp => STRUCTURES[13],
        Structure::PartitionTable => STRUCTURES[14],
        other => panic!("a structure without a case: {other:?}"),
    }
}

/// The result of a case.
struct Told {
    code: Option<i32>,
    words: String,
    /// Whether the directory is unchanged.
    untouched: bool,
    /// The library's error for the image, if the case is about one.
    error: Option<Error>,
}

fn tell(case: &Case) -> Told {
    let lab = Lab::new();
    (case.make)(&lab);
    let folder = lab.path("");
    let before: Vec<_> = files(&folder);
    let ran = Canon::script(case.script).within(&folder).run();
    // A changed or new file would be an output despite the refusal.
    let untouched = files(&folder) == before;
    let error = if case.script == PLAIN {
        let bytes = fs::read(lab.path("in.img")).expect("reading");
        Disk::open(&Input::new(&bytes), &Selection::all())
            .and_then(|disk| disk.digest(&Options::new(), &Silent))
            .err()
    } else {
        None
    };
    Told { code: ran.code, words: settled(&ran.stderr), untouched, error }
}

/// Returns the names of files with digests of their content.
fn files(folder: &Path) -> Vec<(String, Option<String>)> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut found: Vec<_> = entries
        .map(|entry| {
            let plain = entry.file_type().expect("a type").is_file();
            let digest = plain.then(|| digest_of(&entry.path()).to_string());
            (entry.file_name().into_string().expect("UTF-8"), digest)
        })
        .collect();
    found.sort();
    found
}

/// Replaces checksums, which depend on the time at which an image is made.
fn settled(words: &str) -> String {
    let mut parts = words.split("bad checksum ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // The format is "0x12345678, expected 0x12345678; ...".
        let rest = part.get(10 + ", expected ".len() + 10..).unwrap_or_default();
        write!(text, "bad checksum 0x…, expected 0x…{rest}").expect("writing to a string");
    }
    text
}

/// Returns whether a text begins with a verb that says what to do.
fn is_remedy(words: &str) -> bool {
    let verbs = [
        "run",
        "ask",
        "choose",
        "keep",
        "clear",
        "use",
        "give",
        "make",
        "set",
        "mount",
        "remove",
        "rename",
        "move",
        "drop",
        "replace",
        "recreate",
        "extract",
        "convert",
        "decompress",
        "copy",
    ];
    verbs.contains(&words.split(' ').next().unwrap_or_default())
}

/// Returns the remedy in a message of the command line.
fn remedy_of<'w>(words: &'w str, error: &Error) -> Option<&'w str> {
    words.split_once(settled(&error.problem()).as_str())?.1.strip_prefix("; ")
}

/// Returns the first violation of the rules for all messages.
fn flaw_of_words(told: &Told) -> Option<&'static str> {
    let words = told.words.trim_end();
    if !told.untouched || !matches!(told.code, Some(2..=5)) {
        return Some("not refused");
    }
    let Some(words) = words.strip_prefix("ext4-canon: error: ") else {
        return Some("it does not say that it is an error");
    };
    if words.contains("\n\n") {
        // Errors of the argument parser show the usage.
        let usage = words.contains("\n\nUsage: ext4-canon [OPTIONS] IN OUT\n");
        return (words.starts_with('\n') || !usage || told.code != Some(2)).then_some("no usage");
    }
    // The second line is the remedy.
    let words = &*words.replacen("\n  ", "; ", 1);
    if words.contains('\n') {
        return Some("several lines");
    }
    let file = words.split(": ").next().unwrap_or_default();
    if !["in.img", "out.img", "full/out.img", "no", "none.img", "list", "folder"].contains(&file) {
        return Some("no file is named first");
    }
    if words.contains("/tmp") || words.contains(".tmp") {
        return Some("it names a temporary file");
    }
    match &told.error {
        None => None,
        Some(error) if !words.contains(settled(&error.problem()).as_str()) => {
            Some("not what the library says")
        }
        Some(error) if !remedy_of(words, error).is_some_and(is_remedy) => Some("no remedy"),
        Some(error) if !error.remedy().is_some_and(|remedy| is_remedy(&remedy.to_string())) => {
            Some("no remedy of the library")
        }
        Some(error) if error.to_string().contains(" --") => Some("the library names an option"),
        Some(Error::Corrupt { at, .. }) => {
            let place = at.inode.is_some() || at.block.is_some() || at.group.is_some();
            let alone = matches!(
                at.structure,
                Structure::Image | Structure::Superblock | Structure::Journal | Structure::PartitionTable
            );
            if !place && !alone {
                Some("no place")
            } else if !words.contains(structure_name(at)) {
                Some("no structure")
            } else {
                None
            }
        }
        Some(_) => None,
    }
}

#[test]
fn every_kind_of_error_has_its_words() {
    let all = partly(&[Need::Mounts]);
    let mut snapshots = String::new();
    let (mut kinds, mut structures) = (BTreeMap::new(), BTreeMap::new());
    let mut flaws = Vec::new();
    let cases: Vec<_> = cases::all().filter(|case| all || !case.root).collect();
    // Use several threads: most of the time is spent waiting for the disk.
    let told: Vec<_> = thread::scope(|scope| {
        let parts: Vec<_> = cases
            .chunks(cases.len().div_ceil(12))
            .map(|part| scope.spawn(|| part.iter().map(|case| tell(case)).collect::<Vec<_>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("a thread that ends well")).collect()
    });
    for (case, told) in cases.iter().zip(&told) {
        flaws.extend(flaw_of_words(told).map(|flaw| format!("{}: {flaw}: {}", case.name, told.words)));
        write!(snapshots, "== {}: {}\n{}", case.name, told.code.unwrap_or(-1), told.words)
            .expect("writing to a string");
        let Some(error) = &told.error else { continue };
        kinds.insert(kind_name(error), case.name);
        if let Error::Corrupt { at, .. } | Error::Unsupported { at, .. } = error {
            structures.insert(structure_name(at), case.name);
        }
    }
    let file = project(SNAPSHOTS);
    if std::env::var_os("EXT4_CANON_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&file, &snapshots).expect("writing");
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    if !all {
        return;
    }
    assert_eq!(
        snapshots,
        fs::read_to_string(&file).expect("reading"),
        "run with EXT4_CANON_BLESS=1 to update it"
    );
    // The library does not write in these cases, so a full disk counts as the case for I/O errors.
    kinds.insert(KINDS[0], "a full disk");
    let missing: Vec<_> = KINDS.iter().filter(|kind| !kinds.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    let missing: Vec<_> = STRUCTURES.iter().filter(|name| !structures.contains_key(*name)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// Every text in the sources about unsupported or unclean input is part of a snapshot.
#[test]
fn no_refusal_lacks_a_snapshot() {
    let snapshots = fs::read_to_string(project(SNAPSHOTS)).expect("reading");
    let found = literals::of_refusals(&project("src"));
    assert!(found.len() > 50, "{found:?}");
    let excused = |words: &str| cases::EXCUSED.iter().any(|(start, _)| words.contains(start));
    let missing: Vec<_> =
        found.iter().filter(|words| !snapshots.contains(*words) && !excused(words)).collect();
    assert!(missing.is_empty(), "missing in the snapshots: {missing:#?}");
    for (words, reason) in cases::EXCUSED {
        assert!(found.iter().any(|found| found.contains(words)), "no refusal contains '{words}' ({reason})");
        assert!(!snapshots.contains(words), "a snapshot contains '{words}' ({reason})");
    }
}
