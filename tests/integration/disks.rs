//! Whole disks: filesystems in partitions become canonical where they stand, and nothing else changes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::sha256;
use crate::support::disk::disk;
use crate::support::image::{debugfs, patch, peek};
use crate::support::kernel::Loop;
use crate::support::ran::Ran;
use crate::support::{Lab, Need, canon, fill, gate, judge, refused, run, same_bytes, tool, tree};

const EPOCH: [&str; 2] = ["--source-date-epoch", "1700000000"];

/// Where the filesystems lie, in MiB, and how they are made.
const FILESYSTEMS: [(u64, &str, &[&str]); 3] = [
    (2, "root", &["-t", "ext4"]),
    (20, "boot", &["-t", "ext2", "-b", "1024"]),
    (40, "data", &["-t", "ext4", "-O", "^metadata_csum", "-b", "2048"]),
];

/// Partitions of a GPT; the GUIDs are drawn by lot where none are given.
const GPT: &str = "start=2MiB, size=16MiB, name=root\nstart=20MiB, size=16MiB, name=boot\n\
                   start=40MiB, size=16MiB, name=data\nstart=58MiB, size=2MiB, type=U, name=esp\n";
/// Of an MBR, two of them logical.
const MBR: &str = "label: dos\nlabel-id: 0x11223344\nstart=2MiB, size=16MiB\nstart=58MiB, size=2MiB, type=c\n\
                   start=19MiB, size=38MiB, type=5\nstart=20MiB, size=16MiB\nstart=40MiB, size=16MiB\n";

const GPT_KEPT: &str = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
    start=2MiB, size=16MiB, name=root, uuid=11111111-0000-0000-0000-000000000001\n\
    start=20MiB, size=16MiB, name=boot, uuid=11111111-0000-0000-0000-000000000002\n\
    start=40MiB, size=16MiB, name=data, uuid=11111111-0000-0000-0000-000000000003\n\
    start=58MiB, size=2MiB, type=U, name=esp, uuid=11111111-0000-0000-0000-000000000004\n";

/// A tree as two builds leave it: written at once by mke2fs, and by the kernel in another order with things deleted.
fn filesystem(lab: &Lab, index: usize, build: usize) -> PathBuf {
    let (_, name, options) = FILESYSTEMS[index];
    let from = lab.path(&format!("tree-{name}"));
    if !from.exists() {
        fs::create_dir(&from).unwrap();
        tree::plain(&from);
        fs::write(from.join("name"), name).unwrap();
        tree::set_all_mtimes(&from);
    }
    let file = format!("{name}-{build}.img");
    if build == 0 {
        return lab.mke2fs_d(&file, "16M", options, &from);
    }
    let image = lab.mke2fs(&file, "16M", options);
    fill::kernel(&image, |root| {
        fs::write(root.join("deleted"), tree::noise(9, 300_000)).unwrap();
        run(tool("sync").arg("-f").arg(root));
        fs::remove_file(root.join("deleted")).unwrap();
        fill::copy_in_order(&from, root, &fill::backwards(&from));
    });
    image
}

/// Two builds of one disk, with bytes in a partition that is no filesystem, and in a gap.
fn builds(lab: &Lab, tables: [&str; 2]) -> [PathBuf; 2] {
    let esp = lab.path("esp");
    fs::write(&esp, tree::noise(5, 100_000)).unwrap();
    [0, 1].map(|build| {
        let images = [0, 1, 2].map(|index| filesystem(lab, index, build));
        let path = lab.path(&format!("disk-{build}.img"));
        let mut contents: Vec<(u64, &Path)> =
            FILESYSTEMS.iter().zip(&images).map(|((at, ..), image)| (*at, image.as_path())).collect();
        contents.push((58, &esp));
        disk(&path, 64, tables[build], &contents);
        patch(&path, (19 << 20) + 4096, b"in a gap");
        path
    })
}

/// The canonical form of a disk, in a file of its own.
fn canonical(disk: &Path, options: &[&str]) -> PathBuf {
    let mut names = (0..).map(|number| disk.with_extension(format!("canon{number}")));
    let output = names.find(|name| !name.exists()).unwrap();
    let before = sha256(disk);
    let ran = sub(options, &[disk, &output]);
    assert!(ran.code == Some(0), "{} {options:?}: {ran:#?}", disk.display());
    assert_eq!(before, sha256(disk), "the input was changed");
    output
}

fn sub(arguments: &[&str], files: &[&Path]) -> Ran {
    canon(arguments).args(files).run()
}

