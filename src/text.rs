//! Formats bytes, names, paths and sizes as text.

use std::fmt::Write as _;

/// Returns an unambiguous text for bytes: printable UTF-8 verbatim, a backslash as `\\`, and any other byte
/// as `\xff`. A slash is escaped like other bytes, because only encrypted names contain slashes.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a string can't fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '/' => escape(&mut text, b"/"),
                _ if character.is_control() => {
                    escape(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => text.push(character),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// Escapes a path or a symlink target: like a name, but with slashes verbatim.
pub fn escaped_text(bytes: &[u8]) -> String {
    let parts: Vec<_> = bytes.split(|byte| *byte == b'/').map(escaped).collect();
    parts.join("/")
}

/// Returns a number of bytes as text, in the largest unit of which it is a multiple.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// Joins names to a path, and escapes them. `names` starts with the last name; the name of the root is empty.
/// A path with more than 4096 bytes is truncated at its start, because trees can be deep.
pub(crate) fn path<'n>(names: impl Iterator<Item = &'n [u8]>) -> String {
    const PATH_MAX: usize = 4096;
    let (mut parts, mut length) = (Vec::new(), 0);
    for name in names {
        if length > PATH_MAX {
            parts.push("...".to_owned());
            break;
        }
        let name = escaped(name);
        length += name.len() + 1;
        parts.push(name);
    }
    parts.reverse();
    let path = parts.join("/");
    if path.is_empty() { "/".to_owned() } else { path }
}

/// Returns a number and a noun, with an "s" unless the number is 1.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Quotes a text for a shell, if necessary. Returns `None` if the text has characters other than printable
/// ASCII, which can't be typed reliably.
pub(crate) fn shell_word(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return Some(text.to_owned());
    }
    let is_visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_visible.then(|| format!("'{}'", text.replace('\'', "'\\''")))
}

/// Returns bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_look_different() {
        assert_eq!(escaped(b"a\xc3\xa9\\\xff\n/"), "aé\\\\\\xff\\x0a\\x2f");
        assert_ne!(escaped(b"\\xff"), escaped(b"\xff"));
        assert_eq!(escaped_text(b"/a/\x01"), "/a/\\x01");
    }

    #[test]
    fn sizes_are_exact() {
        let sizes = [0, 1023, 1024, 1025, 30 << 20, (30 << 20) + 1024, 3 << 30].map(size);
        let expected = ["0 bytes", "1023 bytes", "1 KiB", "1025 bytes", "30 MiB", "30721 KiB", "3 GiB"];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn long_paths_are_told_by_their_end() {
        let words = |names: &[&'static [u8]]| path(names.iter().copied());
        assert_eq!(words(&[b""]), "/");
        assert_eq!(words(&[b"c\n", b"ab", b""]), "/ab/c\\x0a");
        let deep = path(std::iter::repeat_n(&[b'x'; 255][..], 1_000_000));
        assert!(deep.starts_with(".../xxx") && deep.len() < 5000, "{}", deep.len());
    }
}
