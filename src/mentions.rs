//! Finds the places of boot files that name an identity of this disk: of a filesystem, a partition or the
//! disk itself.

use std::ops::Range;

use crate::boot_files::{self, BootFile};
use crate::content::FileContent;
use crate::error::{Error, Location, Structure};
use crate::identities::{self, Identity, IdentityKind, NamedAt};
use crate::remedy::Remedy;
use crate::report::Mention;
use crate::tree::NodeId;
use crate::view::View;

/// The maximum size of a file that is searched, in bytes.
const LIMIT: usize = 16 << 20;

/// The maximum size of a unified kernel image that is searched, and of all files together, in bytes. So a
/// hostile image can't keep the search busy.
const TOTAL: usize = 128 << 20;

/// A place in the content of a file.
#[derive(Clone, Debug)]
pub(crate) struct InFile {
    /// The file.
    pub node: NodeId,
    /// The place in its content.
    pub named: NamedAt,
    /// The text that names the identity.
    pub old: Vec<u8>,
    /// The absolute path of the file, for the report.
    pub path: String,
    /// The line and the column in bytes; both begin at 1.
    pub line_column: (u64, u64),
    /// The corresponding mention.
    pub mention: Mention,
}

/// The result of a search.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The places in files.
    pub in_files: Vec<InFile>,
    /// The places that are not in the content of a file.
    pub elsewhere: Vec<Mention>,
    /// The paths of files that are too large to be searched.
    pub too_large: Vec<String>,
}

impl Found {
    /// Returns all places.
    pub(crate) fn mentions(&self) -> impl Iterator<Item = &Mention> {
        self.in_files.iter().map(|place| &place.mention).chain(&self.elsewhere)
    }
}

impl Mention {
    /// Describes the place, and the identity that it names.
    fn words(&self, identity: &Identity) -> String {
        let owner = if identity.name.is_empty() { String::new() } else { format!(" of {}", identity.name) };
        let (term, shown) = (identity.kind.term(), identity.shown());
        let fixed = self.fixed.map(|reason| format!("; {reason}")).unwrap_or_default();
        format!("names the {term} {shown}{owner}, which the output no longer has{fixed}")
    }

    /// Returns the error about an identity that changes; `None` for a comment.
    pub(crate) fn refusal(&self, identity: &Identity) -> Option<Error> {
        let of_table = identity.kind != IdentityKind::Filesystem;
        let remedy = match self.fixed {
            Some(_) => Remedy::StaleText { of_table },
            None => Remedy::StaleUuids { of_table },
        };
        let words = format!("{} {}", self.place, self.words(identity));
        (!self.is_comment).then(|| Location::of(Structure::Image).unsupported(words, remedy))
    }

    /// Returns the warning about an identity that changes.
    pub(crate) fn warning(&self, identity: &Identity) -> String {
        format!("{} {}", self.place, self.words(identity))
    }
}

/// The reason why a text can't be changed if several identities have its value.
const AMBIGUOUS: &str = "several filesystems or partitions have it";

/// Returns whether an identity with a smaller index has the same value.
fn is_repeated(identities: &[Identity], index: usize) -> bool {
    identities[..index].iter().any(|other| other.value == identities[index].value)
}

/// Returns whether another identity has the same value.
fn is_ambiguous(identities: &[Identity], index: usize) -> bool {
    identities.iter().filter(|other| other.value == identities[index].value).count() > 1
}

/// Searches the boot files of a tree.
pub(crate) fn find(view: View<'_, '_>, identities: &[Identity]) -> Found {
    let mut found = Found::default();
    if identities.is_empty() {
        return found;
    }
    let mut left = TOTAL;
    for file in boot_files::files(view.tree) {
        let Some(content) = FileContent::of(view, file.node) else { continue };
        let limit = if file.fixed.is_some() { left } else { left.min(LIMIT) };
        match content.bytes(limit) {
            Some(bytes) => {
                left -= bytes.len();
                found.in_files.extend(in_file(&file, &bytes, identities));
            }
            None => found.too_large.push(file.path),
        }
    }
    for name in boot_files::names(view.tree) {
        let named = identities::find(name.text, identities, false).into_iter();
        for named in named.filter(|named| !is_repeated(identities, named.identity)) {
            found.elsewhere.push(Mention {
                place: format!("/{}", name.path),
                identity: named.identity,
                is_comment: false,
                fixed: Some(name.fixed),
            });
        }
    }
    found
}

fn in_file(file: &BootFile, bytes: &[u8], identities: &[Identity]) -> Vec<InFile> {
    let is_bare = boot_files::MBRIDS.contains(&file.path.as_str());
    let named = identities::find(bytes, identities, is_bare).into_iter();
    let places = named.filter(|named| !is_repeated(identities, named.identity)).map(|named| {
        let ambiguous = is_ambiguous(identities, named.identity).then_some(AMBIGUOUS);
        let (line, column, is_comment) = position(bytes, &named.range);
        let mention = Mention {
            place: format!("/{}, line {line}, column {column}", file.path),
            identity: named.identity,
            is_comment,
            fixed: file.fixed.or(ambiguous),
        };
        InFile {
            node: file.node,
            old: bytes[named.range.clone()].to_vec(),
            named,
            path: format!("/{}", file.path),
            line_column: (line, column),
            mention,
        }
    });
    places.collect()
}

/// Returns the line and the column of a place, and whether the line is a comment.
fn position(bytes: &[u8], range: &Range<usize>) -> (u64, u64, bool) {
    let before = &bytes[..range.start];
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let is_comment = before[start..].trim_ascii_start().starts_with(b"#");
    (line as u64, (range.start - start + 1) as u64, is_comment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_lines_and_columns() {
        let text = b"ab\n  # old\nxyz";
        assert_eq!(position(text, &(0..1)), (1, 1, false));
        assert_eq!(position(text, &(7..8)), (2, 5, true));
        assert_eq!(position(text, &(12..13)), (3, 2, false));
    }
}
