//! The Nix files: Nix parses and evaluates them, and the resulting scripts are run.

use std::fs;
use std::path::Path;

use super::{EPOCH, project, replaces, run_line};
use crate::support::canon::PROGRAM;
use crate::support::{Lab, Need, gate, run, tool};

const NEEDS: [Need; 1] = [Need::Program("nix-instantiate")];

/// Creates a Nix command with a separate state directory and without a store, which needs root.
fn nix(lab: &Lab) -> std::process::Command {
    let mut command = tool("nix-instantiate");
    command.env("NIX_STATE_DIR", lab.path("state")).env("HOME", lab.path("home"));
    command.env("NIX_CONF_DIR", lab.path("none")).current_dir(project("packaging/nixos"));
    command.args(["--store", "dummy://"]);
    command
}

/// Evaluates an expression to a string, without building anything.
fn evaluate(expression: &str) -> String {
    let lab = Lab::new();
    let json = run(nix(&lab).args(["--eval", "--strict", "--json", "-E", expression]));
    serde_json::from_str(&json).expect("a string")
}

/// Returns an expression for a package that contains the program under test.
fn package(lab: &Lab) -> String {
    let bin = lab.path("package/bin");
    fs::create_dir_all(&bin).expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, bin.join("ext4-canon")).expect("a link");
    format!("\"{}\"", lab.path("package").display())
}

#[test]
fn every_file_parses() {
    if !gate(&NEEDS) {
        return;
    }
    let lab = Lab::new();
    for file in ["flake.nix", "package.nix", "canon.nix"] {
        run(nix(&lab).args(["--parse", file]));
    }
}

#[test]
fn the_images_of_make_disk_image_become_canonical() {
    if !gate(&NEEDS) {
        return;
    }
    let lab = Lab::new();
    // Use the flake, with stubs for the parts of nixpkgs that it needs.
    let post_vm = evaluate(&format!(
        "let
           flake = import ./flake.nix;
           pkgs = {{ stdenv.hostPlatform.system = \"x86_64-linux\"; callPackage = file: arguments: {}; }};
           nixpkgs = {{
             lib.genAttrs = names: f: builtins.listToAttrs (map (name: {{ inherit name; value = f name; }}) names);
             legacyPackages = {{ x86_64-linux = pkgs; }};
           }};
           self = flake.outputs {{ inherit self nixpkgs; }};
         in self.lib.x86_64-linux.postVM {{ epoch = {EPOCH}; }}",
        package(&lab)
    ));
    replaces("nixos.img", &|folder| {
        run_line(&format!("set -e\ndiskImage='{}'\n{post_vm}", folder.join("nixos.img").display()), folder)
    });
}

#[test]
fn the_images_of_make_ext4_fs_become_canonical() {
    if !gate(&NEEDS) {
        return;
    }
    let lab = Lab::new();
    // The override appends to the build command of an image. This stub of mkDerivation is sufficient.
    let command = evaluate(&format!(
        "let
           image = {{ overrideAttrs = f: f {{ buildCommand = \"test -f \\\"$out\\\"\\n\"; }}; }};
           canon = import ./canon.nix {{ ext4-canon = {}; }};
         in (canon.ext4Fs {{ epoch = {EPOCH}; options = \"--verify\"; }} image).buildCommand",
        package(&lab)
    ));
    replaces("ext4-fs.img", &|folder| {
        run_line(&format!("set -e\nout='{}'\n{command}", folder.join("ext4-fs.img").display()), folder)
    });
}

#[test]
fn the_package_is_that_of_the_manifest() {
    if !gate(&NEEDS) {
        return;
    }
    let arguments = "{
        lib = {
          importTOML = file: builtins.fromTOML (builtins.readFile file);
          cleanSource = path: path;
          optionalString = condition: text: if condition then text else \"\";
          licenses = { mit = 1; asl20 = 2; };
          platforms.linux = [ ];
        };
        stdenv = { buildPlatform.canExecute = _: true; hostPlatform = { }; };
        rustPlatform.buildRustPackage = attributes: attributes;
        installShellFiles = \"\";
      }";
    let of = |attribute: &str| evaluate(&format!("(import ./package.nix {arguments}).{attribute}"));
    assert_eq!(of("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(of("meta.description"), env!("CARGO_PKG_DESCRIPTION"));
    for (attribute, file) in [("cargoLock.lockFile", "Cargo.lock"), ("src", "")] {
        let path = evaluate(&format!("toString (import ./package.nix {arguments}).{attribute}"));
        assert_eq!(Path::new(&path), project(file), "{attribute}");
    }

    // The installed files are those that the program prints.
    let lab = Lab::new();
    let folder = lab.folder("build");
    let ran = run_line(
        &format!(
            "set -e; out={}; installManPage() {{ test -s \"$1\"; }}; installShellCompletion() {{ :; }}\n{}",
            package(&lab).trim_matches('"'),
            of("postInstall")
        ),
        &folder,
    );
    assert!(ran.code == Some(0), "{ran:#?}");
    for name in ["ext4-canon.1", "ext4-canon.bash", "ext4-canon.zsh", "ext4-canon.fish"] {
        let text = fs::read_to_string(folder.join(name)).expect("reading");
        assert!(text.contains("ext4") && text.len() > 1000, "{name}");
    }
}
