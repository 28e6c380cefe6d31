//! Opens an image: checks its superblock and group descriptors before reading any other structure.

use zerocopy::FromBytes;

use super::image::Source;
use super::input::Input;
use super::not_ext::{self, foreign};
use super::overlay::Overlay;
use super::{descriptors, support};
use crate::error::{Error, Location, Problem, Result, Structure};
use crate::geometry::Geometry;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::remedy::Remedy;
use crate::text;
use crate::units::BlockNr;

impl<'a> Source<'a> {
    /// Reads and checks the superblock and the group descriptors. Blocks of the overlay replace blocks of the
    /// input.
    ///
    /// # Errors
    ///
    /// `Corrupt` for violations of the format, `Unsupported` for unsupported features. The state of the
    /// filesystem is not checked.
    pub fn open(input: Input<'a>, overlay: &'a Overlay<'a>) -> Result<Self> {
        let mut superblock = parse_superblock(&input, input.bytes())?;
        support::check_superblock(&superblock)?;
        let mut geometry = Geometry::new(&superblock)?;
        let in_block = u64::from(geometry.block_size == sb::OFFSET);
        if let Some(block) = overlay.get(BlockNr(in_block)) {
            // The journal can contain a newer superblock, but the block size must be the same.
            let mut head = vec![0; if in_block == 1 { sb::OFFSET } else { 0 }];
            head.extend_from_slice(block);
            let block_size = geometry.block_size;
            superblock = parse_superblock(&input, &head)?;
            support::check_superblock(&superblock)?;
            geometry = Geometry::new(&superblock)?;
            if geometry.block_size != block_size {
                return Err(
                    Location::of(Structure::Superblock).wrong("has a different block size in the journal")
                );
            }
        }
        let length = input.bytes().len() as u64;
        let needed = geometry.blocks_count * geometry.block_bytes();
        if needed > length {
            let [needed, length] = [needed, length].map(text::size);
            let problem =
                format!("truncated: the filesystem needs {needed}, but the file or partition has {length}");
            let error = Location::of(Structure::Image).wrong(problem);
            return Err(error.with_remedy("copy all of it again"));
        }
        let mut source = Self {
            checksums: Checksums::of(&superblock),
            input,
            overlay,
            blocks_per_replayed: 1,
            superblock,
            geometry,
            descriptors: Vec::new(),
        };
        source.descriptors = descriptors::read(&source)?;
        Ok(source)
    }
}

/// Reads the primary superblock from the first bytes of an image, or from the replayed block that replaces
/// them.
fn parse_superblock(input: &Input<'_>, bytes: &[u8]) -> Result<Superblock> {
    let at = || Location::of(Structure::Superblock);
    let raw = bytes.get(sb::OFFSET..).and_then(|rest| rest.first_chunk::<{ sb::SIZE }>());
    let Some(raw) = raw else {
        return Err(foreign(bytes).unwrap_or_else(|| Error::Unsupported {
            at: Box::new(Location::of(Structure::Image)),
            what: format!(
                "a file of {} bytes is too short for an ext2, ext3 or ext4 filesystem",
                bytes.len()
            ),
            remedy: "use an image that begins with the filesystem".into(),
        }));
    };
    let superblock = Superblock::read_from_bytes(raw).map_err(|_| at().wrong("is cut short"))?;
    let magic = superblock.s_magic.get();
    if magic != sb::MAGIC {
        if let Some(known) = foreign(bytes).or_else(|| not_ext::overwritten(input)) {
            return Err(known);
        }
        return Err(at().unsupported(
            format!(
                "not an ext2, ext3 or ext4 filesystem: s_magic is {magic:#06x}, expected {:#06x}",
                sb::MAGIC
            ),
            Remedy::GiveOffset,
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
