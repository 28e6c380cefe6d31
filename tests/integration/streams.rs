//! Images that go through pipes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::sha256;
use crate::support::disk::disk;
use crate::support::tools::{Ran, try_run};
use crate::support::{Lab, canonical, same_bytes, tool, tree};

/// Runs a script in a folder; `$0` is the program.
fn shell(folder: &Path, script: &str) -> Ran {
    let mut shell = tool("bash");
    try_run(shell.args(["-c", script, env!("CARGO_BIN_EXE_ext4-canon")]).current_dir(folder))
}

fn image(lab: &Lab) -> PathBuf {
    let from = lab.folder("from");
    tree::plain(&from);
    lab.mke2fs_d("in.img", "32M", &["-t", "ext4"], &from)
}

#[test]
fn what_comes_out_of_a_pipe_is_the_image() {
    let lab = Lab::new();
    let expected = canonical(&image(&lab), &[]);
    let folder = lab.path("");
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
        let ran = shell(&folder, &format!("set -o pipefail; {script}"));
        assert_eq!(ran.code, Some(0), "{script}: {ran:?}");
        same_bytes(&lab.path("out.img"), &expected);
        fs::remove_file(lab.path("out.img")).unwrap();
    }
    // The others read a pipe as well; and what is said does not get into the image.
    let digest = shell(&folder, r#"cat in.img | "$0" digest -"#).stdout;
    assert_eq!(digest, format!("{}  -\n", &sha256(&expected)[..64]));
    assert_eq!(shell(&folder, r#"cat in.img | "$0" compare - in.img"#).code, Some(0));
    assert_eq!(shell(&folder, r#"cat in.img | "$0" --check -"#).code, Some(1));
    let ran = shell(&folder, r#""$0" --json in.img - 2>&1 >out.img"#);
    assert!(ran.stdout.contains("\"status\": \"written\""), "{ran:?}");
    same_bytes(&lab.path("out.img"), &expected);
}

#[test]
fn a_disk_goes_through_a_pipe() {
    let lab = Lab::new();
    let image = image(&lab);
    let path = lab.path("disk.img");
    disk(
        &path,
        80,
        "label: gpt\nstart=1MiB, size=32MiB\nstart=40MiB, size=32MiB\n",
        &[(1, &image), (40, &image)],
    );
    let script = r#"set -eo pipefail; "$0" disk.img out.img; cat disk.img | "$0" --gpt keep - - | cmp - out.img
                    "$0" --gpt canonical --zero-gaps disk.img two.img
                    "$0" --gpt canonical --zero-gaps disk.img - | cmp - two.img"#;
    let ran = shell(&lab.path(""), script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn trouble_with_pipes_is_told() {
    let lab = Lab::new();
    image(&lab);
    let folder = lab.path("");
    let ran = shell(&folder, r#"{ "$0" -q in.img -; echo "code $?" >&2; } | true"#);
    assert!(ran.stderr.contains("standard output: writing the output: Broken pipe"), "{ran:?}");
    assert!(ran.stderr.ends_with("code 5\n"), "{ran:?}");
    let ran = shell(&folder, r#"head -c 100000 in.img | "$0" - out.img"#);
    assert!(ran.code == Some(4) && ran.stderr.contains("truncated: the filesystem needs"), "{ran:?}");
    let ran = shell(&folder, r#": | "$0" - out.img"#);
    assert!(ran.code == Some(3) && ran.stderr.contains("too short"), "{ran:?}");
    let ran = shell(&folder, r#"cat in.img | "$0" --in-place /dev/stdin"#);
    assert!(ran.code == Some(2) && ran.stderr.contains("is a pipe"), "{ran:?}");
    for script in [r#""$0" --in-place -"#, r#""$0" --verify in.img -"#, r#""$0" compare - -"#] {
        assert_eq!(shell(&folder, script).code, Some(2), "{script}");
    }
    let ran = shell(&folder, r#"cat in.img | TMPDIR=/nonexistent "$0" - out.img"#);
    assert!(ran.code == Some(5) && ran.stderr.contains("TMPDIR"), "{ran:?}");
    // The input is never written, also where the shell opened it.
    let before = sha256(&lab.path("in.img"));
    for script in [r#""$0" in.img - 1<>in.img"#, r#""$0" in.img - >>in.img"#, r#""$0" - - <in.img 1<>in.img"#]
    {
        let ran = shell(&folder, script);
        assert!(ran.code == Some(2) && ran.stderr.contains("standard output: is the input"), "{ran:?}");
        assert_eq!(sha256(&lab.path("in.img")), before, "{script}");
    }
    // Nothing but the image and its tree.
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}
