//! Reads and sets bits in bitmaps of blocks and inodes. Bit `n` is bit `n % 8` of byte `n / 8`.

use std::ops::Range;

/// Returns whether a bit is set. Bits past the end of the bitmap are not set.
pub fn get(bitmap: &[u8], bit: usize) -> bool {
    bitmap.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

/// Sets a range of bits, which must be within the bitmap.
pub fn set(bitmap: &mut [u8], bits: Range<usize>) {
    let Range { start, end } = bits;
    if start >= end {
        return;
    }
    let (first, last) = (start / 8, (end - 1) / 8);
    let head = 0xFF_u8 << (start % 8);
    let tail = 0xFF_u8 >> (7 - (end - 1) % 8);
    if first == last {
        bitmap[first] |= head & tail;
        return;
    }
    bitmap[first] |= head;
    bitmap[first + 1..last].fill(0xFF);
    bitmap[last] |= tail;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_set_exactly_their_bits() {
        for start in 0..40 {
            for end in start..=40 {
                let mut bitmap = [0_u8; 5];
                set(&mut bitmap, start..end);
                for bit in 0..40 {
                    assert_eq!(get(&bitmap, bit), (start..end).contains(&bit), "{start}..{end} at {bit}");
                }
            }
        }
        assert!(!get(&[0xFF], 8));
    }
}
