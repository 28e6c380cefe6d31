//! Android sparse images, read and written, against the tools of Debian.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, gate, judge, run, same_bytes, tool, tree};

const CANON: &str = env!("CARGO_BIN_EXE_ext4-canon");

#[test]
fn images_of_android() {
    if !gate(&[Need::Program("simg2img"), Need::Program("img2simg")]) {
        return;
    }
    let lab = Lab::new();
    let from = lab.folder("from");
    tree::plain(&from);
    for (number, options) in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]].iter().enumerate() {
        let image = lab.mke2fs_d(&format!("{number}.img"), "64M", options, &from);
        let expected = canonical(&image, &[]);
        // What their tools made is read.
        let sparse = image.with_extension("simg");
        run(tool("img2simg").arg(&image).arg(&sparse));
        let output = image.with_extension("out");
        run(tool(CANON).arg(&sparse).arg(&output));
        same_bytes(&output, &expected);
        // What is written is read by their tools, and by this one.
        let written = image.with_extension("written");
        run(tool(CANON).args(["--format", "sparse", "--verify"]).arg(&image).arg(&written));
        let size = |path: &std::path::Path| path.metadata().unwrap().len();
        assert!(size(&written) < size(&image) / 8, "{}", size(&written));
        let expanded = image.with_extension("expanded");
        run(tool("simg2img").arg(&written).arg(&expanded));
        same_bytes(&expanded, &expected);
        assert_eq!(try_run(tool(CANON).arg("--check").arg(&written)).code, Some(0));
        // Over what was there before, nothing of it shows.
        let device = image.with_extension("device");
        fs::write(&device, tree::noise(7, 64 << 20)).unwrap();
        run(tool("simg2img").arg(&written).arg(&device));
        judge::fsck_silent(&device).unwrap();
        judge::same_by_debugfs(&device, &expected);
        // Of a pipe there are no permissions that it could have.
        let (script, piped) =
            ("umask 027; cat \"$1\" | \"$0\" --format sparse - \"$2\"", image.with_extension("piped"));
        run(tool("sh").args(["-c", script, CANON]).args([&image, &piped]));
        same_bytes(&piped, &written);
        assert_eq!(piped.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        // The same bytes again.
        let again = image.with_extension("again");
        run(tool(CANON).args(["--format", "sparse"]).arg(&expected).arg(&again));
        same_bytes(&written, &again);
    }
}

#[test]
fn what_is_no_sparse_image_is_refused() {
    let lab = Lab::new();
    lab.mke2fs("in.img", "4M", &["-t", "ext4"]);
    let folder = lab.path("");
    let canon = |arguments: &[&str]| try_run(tool(CANON).args(arguments).current_dir(&folder));
    assert_eq!(canon(&["--format", "sparse", "in.img", "a.simg"]).code, Some(0));
    let ran = canon(&["--in-place", "a.simg"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("is an Android sparse image"), "{ran:?}");
    let bytes = fs::read(lab.path("a.simg")).unwrap();
    fs::write(lab.path("cut.simg"), &bytes[..bytes.len() - 1]).unwrap();
    let ran = canon(&["cut.simg", "out.img"]);
    assert!(ran.code == Some(4) && ran.stderr.contains("sparse image is cut short"), "{ran:?}");
    // The checksum in the header, which may be left out.
    fs::write(lab.path("sum.simg"), [&bytes[..24], &[1, 2, 3, 4], &bytes[28..]].concat()).unwrap();
    let ran = canon(&["sum.simg", "out.img"]);
    assert!(ran.code == Some(4) && ran.stderr.contains("other bytes than its checksum says"), "{ran:?}");
    fs::write(lab.path("version.simg"), [&bytes[..4], &[2], &bytes[5..]].concat()).unwrap();
    let ran = canon(&["version.simg", "out.img"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("version that is not known"), "{ran:?}");
    // Blocks of 4096 bytes, which not every image has.
    lab.mke2fs("odd.img", "4097K", &["-t", "ext2", "-b", "1024"]);
    let ran = canon(&["--format", "sparse", "odd.img", "out.img"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("use --format raw"), "{ran:?}");
    assert_eq!(canon(&["--format", "sparse", "--size", "4100K", "odd.img", "even.simg"]).code, Some(0));
    for arguments in [
        &["--format", "sparse", "in.img", "-"][..],
        &["--format", "sparse", "--in-place", "in.img"],
        &["--format", "sparse", "--bmap", "b", "in.img", "out.img"],
    ] {
        assert_eq!(canon(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!lab.path("out.img").exists());
}
