//! Formats and parses lists of digests in the format of sha256sum.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The expected format of a line, for messages.
pub const EXPECTED: &str = "expected 64 hexadecimal digits, two spaces and a name, as sha256sum prints them";

/// A line of a list of digests.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The digest, in lower-case hexadecimal.
    pub digest: String,
    /// The name of the file.
    pub name: PathBuf,
}

/// Formats a line as sha256sum does. The line begins with a backslash if a character of the name is escaped.
pub fn line(digest: &str, name: &Path) -> Vec<u8> {
    let (escape, name) = escaped(name);
    [escape, digest.as_bytes(), b"  ", &name, b"\n"].concat()
}

/// Formats a result line as `sha256sum --check` does.
pub fn verdict(name: &Path, words: &str) -> Vec<u8> {
    let (escape, name) = escaped(name);
    [escape, &name, b": ", words.as_bytes(), b"\n"].concat()
}

/// Escapes a name. Also returns the backslash with which the line must begin if a character was escaped.
fn escaped(name: &Path) -> (&'static [u8], Vec<u8>) {
    let bytes = name.as_os_str().as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.extend(b"\\\\"),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            other => text.push(*other),
        }
    }
    (if text.len() == bytes.len() { b"" } else { b"\\" }, text)
}

/// Parses a list. Skips comments and empty lines. Also returns the line numbers of the malformed lines.
pub fn parse(text: &[u8]) -> (Vec<Listed>, Vec<usize>) {
    let (mut listed, mut malformed) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        // Remove the carriage return of a CRLF line end. A carriage return in a name would be escaped.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match parse_line(line) {
            Some(line) => listed.push(line),
            None => malformed.push(number),
        }
    }
    (listed, malformed)
}

fn parse_line(line: &[u8]) -> Option<Listed> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (digest, name) = match line.strip_prefix(b"SHA256 (") {
        // The format of `sha256sum --tag` and of the BSD tools.
        Some(rest) => {
            let (rest, digest) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
            (digest, rest.strip_suffix(b") = ")?)
        }
        None => {
            let (digest, rest) = line.split_at_checked(64)?;
            (digest, rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?)
        }
    };
    let digest = str::from_utf8(digest).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let name = if escaped { unescaped(name)? } else { name.to_vec() };
    if name.is_empty() {
        return None;
    }
    Some(Listed { digest: digest.to_ascii_lowercase(), name: OsString::from_vec(name).into() })
}

fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut bytes) = (Vec::with_capacity(name.len()), name.iter());
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_parsed() {
        let digest = "0123456789abcdef".repeat(4);
        for name in ["a.img", "with spaces  and *", "back\\slash", "line\nend\r", "\\n"] {
            let text = line(&digest, Path::new(name));
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
            let listed = Listed { digest: digest.clone(), name: name.into() };
            assert_eq!(parse(&text), (vec![listed], vec![]));
        }
    }

    #[test]
    fn lines_that_are_none_are_left_out_and_told() {
        let good = line(&"0".repeat(64), Path::new("a"));
        for bad in [&b"abc  name\n"[..], b"\n\n", &[&good[..63], b"  name"].concat(), b"\\x"] {
            assert!(parse(bad).0.is_empty(), "{bad:?}");
        }
        let (listed, malformed) = parse(&[&good[..], b"\nnonsense\n", &good].concat());
        assert_eq!((listed.len(), malformed), (2, vec![3]));
        let digest = "0f".repeat(32);
        for end in ["\n", "\r\n", ""] {
            let tagged = format!("# a comment\r\n\r\nSHA256 (a) = b) = {digest}{end}");
            let listed = Listed { digest: digest.clone(), name: "a) = b".into() };
            assert_eq!(parse(tagged.as_bytes()), (vec![listed], vec![]));
        }
        let upper = [&b"AB".repeat(32)[..], b" *name\r\n"].concat();
        let listed = Listed { digest: "ab".repeat(32), name: "name".into() };
        assert_eq!(parse(&upper), (vec![listed], vec![]));
    }
}
