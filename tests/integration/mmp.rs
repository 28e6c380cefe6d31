//! Multiple mount protection: the output does not depend on the last user of the filesystem.

use ext4_canon::internals::ondisk::mmp::{SEQ_CLEAN, SEQ_FSCK};

use crate::support::fields::{mmp, superblock};
use crate::support::image::debugfs_read;
use crate::support::kernel::Mounted;
use crate::support::{Lab, Need, canonical, gate, judge, partly, refused, run, same_bytes, tool};

#[test]
fn nobody_has_the_output_in_use() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "mmp", "-E", "mmp_update_interval=7"];
    let made = lab.plain_image("made.img", "24M", &options);
    let without = ["-t", "ext4", "-b", "1024", "-O", "^mmp"];
    // tune2fs allocates a different MMP block.
    let tuned = lab.plain_image("tuned.img", "24M", &without);
    run(tool("tune2fs").args(["-O", "mmp", "-E", "mmp_update_interval=7"]).arg(&tuned));
    assert_ne!(mmp(&made).start, mmp(&tuned).start, "test precondition failed");
    let output = canonical(&made, &[]);
    same_bytes(&output, &canonical(&tuned, &[]));
    let text = debugfs_read(&output, "dump_mmp\n");
    for line in ["update_interval: 7", "check_interval: 7", "sequence: ff4d4d50", "time: 0 "] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("node_name: \ndevice_name: \n"), "{text}");
    if partly(&[Need::Mounts]) {
        judge::kernel_works(&output).expect("a mount for changes");
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_copy_of_a_mounted_filesystem_is_taken_for_what_it_is() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for journal in ["has_journal", "^has_journal"] {
        let lab = Lab::new();
        let options = ["-t", "ext4", "-b", "1024", "-O", &format!("mmp,{journal}")];
        let image = lab.plain_image("in.img", "24M", &options);
        let mounted = Mounted::read_write(&image).expect("a mount");
        let copy = lab.copy(&image, "copy.img");
        assert_ne!(mmp(&copy).get32("mmp_seq"), SEQ_CLEAN, "test precondition failed");
        mounted.unmount();
        assert_eq!(mmp(&image).get32("mmp_seq"), SEQ_CLEAN);
        let output = canonical(&copy, &[]);
        same_bytes(&output, &canonical(&image, &[]));
    }
}

#[test]
fn one_that_is_being_changed_is_refused() {
    let lab = Lab::new();
    let clean = lab.plain_image("in.img", "24M", &["-t", "ext4", "-O", "mmp,^metadata_csum"]);
    canonical(&clean, &[]);
    for (name, field, value, words) in [
        ("fsck", "mmp_seq", SEQ_FSCK, "e2fsck or a similar program is running"),
        ("active", "mmp_seq", 0x1234_5678, "uses the filesystem"),
        ("magic", "mmp_magic", 0, "bad magic 0x0"),
    ] {
        let image = lab.copy(&clean, name);
        mmp(&image).set(field, value.into());
        refused(&image, &[], 4, &[words]);
    }
    let image = lab.copy(&clean, "nowhere");
    superblock(&image).set("s_mmp_block", u64::MAX);
    refused(&image, &[], 4, &["s_mmp_block is 18446744073709551615"]);
    let image = lab.plain_image("checksum", "24M", &["-t", "ext4", "-O", "mmp"]);
    mmp(&image).put("mmp_time", &[1]);
    refused(&image, &[], 4, &["MMP block", "bad checksum"]);
}
