//! Checks that each inode number is assigned once, and that the bitmaps will mark exactly the assigned
//! numbers.

use super::contradiction::ensure;
use crate::error::Result;
use crate::ondisk::quota::QuotaType;
use crate::plan::Plan;
use crate::tree::{NodeId, Tree};
use crate::units::{GroupNr, InodeNr};

/// Checks all inode numbers, and returns the numbers in use in ascending order.
pub(super) fn check(plan: &Plan, tree: &Tree) -> Result<Vec<u32>> {
    let numbering = &plan.numbering;
    let first = plan.geometry.first_inode.0;
    let number = |id| numbering.number_of(id).0;
    ensure(number(NodeId::ROOT) == 2, || "the root is not inode 2".to_owned())?;
    let boot_loader = tree.boot_loader;
    let mut used: Vec<u32> = (1..first).collect();
    used.reserve(tree.nodes.len());
    for id in tree.ids() {
        match number(id) {
            2 if id == NodeId::ROOT => {}
            5 if Some(id) == boot_loader => {}
            number => {
                ensure(number >= first, || format!("a file has the reserved inode {number}"))?;
                used.push(number);
            }
        }
    }
    let [user, group, project] =
        [QuotaType::User, QuotaType::Group, QuotaType::Project].map(|kind| numbering.quota_file(kind));
    ensure(user.is_none_or(|number| number.0 == 3), || "the quota file of users is not inode 3".to_owned())?;
    ensure(group.is_none_or(|number| number.0 == 4), || {
        "the quota file of groups is not inode 4".to_owned()
    })?;
    let values = (0..plan.xattrs.ea_inodes.len()).map(|index| {
        numbering.number_of_ea_inode(u32::try_from(index).expect("values are numbered with 32 bits"))
    });
    for number in project.into_iter().chain(numbering.orphan_file()).chain(values) {
        ensure(number.0 >= first, || format!("the reserved inode {number} is assigned to a file"))?;
        used.push(number.0);
    }
    used.sort_unstable();
    let twice = used.windows(2).find(|pair| pair[0] == pair[1]);
    ensure(twice.is_none(), || format!("inode {} is assigned twice", twice.map_or(0, |pair| pair[0])))?;
    let last = used.last().copied().unwrap_or(0);
    ensure(last <= plan.geometry.inodes_count(), || format!("there is no inode {last}"))?;
    check_lookup(plan, tree)?;
    check_used(plan, &used)?;
    Ok(used)
}

/// Checks that the lookup by inode number returns the right node.
fn check_lookup(plan: &Plan, tree: &Tree) -> Result<()> {
    let by_number = plan.numbering.by_number();
    let holds = by_number.len() == tree.nodes.len()
        && by_number.is_sorted_by(|before, after| before.0 < after.0)
        && by_number.iter().all(|(number, id)| plan.numbering.number_of(*id) == *number);
    ensure(holds, || "inodes do not lead back to their files".to_owned())
}

/// Checks the ranges of inodes in use, from which bitmaps and inode tables are rendered.
fn check_used(plan: &Plan, used: &[u32]) -> Result<()> {
    let mut rest = used.iter();
    for group in (0..plan.geometry.groups).map(GroupNr) {
        for range in plan.numbering.used_in(group) {
            for index in range {
                let number = InodeNr(group.0 * plan.geometry.inodes_per_group + index + 1);
                ensure(rest.next() == Some(&number.0), || {
                    format!("inode {number} is marked, but not assigned")
                })?;
            }
        }
    }
    ensure(rest.next().is_none(), || "an inode is assigned, but not marked".to_owned())
}
