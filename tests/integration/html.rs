//! The page that `ext4-canon compare --html` writes.

mod browser;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::sha256;
use crate::support::disk::disk;
use crate::support::image::{debugfs, patch};
use crate::support::ran::Ran;
use crate::support::tools::try_run;
use crate::support::{Lab, canon, tool};

fn page_of(one: &Path, other: &Path, page: &Path, more: &[&str]) -> Ran {
    canon(["compare", "-q", "--html"]).arg(page).args(more).args([one, other]).run()
}

/// Makes two images of one tree, and changes the second.
fn pair(lab: &Lab, changes: &str) -> [PathBuf; 2] {
    let image = lab.plain_image("one.img", "24M", &["-t", "ext4", "-b", "1024"]);
    let other = lab.copy(&image, "other <b>.img");
    debugfs(&other, changes);
    [image, other]
}

const CHANGES: &str = "rm sizes/70000\nset_inode_field sizes/59 mode 0100600\nset_inode_field sizes/60 mode 0100640\n\
                       set_inode_field sizes/1023 uid 7\nset_inode_field sizes/59 uid 8\nmknod new p\n";

/// Counts the occurrences of a text in a page.
fn count(page: &str, words: &str) -> usize {
    page.matches(words).count()
}

#[test]
fn the_page_is_one_file_and_says_what_the_report_says() {
    let lab = Lab::new();
    let [one, other] = pair(&lab, CHANGES);
    let file = lab.path("page.html");
    let ran = page_of(&one, &other, &file, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    let page = fs::read_to_string(&file).expect("a page");
    for beyond in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(beyond), "{beyond}");
    }
    assert!(page.contains("other &lt;b&gt;.img") && !page.contains("<b>"));
    // One row has all differences of a path.
    assert_eq!(count(&page, "<tr class=\"difference mode\">"), 1, "{page}");
    assert_eq!(count(&page, "<tr class=\"difference mode uid\">"), 1);
    assert_eq!(count(&page, "<tr class=\"difference uid\">"), 1);
    assert_eq!(count(&page, "<tr class=\"difference presence\">"), 2);
    assert_eq!(count(&page, "<del>0644</del> → <ins>0600</ins>"), 1, "{page}");
    for image in [&one, &other] {
        assert!(page.contains(&sha256(image)[..64]), "no digest of {}", image.display());
    }
    assert!(page.contains("form 1, no options, no SOURCE_DATE_EPOCH"));
    assert_eq!(count(&page, "<svg "), 4);
    // The blocks that debugfs freed contain stale data; canonical forms have none.
    let captions: Vec<_> = page.split("<figcaption>").skip(1).collect();
    assert!(captions[2].contains("before") && !captions[2].contains("stale data 0,"), "{}", captions[2]);
    assert!(captions[1].contains("canonical") && captions[1].contains("stale data 0,"));
    assert!(captions[3].contains("canonical") && captions[3].contains("stale data 0,"));
    // The page does not depend on the number of threads.
    page_of(&one, &other, &lab.path("again.html"), &["--threads", "7"]).with_code(1);
    assert!(fs::read_to_string(lab.path("again.html")).expect("a page") == page);
    assert!(page.contains("content=\"default-src 'none'; "), "no policy");
    let printed = page_of(&one, &other, Path::new("-"), &[]).with_code(1);
    assert!(printed.stdout == page);
    page_of(&one, &other, Path::new("-"), &["--json"]).refusing(2, &["both JSON and an HTML page"]);
    // An existing page is replaced, but not an image, and only a regular file.
    page_of(&one, &other, &file, &[]).with_code(1);
    let link = lab.path("link");
    fs::hard_link(&other, &link).expect("a link");
    for (taken, words) in [
        (&*one, "is one of the images; give a different name for the page"),
        (&other, "is one of the images"),
        (&link, "is one of the images"),
        (Path::new("/dev/null"), "is a character device; give "),
        (&lab.folder("folder"), "is a directory; give "),
    ] {
        page_of(&one, &other, taken, &[]).refusing(2, &[&format!("{}: {words}", taken.display())]);
    }
    // The directory does not exist.
    let ran = page_of(&one, &other, &lab.path("no/page.html"), &[]);
    let ran = ran.refusing(5, &["/no: ", "No such file or directory"]);
    assert!(!ran.stderr.contains(".tmp"), "{ran}");
}

#[test]
fn the_page_has_the_diffs_that_were_asked_for() {
    let lab = Lab::new();
    let source = lab.folder("source");
    let make = |name: &str, text: &str| {
        fs::write(source.join("text"), text).expect("writing");
        lab.mke2fs_d(name, "8M", &["-t", "ext4"], &source)
    };
    let [one, other] = [make("one.img", "<a>\n"), make("other.img", "<b>\n")];
    let file = lab.path("page.html");
    for (more, lines) in [(&["--diff"][..], 1), (&[], 0)] {
        page_of(&one, &other, &file, more).with_code(1);
        let page = fs::read_to_string(&file).expect("a page");
        let diff = "@@ -1 +1 @@\n<del>-&lt;a&gt;\n</del><ins>+&lt;b&gt;\n</ins></pre>";
        assert_eq!(count(&page, diff), lines, "{page}");
    }
}

