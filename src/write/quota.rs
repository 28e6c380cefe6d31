//! Renders quota files.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use super::renderer::Renderer;
use crate::ondisk::quota::{
    self as disk, BLOCK_SIZE, ENTRIES_PER_BLOCK, QtDiskDqdbheader, QuotaType, V2DiskDqheader, V2DiskDqinfo,
    V2r1DiskDqblk,
};
use crate::plan::{FileLayout, QuotaBlock, QuotaEntry, QuotaPlan};
use crate::units::{InodeNr, fits};

impl Renderer<'_, '_> {
    /// Returns the quota file of an inode.
    pub(super) fn quota_file(&self, number: InodeNr) -> Option<(&QuotaPlan, FileLayout)> {
        let mut files = self.plan.quotas.iter().zip(&self.plan.layout.quotas);
        let (quota, file) =
            files.find(|(quota, _)| self.plan.numbering.quota_file(quota.kind) == Some(number))?;
        Some((quota, *file))
    }

    /// Renders blocks of a quota file, starting with the logical block `first`.
    pub(super) fn quota_blocks(&self, kind: QuotaType, first: u32, out: &mut [u8]) {
        let quota = self.plan.quota(kind).expect("the audit checked that each piece has its file");
        let per_block = self.plan.geometry.block_size / BLOCK_SIZE;
        let blocks = quota.blocks.iter().skip(first as usize * per_block);
        for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK_SIZE)) {
            match *block {
                QuotaBlock::Header => header(quota, out),
                QuotaBlock::Tree(level, first) => {
                    for (slot, block) in quota.references(level, first) {
                        out[slot * 4..slot * 4 + 4].copy_from_slice(&block.to_le_bytes());
                    }
                }
                QuotaBlock::Data(first) => data(quota, first, out),
            }
        }
    }
}

fn header(quota: &QuotaPlan, out: &mut [u8]) {
    let header =
        V2DiskDqheader { dqh_magic: U32::new(quota.kind.magic()), dqh_version: U32::new(disk::VERSION) };
    let info = V2DiskDqinfo {
        dqi_bgrace: U32::new(quota.block_grace),
        dqi_igrace: U32::new(quota.inode_grace),
        dqi_flags: U32::new(0),
        dqi_blocks: U32::new(fits(quota.blocks.len(), "the layout found room for them")),
        dqi_free_blk: U32::new(0),
        dqi_free_entry: U32::new(quota.block_with_room()),
    };
    out[..disk::INFO].copy_from_slice(header.as_bytes());
    out[disk::INFO..][..size_of::<V2DiskDqinfo>()].copy_from_slice(info.as_bytes());
}

fn data(quota: &QuotaPlan, first: usize, out: &mut [u8]) {
    let entries = quota.entries.iter().skip(first).take(ENTRIES_PER_BLOCK);
    let mut header = QtDiskDqdbheader::new_zeroed();
    header.dqdh_entries = U16::new(fits(entries.len(), "a block has 14 entries"));
    let (head, slots) = out.split_at_mut(size_of::<QtDiskDqdbheader>());
    head.copy_from_slice(header.as_bytes());
    for (entry, slot) in entries.zip(slots.chunks_exact_mut(size_of::<V2r1DiskDqblk>())) {
        slot.copy_from_slice(encode(entry).as_bytes());
    }
}

/// Encodes an entry without timers. The kernel restarts them when it next changes the usage.
fn encode(entry: &QuotaEntry) -> V2r1DiskDqblk {
    V2r1DiskDqblk {
        dqb_id: U32::new(entry.id),
        dqb_ihardlimit: U64::new(entry.limits.inodes_hard),
        dqb_isoftlimit: U64::new(entry.limits.inodes_soft),
        dqb_curinodes: U64::new(entry.usage.inodes),
        dqb_bhardlimit: U64::new(entry.limits.blocks_hard),
        dqb_bsoftlimit: U64::new(entry.limits.blocks_soft),
        dqb_curspace: U64::new(entry.usage.bytes),
        ..V2r1DiskDqblk::new_zeroed()
    }
}
