//! Checks that each set of xattrs is stored completely, and that reference counts are correct.

use super::contradiction::ensure;
use crate::error::Result;
use crate::ondisk::inode::BASE_SIZE;
use crate::ondisk::xattr::{REFCOUNT_MAX, entry_size, value_size};
use crate::plan::Plan;
use crate::tree::{NodeId, Tree, Xattr};

/// An xattr, and the index of its EA inode if it has one.
type PlacedXattr<'t> = (&'t Xattr, Option<u32>);

/// Checks that all xattrs are stored, and that reference counts are correct.
pub(super) fn check(plan: &Plan, tree: &Tree) -> Result<()> {
    let xattrs = &plan.xattrs;
    ensure(xattrs.blocks.len() == plan.layout.xattr_blocks.len(), || {
        format!("{} blocks of xattrs have {} places", xattrs.blocks.len(), plan.layout.xattr_blocks.len())
    })?;
    let mut users = vec![0_u32; xattrs.blocks.len()];
    let mut references = vec![0_u64; xattrs.ea_inodes.len()];
    for id in tree.ids() {
        let Some(set) = tree.node(id).xattrs else {
            ensure(xattrs.block_index_of(id).is_none(), || {
                "a block of xattrs for a file without any".to_owned()
            })?;
            continue;
        };
        ensure(xattrs.split_of(id).is_some(), || "a file whose xattrs have no place".to_owned())?;
        let mut stored = check_body(plan, tree, id, &mut references)?;
        if let Some(index) = xattrs.block_index_of(id) {
            let block = &xattrs.blocks[index];
            users[index] += 1;
            let room = plan.geometry.block_size - 32 - 4;
            stored += check_part(plan, xattrs.block_part(tree, block.split), tree, room, |value| {
                // The entries of a shared block count once.
                references[value] += u64::from(users[index] == 1);
            })?;
            check_same(plan, tree, id, index)?;
        }
        ensure(stored == tree.xattr_set(set).len(), || {
            format!(
                "{stored} of {} xattrs of inode {} are stored",
                tree.xattr_set(set).len(),
                plan.numbering.number_of(id)
            )
        })?;
    }
    for (block, users) in xattrs.blocks.iter().zip(users) {
        ensure(block.refcount == users && (1..=REFCOUNT_MAX).contains(&users), || {
            format!("a block of xattrs that {users} inodes use has the reference count {}", block.refcount)
        })?;
    }
    for (value, references) in xattrs.ea_inodes.iter().zip(references) {
        ensure(value.references == references && references > 0, || {
            format!("an EA inode with {references} references counts {}", value.references)
        })?;
    }
    Ok(())
}

/// Checks the xattrs in a node's inode, and returns their number.
fn check_body(plan: &Plan, tree: &Tree, id: NodeId, references: &mut [u64]) -> Result<usize> {
    // The fields of the inode are followed by 4 bytes of magic, and the list of xattrs ends with 4 zero
    // bytes.
    let taken = BASE_SIZE + 32 + 4 + 4;
    let mut room = plan.geometry.inode_size.saturating_sub(taken);
    if let Some(value) = plan.xattrs.inline_of(id) {
        room = room.saturating_sub(entry_size("data".len()) + value_size(value));
    }
    check_part(plan, plan.xattrs.body_part(tree, id), tree, room, |value| references[value] += 1)
}

/// Checks that the xattrs of an inode or an xattr block fit into `room` bytes, and returns their number.
fn check_part<'t>(
    plan: &Plan,
    part: impl Iterator<Item = PlacedXattr<'t>>,
    tree: &'t Tree,
    room: usize,
    mut refer: impl FnMut(usize),
) -> Result<usize> {
    let (mut taken, mut count) = (0, 0);
    for (xattr, outside) in part {
        count += 1;
        taken += entry_size(tree.text(xattr.name).len());
        match outside {
            Some(value) => {
                let planned = plan.xattrs.ea_inodes.get(value as usize);
                let same = planned.is_some_and(|planned| tree.text(planned.text) == tree.text(xattr.value));
                ensure(same, || format!("EA inode {value} has a different value"))?;
                refer(value as usize);
            }
            None => taken += value_size(tree.text(xattr.value).len()),
        }
    }
    ensure(taken <= room, || format!("xattrs of {taken} bytes in {room}"))?;
    Ok(count)
}

/// Checks that a shared block contains the xattrs of this node, not only the xattrs of the node for which the
/// block was planned.
fn check_same(plan: &Plan, tree: &Tree, id: NodeId, index: usize) -> Result<()> {
    let block = &plan.xattrs.blocks[index];
    let Some(split) = plan.xattrs.split_of(id).filter(|split| *split != block.split) else { return Ok(()) };
    let content = |(xattr, outside): PlacedXattr<'_>| {
        let value = outside.is_none().then(|| tree.text(xattr.value).to_vec());
        (xattr.index, tree.text(xattr.name).to_vec(), outside, value)
    };
    let same = plan
        .xattrs
        .block_part(tree, split)
        .map(content)
        .eq(plan.xattrs.block_part(tree, block.split).map(content));
    ensure(same, || format!("inode {} shares a block with other xattrs", plan.numbering.number_of(id)))
}
