//! Finds the cure for a difference between two trees: a change to the build that prevents the difference.

use ext4_canon::compare::{Attribute, PathDifference};
use ext4_canon::{MtimePolicy, Options};

/// Files that builds are known to write differently each time: the start of the path, its end, and the cure.
/// The first matching row is used.
const FILES: &[(&str, &str, &str)] = &[
    ("/etc/machine-id", "", "empty it in the last step of the build: the first boot fills it"),
    ("/var/lib/dbus/machine-id", "", "delete it, or make it a link to /etc/machine-id"),
    ("/etc/ssh/ssh_host_", "", "delete the keys in the build, and make them at the first boot"),
    ("/var/lib/systemd/random-seed", "", "delete it in the build"),
    (
        "/var/lib/systemd/catalog/database",
        "",
        "delete it in the build, or leave it to journalctl --update-catalog",
    ),
    ("/var/cache/ldconfig/aux-cache", "", "delete it in the build: it records inode numbers and times"),
    ("/var/cache/", "", "delete the cache in the build"),
    ("/root/.cache/", "", "delete the cache in the build"),
    ("/var/lib/apt/lists/", "", "delete the lists in the build, or use a snapshot of the archive"),
    (
        "/var/lib/apt/extended_states",
        "",
        "set SOURCE_DATE_EPOCH for the build, and use a snapshot of the archive",
    ),
    ("/var/log/", "", "delete the logs in the build"),
    ("/etc/iscsi/initiatorname.iscsi", "", "delete it in the build: the first boot makes it"),
    ("/etc/ssl/private/ssl-cert-snakeoil.key", "", "delete it in the build, and make it at the first boot"),
    ("/etc/ssl/certs/ssl-cert-snakeoil.pem", "", "delete it in the build, and make it at the first boot"),
    ("/var/lib/systemd/", "", "delete it in the build: systemd makes it"),
    ("/etc/.updated", "", "set SOURCE_DATE_EPOCH for the build, or delete it"),
    ("/var/.updated", "", "set SOURCE_DATE_EPOCH for the build, or delete it"),
    ("/boot/mbrid", "", "use --table canonical --rewrite-uuids: it contains the disk signature"),
    ("/run/", "", "delete it in the build"),
    ("/tmp/", "", "delete it in the build"),
    ("/etc/shadow", "", "set SOURCE_DATE_EPOCH for the whole build: passwords have a day of change"),
    ("/etc/resolv.conf", "", "set it in the recipe: it comes from the machine that built the image"),
    ("/etc/hostname", "", "set it in the recipe: it comes from the machine that built the image"),
    ("/etc/hosts", "", "set it in the recipe: it comes from the machine that built the image"),
    ("/etc/fstab", "", "name filesystems by label, or use --rewrite-uuids"),
    ("/etc/crypttab", "", "name filesystems by label, or use --rewrite-uuids"),
    ("/boot/grub/grub.cfg", "", "use --rewrite-uuids, or give mke2fs a fixed UUID (-U) and use --uuid keep"),
    ("/boot/grub2/grub.cfg", "", "use --rewrite-uuids, or give mke2fs a fixed UUID (-U) and use --uuid keep"),
    (
        "/boot/initr",
        "",
        "set SOURCE_DATE_EPOCH for the tool that makes it (dracut also needs --reproducible)",
    ),
    ("/usr/share/man/", "index.db", "delete it in the build: mandb makes it"),
    ("", ".pyc", "delete it, or compile with --invalidation-mode unchecked-hash"),
    ("", ".gz", "compress with gzip -n, or set SOURCE_DATE_EPOCH for the tool that compresses"),
    ("", ".a", "make the archive with ar D (the default of most binutils)"),
    ("", "~", "delete the backup in the build"),
];

/// Returns the cure for a file that is known to differ.
pub fn of_file(path: &str) -> Option<&'static str> {
    let known = FILES.iter().find(|(start, end, _)| path.starts_with(start) && path.ends_with(end));
    known.map(|row| row.2)
}

