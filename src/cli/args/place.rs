//! Defines the options for the locations and sizes of filesystems in an image, and for the bytes outside
//! them.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use ext4_canon::{Options, Selection, SizePolicy};

use super::values::{bytes, sector_size, size};

/// The options that select filesystems in an image.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// Only this partition of a disk, by its number, its name in a GPT, or its PARTUUID; can be given several
    /// times [default: all with an ext filesystem]
    #[arg(long = "partition", value_name = "N|NAME|PARTUUID", conflicts_with = "offset")]
    partitions: Vec<String>,

    /// Only the filesystem that begins at this byte; partition tables are ignored
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    offset: Option<u64>,

    /// Sector size of a disk, in bytes [default: detected from the position of a GPT; 512 with an MBR]
    #[arg(long, value_name = "512|4096", conflicts_with = "offset", value_parser = sector_size)]
    sector_size: Option<u64>,
}

/// The option for the size of a filesystem that is only read.
#[derive(Args, Debug)]
pub struct LengthArgs {
    /// Size of the filesystem at --offset [default: up to the end of the image]
    #[arg(long, value_name = "BYTES", requires = "offset", value_parser = bytes)]
    size: Option<u64>,
}

/// The option for the size of a filesystem in the input or in the output.
#[derive(Args, Debug)]
pub struct SizeArgs {
    /// Resize to: min (smallest that fits), BYTES, or +BYTES to grow. Units are powers of 1024 (K or KiB, M,
    /// G, T) or of 1000 (KB, MB, GB, TB) [default: keep the size]. With --offset, nothing is resized: BYTES is
    /// the size of the filesystem there [default: up to the end of the image]
    #[arg(long, value_name = "min|BYTES|+BYTES", value_parser = size)]
    size: Option<SizePolicy>,
}

/// The options for the bytes of a disk outside its filesystems.
#[derive(Args, Debug)]
pub struct AroundArgs {
    /// Treatment of the GUIDs of a GPT and its partitions, or of the disk signature of an MBR; boot loaders
    /// and fstab can refer to them
    #[arg(long, value_enum, default_value_t = Table::Keep, conflicts_with = "offset")]
    table: Table,

    /// Fill all bytes of a disk outside its partitions with zeros; boot code can be stored there
    #[arg(long, conflicts_with = "offset")]
    zero_gaps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Keep the GUIDs or the signature
    Keep,
    /// Derive the GUIDs or the signature from the content of the partitions
    Canonical,
}

impl PlaceArgs {
    /// Converts the options to the library's selection.
    pub fn selection(self, length: LengthArgs) -> Selection {
        let mut selection = Selection::all();
        selection.partitions = self.partitions;
        selection.place = self.offset.map(|offset| (offset, length.size));
        selection.sector_size = self.sector_size;
        selection
    }

    /// Converts the options to the library's selection, and returns the size of the output.
    ///
    /// # Errors
    ///
    /// A message if `--size` would resize a filesystem inside a larger image.
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
    /// Sets these options in the library's options, for a command that reads only the selected partitions.
    ///
    /// # Errors
    ///
    /// A message if partitions are selected and these options would have no effect.
    pub fn set_unless_selected(&self, options: &mut Options, selection: &Selection) -> Result<()> {
        self.set(options);
        if !selection.partitions.is_empty() && (options.canonical_table || options.zero_gaps) {
            bail!(
                "with --partition, all other bytes of a disk are ignored: leave --table and --zero-gaps out"
            );
        }
        Ok(())
    }

    /// Sets these options in the library's options.
    pub fn set(&self, options: &mut Options) {
        options.canonical_table = self.table == Table::Canonical;
        options.zero_gaps = self.zero_gaps;
    }
}
