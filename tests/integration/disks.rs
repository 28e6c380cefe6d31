//! Disks: filesystems in partitions are canonicalized in place, and all other bytes stay the same.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::sha256;
use crate::support::dice::Dice;
use crate::support::disk::{GptHeader, SECTOR, cut_out, disk, gpt_entry, gpt_header, mbr_entry, seal};
use crate::support::fields::{structure, superblock_at};
use crate::support::image::{debugfs, patch, peek};
use crate::support::kernel::{Loop, sync};
use crate::support::{Lab, Need, canon, fill, gate, judge, refused, run, same_bytes, tool, tree};

/// The byte offset of the backup GPT header on a disk of 64 MiB.
const BACKUP: u64 = (64 << 20) - SECTOR;

const EPOCH: [&str; 2] = ["--source-date-epoch", "1700000000"];

/// The filesystems: offset in MiB, name, and options of mke2fs.
const FILESYSTEMS: [(u64, &str, &[&str]); 3] = [
    (2, "root", &["-t", "ext4"]),
    (20, "boot", &["-t", "ext2", "-b", "1024"]),
    (40, "data", &["-t", "ext4", "-O", "^metadata_csum", "-b", "2048"]),
];

/// Partitions of a GPT with random GUIDs.
const GPT: &str = "start=2MiB, size=16MiB, name=root\nstart=20MiB, size=16MiB, name=boot\n\
                   start=40MiB, size=16MiB, name=data\nstart=58MiB, size=2MiB, type=U, name=esp\n";
/// Partitions of an MBR; two of them are logical.
const MBR: &str = "label: dos\nlabel-id: 0x11223344\nstart=2MiB, size=16MiB\nstart=58MiB, size=2MiB, type=c\n\
                   start=19MiB, size=38MiB, type=5\nstart=20MiB, size=16MiB\nstart=40MiB, size=16MiB\n";

const GPT_KEPT: &str = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
    start=2MiB, size=16MiB, name=root, uuid=11111111-0000-0000-0000-000000000001\n\
    start=20MiB, size=16MiB, name=boot, uuid=11111111-0000-0000-0000-000000000002\n\
    start=40MiB, size=16MiB, name=data, uuid=11111111-0000-0000-0000-000000000003\n\
    start=58MiB, size=2MiB, type=U, name=esp, uuid=11111111-0000-0000-0000-000000000004\n";

/// Makes a filesystem as one of two builds would: either directly with mke2fs, or with the kernel, in a
/// different order and with deletions.
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
        fs::write(root.join("deleted"), Dice::noise(9, 300_000)).unwrap();
        sync(root);
        fs::remove_file(root.join("deleted")).unwrap();
        fill::copy_in_order(&from, root, &fill::backwards(&from));
    });
    image
}

