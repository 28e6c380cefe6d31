//! Outputs on filesystems with reflinks: long runs are shared with the input, and the bytes don't change.

use std::fs::{self, File};
use std::path::Path;

use crate::support::dice::Dice;
use crate::support::image::{blocks_of, debugfs};
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canon, gate, run, same_bytes, tool};

/// Returns the number of a file's extents that are shared with other files.
fn shared_extents(file: &Path) -> usize {
    let told = run(tool("filefrag").arg("-v").arg(file));
    told.lines().filter(|line| line.contains("shared")).count()
}

fn rewrite(input: &Path, output: &Path) {
    canon(["-q", "--verify"]).args([input, output]).run().done();
}

/// Makes an image with a file that is large enough to share, one with a hole, and small ones.
fn with_large_file(lab: &Lab, block_size: &str) -> std::path::PathBuf {
    let source = lab.folder("source");
    // This moves all later files, so that none of them is at its canonical place.
    fs::write(source.join("a"), Dice::noise(1, 5000)).expect("writing");
    fs::write(source.join("large"), Dice::noise(2, 6 << 20)).expect("writing");
    let mut holes = Dice::noise(3, 3 << 20);
    holes[1 << 20..(1 << 20) + 40_960].fill(0);
    fs::write(source.join("holes"), holes).expect("writing");
    for number in 0..50 {
        fs::write(source.join(format!("small {number}")), Dice::noise(number, 3000)).expect("writing");
    }
    let image = lab.mke2fs_d("in.img", "32M", &["-t", "ext4", "-b", block_size], &source);
    debugfs(&image, "rm a\n");
    fs::remove_dir_all(source).expect("removing");
    image
}

#[test]
#[ignore = "needs root: mounts images"]
fn long_runs_are_shared_and_the_bytes_are_the_same() {
    if !gate(&[Need::Mounts, Need::Program("mkfs.xfs")]) {
        return;
    }
    let lab = Lab::new();
    let disk = lab.path("disk");
    File::create(&disk).and_then(|file| file.set_len(400 << 20)).expect("a file");
    run(tool("mkfs.xfs").arg("-q").arg(&disk));
    let mounted = Mounted::xfs(&disk).expect("a mount");
    for (block_size, replayed) in [("4096", false), ("1024", false), ("4096", true)] {
        let lab = Lab::new();
        let image = with_large_file(&lab, block_size);
        if replayed {
            // The journal contains a copy of a block in the middle of the large file.
            fs::write(lab.path("block"), Dice::noise(9, 4096)).expect("writing");
            let target = blocks_of(&image, "/large")[700];
            debugfs(&image, &format!("jo\njw -b {target} {}\njc\n", lab.path("block").display()));
        }
        let [input, output] = ["in.img", "out.img"].map(|name| mounted.path().join(name));
        run(tool("cp").arg(&image).arg(&input));
        rewrite(&input, &output);
        rewrite(&image, &lab.path("out.img"));
        same_bytes(&output, &lab.path("out.img"));
        let shared = shared_extents(&output);
        assert!(shared > 0 || block_size == "1024", "{block_size}, {replayed}: nothing is shared");
        // The input can be overwritten, without an effect on the output.
        fs::write(&input, "gone").expect("writing");
        same_bytes(&output, &lab.path("out.img"));
    }
    // Between different filesystems, nothing can be shared, and the output is the same.
    let lab = Lab::new();
    let (image, output) = (with_large_file(&lab, "4096"), mounted.path().join("other.img"));
    rewrite(&image, &output);
    rewrite(&image, &lab.path("out.img"));
    same_bytes(&output, &lab.path("out.img"));
    assert_eq!(shared_extents(&output), 0);
}
