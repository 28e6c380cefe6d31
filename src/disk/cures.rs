//! Finds the cures of differences between two disks: the command that makes the disks equal, and the disk to
//! run it on. The first disk is the reference.

use super::partition_table::{PartitionTable, TableKind};
use crate::compare::SettingDifference;

/// The cure for tables that sfdisk can't make equal with a single command.
const SAME_LAYOUT: &str =
    "partition both disks with the same script (sfdisk -d A | sfdisk B), before they are filled";

/// Adds the cures of differences between partition tables. `wanted` is the table of the first disk.
pub(super) fn add(wanted: Option<&PartitionTable>, settings: &mut [SettingDifference]) {
    let is_mbr = matches!(wanted, Some(PartitionTable { kind: TableKind::Mbr(_), .. }));
    let ids_differ = is_mbr && settings.iter().any(|setting| setting.name == TABLE);
    for setting in settings {
        setting.cure = of_setting(wanted, setting);
        // The PARTUUIDs of an MBR consist of its signature and a number.
        setting.follows = (ids_differ && setting.name.starts_with("PARTUUID")).then(|| TABLE.to_owned());
    }
}

/// The name of the setting for the kind and the id of a partition table.
const TABLE: &str = "partition table";

fn of_setting(wanted: Option<&PartitionTable>, setting: &SettingDifference) -> String {
    let value = &setting.values[0];
    if setting.name.starts_with("byte ") {
        return "fill both with the same bytes: bytes outside of ext filesystems are copied unchanged"
            .to_owned();
    }
    if setting.name == "bytes of the disk" {
        return format!("make both disks equally long before they are partitioned (truncate -s {value})");
    }
    let Some(kind) = wanted.map(|table| &table.kind) else { return SAME_LAYOUT.to_owned() };
    if setting.name == TABLE {
        let other = setting.values[1].split(' ').next();
        return match kind {
            TableKind::Gpt(guid) if other == Some("GPT") => {
                format!("run sfdisk --disk-id B {guid}, or derive the GUIDs of both (--gpt canonical)")
            }
            TableKind::Mbr(signature) if other == Some("MBR") => {
                format!("run sfdisk --disk-id B {signature:#010x}")
            }
            _ => SAME_LAYOUT.to_owned(),
        };
    }
    match (setting.name.split_once(" of partition "), kind) {
        (Some(("name", number)), TableKind::Gpt(_)) => {
            format!("run sfdisk --part-label B {number} '{value}'")
        }
        (Some(("type", number)), _) => {
            format!("run sfdisk --part-type B {number} {}", value.trim_start_matches("0x"))
        }
        (Some(("attributes", number)), TableKind::Gpt(_)) => {
            format!("run sgdisk -A {number}:=:{} B", value.trim_start_matches("0x"))
        }
        (Some(("PARTUUID", number)), TableKind::Gpt(_)) => format!(
            "run sfdisk --part-uuid B {number} {value}, or derive the GUIDs of both (--gpt canonical)"
        ),
        (Some(("PARTUUID", _)), TableKind::Mbr(_)) => {
            "give both disks the same id (sfdisk --disk-id)".to_owned()
        }
        _ => SAME_LAYOUT.to_owned(),
    }
}
