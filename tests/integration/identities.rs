//! UUIDs, PARTUUIDs and disk signatures in boot files: refused, rewritten, or allowed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::support::canon::{rewritten, sound, tree_digest, unchanged};
use crate::support::contents::sha256;
use crate::support::disk::{cut_out, disk};
use crate::support::emulated::emulated;
use crate::support::image::{debugfs, patch, peek, set_length};
use crate::support::{Lab, Need, canon, gate, judge, refused, run, same_bytes, tool, tree};

const EPOCH: [&str; 2] = ["--source-date-epoch", "1700000000"];
const REWRITE: [&str; 3] = ["--source-date-epoch", "1700000000", "--rewrite-uuids"];
const TABLE: [&str; 5] = ["--source-date-epoch", "1700000000", "--rewrite-uuids", "--table", "canonical"];

const ONE: &str = "0f0e0d0c-0b0a-4908-8706-05040302010f";
const OTHER: &str = "9a8b7c6d-5e4f-4a3b-9c2d-1e0f1a2b3c4d";

/// Writes a tree whose boot files name a root filesystem in each notation.
fn named(root: &Path, uuid: &str) {
    for folder in ["etc/systemd/system", "boot/grub"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let (upper, plain, escaped) = (uuid.to_uppercase(), uuid.replace('-', ""), uuid.replace('-', r"\x2d"));
    for (path, text) in [
        ("etc/fstab", format!("# was on UUID={uuid}\nUUID={uuid} / ext4 defaults 0 1\n")),
        ("etc/crypttab", format!("root UUID={upper} none luks\n")),
        ("boot/grub/grub.cfg", format!("search --fs-uuid {uuid}\nlinux /vmlinuz root=UUID={uuid} ro\n")),
        ("boot/grub/device.map", format!("(hd0) /dev/mapper/{plain}\n")),
        ("etc/systemd/system/x.mount", format!("[Unit]\nAfter=dev-disk-by\\x2duuid-{escaped}.device\n")),
        ("etc/other", "no boot file\n".to_owned()),
    ] {
        fs::write(root.join(path), text).expect("writing");
    }
}

/// Makes an image whose boot files name its UUID.
fn image(lab: &Lab, name: &str, uuid: &str, options: &[&str]) -> PathBuf {
    let root = lab.folder(&format!("{name}.d"));
    named(&root, uuid);
    tree::set_all_mtimes(&root);
    lab.mke2fs_d(name, "16M", &[options, &["-t", "ext4", "-U", uuid]].concat(), &root)
}

fn with(image: &Path, options: &[&str]) -> PathBuf {
    rewritten(image, options).unwrap_or_else(|ran| panic!("{options:?}: {ran:#?}"))
}

fn uuid_of(image: &Path) -> String {
    run(tool("blkid").args(["-p", "-o", "value", "-s", "UUID"]).arg(image)).trim().to_owned()
}

fn file(image: &Path, path: &str, options: &[&str]) -> String {
    canon(["cat"]).args(options).arg(image).arg(path).run().done().stdout
}

#[test]
fn builds_with_different_uuids_meet() {
    let lab = Lab::in_memory();
    for (index, options) in [&[][..], &["-b", "1024"], &["-I", "512", "-O", "inline_data"]].iter().enumerate()
    {
        let images = [(ONE, "a"), (OTHER, "b")]
            .map(|(uuid, name)| image(&lab, &format!("{name}{index}.img"), uuid, options));
        let outputs = images.each_ref().map(|image| with(image, &REWRITE));
        same_bytes(&outputs[0], &outputs[1]);
        sound(&outputs[0]);
        unchanged(&outputs[0], &REWRITE);
        let uuid = uuid_of(&outputs[0]);
        assert!(![ONE, OTHER].contains(&uuid.as_str()));
        // Every file names the new UUID, and has the content that a build with this UUID would have.
        let expected = lab.folder(&format!("expected{index}"));
        named(&expected, &uuid);
        for path in [
            "etc/fstab",
            "etc/crypttab",
            "boot/grub/grub.cfg",
            "boot/grub/device.map",
            "etc/systemd/system/x.mount",
        ] {
            let text = fs::read_to_string(expected.join(path)).expect("reading");
            assert_eq!(file(&outputs[0], path, &[]), text, "{path}");
        }
        canon(["--check"]).args(REWRITE).arg(&outputs[0]).run().done();
        let digest = canon(["digest"]).args(REWRITE).arg(&images[1]).run().done().stdout;
        assert_eq!(digest[..64], sha256(&outputs[0]));
        let verified = lab.path("verified.img");
        canon(["--verify"]).args(REWRITE).args([&images[1], &verified]).run().done();
        same_bytes(&outputs[0], &verified);
        canon(["explain"]).args(REWRITE).arg(&images[0]).run().done();
        assert_ne!(tree_digest(&images[0], &EPOCH), tree_digest(&images[1], &EPOCH));
        // Other sizes of blocks, and other settings.
        let more = [&REWRITE[..], &["--profile", "ext4", "--block-size", "2048", "--size", "min"]].concat();
        let [one, other] = images.each_ref().map(|image| with(image, &more));
        same_bytes(&one, &other);
        sound(&one);
    }
}

/// With a fixed UUID, the files name that UUID.
#[test]
fn a_given_uuid_is_named() {
    let lab = Lab::in_memory();
    let image = image(&lab, "a.img", ONE, &[]);
    let output = with(&image, &[&REWRITE[..], &["--uuid", OTHER]].concat());
    assert!(file(&output, "/etc/fstab", &[]).contains(&format!("UUID={OTHER} /")));
    // If the UUID is kept, there is nothing to do.
    let kept = with(&image, &[&EPOCH[..], &["--uuid", "keep"]].concat());
    same_bytes(&kept, &with(&image, &[&REWRITE[..], &["--uuid", "keep"]].concat()));
    // An image without names has the same canonical form with and without the option.
    let plain = lab.mke2fs_d("plain.img", "16M", &["-t", "ext4"], &lab.plain_tree());
    same_bytes(&with(&plain, &EPOCH), &with(&plain, &REWRITE));
}

#[test]
fn a_vanishing_uuid_is_refused() {
    let lab = Lab::in_memory();
    let image = image(&lab, "a.img", ONE, &[]);
    let words = [
        "/boot/grub/device.map, line 1, column 19 names the UUID 0f0e0d0c-",
        "use --uuid keep, --rewrite-uuids or --allow-stale-uuids",
    ];
    for command in [&[][..], &["--uuid", OTHER]] {
        refused(&image, command, 3, &words);
    }
    canon(["--check"]).arg(&image).run().with_code(3);
    canon(["digest"]).arg(&image).run().with_code(3);
    // A UUID of version 8 can be the derived one, so it is known only at the end.
    let derived = "0f0e0d0c-0b0a-8908-8706-05040302010f";
    let late = self::image(&lab, "late.img", derived, &[]);
    refused(&late, &[], 3, &["names the UUID 0f0e0d0c-0b0a-8908-"]);
    let ran =
        canon(["-q", "--allow-stale-uuids"]).args(EPOCH).args([&image, &lab.path("out.img")]).run().done();
    assert_eq!(ran.stderr.matches("warning: ").count(), 7, "{ran:#?}");
    canon(["explain"]).arg(&image).run().done();
    canon(["compare", "-q"]).args([&image, &image]).run().done();
    let json = canon(["--json"]).args(REWRITE).args([&image, &lab.path("out.img")]).run().done().json();
    let rewritten = json["report"]["rewritten"].as_array().expect("a list");
    assert_eq!(rewritten.len(), 7, "{json}");
    assert_eq!((&rewritten[0]["path"], &rewritten[0]["line"]), (&"/boot/grub/device.map".into(), &1.into()));
}

/// Comments and files that are no boot files do not prevent a boot.
#[test]
fn comments_are_only_warned_about() {
    let lab = Lab::in_memory();
    let root = lab.folder("root");
    fs::create_dir(root.join("etc")).expect("a folder");
    fs::write(root.join("etc/fstab"), format!("  # UUID={ONE}\nLABEL=root / ext4\n")).expect("writing");
    fs::write(root.join("etc/notes"), format!("UUID={ONE}\n")).expect("writing");
    let image = lab.mke2fs_d("a.img", "8M", &["-t", "ext4", "-U", ONE], &root);
    let ran = canon(["-q"]).args([&image, &lab.path("out.img")]).run().done();
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    ran.saying(&["warning: /etc/fstab, line 1, column 10 names the UUID"]);
}

/// Names of files, targets of symlinks, signed files and verity files can't be rewritten.
#[test]
fn what_can_t_be_rewritten_is_refused() {
    let lab = Lab::in_memory();
    let escaped = ONE.replace('-', r"\x2d");
    let unit = format!(r"etc/systemd/system/dev-disk-by\x2duuid-{escaped}.swap");
    let make = |name: &str, fill: &dyn Fn(&Path)| {
        let root = lab.folder(name);
        fs::create_dir_all(root.join("etc/systemd/system")).expect("a folder");
        fs::create_dir_all(root.join("boot/grub")).expect("a folder");
        fill(&root);
        lab.mke2fs_d(&format!("{name}.img"), "8M", &["-t", "ext4", "-U", ONE], &root)
    };
    let unit_file = make("unit", &|root| fs::write(root.join(&unit), "[Swap]\n").expect("writing"));
    let link = make("link", &|root| {
        symlink(format!("/dev/disk/by-uuid/{ONE}"), root.join("etc/systemd/system/root.link"))
            .expect("a link");
    });
    let signed = make("signed", &|root| {
        fs::write(root.join("boot/grub/grub.cfg"), format!("search {ONE}\n")).expect("writing");
        fs::write(root.join("boot/grub/grub.cfg.sig"), "signature").expect("writing");
    });
    let kernel = make("kernel", &|root| {
        fs::create_dir_all(root.join("boot/EFI/Linux")).expect("a folder");
        fs::write(root.join("boot/EFI/Linux/linux.efi"), format!("MZ\0root=UUID={ONE}\0")).expect("writing");
    });
    let shared = make("shared", &|root| {
        fs::write(root.join("etc/fstab"), format!("UUID={ONE} / ext4\n")).expect("writing");
    });
    debugfs(&shared, "feature shared_blocks\n");
    let linked = make("linked", &|root| {
        fs::write(root.join("etc/fstab"), format!("UUID={ONE} / ext4\n")).expect("writing");
        fs::hard_link(root.join("etc/fstab"), root.join("etc/fstab.orig")).expect("a link");
    });
    let beside = make("beside", &|root| {
        for folder in ["boot/grub", "boot/grub2"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
            fs::write(root.join(folder).join("grub.cfg"), format!("search {ONE}\n")).expect("writing");
        }
        fs::write(root.join("boot/grub2/grub.cfg.sig"), "signature").expect("writing");
    });
    for links in ["split", "merge"] {
        for image in [&linked, &beside] {
            refused(image, &[&REWRITE[..], &["--hard-links", links]].concat(), 3, &["use --uuid keep"]);
        }
    }
    let measured = make("measured", &|root| {
        fs::write(root.join("etc/fstab"), format!("UUID={ONE} / ext4\n")).expect("writing");
    });
    debugfs(&measured, "ea_set /etc/fstab security.ima signature\n");
    for (image, reason) in [
        (&linked, "the file has hard links that are no boot files"),
        (&measured, "an xattr has a signature"),
        (&shared, "files can share blocks"),
        (&unit_file, "it is the name of a file"),
        (&link, "it is the target of a symlink"),
        (&signed, "the file has a signature"),
        (&kernel, "it is a unified kernel image"),
    ] {
        refused(image, &REWRITE, 3, &[reason, "use --uuid keep or --allow-stale-uuids"]);
        with(image, &[&EPOCH[..], &["--uuid", "keep"]].concat());
        with(image, &[&EPOCH[..], &["--allow-stale-uuids"]].concat());
    }
}

#[test]
fn compare_names_the_option() {
    let lab = Lab::in_memory();
    let [one, other] = [("a.img", ONE), ("b.img", OTHER)].map(|(name, uuid)| image(&lab, name, uuid, &[]));
    let ran = canon(["compare", "--no-digests"]).args(EPOCH).args([&one, &other]).run().with_code(1);
    assert!(ran.stdout.contains("it names the image's own UUID (use --rewrite-uuids)"), "{ran:#?}");
    canon(["compare", "-q"]).args(REWRITE).args([&one, &other]).run().done();
    // A real difference in such a file stays.
    let root = lab.folder("c.img.d");
    named(&root, OTHER);
    fs::write(root.join("etc/fstab"), format!("UUID={OTHER} / ext4 ro 0 1\n")).expect("writing");
    let changed = lab.mke2fs_d("c.img", "16M", &["-t", "ext4", "-U", OTHER], &root);
    let ran = canon(["compare", "--no-digests"]).args(REWRITE).args([&one, &changed]).run().with_code(1);
    assert!(ran.stdout.contains("/etc/fstab") && !ran.stdout.contains("rewrite-uuids)"), "{ran:#?}");
}

/// The case of a text is content, and equal files are merged after they are rewritten.
#[test]
fn the_case_of_a_uuid_counts() {
    let lab = Lab::in_memory();
    let make = |name: &str, own: &str, fill: &dyn Fn(&Path)| {
        let root = lab.folder(name);
        fs::create_dir_all(root.join("etc/cmdline.d")).expect("a folder");
        fill(&root);
        tree::set_all_mtimes(&root);
        lab.mke2fs_d(&format!("{name}.img"), "8M", &["-t", "ext4", "-U", own], &root)
    };
    let fstab = |root: &Path, uuid: &str| {
        fs::write(root.join("etc/fstab"), format!("UUID={uuid} / ext4\n")).expect("writing");
    };
    let lower = make("lower", ONE, &|root| fstab(root, ONE));
    let upper = make("upper", OTHER, &|root| fstab(root, &OTHER.to_uppercase()));
    canon(["compare", "-q"]).args(REWRITE).args([&lower, &upper]).run().with_code(1);
    let outputs = [&lower, &upper].map(|image| uuid_of(&with(image, &REWRITE)));
    assert_ne!(outputs[0], outputs[1]);
    let mixed = make("mixed", ONE, &|root| {
        fs::write(root.join("etc/cmdline.d/a"), format!("root=UUID={ONE}\n")).expect("writing");
        let other = format!("{}{}", ONE[..18].to_uppercase(), &ONE[18..]);
        fs::write(root.join("etc/cmdline.d/b"), format!("root=UUID={other}\n")).expect("writing");
    });
    let merge = [&REWRITE[..], &["--hard-links", "merge"]].concat();
    unchanged(&with(&mixed, &merge), &merge);
}

/// Filesystems that are not chosen, or have the UUID of another one, can't be served.
#[test]
fn other_filesystems_of_the_disk_still_boot() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::in_memory();
    let path = built(&lab, "others", &BUILDS[0], false);
    let chosen = [&REWRITE[..], &["--partition", "2"]].concat();
    refused(&path, &chosen, 3, &["partition 1", "it is in a filesystem that was not chosen"]);
    with(&path, &[&EPOCH[..], &["--partition", "2", "--uuid", "keep"]].concat());
    // Two copies of one filesystem.
    let twin = Built { data: ONE, ..BUILDS[0] };
    let twins = built(&lab, "twins", &twin, false);
    refused(&twins, &REWRITE, 3, &["several filesystems or partitions have it"]);
    for options in [&["digest"][..], &["compare", "-q"]] {
        let plain = lab.path("others.1");
        let files = if options[0] == "compare" { vec![&plain, &plain] } else { vec![&plain] };
        let ran = canon(options).args(["--table", "canonical"]).args(files).run().with_code(2);
        assert!(ran.stderr.contains("there is no partition table"), "{ran:#?}");
    }
}