/// The filesystem at an offset in MiB, as a file of its own.
fn cut(disk: &Path, at: u64) -> PathBuf {
    let mut path = disk.as_os_str().to_owned();
    path.push(format!(".{at}.img"));
    let path = PathBuf::from(path);
    let bytes = fs::read(disk).unwrap();
    let at = usize::try_from(at << 20).unwrap();
    fs::write(&path, &bytes[at..at + (16 << 20)]).unwrap();
    path
}

/// All bytes outside the filesystems.
fn around(disk: &Path) -> Vec<u8> {
    let mut bytes = fs::read(disk).unwrap();
    for (at, ..) in FILESYSTEMS {
        let at = usize::try_from(at << 20).unwrap();
        bytes[at..at + (16 << 20)].fill(0);
    }
    bytes
}

#[test]
fn two_builds_of_a_disk_meet() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for table in [GPT_KEPT, MBR] {
        let lab = Lab::new();
        let [one, other] = builds(&lab, [table, table]);
        assert_ne!(sha256(&one), sha256(&other));
        let options = [&EPOCH[..], &["--verify"]].concat();
        let outputs = [&one, &other].map(|disk| canonical(disk, &options));
        same_bytes(&outputs[0], &outputs[1]);
        assert!(around(&one) == around(&outputs[0]), "other bytes changed");
        for (at, ..) in FILESYSTEMS {
            let found = cut(&outputs[0], at);
            judge::fsck_silent(&found).unwrap();
            // Nothing else would have come of the filesystem alone.
            same_bytes(&found, &canonical(&cut(&one, at), &EPOCH));
        }
        let again = canonical(&outputs[0], &EPOCH);
        same_bytes(&again, &outputs[0]);
        assert_eq!(sub(&[&EPOCH[..], &["--check"]].concat(), &[&outputs[0]]).code, Some(0));
        assert_eq!(sub(&[&EPOCH[..], &["--check"]].concat(), &[&one]).code, Some(1));
        let digest = sub(&[&["digest"], &EPOCH[..]].concat(), &[&other]).stdout;
        assert_eq!(digest[..64], sha256(&outputs[0])[..64]);
        let ran = sub(&[&["compare"], &EPOCH[..]].concat(), &[&one, &other]);
        assert_eq!(ran.code, Some(0), "{}", ran.stdout);
        assert_eq!(ran.stdout.matches(": match\n").count(), 4, "{}", ran.stdout);
    }
}