/// Makes the disks of two builds, with data in a partition without a filesystem, and in a gap.
fn builds(lab: &Lab, tables: [&str; 2]) -> [PathBuf; 2] {
    let esp = lab.path("esp");
    fs::write(&esp, Dice::noise(5, 100_000)).unwrap();
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

/// Canonicalizes a disk into a new file, and returns it.
fn canonical_disk(disk: &Path, options: &[&str]) -> PathBuf {
    let mut names = (0..).map(|number| disk.with_extension(format!("canon{number}")));
    let output = names.find(|name| !name.exists()).unwrap();
    let before = sha256(disk);
    canon(options).args([disk, &output]).run().done();
    assert_eq!(before, sha256(disk), "the input was changed");
    output
}

/// Copies the filesystem at an offset in MiB to a separate file.
fn filesystem_at(disk: &Path, at: u64) -> PathBuf {
    let mut path = disk.as_os_str().to_owned();
    path.push(format!(".{at}.img"));
    let path = PathBuf::from(path);
    cut_out(disk, at << 20, 16 << 20, &path);
    path
}

/// Returns a disk's bytes, with the filesystems replaced by zeros.
fn outside_filesystems(disk: &Path) -> Vec<u8> {
    let mut bytes = fs::read(disk).unwrap();
    for (at, ..) in FILESYSTEMS {
        let at = usize::try_from(at << 20).unwrap();
        bytes[at..at + (16 << 20)].fill(0);
    }
    bytes
}

#[test]
#[ignore = "needs root: mounts images"]
fn two_builds_of_a_disk_meet() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for table in [GPT_KEPT, MBR] {
        let lab = Lab::new();
        let [one, other] = builds(&lab, [table, table]);
        assert_ne!(sha256(&one), sha256(&other));
        let options = [&EPOCH[..], &["--verify"]].concat();
        let outputs = [&one, &other].map(|disk| canonical_disk(disk, &options));
        same_bytes(&outputs[0], &outputs[1]);
        assert!(
            outside_filesystems(&one) == outside_filesystems(&outputs[0]),
            "bytes outside filesystems changed"
        );
        for (at, ..) in FILESYSTEMS {
            let found = filesystem_at(&outputs[0], at);
            judge::fsck_silent(&found).unwrap();
            // The filesystem alone has the same canonical form.
            same_bytes(&found, &canonical_disk(&filesystem_at(&one, at), &EPOCH));
        }
        let again = canonical_disk(&outputs[0], &EPOCH);
        same_bytes(&again, &outputs[0]);
        canon(["--check"]).args(EPOCH).arg(&outputs[0]).run().done();
        canon(["--check"]).args(EPOCH).arg(&one).run().with_code(1).printing(&["not canonical"]);
        let digest = canon(["digest"]).args(EPOCH).arg(&other).run().done().stdout;
        assert_eq!(digest[..64], sha256(&outputs[0])[..64]);
        let ran = canon(["compare"]).args(EPOCH).args([&one, &other]).run().done();
        assert_eq!(ran.stdout.matches(": match\n").count(), 4, "{}", ran.stdout);
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn threads_have_no_say() {
    let lab = Lab::new();
    if !gate(&[Need::Mounts]) {
        return;
    }
    let [one, _] = builds(&lab, [GPT_KEPT, GPT_KEPT]);
    let digests = ["1", "2", "7"].map(|threads| sha256(&canonical_disk(&one, &["--threads", threads])));
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
#[ignore = "needs root: mounts images"]
fn guids_follow_from_content() {
    if !gate(&[Need::Mounts, Need::Program("sgdisk")]) {
        return;
    }
    let lab = Lab::new();
    let drawn = format!("label: gpt\n{GPT}");
    let disks = builds(&lab, [&drawn, &drawn]);
    let kept = disks.each_ref().map(|disk| sha256(&canonical_disk(disk, &EPOCH)));
    assert_ne!(kept[0], kept[1], "GUIDs should be kept by default");
    let options = [&EPOCH[..], &["--table", "canonical", "--zero-gaps", "--verify"]].concat();
    let outputs = disks.each_ref().map(|disk| canonical_disk(disk, &options));
    same_bytes(&outputs[0], &outputs[1]);
    same_bytes(&outputs[0], &canonical_disk(&outputs[0], &options));
    let verdict = run(tool("sgdisk").arg("-v").arg(&outputs[0]));
    assert!(verdict.contains("No problems found"), "{verdict}");
    assert_eq!(peek(&outputs[0], (19 << 20) + 4096), [0; 8]);
    canon(["compare"]).args(&options[..4]).args(&disks).run().done();
    let table = |disk: &Path| {
        let guids: Vec<_> = run(tool("sfdisk").arg("-d").arg(disk)).lines().map(str::to_owned).collect();
        guids
            .into_iter()
            .filter(|line| line.contains("uuid=") || line.contains("label-id"))
            .collect::<Vec<_>>()
    };
    let before = table(&outputs[0]);
    // A changed byte in a different partition changes the GUIDs of that partition and of the disk.
    patch(&disks[0], (58 << 20) + 7, b"changed");
    let changed = canonical_disk(&disks[0], &options);
    let after = table(&changed);
    let uuid = |line: &str| {
        line.split(['=', ' ', ',']).filter(|part| part.len() == 36).map(str::to_owned).collect::<Vec<_>>()
    };
    let differing: Vec<_> = (0..5).filter(|i| uuid(&before[*i]) != uuid(&after[*i])).collect();
    assert_eq!(differing, [0, 4], "{before:?} {after:?}");
    let ran = canon(["compare"]).args(&options[..4]).args(&disks).run().with_code(1);
    ran.printing(&["of partition 4 (esp)"]);
}

#[test]
#[ignore = "needs root: mounts images"]
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
    let options = [&EPOCH[..], &["--table", "canonical"]].concat();
    let outputs = disks.each_ref().map(|disk| canonical_disk(disk, &options));
    same_bytes(&outputs[0], &outputs[1]);
    judge::fsck_silent(&filesystem_at(&outputs[0], 2)).unwrap();
}

#[test]
#[ignore = "needs root: mounts images"]
fn some_partitions_are_chosen() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let [one, other] = builds(&lab, [GPT_KEPT, GPT_KEPT]);
    for wanted in ["2", "boot", "11111111-0000-0000-0000-000000000002"] {
        let output = canonical_disk(&one, &["--partition", wanted]);
        same_bytes(&filesystem_at(&output, 20), &canonical_disk(&filesystem_at(&one, 20), &[]));
        same_bytes(&filesystem_at(&output, 2), &filesystem_at(&one, 2));
        let listed = canon(["ls", "--partition", wanted]).arg(&one).run().done().stdout;
        assert_eq!(listed, canon(["ls"]).arg(filesystem_at(&one, 20)).run().done().stdout);
    }
    let output = canonical_disk(&one, &["--offset", "20971520", "--size", "16777216"]);
    same_bytes(&output, &canonical_disk(&one, &["--partition", "boot"]));
    let both = canonical_disk(&one, &["--partition", "boot", "--partition", "data"]);
    same_bytes(&filesystem_at(&both, 40), &canonical_disk(&filesystem_at(&one, 40), &[]));
    let cat = canon(["cat", "--partition", "data"]).arg(&one).arg("/name").run().done();
    assert_eq!(cat.stdout, "data");
    canon(["compare", "--offset", "0"]).args([filesystem_at(&one, 2), filesystem_at(&other, 2)]).run().done();
    // A partition can be compared with a file that contains a filesystem.
    for (at, code) in [(2, 0), (40, 1)] {
        let file = filesystem_at(&other, at);
        for files in [[one.as_path(), &file], [&file, &one]] {
            canon(["compare", "--partition", "root"]).args(files).run().with_code(code);
        }
    }
    let ran =
        canon(["compare", "--partition", "root"]).args([filesystem_at(&one, 2), filesystem_at(&other, 2)]);
    ran.run().refusing(2, &["no partition table"]);
    let ran = canon(["compare", "--partition", "root", "--json"]).args([&one, &other]).run().done();
    ran.printing(&["\"paths\""]);
    let tree = |files: &[&Path], more: &[&str]| {
        canon(["digest", "--tree"]).args(more).args(files).run().done().stdout[..64].to_owned()
    };
    assert_eq!(tree(&[&one], &["--partition", "1"]), tree(&[&filesystem_at(&other, 2)], &[]));
    let ran = canon(["--json", "--check"]).arg(&one).run().with_code(1);
    ran.printing(&["\"name\": \"partition 2 (boot)\""]);
}

/// A hybrid MBR may have partitions that are not in the GPT.
#[test]
fn partitions_of_a_hybrid_table_are_no_gaps() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.mke2fs("root.img", "16M", &["-t", "ext4"]);
    let path = lab.path("disk.img");
    disk(&path, 64, GPT_KEPT, &[(2, &image)]);
    let entry = mbr_entry(&path, 2);
    entry.set("OSType", 0x0C);
    entry.set("StartingLBA", 61 << 11);
    entry.set("SizeInLBA", 1 << 11);
    entry.put("StartingCHS", &[0, 2, 0]);
    entry.fill("EndingCHS", 0xFF);
    patch(&path, (61 << 20) + 5000, b"its file");
    patch(&path, (19 << 20) + 5000, b"in a gap");
    let output = canonical_disk(&path, &["--zero-gaps", "--verify"]);
    assert_eq!(peek(&output, (61 << 20) + 5000), *b"its file");
    assert_eq!(peek(&output, (19 << 20) + 5000), [0; 8]);
    canon(["--check", "--zero-gaps"]).arg(&output).run().done();
}

