//! Parses the encryption context of an inode: an xattr with the encryption policy and a nonce.

/// The name index of the xattr that contains the encryption context.
pub const XATTR_INDEX: u8 = 9;
/// The name of the xattr that contains the encryption context.
pub const XATTR_NAME: &[u8] = b"c";
/// The minimum length of an encrypted name, in bytes.
pub const NAME_MIN: usize = 16;
/// Policy flag: IVs contain inode numbers, and keys are derived from the UUID.
pub const IV_INO_LBLK_64: u8 = 0x08;
/// Policy flag: IVs contain hashed inode numbers, and keys are derived from the UUID.
pub const IV_INO_LBLK_32: u8 = 0x10;

/// Policy flags: padding of names, and one key for all files.
const PAD_AND_DIRECT_KEY: u8 = 0x07;
const NONCE_SIZE: usize = 16;

/// An encryption context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// All fields except the nonce: version, modes, flags, and the identifier of the key.
    pub policy: &'a [u8],
}

impl<'a> Context<'a> {
    /// Parses the value of the xattr, which has 28 bytes in version 1 and 40 bytes in version 2.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let length = match value.first()? {
            1 => 28,
            2 => 40,
            _ => return None,
        };
        (value.len() == length).then(|| Self { policy: &value[..length - NONCE_SIZE] })
    }

    /// Returns the flags of the policy.
    pub fn flags(&self) -> u8 {
        self.policy[3]
    }

    /// Returns whether decryption depends on the inode numbers of files and the UUID of the filesystem.
    pub fn is_bound(&self) -> bool {
        self.flags() & (IV_INO_LBLK_64 | IV_INO_LBLK_32) != 0
    }

    /// Returns whether kernels up to 6.18 know all flags of the policy, and all its reserved bytes are zero.
    pub fn is_known(&self) -> bool {
        let (flags, reserved) = match self.policy[0] {
            1 => (PAD_AND_DIRECT_KEY, &[][..]),
            // Byte 4 is the size of a data unit.
            _ => (PAD_AND_DIRECT_KEY | IV_INO_LBLK_64 | IV_INO_LBLK_32, &self.policy[5..8]),
        };
        self.flags() & !flags == 0 && reserved.iter().all(|byte| *byte == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_have_the_length_of_their_version() {
        let mut bytes = [0; 40];
        for (version, length) in [(1, 28), (2, 40)] {
            bytes[0] = version;
            assert_eq!(Context::parse(&bytes[..length]).unwrap().policy.len(), length - 16);
            assert_eq!(Context::parse(&bytes[..length - 1]), None);
        }
        assert_eq!(Context::parse(&bytes[..28]), None);
        bytes[0] = 3;
        assert_eq!(Context::parse(&bytes), None);
        assert_eq!(Context::parse(&[]), None);
    }

    #[test]
    fn only_version_2_may_be_bound_to_inode_numbers() {
        let context = |version: u8, flags: u8| {
            let mut bytes = vec![0; if version == 1 { 28 } else { 40 }];
            (bytes[0], bytes[3]) = (version, flags);
            let context = Context::parse(&bytes).unwrap();
            (context.is_bound(), context.is_known())
        };
        assert_eq!(context(2, 0x03), (false, true));
        assert_eq!(context(2, 0x0B), (true, true));
        assert_eq!(context(2, 0x13), (true, true));
        assert_eq!(context(1, 0x0B), (true, false));
        assert_eq!(context(2, 0x20), (false, false));
        let mut reserved = [0; 40];
        (reserved[0], reserved[6]) = (2, 1);
        assert!(!Context::parse(&reserved).unwrap().is_known());
    }
}
