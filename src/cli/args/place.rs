//! Arguments that say where filesystems lie in an image, how large they become, and what happens around them.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use ext4_canon::{Options, Selection, SizePolicy};

use super::values::{bytes, sector_size, size};

/// Where filesystems lie in an image.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// Of a disk with partitions, only this one: its number, its name in a GPT, or its PARTUUID; can be given
    /// several times [default: all with an ext filesystem]
    #[arg(long = "partition", value_name = "N|NAME|PARTUUID", conflicts_with = "offset")]
    partitions: Vec<String>,

    /// The filesystem that begins at this byte, whatever partition table there may be
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    offset: Option<u64>,

    /// The bytes in a sector of a disk [default: those that a GPT is found with; 512 with an MBR]
    #[arg(long, value_name = "512|4096", value_parser = sector_size)]
    sector_size: Option<u64>,
}

/// How many bytes belong to a filesystem that is only read.
#[derive(Args, Debug)]
pub struct LengthArgs {
    /// How many bytes belong to the filesystem at --offset [default: all up to the end]
    #[arg(long, value_name = "BYTES", requires = "offset", value_parser = bytes)]
    size: Option<u64>,
}

/// How many bytes belong to a filesystem, or are to.
#[derive(Args, Debug)]
pub struct SizeArgs {
    /// Make the image and its filesystem so large: min (the least that everything fits into), BYTES, or +BYTES more
    /// than the filesystem has; K, M, G and T behind a number stand for powers of 1024. With --offset: how many bytes
    /// belong to the filesystem there, which keeps its size [default: all up to the end]
    #[arg(long, value_name = "min|BYTES|+BYTES", value_parser = size)]
    size: Option<SizePolicy>,
}

/// What happens to bytes of a disk around its filesystems.
#[derive(Args, Debug)]
pub struct AroundArgs {
    /// What happens to the GUIDs of a GPT and of its partitions; boot loaders and fstab may refer to them
    #[arg(long, value_enum, default_value_t = Gpt::Keep)]
    gpt: Gpt,

    /// Fill with zeros what belongs to no partition of a disk; boot code may lie there
    #[arg(long)]
    zero_gaps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Gpt {
    /// They stay
    Keep,
    /// They are derived from the content of the partitions
    Canonical,
}

impl PlaceArgs {
    /// As the library takes it.
    pub fn selection(self, length: LengthArgs) -> Selection {
        let mut selection = Selection::all();
        selection.partitions = self.partitions;
        selection.place = self.offset.map(|offset| (offset, length.size));
        selection.sector_size = self.sector_size;
        selection
    }

    /// The same, and the size of the output.
    ///
    /// # Errors
    ///
    /// In words, for a filesystem within an image, which keeps its size.
    pub fn with_size(self, size: &SizeArgs) -> Result<(Selection, SizePolicy)> {
        let keeps_its_size = match (self.offset, size.size) {
            (None, size) if self.partitions.is_empty() => {
                return Ok((self.selection(LengthArgs { size: None }), size.unwrap_or_default()));
            }
            (Some(_), Some(SizePolicy::Bytes(bytes))) => LengthArgs { size: Some(bytes) },
            (_, None) => LengthArgs { size: None },
            _ => bail!("a filesystem within an image keeps its size: leave --size out"),
        };
        Ok((self.selection(keeps_its_size), SizePolicy::Keep))
    }
}

impl AroundArgs {
    /// Sets them in the library's options.
    pub fn set(&self, options: &mut Options) {
        options.derive_guids = self.gpt == Gpt::Canonical;
        options.zero_gaps = self.zero_gaps;
    }
}