/// Boot files refer to other partitions, and dm-verity hashes depend on the old content.
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
        let allow = "--allow-stale-uuids";
        let ran = canon(["--check", "--json", allow]).args(EPOCH).args(options).arg(disk).run();
        ran.json()["warnings"].as_array().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let has = |warnings: &[String], words: &str| warnings.iter().any(|warning| warning.contains(words));
    let fstab = &format!("/etc/fstab, line 2, column 6 names the UUID {boot_uuid} of partition 2 (boot)");
    let cmdline = &format!(
        "/etc/kernel/cmdline, line 1, column 12 names the PARTUUID {boot_partuuid} of partition 2 (boot)"
    );
    let verity = "partition 4 (esp) has dm-verity hashes";
    for (options, expected) in [
        (&[][..], &[fstab.as_str(), "fstab, line 1", "load.cfg, line 1", verity][..]),
        (&["--table", "canonical"], &[fstab, "fstab, line 1", "load.cfg, line 1", cmdline, verity]),
        (&["--partition", "root"], &[verity]),
        (&["--uuid", "keep"], &[verity]),
    ] {
        let warnings = told(options, &path);
        assert_eq!(warnings.len(), expected.len(), "{options:?}: {warnings:#?}");
        assert!(expected.iter().all(|words| has(&warnings, words)), "{options:?}: {warnings:#?}");
        // If no identifier changes, there is no warning.
        let output = canonical_disk(&path, &[&EPOCH[..], &["--allow-stale-uuids"], options].concat());
        assert_eq!(told(options, &output), [""; 0], "{options:?}");
    }
    // An image that may not boot is worth a warning even with --quiet.
    let quiet = canon(["-q", "--check", "--allow-stale-uuids"]).args(EPOCH).arg(&path).run().with_code(1);
    let quiet = quiet.saying(&["ext4-canon: warning: ", fstab, verity]);
    assert!(quiet.stdout.is_empty() && quiet.stderr.lines().count() == 4, "{quiet}");
    // This mount changes only the superblock.
    let mounted = canonical_disk(&root, &EPOCH);
    debugfs(&mounted, "ssv mtime 20260101000000\n");
    disk(&path, 64, GPT_KEPT, &[(2, &mounted), (20, &canonical_disk(&boot, &EPOCH)), (58, &hashes)]);
    let (out, again) = (lab.path("out.img"), lab.path("again.img"));
    let json = ["--json", "--allow-stale-uuids"];
    canon(json).args(EPOCH).args([&path, &out]).run().done().printing(&[verity]);
    let ran = canon(json).args(EPOCH).args([&out, &again]).run().done();
    assert!(!ran.stdout.contains(verity), "{ran}");
}