#[test]
fn equal_trees_have_a_page_as_well() {
    let lab = Lab::new();
    let [one, other] = pair(&lab, "mkdir clutter\nrmdir clutter\n");
    let file = lab.path("page.html");
    page_of(&one, &other, &file, &["--source-date-epoch", "1"]).done();
    let page = fs::read_to_string(&file).expect("a page");
    assert!(page.contains("class=\"match\">match<") && page.contains("The trees are equal"));
    assert_eq!(count(&page, "<tr class=\"difference"), 0);
}

#[test]
fn a_page_about_disks_has_all_their_filesystems() {
    const TABLE: &str = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
        start=2048, size=49152, name=boot, uuid=11111111-2222-3333-4444-555555555556\n\
        start=53248, size=49152, name=\"the <root>\", uuid=11111111-2222-3333-4444-555555555557\n";
    let lab = Lab::new();
    let [one, other] = pair(&lab, CHANGES);
    let disks = [&one, &other].map(|second| {
        let path = second.with_extension("disk");
        disk(&path, 52, TABLE, &[(1, &one), (26, second)]);
        path
    });
    patch(&disks[1], 100 * 512, b"x");
    let file = lab.path("page.html");
    let ran = page_of(&disks[0], &disks[1], &file, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    let page = fs::read_to_string(&file).expect("a page");
    assert_eq!(count(&page, "<tr class=\"difference mode"), 2, "{page}");
    assert_eq!(count(&page, "<td>partition 2 (the &lt;root&gt;): /sizes/59</td>"), 1);
    assert_eq!(count(&page, "<td>partition 1 (boot): /"), 0);
    assert_eq!(count(&page, "<td>byte 51200 of the disk</td>"), 1);
    assert_eq!(count(&page, "<svg "), 8);
    assert_eq!(count(&page, "aria-label=\"partition 1 (boot): "), 4);
    page_of(&disks[0], &disks[0], &file, &[]).done();
    let page = fs::read_to_string(&file).expect("a page");
    assert!(page.contains("class=\"match\">match<") && page.contains("The trees are equal"));
}

/// The counts in the maps of canonical forms are equal to those of e2fsprogs.
#[test]
fn maps_count_what_dumpe2fs_counts() {
    let lab = Lab::new();
    let kinds: [&[&str]; 4] = [
        &["-b", "1024"],
        &["-b", "4096"],
        &["-b", "1024", "-O", "bigalloc"],
        &["-b", "4096", "-O", "bigalloc"],
    ];
    for (index, kind) in kinds.into_iter().enumerate() {
        let more = [&["-t", "ext4", "-J", "size=4"], kind].concat();
        let image = lab.plain_image(&format!("{index}.img"), "64M", &more);
        check_counts(&lab, &image);
    }
}

fn check_counts(lab: &Lab, image: &Path) {
    let file = lab.path("page.html");
    page_of(image, image, &file, &[]).done();
    let page = fs::read_to_string(&file).expect("a page");
    let output = crate::support::canonical(image, &[]);
    // A canonical image has the map of its canonical form, and so has the image that it was made from.
    page_of(&output, &output, &lab.path("output.html"), &[]).done();
    let of_output = fs::read_to_string(lab.path("output.html")).expect("a page");
    let maps = |page: &str| -> Vec<String> {
        let maps = page.split("<figure>\n").skip(1).map(|map| map.split("</figure>").next().unwrap());
        maps.map(|map| map.lines().filter(|line| line.starts_with("<rect")).collect()).collect()
    };
    let counts = |page: &str| -> Vec<String> {
        let captions =
            page.split("</strong>").skip(1).map(|rest| rest.split("</figcaption>").next().unwrap());
        captions.map(str::to_owned).collect()
    };
    for of in [maps, counts] {
        let (before, after) = (of(&page), of(&of_output));
        assert!(after.iter().all(|map| *map == before[1]), "{before:#?} {after:#?}");
    }
    for (image, caption) in [(image, 1), (&*output, 2)] {
        let said = try_run(tool("dumpe2fs").arg("-h").arg(image)).stdout;
        let number = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.trim().parse::<u64>().expect("a number")
        };
        let caption = page.split("<figcaption>").nth(caption).expect("a caption");
        let of = |name: &str| {
            let rest = caption.split(&format!("{name} ")).nth(1).expect("a count");
            rest.split(|c: char| !c.is_ascii_digit())
                .next()
                .and_then(|n| n.parse::<u64>().ok())
                .expect("a number")
        };
        let names =
            ["(metadata", "journal", "directories", ", files", "maps and xattrs", "stale data", ", free"];
        let counts = names.map(of);
        assert_eq!(counts[5] + counts[6], number("Free blocks:"), "{counts:?} {said}");
        assert_eq!(counts.iter().sum::<u64>(), number("Block count:"), "{counts:?}");
        assert_eq!(counts[1] * number("Block size:"), 4 << 20, "{counts:?}");
    }
}
