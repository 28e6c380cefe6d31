//! The scripts for mkosi and Buildroot, and rules for all scripts.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{EPOCH, builder, replaces};
use crate::support::contents::sha256;
use crate::support::dice::Dice;
use crate::support::ran::Ran;
use crate::support::tools::{project, rust_files, try_run};
use crate::support::{Lab, Need, canonical, gate, run, same_bytes, tool};

#[test]
fn shellcheck_is_content() {
    if !gate(&[Need::Program("shellcheck")]) {
        return;
    }
    let mut scripts: Vec<_> = [
        ".ci/run",
        "packaging/buildroot/post-image.sh",
        "packaging/github/compare",
        "packaging/mkosi/mkosi.postoutput",
        "packaging/yocto/update-crates",
    ]
    .map(project)
    .into();
    let all = fs::read_dir(project("scripts")).expect("a folder");
    let of_bash = |path: &PathBuf| fs::read(path).expect("reading").starts_with(b"#!/usr/bin/env bash");
    scripts.extend(all.map(|entry| entry.expect("an entry").path()).filter(of_bash));
    assert!(scripts.len() > 10, "{scripts:?}");
    run(tool("shellcheck").args(scripts));
}

/// Without this, a test that needs a program would be skipped on a new machine.
#[test]
fn setup_knows_the_programs_that_tests_need() {
    let setup = fs::read_to_string(project("scripts/setup")).expect("reading");
    let mut names = BTreeSet::new();
    for (_, text) in rust_files(&project("tests/integration")) {
        let parts = text.split("Need::Program(\"").skip(1);
        names.extend(parts.map(|rest| rest.split('"').next().expect("a first part").to_owned()));
    }
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !setup.contains(&format!("\n{name} "))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs `scripts/setup` with a Rust that reports a version.
fn setup_with(version: &str) -> Ran {
    let lab = Lab::new();
    for name in ["cargo", "rustc"] {
        let program = lab.path(name);
        let text = format!("#!/bin/sh\necho '{name} {version} (0123456789 2022-11-01)'\n");
        fs::write(&program, text).expect("writing");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("an executable file");
    }
    let mut path = lab.path("").into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").expect("a PATH"));
    try_run(tool(project("scripts/setup")).arg("demo").env("PATH", path))
}

#[test]
fn an_old_rust_is_named_with_the_version_that_is_needed() {
    let needed = env!("CARGO_PKG_RUST_VERSION");
    let words = format!("setup: Rust {needed} needed, found 1.65\nsetup: install it with");
    setup_with("1.65.0").saying(&[&words]).with_code(1);
    // The parts of a version are numbers.
    setup_with("1.9.0").saying(&["found 1.9\n"]).with_code(1);
    for version in [format!("{needed}.0"), format!("{needed}.1-nightly"), "1.100.0".to_owned()] {
        let ran = setup_with(&version);
        assert!(!ran.stderr.contains("Rust"), "{ran}");
    }
}

/// Creates a command for the script as mkosi runs it, with an epoch.
fn mkosi(output: &Path) -> Command {
    let mut command = builder(project("packaging/mkosi/mkosi.postoutput"));
    command.env("OUTPUTDIR", output).env("SOURCE_DATE_EPOCH", EPOCH);
    command
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
        let mut command = mkosi(&output);
        command.env("MKOSI_CONFIG", &configuration).env_remove("SOURCE_DATE_EPOCH");
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
        let ran = try_run(&mut mkosi(folder));
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
fn options_come_from_the_environment() {
    for name in ["rootfs.ext2", "image.raw"] {
        let lab = Lab::new();
        let image = lab.shipped("mke2fs");
        let expected = canonical(&image, &["--label", "x", "--source-date-epoch", EPOCH]);
        let folder = lab.folder("images");
        fs::copy(&image, folder.join(name)).expect("a copy");
        let mut command = if name == "image.raw" { mkosi(&folder) } else { buildroot(&folder) };
        run(command.env("EXT4_CANON_OPTIONS", "--label x"));
        same_bytes(&expected, &folder.join(name));
    }
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
