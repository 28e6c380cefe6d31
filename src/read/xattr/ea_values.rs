//! Reads the values of all EA inodes, and checks them against the entries that refer to them.

use std::borrow::Cow;
use std::collections::HashMap;

use rayon::prelude::*;

use super::blocks::XattrBlocks;
use super::ea_inode::EaInode;
use super::entries::{EaInodeRef, StoredValue, StoredXattr};
use crate::error::{Location, Problem, Result, Structure};
use crate::ondisk::features::Incompat;
use crate::ondisk::xattr as disk;
use crate::read::inodes::Inodes;
use crate::source::Source;
use crate::tree::QuotaUsage;
use crate::units::InodeNr;

/// The values of all EA inodes.
#[derive(Debug, Default)]
pub(crate) struct EaValues<'a> {
    inodes: Vec<EaInode>,
    values: Vec<Cow<'a, [u8]>>,
    /// For each EA inode, a number for its value. Equal values have the same number.
    distinct: Vec<usize>,
}

/// An xattr entry that refers to an EA inode, and the inode that has the entry.
struct EaReference<'r, 'a> {
    from: InodeNr,
    generation: u32,
    xattr: &'r StoredXattr<'a>,
    value: EaInodeRef,
}

/// Reads all values, checks them and the entries that refer to them, and sets the quota usage of each inode's
/// EA inodes. The claims must already be checked.
///
/// # Errors
///
/// `Corrupt`, with the EA inode or the inode that refers to it.
pub(crate) fn read<'a>(
    source: &Source<'a>,
    ea_inodes: Vec<EaInode>,
    inodes: &mut Inodes<'_>,
    blocks: &XattrBlocks<'_>,
    of_orphans: &[(InodeNr, EaInodeRef)],
) -> Result<EaValues<'a>> {
    if !source.features().has(Incompat::EA_INODE) {
        return Ok(EaValues::default());
    }
    let mut values = EaValues { inodes: ea_inodes, ..EaValues::default() };
    let by_lustre = values.check_references(inodes, blocks, of_orphans)?;
    values.values = values
        .inodes
        .par_iter()
        .zip(&by_lustre)
        .map(|(inode, lustre)| inode.value(source, !lustre))
        .collect::<Result<_>>()?;
    let mut numbers = HashMap::new();
    for value in &values.values {
        let next = numbers.len();
        values.distinct.push(*numbers.entry(&value[..]).or_insert(next));
    }
    let cluster = source.geometry.block_bytes() * source.geometry.blocks_per_cluster;
    let mut charges = Vec::with_capacity(inodes.list.len());
    for inode in &inodes.list {
        let in_block = inode.xattr_block().map_or(&[][..], |block| blocks.entries(block));
        let referred = inodes.xattrs_of(inode).iter().chain(in_block).filter_map(StoredXattr::inode);
        let mut charge = QuotaUsage::default();
        for value in referred {
            // e2fsck charges no usage for an EA inode in Lustre's format.
            if !by_lustre[values.index(inode.number, value.number)?] {
                charge.add(QuotaUsage { inodes: 1, bytes: u64::from(value.size).next_multiple_of(cluster) });
            }
        }
        charges.push(charge);
    }
    inodes.values = charges;
    Ok(values)
}

/// Returns all xattr entries whose value is in an EA inode. Each entry of a shared block is returned once.
fn references<'r, 'a>(
    inodes: &'r Inodes<'a>,
    blocks: &'r XattrBlocks<'a>,
) -> impl Iterator<Item = EaReference<'r, 'a>> {
    let in_bodies = inodes.list.iter().flat_map(|inode| {
        inodes.xattrs_of(inode).iter().map(move |xattr| (inode.number, inode.generation, xattr))
    });
    let in_blocks = blocks.all().flat_map(|(owner, entries)| {
        let generation = inodes.index_of(owner).map_or(0, |index| inodes.list[index].generation);
        entries.iter().map(move |xattr| (owner, generation, xattr))
    });
    in_bodies.chain(in_blocks).filter_map(|(from, generation, xattr)| {
        Some(EaReference { from, generation, xattr, value: xattr.inode()? })
    })
}