/// By default, genimage writes partitions with type 0. Linux accepts them.
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
    let output = canonical_disk(&path, &["--zero-gaps"]);
    for at in [2, 20] {
        same_bytes(&filesystem_at(&output, at), &canonical_disk(&image, &[]));
    }
    let chosen = canonical_disk(&path, &["--partition", "1"]);
    same_bytes(&filesystem_at(&chosen, 2), &filesystem_at(&output, 2));
    same_bytes(&filesystem_at(&chosen, 20), &image);
}

/// Linux numbers logical partitions in the order of the chain of EBRs, and sfdisk keeps the order of its
/// script.
#[test]
#[ignore = "needs root: mounts images"]
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
    let outputs = [&one, &other].map(|disk| canonical_disk(disk, &options));
    same_bytes(&outputs[0], &outputs[1]);
    same_bytes(&filesystem_at(&outputs[0], 20), &canonical_disk(&filesystem_at(&one, 20), &EPOCH));
    patch(&one, (19 << 20) + 4096, &[0; 8]);
    assert!(outside_filesystems(&one) == outside_filesystems(&outputs[0]), "a table was changed");
    let ran = canon(["cat", "--partition", "11223344-07"]).arg(&one).arg("/name").run().done();
    assert_eq!(ran.stdout, "boot");
}

