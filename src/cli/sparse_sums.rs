//! Checks the checksums in Android sparse images: in the header for all data, and in chunks for all data
//! before the chunk.
//!
//! The specification counts "don't care" blocks as zeros, but libsparse skips them. Both checksums are
//! accepted.

use crc::{CRC_32_ISO_HDLC, Crc};

use super::refusal::Refusal;
use super::sparse::{CRC32, Chunk, FILL, Header, RAW};

/// The CRC-32 of Ethernet and zip.
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// The CRC polynomial, bit-reversed: the highest bit of a number is the coefficient of 1.
const POLYNOMIAL: u32 = 0xEDB8_8320;
const ONE: u32 = 1 << 31;
/// x^8: a zero byte multiplies the CRC register by this factor.
const ZERO_BYTE: u32 = ONE >> 8;

/// Checks all checksums of a sparse image.
///
/// # Errors
///
/// A [`Refusal`] if a checksum is wrong, or if the image can't be read.
pub fn check(bytes: &[u8]) -> Result<(), Refusal> {
    let header = Header::of(bytes)?;
    let is_sum = |chunk: Result<Chunk<'_>, Refusal>| chunk.is_ok_and(|chunk| chunk.kind == CRC32);
    if header.sum == 0 && !header.chunks(bytes).any(is_sum) {
        return Ok(());
    }
    let mut sums = Sums { with_zeros: u32::MAX, without: u32::MAX };
    for chunk in header.chunks(bytes) {
        let Chunk { kind, blocks, data, .. } = chunk?;
        let length = blocks * header.block;
        match (kind, data) {
            (RAW, data) => sums.add(data),
            (FILL, [0, 0, 0, 0]) => sums.add_zeros(length),
            (FILL, data) if data.len() == 4 => sums.add_pattern(data, length),
            (CRC32, data) if data.first_chunk().is_some_and(|sum| sums.have(u32::from_le_bytes(*sum))) => {}
            (CRC32, _) => return Err(wrong_sum()),
            _ => sums.with_zeros = after_zeros(sums.with_zeros, length),
        }
    }
    if header.sum != 0 && !sums.have(header.sum) { Err(wrong_sum()) } else { Ok(()) }
}

fn wrong_sum() -> Refusal {
    let words = "the Android sparse image has a wrong checksum; recreate it";
    Refusal::Damaged(words.to_owned())
}

/// The two CRC registers, with and without "don't care" blocks, before the final inversion.
struct Sums {
    with_zeros: u32,
    without: u32,
}

impl Sums {
    fn each(&mut self, step: impl Fn(u32) -> u32) {
        for register in [&mut self.with_zeros, &mut self.without] {
            *register = step(*register);
        }
    }

    fn add(&mut self, data: &[u8]) {
        self.each(|register| after(register, data));
    }

    fn add_zeros(&mut self, length: u64) {
        self.each(|register| after_zeros(register, length));
    }

    fn add_pattern(&mut self, pattern: &[u8], length: u64) {
        let part = pattern.repeat(1 << 14);
        for start in (0..length).step_by(part.len()) {
            let left = usize::try_from(length - start).map_or(part.len(), |left| left.min(part.len()));
            self.add(&part[..left]);
        }
    }

    fn have(&self, sum: u32) -> bool {
        [self.with_zeros, self.without].contains(&!sum)
    }
}

/// Updates a CRC register with `data`, and returns it.
fn after(register: u32, data: &[u8]) -> u32 {
    let mut digest = CRC.digest_with_initial(register.reverse_bits());
    digest.update(data);
    !digest.finalize()
}

/// Updates a CRC register with `length` zero bytes, and returns it. Needs only logarithmic time, since a
/// small chunk can represent terabytes.
fn after_zeros(register: u32, length: u64) -> u32 {
    let (mut result, mut power, mut left) = (register, ZERO_BYTE, length);
    while left > 0 {
        if left & 1 == 1 {
            result = product(result, power);
        }
        power = product(power, power);
        left >>= 1;
    }
    result
}

/// Multiplies two polynomials modulo the CRC polynomial.
fn product(one: u32, mut other: u32) -> u32 {
    let mut result = 0;
    for bit in (0..32).rev() {
        if one >> bit & 1 == 1 {
            result ^= other;
        }
        other = if other & 1 == 1 { other >> 1 ^ POLYNOMIAL } else { other >> 1 };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_at_once() {
        let start = after(u32::MAX, b"123456789");
        assert_eq!(!start, 0xCBF4_3926);
        for length in [0, 1, 2, 7, 4096, 100_003] {
            let zeros = vec![0; length];
            assert_eq!(after_zeros(start, length as u64), after(start, &zeros), "{length}");
        }
        // The register returns to the same state after 2^32 - 1 zero bytes.
        assert_eq!(after_zeros(start, u64::from(u32::MAX)), start);
    }

    /// Returns a sparse image with one stored block, one "don't care" block and one pattern block.
    fn image(of_all: u32, of_chunk: Option<u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let word = |bytes: &mut Vec<u8>, word: u32| bytes.extend(word.to_le_bytes());
        for number in [0xED26_FF3A, 1, 28 | 12 << 16, 1024, 3, 3 + u32::from(of_chunk.is_some()), of_all] {
            word(&mut bytes, number);
        }
        let mut chunk = |kind: u16, blocks: u32, data: &[u8]| {
            word(&mut bytes, kind.into());
            word(&mut bytes, blocks);
            word(&mut bytes, 12 + u32::try_from(data.len()).unwrap());
            bytes.extend(data);
        };
        chunk(RAW, 1, &[7; 1024]);
        chunk(0xCAC3, 1, &[]);
        chunk(FILL, 1, b"abcd");
        if let Some(sum) = of_chunk {
            chunk(CRC32, 0, &sum.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn both_ways_to_count_are_right_and_no_other() {
        let with_zeros = [vec![7; 1024], vec![0; 1024], b"abcd".repeat(256)].concat();
        let without = [vec![7; 1024], b"abcd".repeat(256)].concat();
        for sum in [with_zeros, without].map(|bytes| CRC.checksum(&bytes)) {
            assert!(crate::cli::sparse::expand(&image(sum, Some(sum))).is_ok());
            check(&image(sum, Some(sum))).unwrap();
            check(&image(0, Some(sum))).unwrap();
            check(&image(sum, None)).unwrap();
            assert!(check(&image(sum ^ 1, None)).is_err());
            assert!(check(&image(sum, Some(sum ^ 0x100))).is_err());
        }
        check(&image(0, None)).unwrap();
    }

    #[test]
    fn anything_may_be_checked() {
        let whole = image(5, Some(6));
        for length in 0..whole.len() {
            let _ = check(&whole[..length]);
        }
        let _ = check(&[0xFF; 200]);
    }
}
