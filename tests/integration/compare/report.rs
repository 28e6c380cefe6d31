//! The text of `ext4-canon compare`: causes before consequences, one line for paths that differ in the same way,
//! and a cure for each difference.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{SETTINGS, SIZE, TUNED, compare, settings};
use crate::support::contents::sha256;
use crate::support::ran::Ran;
use crate::support::{Lab, canon, run, tool, tree};

/// Makes an image of a folder.
fn image(lab: &Lab, name: &str, source: &Path) -> PathBuf {
    lab.mke2fs_d(name, SIZE, &["-t", "ext4"], source)
}

fn report(images: [&Path; 2], options: &[&str]) -> Ran {
    canon(["compare"]).args(options).args(images).run()
}

/// Makes two images whose trees differ in many ways.
fn differing(lab: &Lab) -> [PathBuf; 2] {
    let [one, other] = ["one", "other"].map(|name| lab.folder(name));
    for folder in [&one, &other] {
        for directory in ["etc", "usr/bin", "opt/app/lib"] {
            fs::create_dir_all(folder.join(directory)).expect("folders");
        }
        for number in 0..200 {
            fs::write(folder.join(format!("usr/bin/tool{number:03}")), "tool").expect("a file");
        }
        for number in 0..7 {
            fs::write(folder.join(format!("opt/app/lib/part{number}")), "part").expect("a file");
        }
        fs::write(folder.join("etc/machine-id"), "0123").expect("a file");
        fs::write(folder.join("etc/changed"), "text").expect("a file");
        tree::set_all_mtimes(folder);
    }
    fs::remove_dir_all(other.join("opt/app")).expect("removing");
    fs::write(other.join("etc/machine-id"), "4567").expect("a file");
    fs::set_permissions(other.join("etc/changed"), fs::Permissions::from_mode(0o600)).expect("a mode");
    for folder in [&other, &other.join("opt"), &other.join("etc")] {
        tree::set_mtime(folder, 1_000_000_000, 0);
    }
    tree::set_mtime(&other.join("etc/machine-id"), 1_000_000_000, 0);
    for number in 0..200 {
        tree::set_mtime(&other.join(format!("usr/bin/tool{number:03}")), 1_100_000_000, 0);
    }
    [image(lab, "a.img", &one), image(lab, "b.img", &other)]
}

#[test]
fn paths_are_grouped_and_have_dates_and_cures() {
    let lab = Lab::new();
    let [one, other] = differing(&lab);
    let ran = report([&one, &other], &[]).with_code(1);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines[0], format!("{} and {}: differ", one.display(), other.display()));
    assert!(lines[1].starts_with("differences: 214 paths and 0 settings"), "{ran}");
    let expected = [
        "203 paths: /, /etc, /opt, …",
        "/etc/changed: mode 0644 -> 0600",
        "/etc/machine-id: content, 4 bytes differ, the first is at offset 0",
        "  cure: empty it in the last step of the build: the first boot fills it",
        &format!("/opt/app: only in {} (directory), with 8 paths below it", one.display()),
        "  cure: set SOURCE_DATE_EPOCH, for the build and for ext4-canon",
        "cure for mode: set the mode in the recipe, or the same umask in both builds",
    ];
    for line in expected {
        assert!(lines.contains(&line), "{line}: {ran}");
    }
    // The time of a file comes after its content, and times are dates.
    let content = lines.iter().position(|line| line.starts_with("/etc/machine-id: content")).expect("a line");
    assert!(
        lines[content + 1].starts_with("  mtime 20")
            && lines[content + 1].ends_with(" -> 2001-09-09T01:46:40Z"),
        "{ran}"
    );
    // The report is evidence.
    for (side, image) in [("A", &one), ("B", &other)] {
        let digest = &sha256(image)[..64];
        assert!(lines.contains(&&*format!("SHA-256 of {side}: {digest}")), "{ran}");
    }
    let words = |ran: &Ran, words: &str| assert!(ran.stdout.contains(words), "{words}: {ran}");
    words(&ran, "form 1, no options, no SOURCE_DATE_EPOCH\n");
    let with_epoch = report([&one, &other], &["--source-date-epoch", "7", "--holes", "keep"]).with_code(1);
    words(&with_epoch, "form 1, --source-date-epoch 7 --holes keep\n");
    assert!(!with_epoch.stdout.contains("203 paths"), "{with_epoch}");
    let short = report([&one, &other], &["--no-digests", "--limit", "2"]).with_code(1);
    words(&short, "not shown: 10 paths (presence 9, content 1); --limit 0 shows all\n");
    assert!(!short.stdout.contains("SHA-256"), "{short}");
    let json = compare(&one, &other, &["--source-date-epoch", "7"]);
    assert_eq!(
        (&json["source_date_epoch"], &json["options"][0]),
        (&7.into(), &"--source-date-epoch 7".into())
    );
    assert_eq!(json["sha256"][1], sha256(&other)[..64], "{json:#}");
}

#[test]
fn only_times_need_only_an_epoch() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let one = image(&lab, "a.img", &source);
    tree::set_mtime(&source, 1_900_000_000, 0);
    let other = image(&lab, "b.img", &source);
    let ran = report([&one, &other], &[]).with_code(1);
    ran.clone().printing(&["only file times differ: set SOURCE_DATE_EPOCH"]);
    report([&one, &other], &["--source-date-epoch", "1000000000"]).done();
    // There is no such advice if an epoch is set.
    let late = report([&one, &other], &["--source-date-epoch", "2000000000", "--mtime", "keep"]).with_code(1);
    assert!(!late.stdout.contains("only file times differ"), "{late}");
}

