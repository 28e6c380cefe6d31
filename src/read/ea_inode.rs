//! Inodes that hold the values of large xattrs: no name leads to them, but entries of xattrs do.

use std::borrow::Cow;
use std::collections::HashMap;

use rayon::prelude::*;

use super::claims::Claim;
use super::inodes::Inodes;
use super::xattr::{self, StoredValue, StoredXattr, ValueInode, XattrBlocks};
use crate::error::{Location, Problem, Result, Structure};
use crate::map::{self, Budget, RawInode};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{InodeFlags, S_IFREG};
use crate::ondisk::xattr as disk;
use crate::source::Source;
use crate::tree::{QuotaUsage, Run};
use crate::units::{BlockNr, InodeNr};

/// An inode that holds a value.
#[derive(Debug)]
pub struct EaInode {
    /// Its number.
    pub number: InodeNr,
    size: usize,
    /// The checksum of the value.
    hash: u32,
    /// The number of entries that refer to it.
    references: u64,
    /// `i_mtime`: in Lustre's form, the inode that it belongs to.
    owner: u32,
    generation: u32,
    runs: Vec<Run>,
}

/// The values of all such inodes.
#[derive(Debug, Default)]
pub struct Values<'a> {
    inodes: Vec<EaInode>,
    values: Vec<Cow<'a, [u8]>>,
    /// For each inode, a number that inodes with equal values share.
    distinct: Vec<usize>,
}

/// Whether an inode holds a value.
pub fn is_one(source: &Source<'_>, raw: &RawInode<'_>) -> bool {
    source.features().incompat.contains(Incompat::EA_INODE)
        && raw.decode().fields.flags().contains(InodeFlags::EA_INODE)
}

/// Reads an inode that holds a value, but not the value.
pub fn read(
    source: &Source<'_>,
    budget: &Budget,
    raw: &RawInode<'_>,
    claims: &mut Vec<Claim>,
) -> Result<EaInode> {
    let inode = raw.decode();
    let at = || Location::of(Structure::EaInode).inode(raw.number);
    let alien = inode.fields.flags()
        - InodeFlags::USER
        - InodeFlags::EXTENTS
        - InodeFlags::HUGE_FILE
        - InodeFlags::EA_INODE;
    if inode.fields.format() != S_IFREG || inode.fields.i_links_count.get() != 1 || !alien.is_empty() {
        return Err(at().wrong("is not a plain file with one link"));
    }
    if raw.number < source.geometry.first_inode {
        return Err(at().wrong("is reserved"));
    }
    let mut xattrs = Vec::new();
    let inline_data = xattr::in_body(source, &inode, &mut xattrs)?;
    if inode.fields.file_acl() != 0 || !xattrs.is_empty() || inline_data.is_some() {
        return Err(at().wrong("has xattrs of its own"));
    }
    let map = map::read(source, budget, &inode)?;
    let size = usize::try_from(inode.fields.size()).ok().filter(|size| *size <= disk::VALUE_MAX);
    let Some(size) = size else {
        return Err(at().value("i_size", inode.fields.size(), format!("at most {}", disk::VALUE_MAX)));
    };
    let blocks = source.geometry.blocks_of_bytes(size as u64);
    if map.dense_blocks() != Some(blocks) {
        return Err(at().wrong(format!("does not have exactly the {blocks} blocks that its size asks for")));
    }
    claims.extend(Claim::of_map(raw.number, &map));
    Ok(EaInode {
        number: raw.number,
        size,
        hash: inode.fields.i_atime.get(),
        references: u64::from(inode.fields.i_ctime.get()) << 32 | u64::from(inode.fields.l_i_version.get()),
        owner: inode.fields.i_mtime.get(),
        generation: inode.fields.i_generation.get(),
        runs: map.runs.into_vec(),
    })
}

/// An entry that refers to a value: who has it, and what it says.
struct Reference<'r, 'a> {
    from: InodeNr,
    generation: u32,
    xattr: &'r StoredXattr<'a>,
    value: ValueInode,
}

/// Reads all values, checks them and the entries that refer to them, and tells each inode what its
/// values are charged to it. No two inodes may claim a block.
pub fn values<'a>(
    source: &Source<'a>,
    ea_inodes: Vec<EaInode>,
    inodes: &mut Inodes<'_>,
    blocks: &XattrBlocks<'_>,
    of_orphans: &[(InodeNr, ValueInode)],
) -> Result<Values<'a>> {
    if !source.features().incompat.contains(Incompat::EA_INODE) {
        return Ok(Values::default());
    }
    let mut values = Values { inodes: ea_inodes, ..Values::default() };
    let mut users = vec![0_u64; values.inodes.len()];
    // Lustre's form has no checksum, but names the one inode that the value belongs to.
    let mut by_lustre = vec![false; values.inodes.len()];
    for reference in references(inodes, blocks) {
        let (index, lustre) = values.check(&reference)?;
        users[index] += 1;
        by_lustre[index] |= lustre;
    }
    for (orphan, value) in of_orphans {
        users[values.index(*orphan, value.number)?] += 1;
    }
    for (index, inode) in values.inodes.iter().enumerate() {
        let expected = if by_lustre[index] { 1 } else { inode.references };
        if users[index] == 0 {
            let at = Location::of(Structure::EaInode).inode(inode.number);
            return Err(at.wrong("is in use, but no xattr refers to it"));
        }
        if users[index] != expected {
            let at = Location::of(Structure::EaInode).inode(inode.number);
            return Err(at.value(
                "the number of references",
                expected,
                format!("{}, the entries that refer to it", users[index]),
            ));
        }
    }
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
    let cluster = source.geometry.block_size as u64 * source.geometry.blocks_per_cluster;
    let mut charges = Vec::with_capacity(inodes.list.len());
    for inode in &inodes.list {
        let in_block = inode.xattr_block().map_or(&[][..], |block| blocks.entries(block));
        let referred = inodes.xattrs_of(inode).iter().chain(in_block).filter_map(StoredXattr::inode);
        let mut charge = QuotaUsage::default();
        for value in referred {
            // e2fsck charges nothing for a value in Lustre's form.
            if !by_lustre[values.index(inode.number, value.number)?] {
                charge.add(QuotaUsage { inodes: 1, bytes: u64::from(value.size).next_multiple_of(cluster) });
            }
        }
        charges.push(charge);
    }
    inodes.values = charges;
    Ok(values)
}

