//! Quota files charge each inode to its owners.

use std::collections::HashMap;

use super::ensure;
use super::ownership::charge;
use crate::error::Result;
use crate::ondisk::quota::QuotaType;
use crate::plan::Plan;
use crate::read::Usage;
use crate::tree::{Kind, Tree};

/// Checks the usage of all ids.
pub fn check(plan: &Plan, tree: &Tree) -> Result<()> {
    for quota in &plan.quotas {
        let mut usage: HashMap<u32, Usage> = HashMap::new();
        for id in tree.ids().filter(|id| Some(*id) != tree.boot_loader) {
            let node = tree.node(id);
            // e2fsck passes over symlinks with inline data.
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
