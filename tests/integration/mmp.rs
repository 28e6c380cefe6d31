//! Multiple mount protection: whoever had the filesystem in use does not reach the output.

use std::path::Path;

use crate::support::image::{debugfs_read, patch, peek};
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canonical, gate, judge, refused, run, same_bytes, tool, tree};

/// Where the block lies.
fn place(image: &Path) -> u64 {
    let size = 1024_u64 << u32::from_le_bytes(peek(image, 1024 + 0x18));
    u64::from_le_bytes(peek(image, 1024 + 0x168)) * size
}

fn image(lab: &Lab, name: &str, options: &[&str]) -> std::path::PathBuf {
    let source = lab.path("source");
    if !source.exists() {
        std::fs::create_dir(&source).expect("a folder");
        tree::plain(&source);
    }
    lab.mke2fs_d(name, "24M", options, &source)
}

#[test]
fn nobody_has_the_output_in_use() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "mmp", "-E", "mmp_update_interval=7"];
    let made = image(&lab, "made.img", &options);
    let without = ["-t", "ext4", "-b", "1024", "-O", "^mmp"];
    // tune2fs puts the block elsewhere.
    let tuned = image(&lab, "tuned.img", &without);
    run(tool("tune2fs").args(["-O", "mmp", "-E", "mmp_update_interval=7"]).arg(&tuned));
    assert_ne!(place(&made), place(&tuned), "nothing to be seen here");
    let output = canonical(&made, &[]);
    same_bytes(&output, &canonical(&tuned, &[]));
    let text = debugfs_read(&output, "dump_mmp\n");
    for line in ["update_interval: 7", "check_interval: 7", "sequence: ff4d4d50", "time: 0 "] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("node_name: \ndevice_name: \n"), "{text}");
    if gate(&[Need::Mounts]) {
        judge::kernel_works(&output).expect("a mount for changes");
    }
}

#[test]
fn a_copy_of_a_mounted_filesystem_is_taken_for_what_it_is() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for journal in ["has_journal", "^has_journal"] {
        let lab = Lab::new();
        let options = ["-t", "ext4", "-b", "1024", "-O", &format!("mmp,{journal}")];
        let image = image(&lab, "in.img", &options);
        let mounted = Mounted::read_write(&image).expect("a mount");
        let copy = lab.copy(&image, "copy.img");
        assert_ne!(peek(&copy, place(&copy) + 4), 0xFF4D_4D50_u32.to_le_bytes(), "nothing to be seen here");
        mounted.unmount();
        assert_eq!(peek(&image, place(&image) + 4), 0xFF4D_4D50_u32.to_le_bytes());
        let output = canonical(&copy, &[]);
        same_bytes(&output, &canonical(&image, &[]));
    }
}

#[test]
fn one_that_is_being_changed_is_refused() {
    let lab = Lab::new();
    let clean = image(&lab, "in.img", &["-t", "ext4", "-O", "mmp,^metadata_csum"]);
    canonical(&clean, &[]);
    for (name, offset, value, code, words) in [
        ("fsck", 4, 0xE24D_4D50_u32, 4, "e2fsck"),
        ("active", 4, 0x1234_5678, 4, "in use"),
        ("magic", 0, 0, 4, "bad magic"),
    ] {
        let image = lab.copy(&clean, name);
        patch(&image, place(&image) + offset, &value.to_le_bytes());
        refused(&image, &[], code, &[words]);
    }
    let image = lab.copy(&clean, "nowhere");
    patch(&image, 1024 + 0x168, &u64::MAX.to_le_bytes());
    refused(&image, &[], 4, &["s_mmp_block"]);
    let image = self::image(&lab, "checksum", &["-t", "ext4", "-O", "mmp"]);
    patch(&image, place(&image) + 8, &[1]);
    refused(&image, &[], 4, &["MMP block"]);
}
