//! Identities of filesystems, partitions and disks, and the texts by which files name them.

use std::ops::Range;

use uuid::Uuid;

/// What an identity belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityKind {
    /// A filesystem, which has a UUID.
    Filesystem,
    /// A partition in a GPT. Its identity is its GUID, which Linux calls PARTUUID.
    Partition,
    /// A disk with a GPT, which has a GUID.
    Disk,
    /// A disk with an MBR, which has a signature of 4 bytes. The PARTUUIDs of its partitions begin with it.
    Signature,
}

impl IdentityKind {
    /// Returns the term for the identity.
    pub(crate) fn term(self) -> &'static str {
        match self {
            Self::Filesystem => "UUID",
            Self::Partition => "PARTUUID",
            Self::Disk => "GUID",
            Self::Signature => "signature",
        }
    }
}

/// A UUID, GUID or disk signature that canonicalizing can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What it belongs to.
    pub kind: IdentityKind,
    /// Its number among those of its kind; partitions have the number of the partition.
    pub number: u32,
    /// The value; of a signature, the first 4 bytes, in the order of the text.
    pub value: [u8; 16],
    /// The name of its owner in messages.
    pub name: String,
}

/// The notation of an identity in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// 32 hexadecimal digits with dashes.
    Dashed,
    /// 32 hexadecimal digits without dashes.
    Plain,
    /// 32 digits with dashes as `\x2d`, as in the names of systemd units.
    Escaped,
    /// 8 hexadecimal digits, for a disk signature.
    Short,
}

/// A place in a text that names an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedAt {
    /// The byte range in the text.
    pub range: Range<usize>,
    /// The index of the identity.
    pub identity: usize,
    notation: Notation,
}

impl Identity {
    /// Returns the identity as text, in lower case.
    pub(crate) fn shown(&self) -> String {
        text(
            self.value,
            if self.kind == IdentityKind::Signature { Notation::Short } else { Notation::Dashed },
        )
    }

    /// Returns the value that stands for this identity in the content from which UUIDs are derived. It has
    /// only decimal digits, one of which says whether the text was in upper case.
    fn placeholder(&self, is_upper: bool) -> [u8; 16] {
        let mut value = [0; 16];
        value[3] = is_upper.into();
        let kind = match self.kind {
            IdentityKind::Filesystem => 1,
            IdentityKind::Partition => 2,
            IdentityKind::Disk => 3,
            IdentityKind::Signature => return value,
        };
        value[0] = kind;
        let mut rest = self.number;
        for byte in value.iter_mut().rev().take(5) {
            let digits = (rest % 100) as u8;
            *byte = digits / 10 * 16 + digits % 10;
            rest /= 100;
        }
        value
    }

    fn notations(&self) -> &'static [Notation] {
        match self.kind {
            IdentityKind::Signature => &[Notation::Short],
            _ => &[Notation::Dashed, Notation::Plain, Notation::Escaped],
        }
    }
}

impl NamedAt {
    /// Returns the text with which a new value replaces the old text. It has the same length, notation and
    /// case.
    pub(crate) fn replacement(&self, old: &[u8], value: [u8; 16]) -> Vec<u8> {
        let new = text(value, self.notation);
        let new = if self.is_upper(old) { new.to_ascii_uppercase().replace("\\X2D", "\\x2d") } else { new };
        new.into_bytes()
    }

    /// Returns the text with the placeholder of an identity.
    pub(crate) fn masked(&self, old: &[u8], identity: &Identity) -> Vec<u8> {
        text(identity.placeholder(self.is_upper(old)), self.notation).into_bytes()
    }

    fn is_upper(&self, old: &[u8]) -> bool {
        let letters = |bytes: &[u8]| bytes.iter().any(|byte| (b'a'..=b'f').contains(byte));
        // The escaped dash contains a lower-case letter.
        let digits = match self.notation {
            Notation::Escaped => String::from_utf8_lossy(old).replace("\\x2d", "").into_bytes(),
            _ => old.to_vec(),
        };
        digits.iter().any(|byte| (b'A'..=b'F').contains(byte)) && !letters(&digits)
    }
}

/// Finds all places in a text that name one of the identities, in order. `is_bare` is set for a file that
/// contains nothing but a signature.
pub(crate) fn find(bytes: &[u8], identities: &[Identity], is_bare: bool) -> Vec<NamedAt> {
    let lower = bytes.to_ascii_lowercase();
    let mut found = Vec::new();
    for (index, identity) in identities.iter().enumerate() {
        for notation in identity.notations() {
            let needle = text(identity.value, *notation).into_bytes();
            let mut start = 0;
            while let Some(at) = position(&lower[start..], &needle) {
                let range = start + at..start + at + needle.len();
                start = range.end;
                if *notation != Notation::Short || is_bare || is_partuuid(&lower, &range) {
                    found.push(NamedAt { range, identity: index, notation: *notation });
                }
            }
        }
    }
    found.sort_by_key(|place| place.range.start);
    found
}