#[test]
fn colours_are_for_terminals_or_on_request() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let one = image(&lab, "a.img", &source);
    let other = lab.mke2fs_d("b.img", SIZE, &["-t", "ext4", "-L", "other"], &source);
    for (options, coloured) in
        [(&[][..], false), (&["--color", "always"], true), (&["--color", "never"], false)]
    {
        let ran = report([&one, &other], options).with_code(1);
        assert_eq!(ran.stdout.contains('\u{1b}'), coloured, "{options:?}: {ran}");
    }
}

#[test]
fn consequences_are_below_their_cause() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let one = lab.mke2fs_d(
        "a.img",
        SIZE,
        &["-t", "ext4", "-b", "4096", "-O", "^orphan_file,^metadata_csum_seed"],
        &source,
    );
    let other = lab.mke2fs_d(
        "b.img",
        SIZE,
        &["-t", "ext4", "-b", "1024", "-O", "orphan_file,metadata_csum_seed"],
        &source,
    );
    let ran = report([&one, &other], &[]).with_code(1);
    let lines: Vec<_> = ran.stdout.lines().collect();
    let at =
        |line: &str| lines.iter().position(|one| *one == line).unwrap_or_else(|| panic!("{line}: {ran}"));
    let features = at("filesystem: features orphan_file, metadata_csum_seed off -> on");
    assert_eq!(
        lines[features + 1],
        "  cure: rebuild B with mke2fs -O ^orphan_file,^metadata_csum_seed: e2fsprogs turns them on by default since 1.47"
    );
    let size = at("filesystem: block size 4096 -> 1024");
    let follow = lines[size + 1..].iter().take_while(|line| line.starts_with("  so also: ")).count();
    assert!(follow >= 3 && lines[size + 1 + follow] == "  cure: rebuild B with mke2fs -b 4096", "{ran}");
    let json = compare(&one, &other, &["-q"]);
    let blocks = json["settings"].as_array().unwrap().iter().find(|one| one["name"] == "blocks").unwrap();
    assert_eq!(blocks["follows"], "block size");
}

/// Joins options of mke2fs: lists are joined, of others the last one counts.
fn merged(options: &[&str]) -> Vec<String> {
    let mut merged: Vec<[String; 2]> = Vec::new();
    for pair in options.chunks(2) {
        let [option, value] = [pair[0], pair[1]];
        match merged.iter_mut().find(|[known, _]| known == option) {
            Some([_, values]) if ["-O", "-E", "-J"].contains(&option) => {
                values.push(',');
                values.push_str(value);
            }
            Some([_, known]) => value.clone_into(known),
            None => merged.push([option.to_owned(), value.to_owned()]),
        }
    }
    merged.into_iter().flatten().collect()
}

/// Applies the cure of the first setting that differs, and returns the images with the one that it changes.
fn cured(lab: &Lab, source: &Path, images: [&Path; 2], options: [&[&str]; 2]) -> [PathBuf; 2] {
    let json = compare(images[0], images[1], &["-q"]);
    let cure = json["settings"][0]["cure"].as_str().expect("a cure").to_owned();
    // A note may follow, or a second way.
    let cure = [": ", ", or ", " and without "]
        .iter()
        .fold(&*cure, |cure, note| cure.split(note).next().unwrap_or(cure));
    let mut result = images.map(Path::to_owned);
    if let Some((image, arguments)) =
        cure.strip_prefix("rebuild ").and_then(|rest| rest.split_once(" with mke2fs "))
    {
        let side = usize::from(image == "B");
        let all: Vec<_> = options[side].iter().copied().chain(arguments.split(' ')).collect();
        let all = merged(&all);
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        result[side] = lab.mke2fs_d("cured.img", SIZE, &all, source);
    } else if let Some(arguments) =
        cure.strip_prefix("run tune2fs ").and_then(|rest| rest.strip_suffix(" on B"))
    {
        result[1] = lab.copy(images[1], "cured.img");
        let arguments = arguments.split(' ').map(|word| word.replace(['"', '\''], ""));
        run(tool("tune2fs").args(arguments).arg(&result[1]));
    } else {
        panic!("no cure that a test can apply: {cure}");
    }
    result
}

#[test]
fn the_cures_of_settings_work() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    // mke2fs 1.47 drops trailing zeros of files with inline_data.
    fs::remove_file(source.join("sizes/gaps")).unwrap();
    let all = ["-t", "ext4", "-O", "^orphan_file"];
    let base = lab.mke2fs_d("base.img", SIZE, &all, &source);
    for (options, expected) in SETTINGS.iter().filter(|(_, expected)| !expected.is_empty()) {
        let options = [&all, *options].concat();
        let merged = merged(&options);
        let options: Vec<_> = merged.iter().map(String::as_str).collect();
        let image = lab.mke2fs_d("image.img", SIZE, &options, &source);
        assert_eq!(settings(&compare(&base, &image, &["-q"])), *expected, "{options:?}");
        let [one, other] = cured(&lab, &source, [&base, &image], [&all, &options]);
        let json = compare(&one, &other, &["-q"]);
        assert_eq!(json["status"], "match", "{options:?}: {json:#}");
    }
}

#[test]
fn the_cures_by_tune2fs_work() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let base = image(&lab, "base.img", &source);
    for (option, value) in TUNED {
        let tuned = lab.copy(&base, "tuned.img");
        run(tool("tune2fs").args([option, value]).arg(&tuned));
        let images = [&*tuned, &*base];
        if option == "-O" {
            // A feature is turned off where it is on.
            assert_eq!(
                compare(&tuned, &base, &["-q"])["settings"][0]["cure"],
                "run tune2fs -O ^read-only on A"
            );
            continue;
        }
        let [one, other] = cured(&lab, &source, images, [&[], &[]]);
        let json = compare(&one, &other, &["-q"]);
        assert_eq!(json["status"], "match", "{option} {value}: {json:#}");
    }
}