/// Returns the cure for a difference in an attribute of any file.
pub fn of_attribute(attribute: Attribute, options: &Options) -> &'static str {
    match attribute {
        Attribute::Mtime => of_time(options),
        Attribute::Content | Attribute::Size => {
            "find the program that writes it: --diff shows the lines of text files, diffoscope knows most formats"
        }
        Attribute::Presence | Attribute::Type | Attribute::Target | Attribute::Device => {
            "find the step of the build that makes it"
        }
        Attribute::Mode => "set the mode in the recipe, or the same umask in both builds",
        Attribute::Uid | Attribute::Gid => {
            "set the owner in the recipe: numbers that a package chooses depend on the order of installation"
        }
        Attribute::Project => "set the same project id (chattr -p)",
        Attribute::Xattr => {
            "copy with xattrs (cp -a, rsync -X, tar --xattrs); label SELinux files by setfiles in both"
        }
        Attribute::Flags => "set the same flags (chattr)",
        Attribute::HardLink => {
            "copy with hard links in both builds (cp -a, rsync -H, tar), or use --hard-links split"
        }
        Attribute::Allocation => "leave out --holes keep, or write the file in the same way",
        Attribute::Inode => {
            "rebuild both with mke2fs -O ^stable_inodes, or write the files in the same order"
        }
        Attribute::NameHash => "encrypt with the same key in both builds",
        _ => "find the step of the build that makes it",
    }
}

fn of_time(options: &Options) -> &'static str {
    match (options.mtime, options.epoch) {
        (MtimePolicy::Keep, _) => "leave out --mtime keep, and set SOURCE_DATE_EPOCH",
        (_, None) => "set SOURCE_DATE_EPOCH, for the build and for ext4-canon",
        _ => "times before the epoch are kept: set an earlier SOURCE_DATE_EPOCH, or use --mtime set",
    }
}

/// Returns the cure for a difference: the cure for the file if there is one, otherwise the cure for the
/// attribute.
pub fn cure(difference: &PathDifference, options: &Options) -> &'static str {
    if difference.names_own {
        return "it names the image's own UUID (use --rewrite-uuids), PARTUUID or disk signature (also --table canonical)";
    }
    match difference.attribute {
        Attribute::Content | Attribute::Size | Attribute::Presence => of_file(&difference.path),
        _ => None,
    }
    .unwrap_or_else(|| of_attribute(difference.attribute, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_all_files() {
        let page = include_str!("../../../../docs/compare.md");
        for (start, end, cure) in FILES {
            let row =
                page.lines().find(|line| line.ends_with(&format!("| {cure} |")) && line.contains(start));
            assert!(row.is_some_and(|row| row.contains(end)), "no row for {start}*{end}: {cure}");
        }
    }

    #[test]
    fn known_files_have_their_cure() {
        for (path, words) in [
            ("/etc/machine-id", "first boot"),
            ("/etc/ssh/ssh_host_rsa_key.pub", "delete the keys"),
            ("/var/cache/ldconfig/aux-cache", "inode numbers"),
            ("/var/cache/apt/pkgcache.bin", "cache"),
            ("/usr/lib/python3/x/__pycache__/y.cpython-311.pyc", "unchecked-hash"),
            ("/etc/shadow-", "SOURCE_DATE_EPOCH"),
        ] {
            assert!(of_file(path).expect(path).contains(words), "{path}");
        }
        assert_eq!(of_file("/usr/bin/awk"), None);
    }

    #[test]
    fn the_cure_for_times_depends_on_the_options() {
        let of = |options: &Options| of_attribute(Attribute::Mtime, options);
        assert!(of(&Options::new()).starts_with("set SOURCE_DATE_EPOCH"));
        assert!(of(&Options::new().epoch(1)).contains("--mtime set"));
        assert!(of(&Options::new().mtime(MtimePolicy::Keep)).contains("leave out --mtime keep"));
    }
}
