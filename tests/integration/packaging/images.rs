//! Tests with the real genimage and debos.

use std::fs;
use std::path::{Path, PathBuf};

use super::{EPOCH, builder, project, replaces, run_line};
use crate::support::contents::sha256;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, gate, run};

/// Runs genimage with a configuration on a tree; returns the directory of images.
fn genimage(lab: &Lab, name: &str, configuration: &Path, tree: &Path) -> PathBuf {
    let output = lab.folder(name);
    run(builder("genimage")
        .arg("--config")
        .arg(configuration)
        .arg("--rootpath")
        .arg(tree)
        .arg("--tmppath")
        .arg(lab.path(&format!("{name}.tmp")))
        .arg("--inputpath")
        .arg(&output)
        .arg("--outputpath")
        .arg(&output)
        .env("SOURCE_DATE_EPOCH", EPOCH));
    output
}

/// Creates the same tree in ascending or descending order.
fn tree_in_an_order(lab: &Lab, name: &str, backwards: bool) -> PathBuf {
    let root = lab.folder(name);
    let mut files: Vec<_> = (0..40).map(|number| format!("file {number}")).collect();
    if backwards {
        files.reverse();
    }
    fs::create_dir(root.join("data")).expect("a folder");
    for file in &files {
        fs::write(root.join(file), file).expect("writing");
        fs::write(root.join("data").join(file), file).expect("writing");
    }
    root
}

#[test]
fn genimage_makes_canonical_filesystems_and_puts_them_into_a_disk() {
    if !gate(&[Need::Program("genimage"), Need::Program("genext2fs")]) {
        return;
    }
    let lab = Lab::new();
    let ours = project("packaging/genimage/genimage.cfg");
    let text = fs::read_to_string(&ours).expect("reading");
    let without = lab.path("without.cfg");
    let lines = text.lines().filter(|line| !line.contains("exec-post")).map(|line| format!("{line}\n"));
    fs::write(&without, lines.collect::<String>()).expect("writing");

    let trees = [tree_in_an_order(&lab, "forward", false), tree_in_an_order(&lab, "backward", true)];
    let disks = |configuration: &Path, names: [&str; 2]| {
        [0, 1].map(|i| sha256(&genimage(&lab, names[i], configuration, &trees[i]).join("disk.img")))
    };
    let [a, b] = disks(&without, ["a", "b"]);
    assert_ne!(a, b, "images are equal without ext4-canon");
    let [a, b] = disks(&ours, ["c", "d"]);
    assert_eq!(a, b);
}

#[test]
fn genimage_runs_the_line_on_the_image() {
    let text = fs::read_to_string(project("packaging/genimage/genimage.cfg")).expect("reading");
    let lines: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("exec-post = \"")).collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let line = line.strip_suffix('"').expect("a string").replace("\\\"", "\"");
        let (profile, line) = line.split_once(" --in-place").expect("a rewrite in place");
        assert!(profile.starts_with("ext4-canon --profile ext"), "{profile}");
        let line = format!("ext4-canon --in-place{line}");
        replaces("rootfs image.ext4", &|folder| {
            let image = folder.join("rootfs image.ext4");
            let variables = format!("IMAGEOUTFILE='{}' SOURCE_DATE_EPOCH={EPOCH}", image.display());
            run_line(&format!("export {variables}; {line}"), folder)
        });
    }
}

#[test]
#[ignore = "needs root"]
fn debos_includes_the_recipe() {
    if !gate(&[Need::Root, Need::Program("debos")]) {
        return;
    }
    replaces("disk.img", &|folder| {
        let recipe = folder.join("recipe.yaml");
        let text = format!(
            "architecture: amd64\nactions:\n  - action: recipe\n    recipe: {}\n    variables:\n      image: disk.img\n      epoch: {EPOCH}\n",
            project("packaging/debos/canon.yaml").display()
        );
        fs::write(&recipe, text).expect("writing");
        try_run(
            builder("debos")
                .arg("--disable-fakemachine")
                .arg(format!("--artifactdir={}", folder.display()))
                .arg(&recipe)
                .current_dir(folder),
        )
    });
}
