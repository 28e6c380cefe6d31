//! The commands in docs/guide.md, executed verbatim.

use std::fs;

use crate::support::canon::find_program;
use crate::support::disk::disk;
use crate::support::tools::project;
use crate::support::{Lab, Need, fill, gate, run, tool, tree};

/// Returns the code blocks that are marked for execution.
fn recipes(guide: &str) -> Vec<&str> {
    let parts = guide.split("```sh\n# run\n").skip(1);
    parts.map(|part| part.split("```").next().expect("an end")).collect()
}

/// Makes a directory as the introduction of the guide describes it.
fn described_folder() -> Lab {
    let lab = Lab::new();
    let from = lab.plain_tree();
    tree::set_all_mtimes(&from);
    lab.mke2fs_d("a.img", "16M", &["-t", "ext4"], &from);
    let other = lab.mke2fs("b.img", "16M", &["-t", "ext4"]);
    fill::kernel(&other, |root| fill::copy_in_order(&from, root, &fill::backwards(&from)));
    let table = "label: gpt\nstart=1MiB, size=16MiB, name=boot\nstart=20MiB, size=16MiB, name=root\n";
    disk(&lab.path("disk.img"), 40, table, &[(1, &lab.path("a.img")), (20, &other)]);
    lab
}

#[test]
#[ignore = "needs root: mounts images"]
fn recipes_work_as_they_stand() {
    if !gate(&[Need::Mounts, Need::Program("veritysetup"), Need::Program("blkid")]) {
        return;
    }
    let guide = fs::read_to_string(project("docs/guide.md")).expect("reading");
    let blocks = recipes(&guide);
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        let lab = described_folder();
        let mut shell = tool("bash");
        shell.args(["-c", &format!("set -euo pipefail\n{block}")]).current_dir(lab.path(""));
        run(find_program(&mut shell).env("SOURCE_DATE_EPOCH", "1735689600"));
    }
}
