//! Computes the hashes of names in an indexed directory.

/// The hash function of a directory index (`hash_version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashVersion {
    /// The original hash function.
    Legacy,
    /// A reduced MD4, which is the default.
    HalfMd4,
    /// The Tiny Encryption Algorithm.
    Tea,
}

impl HashVersion {
    /// Returns the version for a byte on disk.
    pub fn from_disk(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Legacy),
            1 => Some(Self::HalfMd4),
            2 => Some(Self::Tea),
            _ => None,
        }
    }

    /// Returns the byte on disk.
    pub fn to_disk(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

/// A hash function: the version, the seed, and whether name bytes are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirHash {
    version: HashVersion,
    seed: [u32; 4],
    signed: bool,
}

/// The hash that the kernel reserves for the end of a directory.
const END_OF_FILE: u32 = 0xFFFF_FFFE;
const MD4_IV: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];

impl DirHash {
    /// Creates a hash function. `seed` is `s_hash_seed` of the superblock.
    pub fn new(version: HashVersion, seed: [u8; 16], signed: bool) -> Self {
        let mut words = [0_u32; 4];
        for (word, bytes) in words.iter_mut().zip(seed.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        if words == [0; 4] {
            words = MD4_IV;
        }
        Self { version, seed: words, signed }
    }

    /// Returns the hash and the minor hash of a name, as the kernel computes them.
    pub fn hash(&self, name: &[u8]) -> (u32, u32) {
        let (hash, minor) = match self.version {
            HashVersion::Legacy => (self.legacy(name), 0),
            HashVersion::HalfMd4 => {
                let mut state = self.seed;
                for (chunk, remaining) in chunks(name, 32) {
                    half_md4(&mut state, &self.words(chunk, remaining));
                }
                (state[1], state[2])
            }
            HashVersion::Tea => {
                let mut state = self.seed;
                for (chunk, remaining) in chunks(name, 16) {
                    tea(&mut state, &self.words(chunk, remaining));
                }
                (state[0], state[1])
            }
        };
        let hash = hash & !1;
        // Only the kernel avoids the reserved hash. e2fsck accepts either value in the last leaf.
        (if hash == END_OF_FILE { END_OF_FILE - 2 } else { hash }, minor)
    }

    fn widen(&self, byte: u8) -> u32 {
        if self.signed { i32::from(i8::from_le_bytes([byte])).cast_unsigned() } else { u32::from(byte) }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut newer, mut older) = (0x12A3_FE2D_u32, 0x37AB_E8F9_u32);
        for &byte in name {
            let mut next = older.wrapping_add(newer ^ self.widen(byte).wrapping_mul(7_152_373));
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7FFF_FFFF);
            }
            (newer, older) = (next, newer);
        }
        newer << 1
    }

    /// Returns the words of a chunk. After the end of the name, they are padded with the remaining length.
    fn words<const N: usize>(&self, chunk: &[u8], remaining: usize) -> [u32; N] {
        let length = u32::try_from(remaining).expect("fits: names are short") & 0xFF;
        let padding = length.wrapping_mul(0x0101_0101);
        let mut words = [padding; N];
        for (word, bytes) in words.iter_mut().zip(chunk.chunks(4)) {
            *word = bytes.iter().fold(padding, |word, &byte| self.widen(byte).wrapping_add(word << 8));
        }
        words
    }
}

/// Returns the chunks of a name, each with the remaining length at its start.
fn chunks(name: &[u8], size: usize) -> impl Iterator<Item = (&[u8], usize)> {
    name.chunks(size).enumerate().map(move |(index, chunk)| (chunk, name.len() - index * size))
}

fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    let rounds: [(Mix, [usize; 8], [u32; 4], u32); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19], 0),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13], 0x5A82_7999),
        (|x, y, z| x ^ y ^ z, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15], 0x6ED9_EBA1),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, order, shifts, constant) in rounds {
        for (step, &index) in order.iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[index]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

fn tea(state: &mut [u32; 4], input: &[u32; 4]) {
    let [mut first, mut second, ..] = *state;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9E37_79B9);
        let mix = (second << 4).wrapping_add(input[0])
            ^ second.wrapping_add(sum)
            ^ (second >> 5).wrapping_add(input[1]);
        first = first.wrapping_add(mix);
        let mix = (first << 4).wrapping_add(input[2])
            ^ first.wrapping_add(sum)
            ^ (first >> 5).wrapping_add(input[3]);
        second = second.wrapping_add(mix);
    }
    state[0] = state[0].wrapping_add(first);
    state[1] = state[1].wrapping_add(second);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &[u8] = "a_longer_name_which_exceeds_thirty_two_bytes_é".as_bytes();
    const SEED: [u8; 16] =
        [0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55];

    /// The values are from debugfs `dx_hash` (e2fsprogs 1.47.0).
    #[test]
    fn hashes_agree_with_debugfs() {
        type Case<'n> = (HashVersion, [u8; 16], bool, &'n [u8], (u32, u32));
        let zero = [0; 16];
        let cases: [Case<'_>; 6] = [
            (HashVersion::HalfMd4, zero, true, b"na_xyz_1", (0xCAAC_CB24, 0x46B6_15B1)),
            (HashVersion::HalfMd4, SEED, true, LONG, (0x3B34_7838, 0xD108_B2A9)),
            (HashVersion::HalfMd4, SEED, false, LONG, (0x962F_903C, 0x1096_EFF1)),
            (HashVersion::Tea, zero, true, b"a_longer_name", (0xAA8F_98E0, 0xFF55_8C4E)),
            (HashVersion::Legacy, zero, true, b"a_longer_name", (0xC45D_36F6, 0)),
            (HashVersion::Legacy, zero, false, b"a_longer_name", (0xC45D_36F6, 0)),
        ];
        for (version, seed, signed, name, expected) in cases {
            assert_eq!(DirHash::new(version, seed, signed).hash(name), expected, "{version:?} {signed}");
        }
    }

    /// The specification has a table with values from debugfs (see `tests/integration/specification.rs`).
    #[test]
    fn hashes_agree_with_the_specification() {
        let text = include_str!("../../docs/canonical-form.md");
        let mut seen = Vec::new();
        for line in text.lines() {
            let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let ["", version, name, hash, minor, ""] = cells[..] else { continue };
            let version = match version {
                "legacy" => HashVersion::Legacy,
                "half_md4" => HashVersion::HalfMd4,
                "tea" => HashVersion::Tea,
                _ => continue,
            };
            let number = |cell: &str| u32::from_str_radix(cell.trim_start_matches("0x"), 16).unwrap();
            let found = DirHash::new(version, crate::form::HASH_SEED, true).hash(name.as_bytes());
            assert_eq!(found, (number(hash), number(minor)), "{version:?} {name}");
            seen.push(version.to_disk());
        }
        assert_eq!(seen, [1, 1, 2, 2, 0, 0]);
    }
}
