//! Arguments that say where filesystems lie in an image, how large they become, and what happens around them.

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use ext4_canon::disk::{Around, Selection};
use ext4_canon::policy::SizePolicy;

/// Where filesystems lie in an image.
#[derive(Args, Debug)]
pub struct Place {
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
pub struct Length {
    /// How many bytes belong to the filesystem at --offset [default: all up to the end]
    #[arg(long, value_name = "BYTES", requires = "offset", value_parser = bytes)]
    size: Option<u64>,
}

/// How many bytes belong to a filesystem, or are to.
#[derive(Args, Debug)]
pub struct Size {
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

/// In which format an image is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The bytes of the image
    Raw,
    /// An Android sparse image, without the free blocks of filesystems
    Sparse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Gpt {
    /// They stay
    Keep,
    /// They are derived from the content of the partitions
    Canonical,
}

impl Place {
    /// As the library takes it.
    pub fn selection(self, length: Length) -> Selection {
        let place = self.offset.map(|offset| (offset, length.size));
        Selection { partitions: self.partitions, place, sector_size: self.sector_size }
    }

    /// The same, and the size of the output.
    ///
    /// # Errors
    ///
    /// In words, for a filesystem within an image, which keeps its size.
    pub fn with_size(self, size: &Size) -> Result<(Selection, SizePolicy)> {
        let keeps_its_size = match (self.offset, size.size) {
            (None, size) if self.partitions.is_empty() => {
                return Ok((self.selection(Length { size: None }), size.unwrap_or_default()));
            }
            (Some(_), Some(SizePolicy::Bytes(bytes))) => Length { size: Some(bytes) },
            (_, None) => Length { size: None },
            _ => bail!("a filesystem within an image keeps its size: leave --size out"),
        };
        Ok((self.selection(keeps_its_size), SizePolicy::Keep))
    }
}

impl AroundArgs {
    /// As the library takes it.
    pub fn around(&self) -> Around {
        Around { canonical_guids: self.gpt == Gpt::Canonical, zero_gaps: self.zero_gaps }
    }
}

fn sector_size(text: &str) -> Result<u64> {
    text.parse().ok().filter(|size| [512, 4096].contains(size)).context("not 512 or 4096")
}

/// A number of bytes, which may be in units of powers of 1024.
fn bytes(text: &str) -> Result<u64> {
    let (digits, power) = match text.char_indices().next_back().filter(|(_, unit)| !unit.is_ascii_digit()) {
        Some((end, unit)) => {
            let power = ['K', 'M', 'G', 'T'].iter().position(|known| *known == unit.to_ascii_uppercase());
            (&text[..end], power.map(|power| power + 1))
        }
        None => (text, Some(0)),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let bytes = number.and_then(|digits| digits.parse::<u64>().ok()).zip(power);
    bytes
        .and_then(|(number, power)| number.checked_mul(1 << (10 * power)))
        .context("expected a number of bytes, such as 1048576, 1024K or 1M")
}

fn size(text: &str) -> Result<SizePolicy> {
    match (text, text.strip_prefix('+')) {
        ("min", _) => Ok(SizePolicy::Smallest),
        (_, Some(more)) => bytes(more).map(SizePolicy::More),
        _ => bytes(text).map(SizePolicy::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_powers_of_1024() {
        assert_eq!(size("0").unwrap(), SizePolicy::Bytes(0));
        assert_eq!(size("1048577").unwrap(), SizePolicy::Bytes(1_048_577));
        assert_eq!(size("3k").unwrap(), SizePolicy::Bytes(3072));
        assert_eq!(size("+2T").unwrap(), SizePolicy::More(2 << 40));
        assert_eq!(size("min").unwrap(), SizePolicy::Smallest);
        for bad in [
            "",
            "+",
            "K",
            "-1",
            "++1",
            "1.5M",
            "1P",
            "1MB",
            "Min",
            "18446744073709551616",
            "16777216T",
            "1 M",
            "½",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
