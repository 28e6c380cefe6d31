//! The command from outside: exit codes, what is printed where, and which files are there after.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::support::{Need, gate};

const CANON: &str = env!("CARGO_BIN_EXE_ext4-canon");

/// A directory of one's own, with an image in it.
struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With `in.img`, made by mke2fs.
    fn new() -> Self {
        let scene = Self::empty();
        let tree = scene.path("tree");
        fs::create_dir_all(tree.join("sub/deeper")).unwrap();
        fs::write(tree.join("file"), b"some content\n".repeat(1000)).unwrap();
        fs::write(tree.join("sub/zeros"), vec![0; 50_000]).unwrap();
        symlink("../file", tree.join("sub/link")).unwrap();
        let image = scene.path("in.img");
        run("mke2fs", &["-q", "-t", "ext4", "-d", tree.to_str().unwrap(), image.to_str().unwrap(), "8M"]);
        fs::remove_dir_all(tree).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// What is in the directory, hidden files too.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The command, in this directory, in an environment that says nothing.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).env_remove("SOURCE_DATE_EPOCH").stdin(Stdio::null());
        command
    }

    fn canon(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(CANON).args(arguments))
    }

    fn shell(&self, script: &str) -> Ended {
        Ended::of(self.command("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {script}"), CANON]))
    }
}

/// How a process ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Asserts that stderr is one line with these parts.
    #[track_caller]
    fn saying(self, parts: &[&str]) -> Self {
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part}: {self:?}");
        }
        self
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error}; install e2fsprogs and util-linux"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn version_and_help() {
    let scene = Scene::empty();
    let version = scene.canon(&["--version"]).with_code(0).out;
    assert_eq!(version, format!("ext4-canon {} (canonical form 1)\n", env!("CARGO_PKG_VERSION")));
    let help = scene.canon(&["--help"]).with_code(0).out;
    for code in ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", " 70  "] {
        assert!(help.contains(&format!("\n {code}")), "{code} is not in {help}");
    }
    for what in ["man", "bash", "zsh", "fish"] {
        assert!(scene.canon(&["--generate", what]).with_code(0).out.len() > 1000, "{what}");
    }
}

#[test]
fn wrong_usage() {
    let scene = Scene::new();
    for arguments in
        [&[][..], &["in.img"], &["--frobnicate", "in.img", "out.img"], &["--check", "in.img", "out.img"]]
    {
        let ended = scene.canon(arguments).with_code(2);
        assert!(ended.err.starts_with("error: ") && ended.out.is_empty(), "{ended:?}");
    }
    for value in ["today", "1.5", " 1"] {
        let ended =
            Ended::of(scene.command(CANON).args(["in.img", "out.img"]).env("SOURCE_DATE_EPOCH", value));
        assert!(ended.with_code(2).err.contains("SOURCE_DATE_EPOCH"));
    }
    assert_eq!(scene.names(), ["in.img"]);
}

#[test]
fn what_can_not_be_an_input() {
    let scene = Scene::empty();
    let _listener = UnixListener::bind(scene.path("socket")).unwrap();
    for (input, reason) in
        [("socket", "is a socket"), (".", "is a directory"), ("/dev/null", "is a character device")]
    {
        scene.canon(&[input, "out.img"]).with_code(2).saying(&[&format!("{input}: {reason}")]);
        scene.canon(&["--check", input]).with_code(2).saying(&[reason]);
        scene.canon(&["--in-place", input]).with_code(2).saying(&[reason]);
    }
    scene.canon(&["missing.img", "out.img"]).with_code(5).saying(&["missing.img: opening the image: "]);
    scene.canon(&["socket/in.img", "out.img"]).with_code(5);
    assert_eq!(scene.names(), ["socket"]);
}

#[test]
fn what_can_not_be_an_output() {
    let scene = Scene::new();
    run("mkfifo", &[scene.path("pipe").to_str().unwrap()]);
    fs::hard_link(scene.path("in.img"), scene.path("hard")).unwrap();
    symlink("hard", scene.path("soft")).unwrap();
    let names = scene.names();
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
        scene.canon(&["in.img", output]).with_code(2).saying(&[&format!("{output}: "), reason]);
    }
    scene.canon(&["in.img", "no/out.img"]).with_code(5).saying(&["no: creating the output: "]);
    scene.canon(&["--in-place", "in.img"]).with_code(2).saying(&["in.img: has several hard links"]);
    assert_eq!(scene.names(), names);
}

