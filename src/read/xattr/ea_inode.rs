//! Reads EA inodes, which contain the values of large xattrs. They have no name, but xattr entries refer to
//! them.

use std::borrow::Cow;
use std::ops::Range;

use super::entries::in_body;
use crate::error::{Location, Problem, Result, Structure};
use crate::map::{self, Budget, RawInode};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{InodeFlags, S_IFREG};
use crate::ondisk::xattr as disk;
use crate::read::claims::Claim;
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr};

/// An EA inode of the input, without the value.
#[derive(Debug)]
pub(crate) struct EaInode {
    /// The inode number.
    pub number: InodeNr,
    /// The length of the value in bytes.
    pub size: usize,
    /// The checksum of the value.
    pub hash: u32,
    /// The number of entries that refer to this EA inode.
    pub references: u64,
    /// `i_mtime`; in Lustre's format, the number of the owning inode.
    pub owner: u32,
    /// `i_generation`; in Lustre's format, the generation of the owning inode.
    pub generation: u32,
    /// Whether `i_blocks` is wrong.
    pub wrong_blocks: bool,
    runs: Vec<Run>,
}

/// Returns whether an inode is an EA inode.
pub(crate) fn is_ea_inode(source: &Source<'_>, raw: &RawInode<'_>) -> bool {
    source.features().has(Incompat::EA_INODE) && raw.decode().fields.flags().contains(InodeFlags::EA_INODE)
}

/// Reads an EA inode, without the value.
pub(crate) fn read(
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
    let inline_data = in_body(source, &inode, &mut xattrs)?;
    if inode.fields.file_acl() != 0 || !xattrs.is_empty() || inline_data.is_some() {
        return Err(at().wrong("has xattrs"));
    }
    let map = map::read(source, budget, &inode)?;
    let size = usize::try_from(inode.fields.size()).ok().filter(|size| *size <= disk::VALUE_MAX);
    let Some(size) = size else {
        return Err(at().value("i_size", inode.fields.size(), format!("at most {}", disk::VALUE_MAX)));
    };
    let blocks = source.geometry.blocks_of_bytes(size as u64);
    if map.dense_blocks() != Some(blocks) {
        return Err(at().wrong(format!("does not have exactly the {blocks} blocks that its size needs")));
    }
    claims.extend(Claim::of_map(raw.number, &map));
    Ok(EaInode {
        number: raw.number,
        size,
        hash: inode.fields.i_atime.get(),
        references: u64::from(inode.fields.i_ctime.get()) << 32 | u64::from(inode.fields.l_i_version.get()),
        owner: inode.fields.i_mtime.get(),
        generation: inode.fields.i_generation.get(),
        wrong_blocks: inode.has_wrong_blocks(source, &map),
        runs: map.runs.into_vec(),
    })
}

impl EaInode {
    /// Returns the value. Verifies its checksum if `checked` is set.
    pub(crate) fn value<'a>(&self, source: &Source<'a>, checked: bool) -> Result<Cow<'a, [u8]>> {
        let mut parts = Vec::new();
        for run in &self.runs {
            let Range { start: mut block, end } = run.blocks();
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