impl<'a> EaValues<'a> {
    /// Returns the numbers of the EA inodes, in order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = InodeNr> + use<'_> {
        self.inodes.iter().map(|inode| inode.number)
    }

    /// Returns the number of EA inodes whose `i_blocks` is wrong.
    pub(crate) fn wrong_blocks(&self) -> usize {
        self.inodes.iter().filter(|inode| inode.wrong_blocks).count()
    }

    /// Returns the value of an xattr, wherever it is stored.
    pub(crate) fn of<'v>(&'v self, xattr: &StoredXattr<'v>) -> &'v [u8] {
        let value = match xattr.value {
            StoredValue::Here(value) => return value,
            StoredValue::Inode(value) => value,
        };
        let index = self.inodes.binary_search_by_key(&value.number, |inode| inode.number);
        index.ok().and_then(|index| self.values.get(index)).map_or(&[], |value| value)
    }

    /// Returns the distinct values and their numbers.
    pub(crate) fn distinct(&self) -> HashMap<&[u8], usize> {
        self.values.iter().map(|value| &value[..]).zip(self.distinct.iter().copied()).collect()
    }

    /// Returns the number of an xattr's value in `distinct`, if `distinct` contains the value.
    pub(crate) fn number_of(
        &self,
        xattr: &StoredXattr<'_>,
        distinct: &HashMap<&[u8], usize>,
    ) -> Option<usize> {
        let value = match xattr.value {
            StoredValue::Here(value) => return distinct.get(value).copied(),
            StoredValue::Inode(value) => value,
        };
        let index = self.inodes.binary_search_by_key(&value.number, |inode| inode.number).ok()?;
        self.distinct.get(index).copied()
    }

    /// Checks all entries that refer to EA inodes, and the reference count of each EA inode. Returns for each
    /// EA inode whether it has Lustre's format.
    fn check_references(
        &self,
        inodes: &Inodes<'_>,
        blocks: &XattrBlocks<'_>,
        of_orphans: &[(InodeNr, EaInodeRef)],
    ) -> Result<Vec<bool>> {
        let mut users = vec![0_u64; self.inodes.len()];
        // Lustre's format has no checksum. Instead, the EA inode contains the number of the only inode that
        // owns the value.
        let mut by_lustre = vec![false; self.inodes.len()];
        for reference in references(inodes, blocks) {
            let (index, lustre) = self.check(&reference)?;
            users[index] += 1;
            by_lustre[index] |= lustre;
        }
        for (orphan, value) in of_orphans {
            users[self.index(*orphan, value.number)?] += 1;
        }
        for (index, inode) in self.inodes.iter().enumerate() {
            let at = || Location::of(Structure::EaInode).inode(inode.number);
            let expected = if by_lustre[index] { 1 } else { inode.references };
            if users[index] == 0 {
                return Err(at().wrong("is in use, but no xattr refers to it"));
            }
            if users[index] != expected {
                return Err(at().value(
                    "the number of references",
                    expected,
                    format!("{}, the entries that refer to it", users[index]),
                ));
            }
        }
        Ok(by_lustre)
    }

    fn index(&self, from: InodeNr, number: InodeNr) -> Result<usize> {
        self.inodes.binary_search_by_key(&number, |inode| inode.number).map_err(|_| {
            Location::of(Structure::Xattr)
                .inode(from)
                .wrong(format!("have a value in inode {number}, which is not an EA inode"))
        })
    }

    /// Checks an entry against its EA inode. Returns the index of the EA inode, and whether it has Lustre's
    /// format, which has the owner and its generation instead of a checksum.
    fn check(&self, reference: &EaReference<'_, '_>) -> Result<(usize, bool)> {
        let EaReference { from, generation, xattr, value } = reference;
        let at = || Location::of(Structure::Xattr).inode(*from);
        let index = self.index(*from, value.number)?;
        let inode = &self.inodes[index];
        if value.size as usize != inode.size {
            return Err(at().value(
                "e_value_size",
                value.size,
                format!("{}, the size of inode {}", inode.size, value.number),
            ));
        }
        let hash = |signed| disk::entry_hash(xattr.name, &inode.hash.to_le_bytes(), signed);
        if [false, true].map(hash).contains(&value.hash) {
            return Ok((index, false));
        }
        if inode.owner == from.0 && inode.generation == *generation {
            return Ok((index, true));
        }
        Err(at().corrupt(Problem::Checksum { found: value.hash, expected: hash(false) }))
    }
}
