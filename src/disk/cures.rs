//! Finds the instructions that make two disks equal: what to run, and on which disk. The first disk (A) is
//! the reference.

use super::partition_table::{PartitionTable, TableKind};
use crate::compare::SettingDifference;
use crate::text;

/// The instruction for partition tables that sfdisk can't make equal with a single command.
const SAME_LAYOUT: &str =
    "partition both disks with the same script (sfdisk -d A | sfdisk B), before they are filled";

/// Adds an instruction to each difference between two disks. Moves differences that result from the type or
/// id of the partition table after the difference in type or id. `wanted` is the table of the first disk.
pub(super) fn add(wanted: Option<&PartitionTable>, settings: &mut Vec<SettingDifference>) {
    let is_mbr = matches!(wanted, Some(PartitionTable { kind: TableKind::Mbr(_), .. }));
    let table = settings.iter().find(|setting| setting.name == TABLE);
    let kinds_differ = table.is_some_and(|setting| {
        let [one, other] = setting.values.each_ref().map(|value| value.split(' ').next());
        one != other
    });
    let ids_differ = is_mbr && table.is_some();
    for setting in settings.iter_mut() {
        setting.cure = of_setting(wanted, setting);
        // The PARTUUIDs of an MBR consist of its signature and a number. Tables of different types have
        // different names, types and numbers for partitions.
        let follows = setting.name.contains(" of partition ")
            && (kinds_differ || (ids_differ && setting.name.starts_with("PARTUUID")));
        setting.follows = follows.then(|| TABLE.to_owned());
    }
    let (consequences, mut causes): (Vec<_>, Vec<_>) =
        settings.drain(..).partition(|setting| setting.follows.is_some());
    let after_table = causes.iter().position(|setting| setting.name == TABLE).map_or(0, |place| place + 1);
    causes.splice(after_table..after_table, consequences);
    *settings = causes;
}

/// The name of the setting for the type and the id of a partition table.
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
                format!("run sfdisk --disk-id B {guid}, or derive the GUIDs of both (--table canonical)")
            }
            TableKind::Mbr(signature) if other == Some("MBR") => {
                format!("run sfdisk --disk-id B {signature:#010x}")
            }
            _ => SAME_LAYOUT.to_owned(),
        };
    }
    match (setting.name.split_once(" of partition "), kind) {
        (Some(("name", number)), TableKind::Gpt(_)) => {
            let name = if value == "(none)" { Some("''".to_owned()) } else { text::shell_word(value) };
            name.map_or(SAME_LAYOUT.to_owned(), |name| format!("run sfdisk --part-label B {number} {name}"))
        }
        (Some(("type", number)), _) => {
            format!("run sfdisk --part-type B {number} {}", value.trim_start_matches("0x"))
        }
        (Some(("attributes", number)), TableKind::Gpt(_)) => {
            format!("run sgdisk -A {number}:=:{} B", value.trim_start_matches("0x"))
        }
        (Some(("PARTUUID", number)), TableKind::Gpt(_)) => format!(
            "run sfdisk --part-uuid B {number} {value}, or derive the GUIDs of both (--table canonical)"
        ),
        (Some(("PARTUUID", _)), TableKind::Mbr(_)) => {
            "give both disks the same id (sfdisk --disk-id)".to_owned()
        }
        _ => SAME_LAYOUT.to_owned(),
    }
}
