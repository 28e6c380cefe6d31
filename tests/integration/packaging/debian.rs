//! The Debian package, built from vendored crates.

use std::fs;

use super::{project, shipped_twins};
use crate::support::{Lab, Need, canonical, gate, run, same_bytes, tool};

#[test]
#[ignore = "builds the program again; run by scripts/test where all tests have to run"]
fn the_package_is_built_offline_and_lintian_finds_no_errors() {
    if !gate(&["dpkg-buildpackage", "dh", "lintian"].map(Need::Program)) {
        return;
    }
    let lab = Lab::new();
    let result = lab.folder("result");
    // Optimization is off, to build faster.
    run(tool(project("scripts/debian-package"))
        .arg(&result)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"));
    let packages: Vec<_> =
        fs::read_dir(&result).expect("a folder").map(|entry| entry.expect("an entry")).collect();
    let [package] = &packages[..] else { panic!("{packages:?}") };
    let version = run(tool("dpkg-deb").arg("--field").arg(package.path()).arg("Version"));
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));

    let root = lab.folder("root");
    run(tool("dpkg-deb").arg("--extract").arg(package.path()).arg(&root));
    for path in [
        "usr/share/man/man1/ext4-canon.1.gz",
        "usr/share/bash-completion/completions/ext4-canon",
        "usr/share/zsh/vendor-completions/_ext4-canon",
        "usr/share/fish/vendor_completions.d/ext4-canon.fish",
        "usr/share/doc/ext4-canon/copyright",
        "usr/share/doc/ext4-canon/changelog.gz",
    ] {
        assert!(root.join(path).metadata().is_ok_and(|file| file.len() > 100), "{path}");
    }
    let [image, _] = shipped_twins(&lab);
    let output = lab.path("output.img");
    run(tool(root.join("usr/bin/ext4-canon")).arg("-q").arg(&image).arg(&output));
    same_bytes(&output, &canonical(&image, &[]));
}

#[test]
fn what_is_written_of_versions_is_that_of_the_manifest() {
    let text = |path: &str| fs::read_to_string(project(path)).expect("reading");
    let changelog = text("packaging/debian/changelog");
    assert!(changelog.starts_with(&format!("ext4-canon ({}) ", env!("CARGO_PKG_VERSION"))), "{changelog}");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let control = text("packaging/debian/control");
    for program in ["cargo", "rustc"] {
        assert!(control.contains(&format!("{program} (>= {rust})")), "{control}");
    }
    for system in ["debian", "isar", "yocto"] {
        let readme = text(&format!("packaging/{system}/README.md"));
        assert!(readme.contains(&format!("Rust {rust}")), "{readme}");
    }
}
