//! Android sparse images, read and written, compared with Debian's tools.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::dice::Dice;
use crate::support::image::patch;
use crate::support::{Canon, Lab, Need, canon, canonical, gate, judge, run, same_bytes, tool};

/// Offsets of fields in the header of a sparse image, with the names of libsparse.
const MAJOR_VERSION: u64 = 4;
const IMAGE_CHECKSUM: u64 = 24;

#[test]
fn images_of_android() {
    if !gate(&[Need::Program("simg2img"), Need::Program("img2simg")]) {
        return;
    }
    let lab = Lab::new();
    for (number, options) in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]].iter().enumerate() {
        let image = lab.plain_image(&format!("{number}.img"), "64M", options);
        let expected = canonical(&image, &[]);
        // Images that Android's tools made can be read.
        let sparse = image.with_extension("simg");
        run(tool("img2simg").arg(&image).arg(&sparse));
        let output = image.with_extension("out");
        canon([&sparse, &output]).run().done();
        same_bytes(&output, &expected);
        // Images that ext4-canon writes can be read by Android's tools and by ext4-canon.
        let written = image.with_extension("written");
        canon(["--format", "sparse", "--verify"]).args([&image, &written]).run().done();
        let size = |path: &std::path::Path| path.metadata().unwrap().len();
        assert!(size(&written) < size(&image) / 8, "{}", size(&written));
        let expanded = image.with_extension("expanded");
        run(tool("simg2img").arg(&written).arg(&expanded));
        same_bytes(&expanded, &expected);
        canon(["--check"]).arg(&written).run().done();
        // If the device contains old data, none of it is left.
        let device = image.with_extension("device");
        fs::write(&device, Dice::noise(7, 64 << 20)).unwrap();
        run(tool("simg2img").arg(&written).arg(&device));
        judge::fsck_silent(&device).unwrap();
        judge::same_by_debugfs(&device, &expected);
        // A pipe has no permissions to copy, so the umask decides.
        let piped = image.with_extension("piped");
        let script = r#"umask 027; cat "$1" | "$0" --format sparse - "$2""#;
        Canon::script(script).args([&image, &piped]).run().done();
        same_bytes(&piped, &written);
        assert_eq!(piped.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        // Writing again gives the same bytes.
        let again = image.with_extension("again");
        canon(["--format", "sparse"]).args([&expected, &again]).run().done();
        same_bytes(&written, &again);
    }
}

#[test]
fn what_is_no_sparse_image_is_refused() {
    let lab = Lab::new();
    lab.mke2fs("in.img", "4M", &["-t", "ext4"]);
    lab.canon(["--format", "sparse", "in.img", "a.simg"]).run().done();
    lab.canon(["--in-place", "a.simg"]).run().refusing(2, &["is an Android sparse image"]);
    let bytes = fs::read(lab.path("a.simg")).unwrap();
    fs::write(lab.path("cut.simg"), &bytes[..bytes.len() - 1]).unwrap();
    lab.canon(["cut.simg", "out.img"]).run().refusing(4, &["sparse image is cut short"]);
    // The checksum in the header is optional, but checked.
    patch(&lab.copy(&lab.path("a.simg"), "sum.simg"), IMAGE_CHECKSUM, &[1, 2, 3, 4]);
    lab.canon(["sum.simg", "out.img"]).run().refusing(4, &["has a wrong checksum"]);
    patch(&lab.copy(&lab.path("a.simg"), "version.simg"), MAJOR_VERSION, &[2]);
    lab.canon(["version.simg", "out.img"]).run().refusing(3, &["unknown version"]);
    // Sparse images have blocks of 4096 bytes, so the size must be a multiple of that.
    lab.mke2fs("odd.img", "4097K", &["-t", "ext2", "-b", "1024"]);
    lab.canon(["--format", "sparse", "odd.img", "out.img"]).run().refusing(3, &["use --format raw"]);
    lab.canon(["--format", "sparse", "--size", "4100K", "odd.img", "even.simg"]).run().done();
    for arguments in [
        &["--format", "sparse", "in.img", "-"][..],
        &["--format", "sparse", "--in-place", "in.img"],
        &["--format", "sparse", "--bmap", "b", "in.img", "out.img"],
    ] {
        lab.canon(arguments).run().misused(&["an Android sparse image is written to a file"]);
    }
    assert!(!lab.path("out.img").exists());
}
