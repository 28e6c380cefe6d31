//! Converts POSIX ACLs from the on-disk format, which is the value of an xattr, to the format of system calls
//! and to the short text form of acl(5).

use super::{le16, le32};

/// The version of the on-disk format of ACLs.
const DISK_VERSION: u32 = 1;
/// The version of the format of system calls, in which every entry has an id.
const CALL_VERSION: u32 = 2;
/// The id in an entry for no specific user or group.
const NO_ID: u32 = u32::MAX;

/// `e_tag`: the owner.
const USER_OBJ: u16 = 0x01;
/// `e_tag`: a user by id.
const USER: u16 = 0x02;
/// `e_tag`: the owning group.
const GROUP_OBJ: u16 = 0x04;
/// `e_tag`: a group by id.
const GROUP: u16 = 0x08;
/// `e_tag`: the maximum permissions of the owning group, and of users and groups by id.
const MASK: u16 = 0x10;
/// `e_tag`: all other users.
const OTHER: u16 = 0x20;

/// An entry of an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AclEntry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// Decodes the value of an xattr; returns `None` if the kernel would reject the value.
fn decode(value: &[u8]) -> Option<Vec<AclEntry>> {
    if le32(value, 0)? != DISK_VERSION {
        return None;
    }
    let (mut offset, mut entries) = (4, Vec::new());
    while offset < value.len() {
        let (tag, permissions) = (le16(value, offset)?, le16(value, offset + 2)?);
        offset += 4;
        let id = match tag {
            USER | GROUP => {
                offset += 4;
                le32(value, offset - 4)?
            }
            USER_OBJ | GROUP_OBJ | MASK | OTHER => NO_ID,
            _ => return None,
        };
        entries.push(AclEntry { tag, permissions, id });
    }
    Some(entries)
}

/// Returns an ACL in the short text form; `None` if the kernel would reject the stored value. An example is
/// `user::rwx,user:1234:r--,group::r-x,mask::r-x,other::r-x`.
pub fn text(value: &[u8]) -> Option<String> {
    let entries = decode(value)?;
    let words = entries.iter().map(|entry| {
        let bits = [(4, 'r'), (2, 'w'), (1, 'x')];
        let permissions: String =
            bits.iter().map(|(bit, word)| if entry.permissions & bit != 0 { *word } else { '-' }).collect();
        let (noun, id) = match entry.tag {
            USER_OBJ => ("user", String::new()),
            USER => ("user", entry.id.to_string()),
            GROUP_OBJ => ("group", String::new()),
            GROUP => ("group", entry.id.to_string()),
            MASK => ("mask", String::new()),
            _ => ("other", String::new()),
        };
        format!("{noun}:{id}:{permissions}")
    });
    Some(words.collect::<Vec<_>>().join(","))
}

/// Returns an ACL in the format of getxattr(2); `None` if the kernel would reject the stored value.
pub fn system_call_form(value: &[u8]) -> Option<Vec<u8>> {
    let mut form = CALL_VERSION.to_le_bytes().to_vec();
    for entry in decode(value)? {
        form.extend(entry.tag.to_le_bytes());
        form.extend(entry.permissions.to_le_bytes());
        form.extend(entry.id.to_le_bytes());
    }
    Some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value that the kernel stores for `setfacl -m u:1234:r`: 4 bytes for most entries, 8 for those with
    /// an id.
    const STORED: [u8; 28] =
        [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xD2, 4, 0, 0, 4, 0, 4, 0, 0x10, 0, 5, 0, 0x20, 0, 0, 0];

    #[test]
    fn both_forms_say_the_same() {
        let words = "user::rw-,user:1234:r--,group::r--,mask::r-x,other::---";
        assert_eq!(text(&STORED).as_deref(), Some(words));
        let call = system_call_form(&STORED).unwrap();
        assert_eq!(call.len(), 4 + 5 * 8);
        assert_eq!(call[..4], [2, 0, 0, 0]);
        assert_eq!(call[12..20], [2, 0, 4, 0, 0xD2, 4, 0, 0]);
        assert_eq!(call[20..28], [4, 0, 4, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }

    #[test]
    fn what_no_kernel_takes_is_no_acl() {
        for bad in [&b""[..], &[2, 0, 0, 0], &STORED[..6], &STORED[..10], &[1, 0, 0, 0, 3, 0, 0, 0]] {
            assert_eq!(text(bad), None, "{bad:?}");
        }
        assert_eq!(text(&[1, 0, 0, 0]).as_deref(), Some(""));
    }
}
