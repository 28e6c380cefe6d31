//! The command line: exit codes, standard output and standard error, and the files that remain.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::support::fields::superblock;
use crate::support::image::{debugfs, debugfs_read};
use crate::support::kernel::Loop;
use crate::support::{Lab, Need, gate, run, tool};

/// Makes a directory with `in.img`, made by mke2fs.
fn with_image() -> Lab {
    let lab = Lab::new();
    let tree = lab.folder("tree");
    fs::create_dir_all(tree.join("sub/deeper")).unwrap();
    fs::write(tree.join("file"), b"some content\n".repeat(1000)).unwrap();
    fs::write(tree.join("sub/zeros"), vec![0; 50_000]).unwrap();
    symlink("../file", tree.join("sub/link")).unwrap();
    lab.mke2fs_d("in.img", "8M", &["-t", "ext4"], &tree);
    fs::remove_dir_all(tree).unwrap();
    lab
}

#[test]
fn version_and_help() {
    let lab = Lab::new();
    let version = lab.canon(["--version"]).run().done().stdout;
    assert_eq!(version, format!("ext4-canon {} (canonical form 1)\n", env!("CARGO_PKG_VERSION")));
    let help = lab.canon(["--help"]).run().done().stdout;
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", " 70  "] {
        assert!(help.contains(&format!("\n {code}")), "{code} is not in {help}");
    }
    for what in ["man", "markdown", "bash", "zsh", "fish"] {
        assert!(lab.canon(["--generate", what]).run().done().stdout.len() > 1000, "{what}");
    }
}

#[test]
fn wrong_usage() {
    let lab = with_image();
    for (arguments, words) in [
        (&[][..], &["required arguments were not provided", "<IN>", "<OUT>"][..]),
        (&["in.img"], &["required arguments were not provided", "<OUT>"]),
        (&["--frobnicate", "in.img", "out.img"], &["unexpected argument '--frobnicate'"]),
        (&["--check", "in.img", "out.img"], &["'--check' cannot be used with '[OUT]'"]),
    ] {
        lab.canon(arguments).run().misused(words);
    }
    for value in ["today", "1.5", " 1"] {
        let ran = lab.canon(["in.img", "out.img"]).env("SOURCE_DATE_EPOCH", value).run();
        ran.misused(&[&format!("invalid value '{value}' of the environment variable SOURCE_DATE_EPOCH")]);
    }
    assert_eq!(lab.names("."), ["in.img"]);
}

#[test]
fn what_can_not_be_an_input() {
    let lab = Lab::new();
    let _listener = UnixListener::bind(lab.path("socket")).unwrap();
    for (input, reason) in
        [("socket", "is a socket"), (".", "is a directory"), ("/dev/null", "is a character device")]
    {
        lab.canon([input, "out.img"]).run().refusing(2, &[&format!("{input}: {reason}")]);
        lab.canon(["--check", input]).run().refusing(2, &[reason]);
        lab.canon(["--in-place", input]).run().refusing(2, &[reason]);
    }
    lab.canon(["missing.img", "out.img"]).run().refusing(5, &["missing.img: opening the image: "]);
    lab.canon(["socket/in.img", "out.img"]).run().refusing(5, &["socket/in.img: opening the image: "]);
    assert_eq!(lab.names("."), ["socket"]);
}

#[test]
fn what_can_not_be_an_output() {
    let lab = with_image();
    run(tool("mkfifo").arg(lab.path("pipe")));
    fs::hard_link(lab.path("in.img"), lab.path("hard")).unwrap();
    symlink("hard", lab.path("soft")).unwrap();
    let names = lab.names(".");
    for (output, reason) in [
        ("pipe", "is a pipe"),
        (".", "is a directory"),
        ("new/", "is the name of a directory"),
        ("/dev/null", "is a character device"),
        ("in.img", "use --in-place"),
        ("./in.img", "use --in-place"),
        ("hard", "use --in-place"),
        ("soft", "use --in-place"),
    ] {
        lab.canon(["in.img", output]).run().refusing(2, &[&format!("{output}: "), reason]);
    }
    lab.canon(["in.img", "no/out.img"]).run().refusing(5, &["no: creating the output: "]);
    lab.canon(["--in-place", "in.img"]).run().refusing(2, &["in.img: has several hard links"]);
    assert_eq!(lab.names("."), names);
}