#[test]
fn an_image_is_rewritten() {
    let scene = Scene::new();
    fs::set_permissions(scene.path("in.img"), Permissions::from_mode(0o640)).unwrap();
    let before = (scene.read("in.img"), fs::metadata(scene.path("in.img")).unwrap().mtime_nsec());
    let ended = scene.canon(&["--verify", "in.img", "out.img"]).with_code(0);
    assert!(ended.out.starts_with("out.img: canonical form 1 of in.img, verified\n"), "{ended:?}");
    assert_eq!(ended.err, "");
    assert_eq!(scene.names(), ["in.img", "out.img"]);
    assert_eq!((scene.read("in.img"), fs::metadata(scene.path("in.img")).unwrap().mtime_nsec()), before);
    let metadata = fs::metadata(scene.path("out.img")).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (8 << 20, 0o640));
    assert!(metadata.blocks() * 512 < metadata.len() / 4, "not sparse: {} blocks", metadata.blocks());
    run("e2fsck", &["-fn", scene.path("out.img").to_str().unwrap()]);
}

#[test]
fn permissions_are_those_that_cp_would_give() {
    let scene = Scene::new();
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().mode() & 0o7777;
    let set = |name: &str, mode| fs::set_permissions(scene.path(name), Permissions::from_mode(mode)).unwrap();
    // A new output has the input's permissions, less the umask.
    for (input, umask, expected) in
        [(0o600, "022", 0o600), (0o666, "027", 0o640), (0o644, "077", 0o600), (0o755, "000", 0o755)]
    {
        set("in.img", input);
        for options in ["", "--format sparse", "--verify"] {
            let _ = fs::remove_file(scene.path("out.img"));
            scene.shell(&format!(r#"umask {umask}; exec "$0" -q {options} in.img out.img"#)).with_code(0);
            assert_eq!(mode("out.img"), expected, "{input:o} {umask} {options}");
        }
    }
    // One that is there keeps its own, whatever input and umask say.
    for kept in [0o600, 0o640, 0o666, 0o404] {
        set("out.img", kept);
        for options in ["", "--format sparse"] {
            scene.shell(&format!(r#"umask 027; exec "$0" -q {options} in.img out.img"#)).with_code(0);
            assert_eq!(mode("out.img"), kept, "{options}");
        }
    }
    set("in.img", 0o664);
    scene.shell(r#"umask 077; exec "$0" -q --in-place in.img"#).with_code(0);
    assert_eq!(mode("in.img"), 0o664);
    scene.shell(r#"umask 077; exec "$0" -q --bmap out.bmap in.img out.img"#).with_code(0);
    assert_eq!(mode("out.bmap"), 0o600);
}

#[test]
fn an_output_keeps_owner_and_acl_of_what_it_replaces() {
    if !gate(&[Need::Root, Need::Program("setpriv")]) {
        return;
    }
    let scene = Scene::new();
    let out = scene.path("out.img");
    fs::write(&out, "old").unwrap();
    std::os::unix::fs::chown(&out, Some(1234), Some(4321)).unwrap();
    fs::set_permissions(&out, Permissions::from_mode(0o640)).unwrap();
    let found = || {
        let metadata = fs::metadata(&out).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    scene.canon(&["-q", "in.img", "out.img"]).with_code(0);
    assert_eq!(found(), (1234, 4321, 0o640));
    // An ACL stays, and one that only the directory would give does not come.
    run("setfacl", &["-m", "u:77:r", out.to_str().unwrap()]);
    let acl = || run("getfacl", &["-n", "--omit-header", "--absolute-names", out.to_str().unwrap()]);
    let before = acl();
    assert!(before.contains("user:77:r--"), "{before}");
    scene.canon(&["-q", "in.img", "out.img"]).with_code(0);
    assert_eq!((acl(), found()), (before, (1234, 4321, 0o640)));
    run("setfacl", &["-b", out.to_str().unwrap()]);
    run("setfacl", &["-d", "-m", "u:78:rw", scene.directory.path().to_str().unwrap()]);
    scene.canon(&["-q", "in.img", "out.img"]).with_code(0);
    assert!(!acl().contains("user:78"), "{}", acl());
    run("setfacl", &["-k", scene.directory.path().to_str().unwrap()]);
    // Who can't give files away is told so, and the new group gets nothing.
    fs::set_permissions(scene.directory.path(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(scene.path("in.img"), Permissions::from_mode(0o644)).unwrap();
    let script = r#"exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" in.img out.img"#;
    let ended = scene.shell(script).with_code(0);
    assert!(ended.err.contains("the owner and group of out.img could not be kept"), "{ended:?}");
    assert_eq!(found(), (65534, 65534, 0o600));
}

#[test]
fn a_check_answers_and_writes_nothing() {
    let scene = Scene::new();
    let ended = scene.canon(&["--check", "in.img"]).with_code(1);
    assert!(ended.out.starts_with("in.img: not canonical") && ended.out.contains("superblock"), "{ended:?}");
    assert_eq!((ended.err.as_str(), scene.names()), ("", vec!["in.img".to_owned()]));
    scene.canon(&["in.img", "out.img"]).with_code(0);
    let ended = scene.canon(&["--check", "out.img"]).with_code(0);
    assert_eq!(ended.out, "out.img: canonical (form 1)\n");
    let quiet = scene.canon(&["-q", "--check", "in.img"]).with_code(1);
    assert_eq!((quiet.out, quiet.err), (String::new(), String::new()));
    // Other options, another canonical form.
    scene.canon(&["--check", "--label", "other", "out.img"]).with_code(1);
    // Any byte that no structure holds counts.
    let file = File::options().write(true).open(scene.path("out.img")).unwrap();
    file.write_all_at(b"x", (8 << 20) - 1000).unwrap();
    let json = scene.canon(&["--check", "--json", "out.img"]).with_code(1).json();
    assert_eq!((&json["status"], &json["more_differences"]), (&"not-canonical".into(), &false.into()));
    assert_eq!(json["differences"][0]["offset"], (8 << 20) - 1000);
    assert_eq!(json["differences"].as_array().unwrap().len(), 1);
}

#[test]
fn in_place_replaces_what_the_name_points_to() {
    if !gate(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.canon(&["in.img", "expected"]).with_code(0);
    symlink("in.img", scene.path("link")).unwrap();
    fs::set_permissions(scene.path("in.img"), Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::chown(scene.path("in.img"), Some(1234), Some(4321)).unwrap();
    scene.canon(&["--in-place", "--verify", "link"]).with_code(0);
    assert!(scene.read("in.img") == scene.read("expected"));
    let metadata = fs::metadata(scene.path("in.img")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o604, 1234, 4321));
    assert!(fs::symlink_metadata(scene.path("link")).unwrap().is_symlink());
    assert_eq!(scene.names(), ["expected", "in.img", "link"]);
}

#[test]
fn an_output_is_replaced_as_a_whole_or_not_at_all() {
    let scene = Scene::new();
    fs::write(scene.path("old"), "old").unwrap();
    symlink("old", scene.path("out.img")).unwrap();
    fs::hard_link(scene.path("old"), scene.path("other name")).unwrap();
    scene.canon(&["-q", "in.img", "out.img"]).with_code(0);
    assert_eq!(scene.read("old").len(), 8 << 20);
    assert_eq!(scene.read("other name"), b"old");
    symlink("new", scene.path("dangling")).unwrap();
    scene.canon(&["-q", "in.img", "dangling"]).with_code(0);
    assert!(scene.read("new") == scene.read("old"));
    // An image that is refused leaves the old file alone.
    fs::write(scene.path("bad.img"), [7; 5000]).unwrap();
    scene.canon(&["bad.img", "other name"]).with_code(3);
    assert_eq!(scene.read("other name"), b"old");
    assert_eq!(scene.names(), ["bad.img", "dangling", "in.img", "new", "old", "other name", "out.img"]);
}

#[test]
fn refused_images_have_their_code_and_leave_nothing() {
    let scene = Scene::new();
    fs::write(scene.path("empty.img"), "").unwrap();
    fs::write(scene.path("noise.img"), [0x5a; 100_000]).unwrap();
    let damaged = |name: &str, offset: u64, bytes: &[u8]| {
        fs::copy(scene.path("in.img"), scene.path(name)).unwrap();
        File::options().write(true).open(scene.path(name)).unwrap().write_all_at(bytes, offset).unwrap();
    };
    // The superblock's checksum, and a block of the inode table.
    damaged("checksum.img", 1024 + 0x3fc, b"oops");
    fs::copy(scene.path("in.img"), scene.path("errors.img")).unwrap();
    run("debugfs", &["-w", "-R", "ssv state 3", scene.path("errors.img").to_str().unwrap()]);
    let short = File::create(scene.path("short.img")).unwrap();
    short.write_all_at(&scene.read("in.img")[..1 << 20], 0).unwrap();
    let names = scene.names();
    for (image, code, kind) in [
        ("empty.img", 3, "unsupported"),
        ("noise.img", 3, "unsupported"),
        ("checksum.img", 4, "damaged"),
        ("errors.img", 4, "damaged"),
        ("short.img", 4, "damaged"),
    ] {
        for arguments in [&[image, "out.img"][..], &["--check", image], &["--in-place", image]] {
            scene.canon(arguments).with_code(code).saying(&[&format!("{image}: ")]);
        }
        let ended = scene.canon(&["--json", image, "out.img"]).with_code(code);
        let json = ended.json();
        assert_eq!((&json["status"], &json["exit_code"]), (&"error".into(), &code.into()));
        assert_eq!(json["error"]["kind"], kind);
        assert_eq!(json["error"]["message"], ended.err.trim_end());
    }
    // An option that only the image can refuse.
    scene.canon(&["--source-date-epoch", "99999999999", "in.img", "out.img"]).with_code(2);
    assert_eq!(scene.names(), names);
}

#[test]
fn a_full_disk_leaves_nothing() {
    if !gate(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    scene.canon(&["in.img", "whole.img"]).with_code(0);
    // On a filesystem of its own, which vanishes with the shell.
    let script = r#"mkdir full && mount -t tmpfs -o size=64k none full || exit 99
        "$0" in.img full/out.img; code=$?; ls -A full; exit $code"#;
    let ended = scene.command("unshare").args(["--mount", "sh", "-c", script, CANON]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!((ended.status.code(), out.as_ref()), (Some(5), ""), "{err}");
    assert!(err.starts_with("full/out.img: ") && err.contains("No space left"), "{err}");
    fs::remove_dir(scene.path("full")).unwrap();
    // A file may not become so large: that is noticed before anything is written.
    let ended = scene.shell(r#"trap "" XFSZ; ulimit -f 100; exec "$0" in.img out.img"#).with_code(5);
    assert!(ended.err.starts_with("out.img: setting its size: "), "{ended:?}");
    assert_eq!(scene.names(), ["in.img", "whole.img"]);
}

#[test]
fn killed_at_any_time_it_leaves_all_or_nothing() {
    let scene = Scene::new();
    scene.canon(&["in.img", "expected"]).with_code(0);
    // Where the filesystem has files without names, nothing ever has a name but a whole output.
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
    let nameless = rustix::fs::open(scene.directory.path(), flags, rustix::fs::Mode::RUSR).is_ok();
    for (delay, replace) in (0..40).flat_map(|delay| [(delay, false), (delay, true)]) {
        if replace {
            fs::write(scene.path("out.img"), "old").unwrap();
        }
        let mut child = scene.command(CANON).args(["-q", "--verify", "in.img", "out.img"]).spawn().unwrap();
        sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        match fs::read(scene.path("out.img")) {
            Ok(found) => assert!(found == scene.read("expected") || replace && found == b"old"),
            Err(_) => assert!(!replace),
        }
        for name in scene.names() {
            // To replace a file takes a temporary name, for a moment.
            let temporary = (replace || !nameless) && name.starts_with(".ext4-canon-");
            let known = ["in.img", "out.img", "expected"].contains(&name.as_str());
            assert!(temporary || known, "{name} after {delay} ms");
            if name != "in.img" && name != "expected" {
                fs::remove_file(scene.path(&name)).unwrap();
            }
        }
    }
}

#[test]
fn only_the_epoch_counts_in_the_environment() {
    let scene = Scene::new();
    scene.canon(&["-q", "in.img", "plain"]).with_code(0);
    let with = |output: &str, variables: &[(&str, &str)]| {
        let mut command = scene.command(CANON);
        command.args(["-q", "in.img", output]).envs(variables.iter().copied());
        Ended::of(&mut command).with_code(0);
        scene.read(output)
    };
    let others =
        [("TZ", "Asia/Tokyo"), ("LC_ALL", "de_DE"), ("RAYON_NUM_THREADS", "3"), ("E2FSPROGS_FAKE_TIME", "9")];
    assert!(with("others", &others) == scene.read("plain"));
    assert!(with("unset", &[("SOURCE_DATE_EPOCH", "")]) == scene.read("plain"));
    let epoch = with("epoch", &[("SOURCE_DATE_EPOCH", "1000000000")]);
    assert!(epoch != scene.read("plain"));
    scene.canon(&["-q", "--source-date-epoch", "1000000000", "in.img", "option"]).with_code(0);
    assert!(epoch == scene.read("option"));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let scene = Scene::new();
    for threads in ["1", "2", "7"] {
        scene.canon(&["-q", "--threads", threads, "in.img", threads]).with_code(0);
        assert!(scene.read(threads) == scene.read("1"), "{threads}");
    }
}

#[test]
fn options_reach_the_image() {
    let scene = Scene::new();
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let options = ["--uuid", uuid, "--label", "a label", "--source-date-epoch", "86400", "--mtime", "set"];
    scene.canon(&[&options[..], &["in.img", "out.img"]].concat()).with_code(0);
    let image = scene.path("out.img");
    let superblock = run("dumpe2fs", &["-h", image.to_str().unwrap()]);
    assert!(superblock.contains(uuid) && superblock.contains("a label"), "{superblock}");
    let file = run("debugfs", &["-R", "stat /file", image.to_str().unwrap()]);
    assert!(file.contains("mtime: 0x00015180"), "{file}");
    let zeros = |options: &[&str]| {
        scene.canon(&[options, &["-q", "in.img", "holes.img"]].concat()).with_code(0);
        run("debugfs", &["-R", "stat /sub/zeros", scene.path("holes.img").to_str().unwrap()])
    };
    assert!(zeros(&[]).contains("Blockcount: 0"));
    assert!(zeros(&["--holes", "punch"]).contains("Blockcount: 0"));
    let kept = scene.canon(&["--json", "--uuid", "keep", "in.img", "out.img"]).with_code(0).json();
    assert_eq!(kept["report"]["old_uuid"], kept["report"]["new_uuid"]);
}

#[test]
fn json_is_alone_on_standard_output() {
    let scene = Scene::new();
    for arguments in [&["--json"][..], &["--json", "-v"], &["--json", "-q"]] {
        let ended = scene.canon(&[arguments, &["in.img", "out.img"]].concat()).with_code(0);
        let json = ended.json();
        assert_eq!((&json["status"], &json["output"]), (&"written".into(), &"out.img".into()));
        assert_eq!(json["report"]["image_bytes"], 8 << 20);
        assert_eq!((&json["form"], json["warnings"].is_array()), (&1.into(), true));
        assert_eq!((&json["schema"], &json["command"]), (&1.into(), &"canonicalize".into()));
    }
    let ended = scene.canon(&["--json", "in.img", "in.img"]).with_code(2);
    assert_eq!(ended.json()["error"]["kind"], "usage");
}

#[test]
fn trouble_with_standard_output_is_told_and_a_closed_pipe_is_not() {
    let scene = Scene::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = scene.command(CANON).args(["--check", "in.img"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.starts_with(b"standard output: "), "{output:?}");
    let mut command = scene.command(CANON);
    command.args(["in.img", "out.img"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

/// A loop device, gone when dropped.
struct Loop(String);

impl Loop {
    fn of(file: &Path) -> Self {
        Self(run("losetup", &["--find", "--show", file.to_str().unwrap()]))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", &self.0]);
    }
}

#[test]
fn a_block_device_is_an_input_but_no_output() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let scene = Scene::new();
    scene.canon(&["-q", "in.img", "expected"]).with_code(0);
    let device = Loop::of(&scene.path("in.img"));
    let ended = scene.shell(&format!(r#"umask 027; exec "$0" -q --verify {} out.img"#, device.0));
    ended.with_code(0);
    assert!(scene.read("out.img") == scene.read("expected"));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&scene.path("out.img")), mode(Path::new(&device.0)) & !0o027);
    scene.canon(&["--check", &device.0]).with_code(1);
    scene.canon(&["--in-place", &device.0]).with_code(2).saying(&["is a block device"]);
    scene.canon(&["expected", &device.0]).with_code(2).saying(&["is a block device"]);
}

#[test]
fn an_image_that_changes_meanwhile_is_refused() {
    let scene = Scene::new();
    // Large enough that there is time to change it while it is read.
    run("truncate", &["-s", "256M", scene.path("in.img").to_str().unwrap()]);
    let file = File::options().write(true).open(scene.path("in.img")).unwrap();
    for offset in (16 << 20_u64..256 << 20).step_by(1 << 20) {
        file.write_all_at(&vec![1; 1 << 20], offset).unwrap();
    }
    let mut child = scene
        .command(CANON)
        .args(["in.img", "out.img"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Writing what is there changes the time alone.
    while child.try_wait().unwrap().is_none() {
        (&file).flush().unwrap();
        file.write_all_at(&[1], (256 << 20) - 1).unwrap();
    }
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{err}");
    assert!(err.starts_with("in.img: it was changed while it was read"), "{err}");
    assert_eq!(scene.names(), ["in.img"]);
}
