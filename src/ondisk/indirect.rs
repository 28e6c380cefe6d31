//! Defines the size of block maps: twelve direct blocks, then an indirect, a double and a triple indirect
//! block.

/// The number of direct blocks.
pub const DIRECT: u64 = 12;

/// Returns the maximum number of blocks of a block map. `pointers` is the number of block numbers in an
/// indirect block.
pub fn max_blocks(pointers: u64) -> u64 {
    DIRECT + pointers + pointers.pow(2) + pointers.pow(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value is 12 + 256 + 65,536 + 16,777,216 blocks of 1 KiB.
    #[test]
    fn small_blocks_reach_sixteen_gib() {
        assert_eq!(max_blocks(256), 16_843_020);
    }
}
