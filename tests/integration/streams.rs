//! Images that go through pipes.

use std::fs;

use crate::support::contents::sha256;
use crate::support::disk::disk;
use crate::support::{Lab, canonical, same_bytes};

#[test]
fn what_comes_out_of_a_pipe_is_the_image() {
    let lab = Lab::new();
    let expected = canonical(&lab.plain_image("in.img", "32M", &["-t", "ext4"]), &[]);
    for script in [
        r#""$0" in.img - > out.img"#,
        r#""$0" in.img - | cat > out.img"#,
        r#"cat in.img | "$0" - - | cat > out.img"#,
        r#"cat in.img | "$0" - out.img"#,
        r#""$0" - out.img < in.img"#,
        r#""$0" <(cat in.img) out.img"#,
        r#"mkfifo pipe && { cat in.img > pipe & "$0" pipe out.img && rm pipe; }"#,
        r#"gzip -c in.img | gunzip | "$0" -q - - | gzip -c | gunzip > out.img"#,
    ] {
        lab.shell(&format!("set -o pipefail; {script}")).run().done();
        same_bytes(&lab.path("out.img"), &expected);
        fs::remove_file(lab.path("out.img")).unwrap();
    }
    // Other commands also read pipes, and messages never become part of an image on standard output.
    let digest = lab.shell(r#"cat in.img | "$0" digest -"#).run().done().stdout;
    assert_eq!(digest, format!("{}  -\n", &sha256(&expected)[..64]));
    lab.shell(r#"cat in.img | "$0" compare - in.img"#).run().done().printing(&["- and in.img: match\n"]);
    lab.shell(r#"cat in.img | "$0" --check -"#).run().with_code(1).printing(&["-: not canonical"]);
    let ran = lab.shell(r#""$0" --json in.img - 2>&1 >out.img"#).run().done();
    ran.printing(&["\"status\": \"written\""]);
    same_bytes(&lab.path("out.img"), &expected);
}

#[test]
fn a_disk_goes_through_a_pipe() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "32M", &["-t", "ext4"]);
    let path = lab.path("disk.img");
    disk(
        &path,
        80,
        "label: gpt\nstart=1MiB, size=32MiB\nstart=40MiB, size=32MiB\n",
        &[(1, &image), (40, &image)],
    );
    let script = r#"set -eo pipefail; "$0" disk.img out.img; cat disk.img | "$0" --table keep - - | cmp - out.img
                    "$0" --table canonical --zero-gaps disk.img two.img
                    "$0" --table canonical --zero-gaps disk.img - | cmp - two.img"#;
    lab.shell(script).run().done();
}

#[test]
fn trouble_with_pipes_is_told() {
    let lab = Lab::new();
    lab.plain_image("in.img", "32M", &["-t", "ext4"]);
    let ran = lab.shell(r#"{ "$0" -q in.img -; echo "code $?" >&2; } | true"#).run();
    let ran = ran.saying(&["standard output: writing the output: Broken pipe"]);
    assert!(ran.stderr.ends_with("code 5\n"), "{ran:?}");
    for (script, code, words) in [
        (r#"head -c 100000 in.img | "$0" - out.img"#, 4, "truncated: the filesystem needs"),
        (r#": | "$0" - out.img"#, 3, "too short"),
        (r#"cat in.img | "$0" --in-place /dev/stdin"#, 2, "is a pipe"),
        (r#"cat in.img | TMPDIR=/nonexistent "$0" - out.img"#, 5, "TMPDIR"),
    ] {
        lab.shell(script).run().refusing(code, &[words]);
    }
    for (arguments, words) in [
        (&["--in-place", "-"][..], "standard input can't be replaced"),
        (&["--verify", "in.img", "-"], "a pipe can't be read again"),
        (&["compare", "-", "-"], "standard input can't be both images"),
    ] {
        lab.canon(arguments).run().misused(&[words]);
    }
    // The input is never written, even if the shell opened it for writing.
    let before = sha256(&lab.path("in.img"));
    for script in [r#""$0" in.img - 1<>in.img"#, r#""$0" in.img - >>in.img"#, r#""$0" - - <in.img 1<>in.img"#]
    {
        lab.shell(script).run().refusing(2, &["standard output: is the input"]);
        assert_eq!(sha256(&lab.path("in.img")), before, "{script}");
    }
    // Only the image and its tree remain.
    assert_eq!(lab.names("."), ["in.img", "source"]);
}