/// A disk as a builder makes it: fstab and the boot loader name both filesystems and the partition.
struct Built {
    root: &'static str,
    data: &'static str,
    /// The signature of an MBR, or the GUIDs of disk and partitions.
    table: [&'static str; 3],
}

const BUILDS: [Built; 2] = [
    Built {
        root: ONE,
        data: "11111111-0b0a-4908-8706-05040302010f",
        table: ["a1b2c3d4", "a1b2c3d4-0000-4000-8000-000000000001", "a1b2c3d4-0000-4000-8000-000000000002"],
    },
    Built {
        root: OTHER,
        data: "22222222-0b0a-4908-8706-05040302010f",
        table: ["0badcafe", "0badcafe-0000-4000-8000-000000000001", "0badcafe-0000-4000-8000-000000000002"],
    },
];

/// The init of the tests: says that it runs, and what it sees.
const INIT: &str = "#!/bin/busybox sh\n/bin/busybox cat /proc/cmdline >/dev/null\necho init runs\n/bin/busybox cat /data/file\n";

/// Builds a disk with an MBR, as debos and KIWI do, or with a GPT, as vmdb2 does.
fn built(lab: &Lab, name: &str, build: &Built, is_gpt: bool) -> PathBuf {
    let (root, data) = (lab.folder(&format!("{name}.root")), lab.folder(&format!("{name}.data")));
    for folder in ["bin", "boot/grub", "etc", "data", "proc", "sbin"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let write = |path: &str, text: String| fs::write(root.join(path), text).expect("writing");
    let [disk_id, one, other] = build.table;
    write("etc/fstab", format!("UUID={} / ext4 ro 0 1\nUUID={} /data ext4 ro 0 2\n", build.root, build.data));
    write(
        "boot/grub/grub.cfg",
        format!("search --fs-uuid {}\nlinux /vmlinuz root=UUID={} ro\n", build.root, build.root),
    );
    let partuuid = if is_gpt { one.to_uppercase() } else { format!("{disk_id}-01") };
    write("boot/cmdline.txt", format!("root=PARTUUID={partuuid} ro\n"));
    // KIWI writes a signature also into the protective MBR of a GPT.
    write("boot/mbrid", format!("0x{disk_id}\n"));
    if !is_gpt {
        fs::create_dir_all(root.join("etc/systemd/system")).expect("a folder");
        let device = format!(r"dev-disk-by\x2dpartuuid-{disk_id}\x2d02.device");
        write("etc/systemd/system/x.service", format!("[Unit]\nAfter={device}\n"));
    }
    write("sbin/init", INIT.to_owned());
    fs::set_permissions(root.join("sbin/init"), fs::Permissions::from_mode(0o755)).expect("a mode");
    if Path::new("/bin/busybox").is_file() {
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("a copy");
    }
    fs::write(data.join("file"), "the data\n").expect("writing");
    for folder in [&root, &data] {
        tree::set_all_mtimes(folder);
    }
    let root = lab.mke2fs_d(&format!("{name}.1"), "16M", &["-t", "ext4", "-U", build.root], &root);
    let data = lab.mke2fs_d(&format!("{name}.2"), "16M", &["-t", "ext4", "-U", build.data], &data);
    let table = if is_gpt {
        format!(
            "label: gpt\nlabel-id: {disk_id}-0000-4000-8000-000000000000\nstart=2MiB, size=16MiB, uuid={one}\nstart=20MiB, size=16MiB, uuid={other}\n"
        )
    } else {
        format!("label: dos\nlabel-id: 0x{disk_id}\nstart=2MiB, size=16MiB\nstart=20MiB, size=16MiB\n")
    };
    let path = lab.path(&format!("{name}.disk"));
    disk(&path, 40, &table, &[(2, &root), (20, &data)]);
    let id = u32::from_str_radix(disk_id, 16).expect("a signature");
    patch(&path, 440, &id.to_le_bytes());
    path
}

/// Returns the value that a file of the root filesystem has after some words.
fn after(image: &Path, path: &str, words: &str) -> String {
    let text = file(image, path, &["--partition", "1"]);
    let rest = text.split(words).nth(1).unwrap_or_else(|| panic!("{path} has no {words:?}: {text}"));
    rest.split_whitespace().next().expect("a word").to_owned()
}

#[test]
fn disks_of_builders_meet_and_name_what_is_there() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::in_memory();
    for is_gpt in [false, true] {
        let kind = if is_gpt { "gpt" } else { "mbr" };
        let disks = [0, 1].map(|index| built(&lab, &format!("{kind}{index}"), &BUILDS[index], is_gpt));
        refused(&disks[0], &EPOCH, 3, &["partition 1", "of partition", "names the UUID"]);
        let kept = [&EPOCH[..], &["--uuid", "keep", "--table", "canonical"]].concat();
        refused(&disks[0], &kept, 3, &["/boot/cmdline.txt, line 1", "use --table keep, --rewrite-uuids"]);
        canon(["compare", "-q"]).args(TABLE).args([&disks[0], &disks[1]]).run().done();
        let [one, other] = disks.each_ref().map(|disk| with(disk, &TABLE));
        same_bytes(&one, &other);
        unchanged(&one, &TABLE);
        let verified = lab.path("verified.disk");
        canon(["--verify"]).args(TABLE).args([&disks[0], &verified]).run().done();
        same_bytes(&one, &verified);
        canon(["--check"]).args(TABLE).arg(&one).run().done();
        // The files name what the tools show.
        let parts = [(2_u64, "root"), (20, "data")].map(|(start, name)| {
            let part = lab.path(&format!("{kind}.{name}"));
            cut_out(&one, start << 20, 16 << 20, &part);
            judge::fsck_silent(&part).unwrap_or_else(|e| panic!("{e}"));
            uuid_of(&part)
        });
        assert_eq!(after(&one, "/etc/fstab", "UUID="), parts[0]);
        assert_eq!(after(&one, "/etc/fstab", "ext4 ro 0 1\nUUID="), parts[1]);
        assert_eq!(after(&one, "/boot/grub/grub.cfg", "--fs-uuid "), parts[0]);
        let table = run(tool("sfdisk").arg("-d").arg(&one));
        let partuuid = after(&one, "/boot/cmdline.txt", "PARTUUID=");
        if is_gpt {
            assert!(table.contains(&format!("uuid={partuuid}")), "{table}");
        } else {
            let id = partuuid.strip_suffix("-01").expect("a partition");
            assert!(table.contains(&format!("label-id: 0x{id}")), "{table}");
        }
        let id = u32::from_le_bytes(peek(&one, 440));
        assert_eq!(file(&one, "/boot/mbrid", &["--partition", "1"]), format!("0x{id:08x}\n"));
        run(tool("sfdisk").arg("--verify").arg(&one));
    }
}

/// The boot loader finds the root filesystem by UUID, and its init finds the data.
#[test]
#[ignore = "needs root"]
fn a_rewritten_disk_boots_to_its_init() {
    if !gate(&[Need::Program("sfdisk"), Need::EmulatedKernel]) {
        return;
    }
    let lab = Lab::new();
    let output = with(&built(&lab, "boot", &BUILDS[0], false), &TABLE);
    set_length(&output, 40 << 20);
    let said = emulated(
        &[&output],
        "for part in /dev/vda1 /dev/vda2; do
            mount -o ro $part /mnt
            if [ -f /mnt/boot/grub/grub.cfg ]; then break; fi
            umount /mnt
        done
        search=$(sed -n 's/^search --fs-uuid //p' /mnt/boot/grub/grub.cfg)
        root=$(sed -n 's/^linux .*root=\\([^ ]*\\).*/\\1/p' /mnt/boot/grub/grub.cfg)
        umount /mnt
        test \"$(findfs UUID=$search)\" = /dev/vda1
        mount -o ro $(findfs $root) /mnt
        while read -r spec folder kind options rest; do
            if [ $folder != / ]; then mount -t $kind -o $options $(findfs $spec) /mnt$folder; fi
        done </mnt/etc/fstab
        mount -t proc proc /mnt/proc
        chroot /mnt /sbin/init
        ",
    );
    assert!(said.ends_with("init runs\nthe data\n"), "{said}");
}