/// Returns whether 8 digits are the signature in the PARTUUID of an MBR partition. Other texts can have the
/// same digits by chance.
fn is_partuuid(lower: &[u8], range: &Range<usize>) -> bool {
    const BEFORE: [&[u8]; 5] =
        [b"partuuid=", b"partuuid=\"", b"partuuid='", b"by-partuuid/", b"by\\x2dpartuuid-"];
    let (before, after) = (&lower[..range.start], &lower[range.end..]);
    let Some(digits) = [&b"-"[..], b"\\x2d"].iter().find_map(|dash| after.strip_prefix(*dash)) else {
        return false;
    };
    let number = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    BEFORE.iter().any(|words| before.ends_with(words)) && number == 2
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut start = 0;
    loop {
        start += bytes[start..].iter().position(|byte| *byte == first)?;
        if bytes[start..].starts_with(needle) {
            return Some(start);
        }
        start += 1;
    }
}

fn text(value: [u8; 16], notation: Notation) -> String {
    let uuid = Uuid::from_bytes(value);
    match notation {
        Notation::Dashed => uuid.hyphenated().to_string(),
        Notation::Plain => uuid.simple().to_string(),
        Notation::Escaped => uuid.hyphenated().to_string().replace('-', "\\x2d"),
        Notation::Short => uuid.simple().to_string()[..8].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0f0e0d0c-0b0a-4908-8706-05040302010f";
    const NEW: &str = "1a2b3c4d-5e6f-8788-9a9b-acbdcedfe0f1";

    fn value(text: &str) -> [u8; 16] {
        Uuid::parse_str(text).unwrap().into_bytes()
    }

    fn identity(kind: IdentityKind) -> Identity {
        Identity { kind, number: 12, value: value(OLD), name: String::new() }
    }

    fn replaced(kind: IdentityKind, words: &str) -> String {
        let mut bytes = words.as_bytes().to_vec();
        for place in find(words.as_bytes(), &[identity(kind)], false) {
            let new = place.replacement(&bytes[place.range.clone()], value(NEW));
            bytes[place.range].copy_from_slice(&new);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_notation_is_replaced_in_its_case() {
        let (old, new) = (OLD.to_owned(), NEW.to_owned());
        let forms = |uuid: &str| {
            let plain = uuid.replace('-', "");
            let escaped = uuid.replace('-', "\\x2d");
            let upper = uuid.to_uppercase();
            let upper_escaped = upper.replace('-', "\\x2d");
            format!("UUID={uuid} a{plain}b {escaped} \"{upper}\" {upper_escaped} {}", plain.to_uppercase())
        };
        assert_eq!(replaced(IdentityKind::Filesystem, &forms(&old)), forms(&new));
        let mixed = format!("{}{}", &OLD[..20], OLD[20..].to_uppercase());
        assert_eq!(replaced(IdentityKind::Disk, &mixed), NEW);
        let other = OLD.replace("0f0e", "0f0d");
        assert_eq!(replaced(IdentityKind::Filesystem, &other), other);
    }

    #[test]
    fn a_signature_is_known_by_its_context() {
        let lines = "root=PARTUUID=0f0e0d0c-02 x /dev/disk/by-partuuid/0F0E0D0C-03 PARTUUID='0f0e0d0c-01' \
                     dev-disk-by\\x2dpartuuid-0f0e0d0c\\x2d01.device ";
        let expected = lines.replace("0f0e0d0c", "1a2b3c4d").replace("0F0E0D0C", "1A2B3C4D");
        assert_eq!(replaced(IdentityKind::Signature, lines), expected);
        for words in ["0f0e0d0c", "id=0f0e0d0c-02", "PARTUUID=0f0e0d0c", "PARTUUID=0f0e0d0c-021"] {
            assert_eq!(replaced(IdentityKind::Signature, words), words);
        }
        assert_eq!(find(b"0x0f0e0d0c\n", &[identity(IdentityKind::Signature)], true)[0].range, 2..10);
    }

    #[test]
    fn placeholders_have_no_letters() {
        let identity = identity(IdentityKind::Partition);
        let shown = |is_upper| Uuid::from_bytes(identity.placeholder(is_upper)).to_string();
        assert_eq!(shown(false), "02000000-0000-0000-0000-000000000012");
        assert_eq!(shown(true), "02000001-0000-0000-0000-000000000012");
    }
}
