//! Compares the usage of the inodes with the usage in the quota files.

use std::collections::{BTreeMap, HashMap};

use super::orphans::Orphans;
use super::quota_file::QuotaFile;
use crate::ondisk::features::RoCompat;
use crate::ondisk::inode::Inode;
use crate::ondisk::quota::QuotaType;
use crate::read::inodes::Inodes;
use crate::read::xattr::entries::EaInodeRef;
use crate::source::Source;
use crate::tree::QuotaUsage;
use crate::units::InodeNr;

/// The quota usage of an orphan, and the ids to which it is charged: user, group and project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrphanCharge {
    ids: [u32; 3],
    usage: QuotaUsage,
}

/// Returns the usage of orphans without links, including their EA inodes. Quota files still count this usage.
pub(crate) fn of_orphans(
    source: &Source<'_>,
    orphans: &Orphans,
    values: &[(InodeNr, EaInodeRef)],
) -> Vec<OrphanCharge> {
    let block_size = source.geometry.block_bytes();
    let cluster = block_size * source.geometry.blocks_per_cluster;
    let mut of_values: HashMap<InodeNr, QuotaUsage> = HashMap::new();
    for (owner, value) in values {
        let bytes = u64::from(value.size).next_multiple_of(cluster);
        of_values.entry(*owner).or_default().add(QuotaUsage { inodes: 1, bytes });
    }
    let has_projects = source.features().has(RoCompat::PROJECT);
    let charge = |(number, blocks): (&InodeNr, &u64)| {
        let inode = Inode::decode(source.inode(*number)?);
        let ids = [inode.uid(), inode.gid(), if has_projects { inode.i_projid.get() } else { 0 }];
        let mut usage = QuotaUsage { inodes: 1, bytes: blocks * block_size };
        usage.add(of_values.get(number).copied().unwrap_or_default());
        Some(OrphanCharge { ids, usage })
    };
    orphans.without_links.iter().zip(&orphans.blocks).filter_map(charge).collect()
}

/// Compares the usage in the quota files with the usage of the inodes, and returns warnings.
pub(crate) fn compare(
    source: &Source<'_>,
    files: &[QuotaFile],
    inodes: &Inodes<'_>,
    orphans: &[OrphanCharge],
) -> Vec<String> {
    let mut warnings = Vec::new();
    for file in files {
        let mut found: BTreeMap<u32, QuotaUsage> = BTreeMap::new();
        let nodes = inodes.list.iter().zip(&inodes.nodes).enumerate();
        for (index, (_, node)) in nodes.filter(|(_, (inode, _))| inode.charged) {
            let id = match file.kind {
                QuotaType::User => node.uid,
                QuotaType::Group => node.gid,
                QuotaType::Project => node.project,
            };
            found.entry(id).or_default().add(inodes.usage(index, source.geometry.block_size));
        }
        for OrphanCharge { ids, usage } in orphans {
            found.entry(ids[file.kind.index()]).or_default().add(*usage);
        }
        let missing = found.iter().filter(|(id, usage)| file.usage.get(id) != Some(usage)).count();
        let surplus = file.usage.keys().filter(|id| !found.contains_key(id)).count();
        if missing + surplus > 0 {
            let (word, count) = (file.kind.word(), missing + surplus);
            warnings.push(format!("the {word} quota file had the wrong usage for {count} ids; recomputed"));
        }
    }
    warnings
}