#[test]
#[ignore = "needs root: mounts images"]
fn what_does_not_fit_together_is_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let [one, _] = builds(&lab, [GPT_KEPT, MBR]);
    let copy = |name: &str| lab.copy(&one, name);
    // Damage an entry of the GPT, which the checksum covers.
    let damaged = copy("entries.img");
    gpt_entry(&damaged, gpt_header(&damaged), 0).put("EndingLBA", &[1]);
    refused(&damaged, &[], 4, &["partition table CRC mismatch"]);
    // Damage the backup header. It is read only if the output has a new one.
    let damaged = copy("backup.img");
    structure::<GptHeader>(&damaged, BACKUP).put("DiskGUID", b"other");
    canonical_disk(&damaged, &[]);
    refused(&damaged, &["--table", "canonical"], 4, &["sector 131071 can't be read"]);
    // The error names the damaged partition, and the other partitions can be selected.
    let damaged = copy("filesystem.img");
    superblock_at(&damaged, 20 << 20).fill("s_blocks_count_lo", 0xFF);
    refused(&damaged, &[], 4, &["partition 2 (boot): superblock: s_inodes_count is"]);
    canonical_disk(&damaged, &["--partition", "root", "--partition", "data"]);
    for (arguments, files) in [
        (&["ls"][..], &[damaged.as_path()][..]),
        (&["cat"], &[&damaged, Path::new("/name")]),
        (&["digest"], &[&damaged]),
        (&["digest", "--tree"], &[&damaged]),
        (&["explain"], &[&damaged]),
        (&["compare"], &[&one, &damaged]),
    ] {
        let ran = canon(arguments).args(["--partition", "boot"]).args(files).run();
        ran.refusing(4, &[": partition 2 (boot): superblock: s_inodes_count is"]);
    }
    // Make partitions overlap.
    let damaged = lab.path("overlap.img");
    disk(&damaged, 64, MBR, &[(2, &filesystem(&lab, 0, 0))]);
    mbr_entry(&damaged, 0).set("SizeInLBA", 34 << 11);
    refused(&damaged, &[], 4, &["partition 1 overlaps partition 5"]);
}

/// A GUID that is derived from a partition's content can't depend on itself.
#[test]
fn a_partition_that_covers_the_table_is_refused() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::new();
    let damaged = lab.path("cover.img");
    disk(&damaged, 64, GPT_KEPT, &[(2, &filesystem(&lab, 0, 0))]);
    for header in [gpt_header(&damaged), structure::<GptHeader>(&damaged, BACKUP)] {
        gpt_entry(&damaged, header, 3).set("EndingLBA", BACKUP / SECTOR);
        seal(&damaged, header);
    }
    canonical_disk(&damaged, &[]);
    refused(&damaged, &["--table", "canonical"], 4, &["partition 4 (esp) overlaps the partition table"]);
}

/// A superblock that was overwritten hides the only filesystem of a disk. Its backups can restore it.
#[test]
fn a_backup_superblock_in_a_partition_is_named() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "16M", &["-t", "ext4", "-b", "1024"]);
    let path = lab.path("disk.img");
    disk(&path, 64, "label: gpt\nstart=2MiB, size=16MiB, name=root\n", &[(2, &image)]);
    let options = [&EPOCH[..], &["--uuid", "keep"]].concat();
    let output = lab.path("out.img");
    canon([&path, &output]).args(&options).run().done();
    patch(&path, (2 << 20) + 1024, &[0; 1024]);
    let words = refused(&path, &options, 4, &["partition 1", "there is a backup of it: -b 8193 -B 1024"]);
    assert!(words.contains("run e2fsck -f with these options on the image"), "{words}");
    let place = format!("{}?offset={}", path.display(), 2 << 20);
    let ran =
        crate::support::tools::try_run(tool("e2fsck").args(["-fy", "-b", "8193", "-B", "1024", &place]));
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    let repaired = lab.path("repaired.img");
    canon([&path, &repaired]).args(&options).run().done();
    same_bytes(&output, &repaired);
    // In other filesystems, backups are left from earlier ones.
    patch(&path, 2 << 20, &[0; 2048]);
    patch(&path, (2 << 20) + 3, b"NTFS    ");
    refused(&path, &options, 3, &["none of the 1 partitions holds an ext filesystem"]);
}
