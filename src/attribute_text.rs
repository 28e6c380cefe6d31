//! Formats the attributes of nodes as text, for `compare`, `ls` and warnings.

use crate::ondisk::acl;
use crate::ondisk::inode::{InodeFlags, S_IFCHR, S_IFIFO, S_IFMT, Timestamp};
use crate::ondisk::xattr::{INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT};
use crate::text::hexadecimal;
use crate::tree::{Kind, Node};

/// The number of bytes after which an xattr value is truncated, unless it is an ACL.
const LONGEST_VALUE: usize = 256;

/// Returns the name of the file type.
pub(crate) fn type_of(node: &Node) -> &'static str {
    let format = node.mode & S_IFMT;
    match node.kind {
        Kind::Directory { .. } => "directory",
        Kind::Regular { .. } => "regular file",
        Kind::Symlink(_) => "symlink",
        Kind::Device { .. } if format == S_IFCHR => "character device",
        Kind::Device { .. } => "block device",
        Kind::Empty if format == S_IFIFO => "FIFO",
        Kind::Empty => "socket",
    }
}

/// Returns the permission bits.
pub(crate) fn permissions(node: &Node) -> u16 {
    node.mode & !S_IFMT
}

/// Returns the permission bits in octal.
pub(crate) fn mode(node: &Node) -> String {
    format!("{:04o}", permissions(node))
}

/// Formats a time in seconds since 1970, with nine decimal places.
pub(crate) fn time(time: Timestamp) -> String {
    let Timestamp { seconds, nanoseconds } = time;
    if seconds < 0 && nanoseconds > 0 {
        // The nanoseconds are always added to the seconds: half a second before 1970 is -1 seconds and
        // 500000000 nanoseconds.
        let left = 1_000_000_000 - nanoseconds;
        return format!("-{}.{left:09}", (seconds + 1).unsigned_abs());
    }
    format!("{seconds}.{nanoseconds:09}")
}

/// Returns the names of flags, in lower case, joined by commas; `none` if there are none.
pub(crate) fn flags(flags: InodeFlags) -> String {
    let single = flags.iter_names().filter(|(_, flag)| flag.bits().count_ones() == 1);
    let names: Vec<_> = single.map(|(name, _)| name.to_lowercase()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

/// Returns the value of an xattr as text: an ACL in its short text form, printable text in quotes, any other
/// value in hexadecimal digits. A long value that is not an ACL is truncated, and followed by its length.
pub(crate) fn xattr_value(index: u8, value: &[u8]) -> String {
    if matches!(index, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT)
        && let Some(text) = acl::text(value)
    {
        return text;
    }
    bytes_value(value)
}

/// Formats two different xattr values as two different texts: the results of [`xattr_value`], or, if these
/// results are equal, excerpts that start shortly before the first byte that differs.
pub(crate) fn xattr_values(index: u8, values: [&[u8]; 2]) -> [String; 2] {
    const BEFORE: usize = 16;
    let shown = values.map(|value| xattr_value(index, value));
    if shown[0] != shown[1] {
        return shown;
    }
    let equal = values[0].iter().zip(values[1]).take_while(|(one, other)| one == other).count();
    let start = equal.saturating_sub(BEFORE);
    values.map(|value| {
        let rest = bytes_value(value.get(start..).unwrap_or_default());
        format!("from offset {start} of {}: {rest}", value.len())
    })
}

/// Returns bytes as text, in quotes or in hexadecimal digits. If there are more than [`LONGEST_VALUE`] bytes,
/// returns only the first ones, and the total number of bytes.
fn bytes_value(value: &[u8]) -> String {
    let (start, rest) = value.split_at(value.len().min(LONGEST_VALUE));
    let more = if rest.is_empty() { String::new() } else { format!("... ({} bytes)", value.len()) };
    // Many values end with a NUL byte, for example those of SELinux.
    let printable = start.strip_suffix(&[0]).unwrap_or(start);
    if !start.is_empty() && printable.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return format!("\"{}\"{more}", start.escape_ascii());
    }
    if start.is_empty() {
        return "\"\"".to_owned();
    }
    format!("0x{}{more}", hexadecimal(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_value() {
        let words = |seconds, nanoseconds| time(Timestamp { seconds, nanoseconds });
        assert_eq!(words(1, 5), "1.000000005");
        assert_eq!(words(-1, 500_000_000), "-0.500000000");
        assert_eq!(words(-2, 0), "-2.000000000");
        assert_eq!(words(-2, 250_000_000), "-1.750000000");
    }

    #[test]
    fn values_can_be_read() {
        assert_eq!(xattr_value(1, b"text \"x\""), "\"text \\\"x\\\"\"");
        assert_eq!(xattr_value(6, b"label\0"), "\"label\\x00\"");
        assert_eq!(xattr_value(1, &[0, 255]), "0x00ff");
        assert_eq!(xattr_value(1, b""), "\"\"");
        assert_eq!(xattr_value(2, &[1, 0, 0, 0, 1, 0, 7, 0]), "user::rwx");
        let [one, mut other] = [[b'a'; 1000]; 2];
        other[700] = b'b';
        let [one, other] = xattr_values(1, [&one, &other]);
        assert!(one.starts_with("from offset 684 of 1000: \"aaaaaaaaaaaaaaaaaaaa"), "{one}");
        assert!(other.starts_with("from offset 684 of 1000: \"aaaaaaaaaaaaaaaabaaa"), "{other}");
        assert_eq!(xattr_values(1, [b"a", b""]), ["\"a\"", "\"\""]);
        assert!(xattr_value(1, &[b'a'; 300]).ends_with("a\"... (300 bytes)"));
        assert_eq!(flags(InodeFlags::NODUMP | InodeFlags::IMMUTABLE), "immutable,nodump");
    }
}
