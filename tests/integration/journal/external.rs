//! External journals, with the main command and its subcommands.

use std::fs;
use std::path::Path;

use crate::support::faultfs::FaultyFile;
use crate::support::kernel::{Loop, Mounted, sync};
use crate::support::ran::Ran;
use crate::support::{Lab, Need, canon, gate, refused, same_bytes};

/// A clean external journal is accepted; one that needs a replay must be given.
#[test]
#[ignore = "needs root: mounts images"]
fn external_journals() {
    if !gate(&[Need::Mounts, Need::Fuse]) {
        return;
    }
    let lab = Lab::new();
    let device = lab.mke2fs("journal.img", "8M", &["-O", "journal_dev", "-b", "4096"]);
    refused(&device, &[], 3, &["journal_dev"]);
    let looped = Loop::of(&device);
    let place = format!("device={}", looped.path().display());
    let image = lab.mke2fs("in.img", "24M", &["-t", "ext4", "-b", "4096", "-J", &place]);
    let mounted = Mounted::read_write(&image).expect("a mount");
    fs::write(mounted.path().join("early"), "early").expect("writing");
    sync(mounted.path());
    fs::rename(mounted.path().join("early"), mounted.path().join("late")).expect("renaming");
    // The rename is only in the journal.
    fs::File::open(mounted.path()).and_then(|folder| folder.sync_all()).expect("fsync");
    let (crashed, its_journal) = (lab.copy(&image, "crashed.img"), lab.copy(&device, "its-journal.img"));
    mounted.unmount();
    drop(looped);

    refused(&image, &[], 2, &["lists this filesystem by its UUID", "use --uuid keep"]);
    let clean = lab.path("clean.out");
    let rewrite = |input: &Path, output: &Path, more: &[&str]| {
        canon(["--uuid", "keep"]).args(more).args([input, output]).run().done();
    };
    rewrite(&image, &clean, &[]);
    refused(&crashed, &["--uuid", "keep"], 4, &["give that device with --journal"]);
    let wrong = lab.mke2fs("other.img", "8M", &["-O", "journal_dev", "-b", "4096"]);
    refused(
        &crashed,
        &["--uuid", "keep", "--journal", wrong.to_str().expect("a name")],
        3,
        &["differs from the one in the superblock"],
    );
    let recovered = lab.path("recovered.out");
    rewrite(&crashed, &recovered, &["--journal", its_journal.to_str().expect("a name")]);
    same_bytes(&clean, &recovered);
    subcommands_take_journals(&image, &crashed, &its_journal);

    // An unreadable block in the log must not be treated as its end.
    let log = 3 * 4096;
    let faulty = FaultyFile::new(&its_journal, &lab.folder("faulty"), &(log..log + 4096));
    let journal = faulty.path();
    refused(
        &crashed,
        &["--uuid", "keep", "--journal", journal.to_str().expect("a name")],
        5,
        &[&format!("{}: reading it: the page at byte {log}", journal.display())],
    );
}

/// If an image needs its journal, every subcommand reads it, and refuses the image without it.
fn subcommands_take_journals(clean: &Path, crashed: &Path, journal: &Path) {
    let ran = |words: &[&str], paths: &[&Path]| canon(words).args(paths).run();
    // The journal can't be the output.
    let taken = ran(&["--uuid", "keep", "--journal"], &[journal, crashed, journal]);
    taken.refusing(2, &["is the journal"]);
    let with = |option: &'static str| [Path::new(option), journal];
    for words in [
        &["digest", "--uuid", "keep"][..],
        &["digest", "--tree"],
        &["ls"],
        &["explain", "--uuid", "keep"],
        &["cat"],
    ] {
        let late = [crashed, Path::new("/late")];
        let paths = if words[0] == "cat" { &late[..] } else { &late[..1] };
        ran(words, paths).refusing(4, &["give that device with --journal"]);
        let taken = ran(words, &[&with("--journal")[..], paths].concat()).done();
        match words[0] {
            "digest" => {
                let digest = |ran: &Ran| ran.stdout.split(' ').next().map(str::to_owned);
                assert_eq!(digest(&taken), digest(&ran(words, &[clean])));
                // A journal can't belong to two images.
                let both = ran(words, &[&with("--journal")[..], &[crashed, clean]].concat());
                assert_eq!(both.stdout, "", "{both}");
                both.refusing(2, &["can't be the journal of more than one image"]);
            }
            "ls" => assert!(taken.stdout.contains("./late type=file") && !taken.stdout.contains("./early")),
            "explain" => assert!(taken.stdout.contains("journal transactions"), "{taken:?}"),
            _ => assert_eq!(taken.stdout, "early"),
        }
    }
    let compared = |options: &[&Path], images: [&Path; 2]| {
        ran(&["compare", "--uuid", "keep"], &[options, &images].concat())
    };
    for (option, images) in [("--journal-a", [crashed, clean]), ("--journal-b", [clean, crashed])] {
        compared(&[], images).refusing(4, &["give that device with --journal"]);
        let taken = compared(&with(option), images);
        let first = format!("{} and {}: match\n", images[0].display(), images[1].display());
        assert!(taken.code == Some(0) && taken.stdout.starts_with(&first), "{taken:?}");
    }
    // An image without its journal is not equal to the same image with its journal.
    compared(&with("--journal-a"), [crashed, crashed]).refusing(4, &["give that device with --journal"]);
    let both = [with("--journal-a"), with("--journal-b")].concat();
    compared(&both, [crashed, crashed]).done();
}
