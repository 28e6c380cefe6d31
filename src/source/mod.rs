//! The input as blocks: accepted or refused as a whole, never changed.

mod descriptors;
mod input;
mod support;

pub use input::Input;

use zerocopy::FromBytes;

use crate::error::{Error, Location, Problem, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::features::Features;
use crate::ondisk::group_descriptor::{BLOCK_UNINIT, GroupDescriptor, INODE_UNINIT};
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::units::{BlockNr, GroupNr, InodeNr};

/// An image whose superblock and group descriptors have been checked.
#[derive(Debug)]
pub struct Source<'a> {
    input: Input<'a>,
    /// The primary superblock.
    pub superblock: Superblock,
    /// Its sizes and counts.
    pub geometry: Geometry,
    /// Its checksums.
    pub checksums: Checksums,
    /// The group descriptors, in the order of the groups.
    pub descriptors: Vec<GroupDescriptor>,
}

impl<'a> Source<'a> {
    /// Reads and checks superblock and group descriptors.
    ///
    /// # Errors
    ///
    /// `Corrupt` for what contradicts the format, `Unsupported` for features that are not handled,
    /// `Unclean` for an image that must be recovered or checked first.
    pub fn open(input: Input<'a>) -> Result<Self> {
        let superblock = read_superblock(input.bytes())?;
        support::check_superblock(&superblock)?;
        let geometry = Geometry::new(&superblock)?;
        let blocks = (input.bytes().len() / geometry.block_size) as u64;
        if geometry.blocks_count > blocks {
            return Err(Location::of(Structure::Superblock).corrupt(Problem::Value {
                what: "s_blocks_count",
                found: geometry.blocks_count,
                expected: format!("at most {blocks}, the blocks of the file, which was cut short"),
            }));
        }
        let mut source = Self {
            checksums: Checksums::of(&superblock),
            input,
            superblock,
            geometry,
            descriptors: Vec::new(),
        };
        source.descriptors = descriptors::read(&source)?;
        Ok(source)
    }

    /// The features, as the superblock has them.
    pub fn features(&self) -> Features {
        self.geometry.features
    }

    /// The input behind the blocks.
    pub fn input(&self) -> &Input<'a> {
        &self.input
    }

    /// Whether a range of blocks lies within the filesystem, and not at block 0, which no file can have.
    pub fn has_blocks(&self, start: BlockNr, count: u64) -> bool {
        start.0 > self.geometry.first_data_block
            && start.0.checked_add(count).is_some_and(|end| end <= self.geometry.blocks_count)
    }

    /// The bytes of a block, or `None` if it lies outside the filesystem.
    pub fn block(&self, block: BlockNr) -> Option<&'a [u8]> {
        self.blocks(block, 1)
    }

    /// The bytes of consecutive blocks, or `None` if they don't lie within the filesystem.
    pub fn blocks(&self, start: BlockNr, count: u64) -> Option<&'a [u8]> {
        let end = start.0.checked_add(count).filter(|end| *end <= self.geometry.blocks_count)?;
        let size = self.geometry.block_size as u64;
        // Both products are below the length of the file.
        self.input.range(start.0 * size, end * size)
    }

    /// Whether blocks are known to be zero without reading them.
    pub fn is_hole(&self, start: BlockNr, count: u64) -> bool {
        let size = self.geometry.block_size as u64;
        self.input.is_hole(start.0 * size..(start.0 + count) * size)
    }

    /// The inodes of a group that can be in use: none where the group's table was never touched,
    /// and not the part at its end that the descriptor says was never used.
    pub fn inodes_in_use(&self, group: GroupNr) -> u32 {
        let descriptor = &self.descriptors[group.0 as usize];
        if !self.checksums.covers_descriptors() {
            return self.geometry.inodes_per_group;
        }
        if descriptor.bg_flags.get() & INODE_UNINIT != 0 {
            return 0;
        }
        self.geometry.inodes_per_group - descriptor.itable_unused()
    }

    /// Whether a group's block bitmap is to be looked at.
    pub fn has_block_bitmap(&self, group: GroupNr) -> bool {
        !self.checksums.covers_descriptors()
            || self.descriptors[group.0 as usize].bg_flags.get() & BLOCK_UNINIT == 0
    }

    /// The bytes of an inode, or `None` if there is no such inode in use.
    pub fn inode(&self, inode: InodeNr) -> Option<&'a [u8]> {
        if !self.geometry.has_inode(inode) {
            return None;
        }
        let (group, index) = self.geometry.place_of_inode(inode);
        if index >= self.inodes_in_use(group) {
            return None;
        }
        self.inode_table(group)?
            .get(index as usize * self.geometry.inode_size..)?
            .get(..self.geometry.inode_size)
    }

    /// The bytes of a group's inode table.
    pub fn inode_table(&self, group: GroupNr) -> Option<&'a [u8]> {
        let start = self.descriptors.get(group.0 as usize)?.inode_table();
        self.blocks(start, self.geometry.inode_table_blocks())
    }
}

fn read_superblock(bytes: &[u8]) -> Result<Superblock> {
    let at = || Location::of(Structure::Superblock);
    let raw = bytes.get(sb::OFFSET..).and_then(|rest| rest.first_chunk::<{ sb::SIZE }>());
    let Some(raw) = raw else {
        return Err(Error::Unsupported {
            at: Box::new(Location::of(Structure::Image)),
            what: format!(
                "a file of {} bytes is too short for an ext2, ext3 or ext4 filesystem",
                bytes.len()
            ),
            remedy: "give an image that begins with the filesystem",
        });
    };
    let superblock = Superblock::read_from_bytes(raw).map_err(|_| at().wrong("is cut short"))?;
    if superblock.s_magic.get() != sb::MAGIC {
        return Err(at().unsupported(
            format!(
                "not an ext2, ext3 or ext4 filesystem: s_magic is {:#06x}, expected {:#06x}",
                superblock.s_magic,
                sb::MAGIC
            ),
            "give an image that begins with the filesystem (not a disk with partitions)",
        ));
    }
    let checksums = Checksums::of(&superblock);
    if let Some(expected) = checksums.superblock(raw) {
        let found = superblock.s_checksum.get();
        if found != expected {
            return Err(at().corrupt(Problem::Checksum { found, expected }));
        }
    }
    Ok(superblock)
}
