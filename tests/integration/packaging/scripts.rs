//! The scripts for mkosi and Buildroot, and rules for all scripts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{EPOCH, builder, project, replaces};
use crate::support::contents::sha256;
use crate::support::dice::Dice;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, gate, run, tool};

#[test]
fn shellcheck_is_content() {
    if !gate(&[Need::Program("shellcheck")]) {
        return;
    }
    for script in [
        "packaging/buildroot/post-image.sh",
        "packaging/github/compare",
        "packaging/mkosi/mkosi.postoutput",
        "packaging/yocto/update-crates",
        "scripts/debian-package",
    ] {
        run(tool("shellcheck").arg(project(script)));
    }
}

#[test]
fn mkosi_has_the_epoch_in_its_configuration() {
    replaces("image_1.raw", &|folder| {
        let configuration = folder.join("config.json");
        let text = format!(
            "{{\n    \"Seed\": \"0e9a6fe0-68f6-408c-bbeb-136054d20445\",\n    \"SourceDateEpoch\": {EPOCH},\n    \"Ssh\": false\n}}\n"
        );
        fs::write(&configuration, text).expect("writing");
        symlink("image_1.raw", folder.join("image.raw")).expect("a link");
        let ran = try_run(
            builder(project("packaging/mkosi/mkosi.postoutput"))
                .env("OUTPUTDIR", folder)
                .env("MKOSI_CONFIG", configuration),
        );
        assert!(folder.join("image.raw").is_symlink());
        ran
    });
}

#[test]
fn mkosi_without_an_epoch_or_an_image_fails() {
    let lab = Lab::new();
    let configuration = lab.path("config.json");
    let output = lab.folder("output");
    let script = || {
        let mut command = builder(project("packaging/mkosi/mkosi.postoutput"));
        command.env("OUTPUTDIR", &output).env("MKOSI_CONFIG", &configuration);
        command
    };
    fs::write(&configuration, "{\n    \"SourceDateEpoch\": null\n}\n").expect("writing");
    let ran = try_run(&mut script());
    assert!(ran.code == Some(1) && ran.stderr.contains("SourceDateEpoch="), "{ran:#?}");
    let ran = try_run(script().env("SOURCE_DATE_EPOCH", EPOCH));
    assert!(ran.code == Some(1) && ran.stderr.contains("no disk or ext filesystem"), "{ran:#?}");
}

#[test]
fn mkosi_writes_partitions_of_other_kinds_too() {
    replaces("image.root x86.raw", &|folder| {
        let other = folder.join("image.esp.raw");
        fs::write(&other, Dice::noise(8, 100_000)).expect("writing");
        let before = sha256(&other);
        let ran = try_run(
            builder(project("packaging/mkosi/mkosi.postoutput"))
                .env("OUTPUTDIR", folder)
                .env("SOURCE_DATE_EPOCH", EPOCH),
        );
        assert_eq!(sha256(&other), before, "{ran:#?}");
        ran
    });
}

/// Creates a command for the script as Buildroot runs it: with the image directory, and with the arguments
/// that all scripts get.
fn buildroot(folder: &Path) -> Command {
    let mut command = builder(project("packaging/buildroot/post-image.sh"));
    command.arg(folder).args(["-c", "board/of this kind/genimage.cfg", "--other"]);
    command.env("BINARIES_DIR", folder).env("SOURCE_DATE_EPOCH", EPOCH).env_remove("CANON_IMAGES");
    command
}

#[test]
fn buildroot_gives_the_folder_of_images() {
    replaces("rootfs.ext2", &|folder| {
        symlink("rootfs.ext2", folder.join("rootfs.ext4")).expect("a link");
        let ran = try_run(&mut buildroot(folder));
        assert!(folder.join("rootfs.ext4").is_symlink());
        ran
    });
}

#[test]
fn buildroot_names_other_images_in_the_environment() {
    replaces("data.ext4", &|folder| {
        fs::copy(folder.join("data.ext4"), folder.join("rootfs.ext2")).expect("a copy");
        let ran = try_run(buildroot(folder).env("CANON_IMAGES", "rootfs.ext2 data.ext4"));
        assert!(sha256(&folder.join("rootfs.ext2")) == sha256(&folder.join("data.ext4")), "{ran:#?}");
        ran
    });
}