#[test]
fn an_image_is_rewritten() {
    let lab = with_image();
    fs::set_permissions(lab.path("in.img"), Permissions::from_mode(0o640)).unwrap();
    let before = (lab.read("in.img"), fs::metadata(lab.path("in.img")).unwrap().mtime_nsec());
    let ran = lab.canon(["--verify", "in.img", "out.img"]).run().done();
    assert!(ran.stdout.starts_with("out.img: canonical form 1 of in.img, verified\n"), "{ran:?}");
    assert_eq!(ran.stderr, "");
    assert_eq!(lab.names("."), ["in.img", "out.img"]);
    assert_eq!((lab.read("in.img"), fs::metadata(lab.path("in.img")).unwrap().mtime_nsec()), before);
    let metadata = fs::metadata(lab.path("out.img")).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (8 << 20, 0o640));
    assert!(metadata.blocks() * 512 < metadata.len() / 4, "not sparse: {} blocks", metadata.blocks());
    run(tool("e2fsck").arg("-fn").arg(lab.path("out.img")));
}

#[test]
fn permissions_are_those_that_cp_would_give() {
    let lab = with_image();
    let mode = |name: &str| fs::metadata(lab.path(name)).unwrap().mode() & 0o7777;
    let set = |name: &str, mode| fs::set_permissions(lab.path(name), Permissions::from_mode(mode)).unwrap();
    // A new output has the input's permissions, restricted by the umask.
    for (input, umask, expected) in
        [(0o600, "022", 0o600), (0o666, "027", 0o640), (0o644, "077", 0o600), (0o755, "000", 0o755)]
    {
        set("in.img", input);
        for options in ["", "--format sparse", "--verify"] {
            let _ = fs::remove_file(lab.path("out.img"));
            lab.shell(&format!(r#"umask {umask}; exec "$0" -q {options} in.img out.img"#)).run().done();
            assert_eq!(mode("out.img"), expected, "{input:o} {umask} {options}");
        }
    }
    // An existing output keeps its permissions, regardless of the input and the umask.
    for kept in [0o600, 0o640, 0o666, 0o404] {
        set("out.img", kept);
        for options in ["", "--format sparse"] {
            lab.shell(&format!(r#"umask 027; exec "$0" -q {options} in.img out.img"#)).run().done();
            assert_eq!(mode("out.img"), kept, "{options}");
        }
    }
    set("in.img", 0o664);
    lab.shell(r#"umask 077; exec "$0" -q --in-place in.img"#).run().done();
    assert_eq!(mode("in.img"), 0o664);
    lab.shell(r#"umask 077; exec "$0" -q --bmap out.bmap in.img out.img"#).run().done();
    assert_eq!(mode("out.bmap"), 0o600);
    // A report gets no permission that the image does not have.
    set("in.img", 0o640);
    let script =
        r#"umask 022; "$0" -q --bmap new.bmap in.img new.img; "$0" compare --html new.html in.img new.img"#;
    lab.shell(script).run();
    assert_eq!(["new.bmap", "new.img", "new.html"].map(mode), [0o640; 3]);
}

#[test]
#[ignore = "needs root"]
fn an_output_keeps_owner_and_acl_of_what_it_replaces() {
    if !gate(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let lab = with_image();
    let out = lab.path("out.img");
    fs::write(&out, "old").unwrap();
    std::os::unix::fs::chown(&out, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o640)).unwrap();
    let found = || {
        let metadata = fs::metadata(&out).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    lab.canon(["-q", "in.img", "out.img"]).run().done();
    assert_eq!(found(), (1234, 4321, 0o640));
    // An ACL of the output is kept, and a default ACL of the directory is not applied.
    run(tool("setfacl").args(["-m", "u:77:r"]).arg(&out));
    let acl = || run(tool("getfacl").args(["-n", "--omit-header", "--absolute-names"]).arg(&out));
    let before = acl();
    assert!(before.contains("user:77:r--"), "{before}");
    lab.canon(["-q", "in.img", "out.img"]).run().done();
    assert_eq!((acl(), found()), (before, (1234, 4321, 0o640)));
    run(tool("setfacl").arg("-b").arg(&out));
    run(tool("setfacl").args(["-d", "-m", "u:78:rw"]).arg(lab.path("")));
    lab.canon(["-q", "in.img", "out.img"]).run().done();
    assert!(!acl().contains("user:78"), "{}", acl());
    run(tool("setfacl").arg("-k").arg(lab.path("")));
    // A user who can't keep the owner can't replace the file.
    fs::set_permissions(lab.path(""), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(lab.path("in.img"), Permissions::from_mode(0o644)).unwrap();
    let script = r#"exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" -q in.img out.img"#;
    let ran = lab.shell(script).run().with_code(2);
    assert!(ran.stderr.contains("out.img: belongs to a different user"), "{ran:?}");
    assert_eq!(found(), (1234, 4321, 0o640));
    // If only the group can't be kept, there is a warning, and the new group gets no permissions.
    std::os::unix::fs::chown(&out, Some(65534), Some(4321)).unwrap();
    let ran = lab.shell(&script.replace("-q ", "")).run().done();
    assert!(ran.stderr.contains("the group of out.img could not be kept"), "{ran:?}");
    assert_eq!(found(), (65534, 65534, 0o600));
}

#[test]
fn mistyped_commands_are_explained() {
    let lab = with_image();
    for words in [&["chekc", "in.img"][..], &["info", "in.img"]] {
        let ran = lab.canon(words).run().with_code(5);
        assert!(ran.stderr.contains("there is no such file or command; commands are digest, "), "{ran:?}");
    }
    let ran = lab.canon(["compare", "in.img", "no.img"]).run().with_code(5);
    assert!(ran.stderr.contains("\n  check the name of the file"), "{ran:?}");
    let ran = lab.canon(["compare", "in.img", "in.img", "in.img"]).run().with_code(2);
    assert!(ran.stderr.contains("'compare' needs two images"), "{ran:?}");
}

#[test]
fn a_check_answers_and_writes_nothing() {
    let lab = with_image();
    let ran = lab.canon(["--check", "in.img"]).run().with_code(1);
    assert!(ran.stdout.starts_with("in.img: not canonical") && ran.stdout.contains("superblock"), "{ran:?}");
    assert_eq!((ran.stderr.as_str(), lab.names(".")), ("", vec!["in.img".to_owned()]));
    lab.canon(["in.img", "out.img"]).run().done();
    let ran = lab.canon(["--check", "out.img"]).run().done();
    assert_eq!(ran.stdout, "out.img: canonical (form 1)\n");
    let quiet = lab.canon(["-q", "--check", "in.img"]).run().with_code(1);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
    // Different options give a different canonical form.
    let ran = lab.canon(["--check", "--label", "other", "out.img"]).run().with_code(1);
    ran.printing(&["out.img: not canonical"]);
    // Every byte counts, including unused ones.
    let file = File::options().write(true).open(lab.path("out.img")).unwrap();
    file.write_all_at(b"x", (8 << 20) - 1000).unwrap();
    let json = lab.canon(["--check", "--json", "out.img"]).run().with_code(1).json();
    assert_eq!((&json["status"], &json["more_differences"]), (&"not-canonical".into(), &false.into()));
    assert_eq!(json["differences"][0]["offset"], (8 << 20) - 1000);
    assert_eq!(json["differences"].as_array().unwrap().len(), 1);
}

#[test]
#[ignore = "needs root"]
fn in_place_replaces_what_the_name_points_to() {
    if !gate(&[Need::Root]) {
        return;
    }
    let lab = with_image();
    lab.canon(["in.img", "expected"]).run().done();
    symlink("in.img", lab.path("link")).unwrap();
    fs::set_permissions(lab.path("in.img"), Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::chown(lab.path("in.img"), Some(1234), Some(4321)).unwrap();
    lab.canon(["--in-place", "--verify", "link"]).run().done();
    assert!(lab.read("in.img") == lab.read("expected"));
    let metadata = fs::metadata(lab.path("in.img")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o604, 1234, 4321));
    assert!(fs::symlink_metadata(lab.path("link")).unwrap().is_symlink());
    assert_eq!(lab.names("."), ["expected", "in.img", "link"]);
}

#[test]
fn an_output_is_replaced_as_a_whole_or_not_at_all() {
    let lab = with_image();
    fs::write(lab.path("old"), "old").unwrap();
    symlink("old", lab.path("out.img")).unwrap();
    fs::hard_link(lab.path("old"), lab.path("other name")).unwrap();
    lab.canon(["-q", "in.img", "out.img"]).run().done();
    assert_eq!(lab.read("old").len(), 8 << 20);
    assert_eq!(lab.read("other name"), b"old");
    symlink("new", lab.path("dangling")).unwrap();
    lab.canon(["-q", "in.img", "dangling"]).run().done();
    assert!(lab.read("new") == lab.read("old"));
    // If an image is refused, the old output is unchanged.
    fs::write(lab.path("bad.img"), [7; 5000]).unwrap();
    lab.canon(["bad.img", "other name"])
        .run()
        .refusing(3, &["bad.img: not an ext2, ext3 or ext4 filesystem"]);
    assert_eq!(lab.read("other name"), b"old");
    assert_eq!(lab.names("."), ["bad.img", "dangling", "in.img", "new", "old", "other name", "out.img"]);
}

#[test]
fn refused_images_have_their_code_and_leave_nothing() {
    let lab = with_image();
    fs::write(lab.path("empty.img"), "").unwrap();
    fs::write(lab.path("noise.img"), [0x5a; 100_000]).unwrap();
    superblock(&lab.copy(&lab.path("in.img"), "checksum.img")).put("s_checksum", b"oops");
    debugfs(&lab.copy(&lab.path("in.img"), "errors.img"), "set_super_value state 3\n");
    let short = File::create(lab.path("short.img")).unwrap();
    short.write_all_at(&lab.read("in.img")[..1 << 20], 0).unwrap();
    let names = lab.names(".");
    for (image, code, kind, words) in [
        ("empty.img", 3, "unsupported", "a file of 0 bytes is too short"),
        ("noise.img", 3, "unsupported", "not an ext2, ext3 or ext4 filesystem"),
        ("checksum.img", 4, "damaged", "superblock: bad checksum"),
        ("errors.img", 4, "damaged", "errors were found (s_state)"),
        ("short.img", 4, "damaged", "truncated: the filesystem needs 8 MiB"),
    ] {
        for arguments in [&[image, "out.img"][..], &["--check", image], &["--in-place", image]] {
            lab.canon(arguments).run().refusing(code, &[&format!("{image}: "), words]);
        }
        let ran = lab.canon(["--json", image, "out.img"]).run().with_code(code);
        let json = ran.json();
        assert_eq!((&json["status"], &json["exit_code"]), (&"error".into(), &code.into()));
        assert_eq!(json["error"]["kind"], kind);
        assert_eq!(json["error"]["message"], ran.error());
    }
    // This option can only be refused after the image was read.
    let ran = lab.canon(["--source-date-epoch", "99999999999", "in.img", "out.img"]).run();
    ran.misused(&["the epoch 99999999999 is not a time"]);
    assert_eq!(lab.names("."), names);
}

#[test]
#[ignore = "needs root"]
fn a_full_disk_leaves_nothing() {
    if !gate(&[Need::Root]) {
        return;
    }
    let lab = with_image();
    lab.canon(["in.img", "whole.img"]).run().done();
    // Use a separate filesystem, which is unmounted when the shell exits.
    let script = r#"exec unshare --mount sh -c 'mkdir full && mount -t tmpfs -o size=64k none full || exit 99
        "$0" in.img full/out.img; code=$?; ls -A full; exit $code' "$0""#;
    let ran = lab.shell(script).run().refusing(5, &["full/out.img: ", "No space left"]);
    assert_eq!(ran.stdout, "", "{ran:?}");
    fs::remove_dir(lab.path("full")).unwrap();
    // The limit on file sizes is noticed before anything is written.
    let ran = lab.shell(r#"trap "" XFSZ; ulimit -f 100; exec "$0" in.img out.img"#).run();
    ran.refusing(5, &["out.img: setting its size: "]);
    assert_eq!(lab.names("."), ["in.img", "whole.img"]);
}

#[test]
fn killed_at_any_time_it_leaves_all_or_nothing() {
    let lab = with_image();
    lab.canon(["in.img", "expected"]).run().done();
    let expected = lab.read("expected");
    // On filesystems with O_TMPFILE, only a complete output ever has a name.
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
    let nameless = rustix::fs::open(lab.path(""), flags, rustix::fs::Mode::RUSR).is_ok();
    let mut cut_off = 0;
    for (delay, replace) in (0..40).flat_map(|delay| [(delay, false), (delay, true)]) {
        if replace {
            fs::write(lab.path("out.img"), "old").unwrap();
        }
        let mut running = lab.canon(["-q", "--verify", "in.img", "out.img"]).start();
        sleep(Duration::from_millis(delay));
        running.child.kill().unwrap();
        running.end();
        let found = fs::read(lab.path("out.img")).ok();
        if found.as_ref() != Some(&expected) {
            assert!(found == replace.then(|| b"old".to_vec()), "{delay} ms, {replace}: neither old nor new");
            cut_off += 1;
        }
        for name in lab.names(".") {
            // Replacing a file needs a temporary name for a short time.
            let temporary = (replace || !nameless) && name.starts_with(".ext4-canon-");
            let known = ["in.img", "out.img", "expected"].contains(&name.as_str());
            assert!(temporary || known, "{name} after {delay} ms");
            if name != "in.img" && name != "expected" {
                fs::remove_file(lab.path(&name)).unwrap();
            }
        }
    }
    assert!(cut_off > 0, "every run ended before it was killed");
}

#[test]
fn only_the_epoch_counts_in_the_environment() {
    let lab = with_image();
    lab.canon(["-q", "in.img", "plain"]).run().done();
    let with = |output: &str, variables: &[(&str, &str)]| {
        let command = lab.canon(["-q", "in.img", output]);
        variables.iter().fold(command, |command, (name, value)| command.env(name, value)).run().done();
        lab.read(output)
    };
    let others =
        [("TZ", "Asia/Tokyo"), ("LC_ALL", "de_DE"), ("RAYON_NUM_THREADS", "3"), ("E2FSPROGS_FAKE_TIME", "9")];
    assert!(with("others", &others) == lab.read("plain"));
    assert!(with("unset", &[("SOURCE_DATE_EPOCH", "")]) == lab.read("plain"));
    let epoch = with("epoch", &[("SOURCE_DATE_EPOCH", "1000000000")]);
    assert!(epoch != lab.read("plain"));
    lab.canon(["-q", "--source-date-epoch", "1000000000", "in.img", "option"]).run().done();
    assert!(epoch == lab.read("option"));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let lab = with_image();
    for threads in ["1", "2", "7"] {
        lab.canon(["-q", "--threads", threads, "in.img", threads]).run().done();
        assert!(lab.read(threads) == lab.read("1"), "{threads}");
    }
}

#[test]
fn options_reach_the_image() {
    let lab = with_image();
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let options = ["--uuid", uuid, "--label", "a label", "--source-date-epoch", "86400", "--mtime", "set"];
    lab.canon(&[&options[..], &["in.img", "out.img"]].concat()).run().done();
    let image = lab.path("out.img");
    let superblock = run(tool("dumpe2fs").arg("-h").arg(&image));
    assert!(superblock.contains(uuid) && superblock.contains("a label"), "{superblock}");
    let file = debugfs_read(&image, "stat /file\n");
    assert!(file.contains("mtime: 0x00015180"), "{file}");
    // mke2fs writes holes in place of zeros.
    debugfs(&lab.path("in.img"), "fallocate /sub/zeros 0 9\n");
    let zeros = |options: &[&str]| {
        lab.canon(options).args(["-q", "in.img", "holes.img"]).run().done();
        debugfs_read(&lab.path("holes.img"), "stat /sub/zeros\n")
    };
    assert!(zeros(&[]).contains("Blockcount: 0"));
    assert!(zeros(&["--holes", "punch"]).contains("Blockcount: 0"));
    assert!(!zeros(&["--holes", "keep"]).contains("Blockcount: 0"));
    let kept = lab.canon(["--json", "--uuid", "keep", "in.img", "out.img"]).run().done().json();
    assert_eq!(kept["report"]["old_uuid"], kept["report"]["new_uuid"]);
}

#[test]
fn json_is_alone_on_standard_output() {
    let lab = with_image();
    for arguments in [&["--json"][..], &["--json", "-v"], &["--json", "-q"]] {
        let ran = lab.canon(&[arguments, &["in.img", "out.img"]].concat()).run().done();
        let json = ran.json();
        assert_eq!((&json["status"], &json["output"]), (&"written".into(), &"out.img".into()));
        assert_eq!(json["report"]["image_bytes"], 8 << 20);
        assert_eq!((&json["form"], json["warnings"].is_array()), (&1.into(), true));
        assert_eq!((&json["schema"], &json["command"]), (&1.into(), &"canonicalize".into()));
    }
    let ran = lab.canon(["--json", "in.img", "in.img"]).run().with_code(2);
    assert_eq!(ran.json()["error"]["kind"], "usage");
    ran.refusing(2, &["in.img: is the input; use --in-place"]);
}

#[test]
fn trouble_with_standard_output_is_told_and_a_closed_pipe_is_not() {
    let lab = with_image();
    let full = File::options().write(true).open("/dev/full").unwrap();
    lab.canon(["--check", "in.img"]).stdout(full).run().refusing(5, &["standard output: ", "No space left"]);
    let mut running = lab.canon(["in.img", "out.img"]).start();
    drop(running.child.stdout.take());
    running.end().done().without_a_word();
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_block_device_is_an_input_but_no_output() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = with_image();
    lab.canon(["-q", "in.img", "expected"]).run().done();
    let device = Loop::of(&lab.path("in.img"));
    lab.shell(r#"umask 027; exec "$0" -q --verify "$1" out.img"#).arg(device.path()).run().done();
    assert!(lab.read("out.img") == lab.read("expected"));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&lab.path("out.img")), mode(device.path()) & !0o027);
    lab.canon(["--check"]).arg(device.path()).run().with_code(1).printing(&["not canonical"]);
    lab.canon(["--in-place"]).arg(device.path()).run().refusing(2, &["is a block device"]);
    lab.canon(["expected"]).arg(device.path()).run().refusing(2, &["is a block device"]);
}

#[test]
fn an_image_that_changes_meanwhile_is_refused() {
    let lab = with_image();
    // The image is large enough to be changed while it is read.
    run(tool("truncate").args(["-s", "256M"]).arg(lab.path("in.img")));
    let file = File::options().write(true).open(lab.path("in.img")).unwrap();
    for offset in (16 << 20_u64..256 << 20).step_by(1 << 20) {
        file.write_all_at(&vec![1; 1 << 20], offset).unwrap();
    }
    let mut running = lab.canon(["in.img", "out.img"]).start();
    // Writing the same byte again changes only the mtime.
    while running.child.try_wait().unwrap().is_none() {
        (&file).flush().unwrap();
        file.write_all_at(&[1], (256 << 20) - 1).unwrap();
    }
    running.end().refusing(5, &["in.img: it was changed while it was read"]);
    assert_eq!(lab.names("."), ["in.img"]);
}
