//! The example and the hashes in the specification, compared with real tools.

use sha2::{Digest as _, Sha256};

use crate::support::canon::find_program;
use crate::support::contents::sha256;
use crate::support::fields::superblock;
use crate::support::tools::project;
use crate::support::{Lab, Need, gate, judge, run, tool};

fn page(name: &str) -> String {
    std::fs::read_to_string(project("docs").join(name)).expect("reading")
}

/// Returns the text between two strings in a page.
fn between<'p>(page: &'p str, start: &str, end: &str) -> &'p str {
    let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start:?}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} after {start:?}")).0
}

/// Parses hexadecimal bytes: `00*12` means 12 zero bytes, and lines that begin with # are comments.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace) {
        match word.split_once('*') {
            Some((byte, count)) => {
                assert_eq!(byte, "00");
                bytes.resize(bytes.len() + count.parse::<usize>().expect("a count"), 0);
            }
            None => bytes.push(u8::from_str_radix(word, 16).expect("two digits")),
        }
    }
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs root"]
fn the_example_has_its_digest_and_its_uuid() {
    if !gate(&[Need::Root]) {
        return;
    }
    let page = page("canonical-example.md");
    let commands = between(&page, "```sh\n# example\n", "```");
    let lab = Lab::new();
    let mut shell = tool("bash");
    shell.args(["-c", &format!("set -euo pipefail\n{commands}")]);
    let printed = run(find_program(&mut shell).current_dir(lab.path("")));
    let expected = between(&page, "The last line prints\n\n", "\n\n").trim();
    assert_eq!(printed.lines().last(), Some(expected));
    let image = lab.path("out.img");
    assert_eq!(expected.split_whitespace().next(), Some(sha256(&image).as_str()));
    judge::fsck_silent(&image).expect("e2fsck");

    let digest: [u8; 32] = Sha256::digest(bytes(between(&page, "```hex\n", "```"))).into();
    assert!(page.contains(&hexadecimal(&digest)), "{}", hexadecimal(&digest));
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = uuid[6] & 0x0F | 0x80;
    uuid[8] = uuid[8] & 0x3F | 0x80;
    assert_eq!(uuid[..], superblock(&image).bytes("s_uuid"));
    let shown = hexadecimal(&uuid);
    let parts = [&shown[..8], &shown[8..12], &shown[12..16], &shown[16..20], &shown[20..]];
    assert!(page.contains(&format!("`{}`", parts.join("-"))), "{shown}");
}

/// A unit test compares the same table with the program.
#[test]
fn the_table_of_hashes_is_what_debugfs_says() {
    let lab = Lab::new();
    let image = lab.mke2fs("image", "1M", &["-t", "ext2"]);
    let page = page("canonical-form.md");
    let seed = between(&page, "dx_hash -h VERSION -s ", " NAME");
    let mut seen = 0;
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let ["", version @ ("half_md4" | "tea" | "legacy"), name, hash, minor, ""] = cells[..] else {
            continue;
        };
        let command = format!("dx_hash -h {version} -s {seed} {name}");
        let said = run(tool("debugfs").args(["-R", &command]).arg(&image));
        assert_eq!(said.trim(), format!("Hash of {name} is {hash} (minor {minor})"));
        seen += 1;
    }
    assert_eq!(seen, 6);
}