/// All entries of live inodes that refer to values, those of a block once.
fn references<'r, 'a>(
    inodes: &'r Inodes<'a>,
    blocks: &'r XattrBlocks<'a>,
) -> impl Iterator<Item = Reference<'r, 'a>> {
    let in_bodies = inodes.list.iter().flat_map(|inode| {
        inodes.xattrs_of(inode).iter().map(move |xattr| (inode.number, inode.generation, xattr))
    });
    let in_blocks = blocks.all().flat_map(|(owner, entries)| {
        let generation = inodes.index_of(owner).map_or(0, |index| inodes.list[index].generation);
        entries.iter().map(move |xattr| (owner, generation, xattr))
    });
    in_bodies.chain(in_blocks).filter_map(|(from, generation, xattr)| {
        Some(Reference { from, generation, xattr, value: xattr.inode()? })
    })
}

impl<'a> Values<'a> {
    /// The numbers of the inodes, in order.
    pub fn numbers(&self) -> impl Iterator<Item = InodeNr> + use<'_> {
        self.inodes.iter().map(|inode| inode.number)
    }

    /// The value of an xattr, wherever it lies.
    pub fn of<'v>(&'v self, xattr: &StoredXattr<'v>) -> &'v [u8] {
        let value = match xattr.value {
            StoredValue::Here(value) => return value,
            StoredValue::Inode(value) => value,
        };
        let index = self.inodes.binary_search_by_key(&value.number, |inode| inode.number);
        index.ok().and_then(|index| self.values.get(index)).map_or(&[], |value| value)
    }

    /// The distinct values, each with a number.
    pub fn distinct(&self) -> HashMap<&[u8], usize> {
        self.values.iter().map(|value| &value[..]).zip(self.distinct.iter().copied()).collect()
    }

    /// The number of an xattr's value among the `distinct` ones, if it is one of them.
    pub fn number_of(&self, xattr: &StoredXattr<'_>, distinct: &HashMap<&[u8], usize>) -> Option<usize> {
        let value = match xattr.value {
            StoredValue::Here(value) => return distinct.get(value).copied(),
            StoredValue::Inode(value) => value,
        };
        let index = self.inodes.binary_search_by_key(&value.number, |inode| inode.number).ok()?;
        self.distinct.get(index).copied()
    }

    fn index(&self, from: InodeNr, number: InodeNr) -> Result<usize> {
        self.inodes.binary_search_by_key(&number, |inode| inode.number).map_err(|_| {
            Location::of(Structure::Xattr)
                .inode(from)
                .wrong(format!("have a value in inode {number}, which holds no value"))
        })
    }

    /// Checks an entry against the inode of its value. Returns the index of the inode, and whether
    /// it has Lustre's form: no checksum, but the owner and its generation.
    fn check(&self, reference: &Reference<'_, '_>) -> Result<(usize, bool)> {
        let Reference { from, generation, xattr, value } = reference;
        let at = || Location::of(Structure::Xattr).inode(*from);
        let index = self.index(*from, value.number)?;
        let inode = &self.inodes[index];
        if value.size as usize != inode.size {
            return Err(at().value(
                "e_value_size",
                value.size,
                format!("{}, what inode {} holds", inode.size, value.number),
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

impl EaInode {
    /// The value; its checksum is right if it is `checked`.
    fn value<'a>(&self, source: &Source<'a>, checked: bool) -> Result<Cow<'a, [u8]>> {
        let mut parts = Vec::new();
        for run in &self.runs {
            let std::ops::Range { start: mut block, end } = run.blocks();
            while block < end {
                let part = source.together(BlockNr(block), end - block);
                let part = part.expect("the file's map was read, and names blocks of the image");
                block += (part.len() / source.geometry.block_size) as u64;
                parts.push(part);
            }
        }
        let value = match parts[..] {
            [part] => Cow::Borrowed(&part[..self.size.min(part.len())]),
            _ => {
                let mut bytes = parts.concat();
                bytes.truncate(self.size);
                Cow::Owned(bytes)
            }
        };
        let expected = source.checksums.xattr_value(&value);
        if checked && expected != self.hash {
            let at = Location::of(Structure::EaInode).inode(self.number);
            return Err(at.corrupt(Problem::Checksum { found: self.hash, expected }));
        }
        Ok(value)
    }
}