#[test]
fn threads_have_no_say() {
    let lab = Lab::new();
    if !gate(&[Need::Mounts]) {
        return;
    }
    let [one, _] = builds(&lab, [GPT_KEPT, GPT_KEPT]);
    let digests = ["1", "2", "7"].map(|threads| sha256(&canonical(&one, &["--threads", threads])));
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn guids_follow_from_content() {
    if !gate(&[Need::Mounts, Need::Program("sgdisk")]) {
        return;
    }
    let lab = Lab::new();
    let drawn = format!("label: gpt\n{GPT}");
    let disks = builds(&lab, [&drawn, &drawn]);
    let kept = disks.each_ref().map(|disk| sha256(&canonical(disk, &EPOCH)));
    assert_ne!(kept[0], kept[1], "GUIDs are kept by default");
    let options = [&EPOCH[..], &["--gpt", "canonical", "--zero-gaps", "--verify"]].concat();
    let outputs = disks.each_ref().map(|disk| canonical(disk, &options));
    same_bytes(&outputs[0], &outputs[1]);
    same_bytes(&outputs[0], &canonical(&outputs[0], &options));
    let verdict = run(tool("sgdisk").arg("-v").arg(&outputs[0]));
    assert!(verdict.contains("No problems found"), "{verdict}");
    assert_eq!(peek(&outputs[0], (19 << 20) + 4096), [0; 8]);
    assert_eq!(sub(&[&["compare"], &options[..4]].concat(), &[&disks[0], &disks[1]]).code, Some(0));
    let table = |disk: &Path| {
        let guids: Vec<_> = run(tool("sfdisk").arg("-d").arg(disk)).lines().map(str::to_owned).collect();
        guids
            .into_iter()
            .filter(|line| line.contains("uuid=") || line.contains("label-id"))
            .collect::<Vec<_>>()
    };
    let before = table(&outputs[0]);
    // A byte of another partition changes its GUID, and that of the disk.
    patch(&disks[0], (58 << 20) + 7, b"changed");
    let changed = canonical(&disks[0], &options);
    let after = table(&changed);
    let uuid = |line: &str| {
        line.split(['=', ' ', ',']).filter(|part| part.len() == 36).map(str::to_owned).collect::<Vec<_>>()
    };
    let differing: Vec<_> = (0..5).filter(|i| uuid(&before[*i]) != uuid(&after[*i])).collect();
    assert_eq!(differing, [0, 4], "{before:?} {after:?}");
    let ran = sub(&[&["compare"], &options[..4]].concat(), &[&disks[0], &disks[1]]);
    assert!(ran.code == Some(1) && ran.stdout.contains("of partition 4 (esp)"), "{}", ran.stdout);
}

#[test]
fn sectors_of_4096_bytes() {
    if !gate(&[Need::Program("sgdisk"), Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let disks = [0, 1].map(|build| {
        let path = lab.path(&format!("disk-{build}.img"));
        fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
        let device = Loop::with_options(&path, &["--sector-size", "4096"]);
        let mut sgdisk = tool("sgdisk");
        sgdisk.args(["--disk-guid=11111111-2222-3333-4444-555555555555", "--new=1:512:4607"]);
        sgdisk.arg("--partition-guid=1:11111111-2222-3333-4444-555555555556").arg(device.path());
        run(&mut sgdisk);
        drop(device);
        patch(&path, 2 << 20, &fs::read(filesystem(&lab, 0, build)).unwrap());
        path
    });
    assert_ne!(sha256(&disks[0]), sha256(&disks[1]));
    let options = [&EPOCH[..], &["--gpt", "canonical"]].concat();
    let outputs = disks.each_ref().map(|disk| canonical(disk, &options));
    same_bytes(&outputs[0], &outputs[1]);
    judge::fsck_silent(&cut(&outputs[0], 2)).unwrap();
}

#[test]
fn some_partitions_are_chosen() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let [one, other] = builds(&lab, [GPT_KEPT, GPT_KEPT]);
    for wanted in ["2", "boot", "11111111-0000-0000-0000-000000000002"] {
        let output = canonical(&one, &["--partition", wanted]);
        same_bytes(&cut(&output, 20), &canonical(&cut(&one, 20), &[]));
        same_bytes(&cut(&output, 2), &cut(&one, 2));
        let listed = sub(&["ls", "--partition", wanted], &[&one]).stdout;
        assert_eq!(listed, sub(&["ls"], &[&cut(&one, 20)]).stdout);
    }
    let output = canonical(&one, &["--offset", "20971520", "--size", "16777216"]);
    same_bytes(&output, &canonical(&one, &["--partition", "boot"]));
    let both = canonical(&one, &["--partition", "boot", "--partition", "data"]);
    same_bytes(&cut(&both, 40), &canonical(&cut(&one, 40), &[]));
    let cat = sub(&["cat", "--partition", "data"], &[&one, Path::new("/name")]);
    assert_eq!(cat.stdout, "data");
    let ran = sub(&["compare", "--offset", "0"], &[&cut(&one, 2), &cut(&other, 2)]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    // A partition is compared with a file that holds a filesystem.
    for (at, code) in [(2, Some(0)), (40, Some(1))] {
        let file = cut(&other, at);
        for files in [[one.as_path(), &file], [&file, &one]] {
            let ran = sub(&["compare", "--partition", "root"], &files);
            assert_eq!(ran.code, code, "{ran:?}");
        }
    }
    let ran = sub(&["compare", "--partition", "root"], &[&cut(&one, 2), &cut(&other, 2)]);
    assert!(ran.code == Some(2) && ran.stderr.contains("no partition table"), "{ran:?}");
    let ran = sub(&["compare", "--partition", "root", "--json"], &[&one, &other]);
    assert!(ran.code == Some(0) && ran.stdout.contains("\"paths\""), "{}", ran.stdout);
    let tree = |files: &[&Path], more: &[&str]| {
        sub(&[&["digest", "--tree"], more].concat(), files).stdout[..64].to_owned()
    };
    assert_eq!(tree(&[&one], &["--partition", "1"]), tree(&[&cut(&other, 2)], &[]));
    let report = sub(&["--json", "--check"], &[&one]).stdout;
    assert!(report.contains("\"name\": \"partition 2 (boot)\""), "{report}");
}

/// A hybrid MBR may have partitions that the GPT does not know.
#[test]
fn partitions_of_a_hybrid_table_are_no_gaps() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let path = lab.path("disk.img");
    disk(&path, 64, GPT_KEPT, &[(2, &image)]);
    let mut entry = [0, 0, 2, 0, 0x0C, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
    entry[8..12].copy_from_slice(&(61_u32 << 11).to_le_bytes());
    entry[12..].copy_from_slice(&(1_u32 << 11).to_le_bytes());
    patch(&path, 446 + 32, &entry);
    patch(&path, (61 << 20) + 5000, b"its file");
    patch(&path, (19 << 20) + 5000, b"in a gap");
    let output = canonical(&path, &["--zero-gaps", "--verify"]);
    assert_eq!(peek(&output, (61 << 20) + 5000), *b"its file");
    assert_eq!(peek(&output, (19 << 20) + 5000), [0; 8]);
    assert_eq!(sub(&["--check", "--zero-gaps"], &[&output]).code, Some(0));
}

/// Boot files name what lies in other partitions, and hashes belong to what was there before.
#[test]
fn what_refers_to_other_partitions_is_told() {
    if !gate(&[Need::Program("veritysetup")]) {
        return;
    }
    let lab = Lab::new();
    let (boot_uuid, boot_partuuid) =
        ("0f0e0d0c-0b0a-4908-8706-050403020100", "11111111-0000-0000-0000-000000000002");
    let boot = lab.mke2fs("boot.img", "16M", &["-t", "ext2", "-U", boot_uuid]);
    let from = lab.folder("from");
    fs::create_dir_all(from.join("etc/kernel")).unwrap();
    fs::write(from.join("etc/fstab"), format!("# {boot_uuid}x\nUUID={boot_uuid} /boot ext2\n")).unwrap();
    fs::write(from.join("etc/kernel/cmdline"), format!("x=PARTUUID={}", boot_partuuid.to_uppercase()))
        .unwrap();
    fs::create_dir_all(from.join("boot/grub/i386-pc")).unwrap();
    fs::write(from.join("boot/grub/i386-pc/load.cfg"), format!("search.fs_uuid {boot_uuid} root\n")).unwrap();
    tree::set_all_mtimes(&from);
    let root = lab.mke2fs_d("root.img", "16M", &["-t", "ext4"], &from);
    let hashes = lab.path("hashes");
    run(tool("veritysetup").args(["format", "--salt=00"]).args([&root, &hashes]));
    let path = lab.path("disk.img");
    disk(&path, 64, GPT_KEPT, &[(2, &root), (20, &boot), (58, &hashes)]);

    let told = |options: &[&str], disk: &Path| {
        let ran = sub(&[&["--check", "--json"], &EPOCH[..], options].concat(), &[disk]);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        json["warnings"].as_array().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let has = |warnings: &[String], words: &str| warnings.iter().any(|warning| warning.contains(words));
    let fstab = &format!("/etc/fstab, line 2, names the old UUID {boot_uuid} of partition 2 (boot)");
    let cmdline =
        &format!("/etc/kernel/cmdline, line 1, names the old PARTUUID {boot_partuuid} of partition 2 (boot)");
    let verity = "partition 4 (esp) has hashes for dm-verity";
    for (options, expected) in [
        (&[][..], &[fstab.as_str(), "fstab, line 1", "load.cfg, line 1", verity][..]),
        (&["--gpt", "canonical"], &[fstab, "fstab, line 1", "load.cfg, line 1", cmdline, verity]),
        (&["--partition", "root"], &[verity]),
        (&["--uuid", "keep"], &[verity]),
    ] {
        let warnings = told(options, &path);
        assert_eq!(warnings.len(), expected.len(), "{options:?}: {warnings:#?}");
        assert!(expected.iter().all(|words| has(&warnings, words)), "{options:?}: {warnings:#?}");
        // Where nothing becomes another, nobody is told.
        let output = canonical(&path, &[&EPOCH[..], options].concat());
        assert_eq!(told(options, &output), [""; 0], "{options:?}");
    }
    // A mount that changes nothing but the superblock.
    let mounted = canonical(&root, &EPOCH);
    debugfs(&mounted, "ssv mtime 20260101000000\n");
    disk(&path, 64, GPT_KEPT, &[(2, &mounted), (20, &canonical(&boot, &EPOCH)), (58, &hashes)]);
    let ran = sub(&[&["--json"], &EPOCH[..]].concat(), &[&path, &lab.path("out.img")]);
    assert!(ran.code == Some(0) && ran.stdout.contains(verity), "{ran:?}");
    let ran = sub(&[&["--json"], &EPOCH[..]].concat(), &[&lab.path("out.img"), &lab.path("again.img")]);
    assert!(ran.code == Some(0) && !ran.stdout.contains(verity), "{ran:?}");
}

/// genimage leaves partitions without a type unless it is told one, and Linux takes them for partitions.
#[test]
fn partitions_of_type_0() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let path = lab.path("disk.img");
    let table = "label: dos\nstart=2MiB, size=16MiB, type=0\nstart=20MiB, size=16MiB, type=83\n";
    disk(&path, 40, table, &[(2, &image), (20, &image)]);
    let output = canonical(&path, &["--zero-gaps"]);
    for at in [2, 20] {
        same_bytes(&cut(&output, at), &canonical(&image, &[]));
    }
    let chosen = canonical(&path, &["--partition", "1"]);
    same_bytes(&cut(&chosen, 2), &cut(&output, 2));
    same_bytes(&cut(&chosen, 20), &image);
}

/// Linux numbers logical partitions in the order of the chain of their tables, and sfdisk writes this as it is told.
#[test]
fn logical_partitions_in_another_order() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let table = "label: dos\nlabel-id: 0x11223344\nstart=2MiB, size=16MiB\nstart=19MiB, size=42MiB, type=5\n\
                 start=58MiB, size=2MiB, type=82\nstart=40MiB, size=16MiB\nstart=20MiB, size=16MiB\n";
    let [one, other] = builds(&lab, [table, table]);
    let listed = run(tool("sfdisk").arg("-d").arg(&one));
    assert!(listed.contains(".img7 : start=       40960"), "{listed}");
    let options = [&EPOCH[..], &["--zero-gaps", "--verify"]].concat();
    let outputs = [&one, &other].map(|disk| canonical(disk, &options));
    same_bytes(&outputs[0], &outputs[1]);
    same_bytes(&cut(&outputs[0], 20), &canonical(&cut(&one, 20), &EPOCH));
    patch(&one, (19 << 20) + 4096, &[0; 8]);
    assert!(around(&one) == around(&outputs[0]), "a table was changed");
    let ran = sub(&["cat", "--partition", "11223344-07"], &[&one, Path::new("/name")]);
    assert_eq!(ran.stdout, "boot");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let [one, _] = builds(&lab, [GPT_KEPT, MBR]);
    let copy = |name: &str| lab.copy(&one, name);
    // The entries of the GPT, which a checksum covers.
    let damaged = copy("entries.img");
    patch(&damaged, 1024 + 40, &[1]);
    refused(&damaged, &[], 4, &["partition table CRC mismatch"]);
    // The backup: needed only where it is written anew.
    let damaged = copy("backup.img");
    patch(&damaged, (64 << 20) - 512 + 56, b"other");
    canonical(&damaged, &[]);
    refused(&damaged, &["--gpt", "canonical"], 4, &["sector 131071 can't be read"]);
    // A partition that is damaged is named, and the others can be had.
    let damaged = copy("filesystem.img");
    patch(&damaged, (20 << 20) + 1024 + 4, &[0xFF; 4]);
    refused(&damaged, &[], 4, &["partition 2 (boot): superblock"]);
    canonical(&damaged, &["--partition", "root", "--partition", "data"]);
    for (arguments, files) in [
        (&["ls"][..], &[damaged.as_path()][..]),
        (&["cat"], &[&damaged, Path::new("/name")]),
        (&["digest"], &[&damaged]),
        (&["digest", "--tree"], &[&damaged]),
        (&["explain"], &[&damaged]),
        (&["compare"], &[&one, &damaged]),
    ] {
        let ran = sub(&[arguments, &["--partition", "boot"]].concat(), files);
        assert!(ran.code == Some(4) && ran.stderr.contains(": partition 2 (boot): superblock"), "{ran:?}");
    }
    // Overlapping partitions.
    let damaged = lab.path("overlap.img");
    disk(&damaged, 64, MBR, &[(2, &filesystem(&lab, 0, 0))]);
    patch(&damaged, 446 + 12, &(34_u32 << 11).to_le_bytes());
    refused(&damaged, &[], 4, &["partition 1 overlaps partition 5"]);
    // A GUID can't follow from the table that it stands in.
    let damaged = lab.path("cover.img");
    disk(&damaged, 64, GPT_KEPT, &[(2, &filesystem(&lab, 0, 0))]);
    let last = (64_u64 << 11) - 1;
    for at in [2 * 512, (last - 32) * 512] {
        patch(&damaged, at + 3 * 128 + 40, &last.to_le_bytes());
    }
    let entries: [u8; 128 * 128] = peek(&damaged, 2 * 512);
    for at in [512, last * 512] {
        let mut header: [u8; 92] = peek(&damaged, at);
        header[88..].copy_from_slice(&crc32(&entries).to_le_bytes());
        header[16..20].fill(0);
        let own = crc32(&header);
        header[16..20].copy_from_slice(&own.to_le_bytes());
        patch(&damaged, at, &header);
    }
    canonical(&damaged, &[]);
    refused(&damaged, &["--gpt", "canonical"], 4, &["partition 4 (esp) overlaps the partition table"]);
}

fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}
