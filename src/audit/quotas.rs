//! Checks that the quota files count each inode for its user, group and project.

use std::collections::HashMap;

use super::contradiction::ensure;
use super::ownership::charge;
use crate::error::Result;
use crate::ondisk::quota::QuotaType;
use crate::plan::{Plan, QuotaBlock, QuotaPlan};
use crate::tree::{Kind, QuotaUsage, Tree};

/// Checks the usage of all user, group and project ids.
pub(super) fn check(plan: &Plan, tree: &Tree) -> Result<()> {
    for quota in &plan.quotas {
        let mut usage: HashMap<u32, QuotaUsage> = HashMap::new();
        for id in tree.ids().filter(|id| Some(*id) != tree.boot_loader) {
            let node = tree.node(id);
            // e2fsck ignores inline symlinks.
            if matches!(node.kind, Kind::Symlink(_)) && plan.xattrs.inline_of(id).is_some() {
                continue;
            }
            let file = plan.layout.nodes[id.index()];
            let blocks = plan.layout.blocks(file) / plan.geometry.blocks_per_cluster;
            let owner = match quota.kind {
                QuotaType::User => node.uid,
                QuotaType::Group => node.gid,
                QuotaType::Project => node.project,
            };
            usage.entry(owner).or_default().add(charge(plan, tree, id, blocks));
        }
        ensure(quota.entries.is_sorted_by(|before, after| before.id < after.id), || {
            format!("the ids of the {} quota file are not ascending", quota.kind.word())
        })?;
        check_blocks(quota)?;
        for entry in &quota.entries {
            let expected = usage.remove(&entry.id).unwrap_or_default();
            ensure(entry.usage == expected, || {
                format!(
                    "{} {} is charged {:?}, expected {expected:?}",
                    quota.kind.word(),
                    entry.id,
                    entry.usage
                )
            })?;
        }
        ensure(usage.is_empty(), || format!("the {} quota file lacks an id", quota.kind.word()))?;
    }
    Ok(())
}

/// Checks that a quota file has the right blocks: the header, tree nodes on four levels, and data blocks with
/// up to 14 entries each.
fn check_blocks(quota: &QuotaPlan) -> Result<()> {
    let count =
        |wanted: &dyn Fn(&QuotaBlock) -> bool| quota.blocks.iter().filter(|block| wanted(block)).count();
    let lacks = |what: &str| format!("the {} quota file has wrong {what}", quota.kind.word());
    ensure(quota.blocks.first() == Some(&QuotaBlock::Header), || lacks("headers"))?;
    ensure(count(&|block| *block == QuotaBlock::Header) == 1, || lacks("headers"))?;
    for level in 0..4_usize {
        let prefix = |index: usize| quota.entries[index].id.unbounded_shr(32 - 8 * level as u32);
        let firsts = (1..quota.entries.len()).filter(|index| prefix(*index) != prefix(index - 1));
        let has_first = level == 0 || !quota.entries.is_empty();
        let expected = std::iter::once(0).filter(|_| has_first).chain(firsts);
        let nodes = quota.blocks.iter().filter_map(|block| match block {
            QuotaBlock::Tree(at, first) if *at == level => Some(*first),
            _ => None,
        });
        ensure(nodes.eq(expected), || lacks("nodes"))?;
    }
    // The blocks of a path follow each other, and references are found by a binary search.
    let rank = |block: &QuotaBlock| match *block {
        QuotaBlock::Header => (0, 0),
        QuotaBlock::Tree(level, first) => (first, 1 + level),
        QuotaBlock::Data(first) => (first, 5),
    };
    ensure(quota.blocks.is_sorted_by(|before, after| rank(before) < rank(after)), || lacks("order"))?;
    let data = quota.blocks.iter().filter_map(|block| match block {
        QuotaBlock::Data(first) => Some(*first),
        _ => None,
    });
    ensure(data.eq((0..quota.entries.len()).step_by(14)), || lacks("data blocks"))
}
