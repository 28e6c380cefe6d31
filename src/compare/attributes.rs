//! Finds the differences between the attributes of a path in two trees.

use super::compared_image::ComparedImage;
use super::content;
use super::difference::{Attribute, ContentDifference, PathDifference};
use super::walk::{ComparedPath, path};
use crate::attribute_text;
use crate::ondisk::inode::S_IFMT;
use crate::ondisk::xattr::full_name;
use crate::text;
use crate::tree::{Kind, Node, NodeId, Tree};

/// A path, with the differences found so far.
struct DifferenceCollector<'s, 't> {
    steps: &'s [ComparedPath<'t>],
    step: &'s ComparedPath<'t>,
    differences: Vec<PathDifference>,
}

impl DifferenceCollector<'_, '_> {
    fn push(&mut self, attribute: Attribute, name: Option<String>, values: [Option<String>; 2]) {
        let path = path(self.steps, self.step.index);
        self.differences.push(PathDifference {
            path,
            attribute,
            name,
            values,
            content: None,
            texts: None,
            names_own: false,
        });
    }

    /// Adds a difference if the values are not equal.
    fn compare<T: PartialEq>(&mut self, attribute: Attribute, values: [T; 2], words: impl Fn(&T) -> String) {
        if values[0] != values[1] {
            self.push(attribute, None, values.each_ref().map(|value| Some(words(value))));
        }
    }
}

/// Returns all differences for a path, except differences between the entries of a directory. `content` is
/// the result of comparing the bytes.
pub(super) fn differences(
    sides: &[ComparedImage<'_, '_>; 2],
    steps: &[ComparedPath<'_>],
    step: &ComparedPath<'_>,
    content: Option<ContentDifference>,
    texts: Option<usize>,
) -> Vec<PathDifference> {
    let mut found = DifferenceCollector { steps, step, differences: Vec::new() };
    let trees = [0, 1].map(|side| &sides[side].reading.tree);
    let Some(pair) = step.pair() else {
        let types = [0, 1]
            .map(|side| step.nodes[side].map(|id| attribute_text::type_of(trees[side].node(id)).to_owned()));
        found.push(Attribute::Presence, None, types);
        return found.differences;
    };
    if step.first {
        let nodes = [0, 1].map(|side| trees[side].node(pair[side]));
        fields(&mut found, trees, nodes);
        bytes(&mut found, sides, pair, content);
        let in_bytes = |difference: &&mut PathDifference| {
            matches!(difference.attribute, Attribute::Size | Attribute::Content)
        };
        if let (Some(limit), Some(difference)) = (texts, found.differences.iter_mut().rfind(in_bytes)) {
            difference.texts = content::texts(sides, step, limit).map(Box::new);
        }
        xattrs(&mut found, trees, nodes);
        if let [Some(one), Some(other)] = sides.each_ref().map(|side| side.numbering.as_ref()) {
            let numbers = [one.number_of(pair[0]), other.number_of(pair[1])];
            found.compare(Attribute::Inode, numbers, ToString::to_string);
        }
    }
    if step.same_as[0] != step.same_as[1] {
        let values = step.same_as.map(|first| (first != step.index).then(|| path(steps, first)));
        found.push(Attribute::HardLink, None, values);
    }
    found.compare(Attribute::NameHash, step.hashes, |hashes| format!("{:#x} {:#x}", hashes[0], hashes[1]));
    found.differences
}

/// Compares the fields of two nodes.
fn fields(found: &mut DifferenceCollector<'_, '_>, trees: [&Tree; 2], nodes: [&Node; 2]) {
    if nodes.map(|node| node.mode & S_IFMT).windows(2).any(|pair| pair[0] != pair[1]) {
        found.push(Attribute::Type, None, nodes.map(|node| Some(attribute_text::type_of(node).to_owned())));
    }
    if nodes[0].mode & !S_IFMT != nodes[1].mode & !S_IFMT {
        found.push(Attribute::Mode, None, nodes.map(|node| Some(attribute_text::mode(node))));
    }
    found.compare(Attribute::Uid, nodes.map(|node| node.uid), u32::to_string);
    found.compare(Attribute::Gid, nodes.map(|node| node.gid), u32::to_string);
    found.compare(Attribute::Project, nodes.map(|node| node.project), u32::to_string);
    match [nodes[0].kind, nodes[1].kind] {
        [Kind::Regular { size, .. }, Kind::Regular { size: other, .. }] => {
            found.compare(Attribute::Size, [size, other], u64::to_string);
        }
        [Kind::Symlink(target), Kind::Symlink(other)] => {
            let targets = [trees[0].text(target), trees[1].text(other)];
            found.compare(Attribute::Target, targets, |target| text::escaped_text(target));
        }
        [Kind::Device { major, minor }, Kind::Device { major: other_major, minor: other_minor }] => {
            let numbers = [(major, minor), (other_major, other_minor)];
            found.compare(Attribute::Device, numbers, |(major, minor)| format!("{major}:{minor}"));
        }
        _ => {}
    }
    found.compare(Attribute::Mtime, nodes.map(|node| node.mtime), |time| attribute_text::time(*time));
    found.compare(Attribute::Flags, nodes.map(|node| node.flags), |flags| attribute_text::flags(*flags));
}

/// Adds a difference between the bytes of two regular files. If the types, the sizes and the bytes are equal,
/// compares the allocation of blocks.
fn bytes(
    found: &mut DifferenceCollector<'_, '_>,
    sides: &[ComparedImage<'_, '_>; 2],
    pair: [NodeId; 2],
    content: Option<ContentDifference>,
) {
    let sized =
        |difference: &PathDifference| matches!(difference.attribute, Attribute::Size | Attribute::Type);
    if content.is_some() {
        found.push(Attribute::Content, None, [None, None]);
        if let Some(difference) = found.differences.last_mut() {
            difference.content = content;
        }
    } else if !found.differences.iter().any(sized) && content::allocation_differs(sides, pair) {
        found.push(Attribute::Allocation, None, [None, None]);
    }
}

/// Compares the xattrs of two nodes. Both sets are sorted.
fn xattrs(found: &mut DifferenceCollector<'_, '_>, trees: [&Tree; 2], nodes: [&Node; 2]) {
    let sets = [0, 1].map(|side| {
        let set = nodes[side].xattrs.map(|set| trees[side].xattr_set(set)).unwrap_or_default();
        let named = set.iter().map(|xattr| {
            let (name, value) = (trees[side].text(xattr.name), trees[side].text(xattr.value));
            ((xattr.index, name.len(), name), value)
        });
        named.collect::<Vec<_>>()
    });
    let mut keys: Vec<_> = sets.iter().flatten().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let values = sets
            .each_ref()
            .map(|set| set.binary_search_by_key(&key, |(key, _)| *key).ok().map(|place| set[place].1));
        if values[0] != values[1] {
            let name = full_name(key.0, key.2);
            let shown = match values {
                [Some(one), Some(other)] => attribute_text::xattr_values(key.0, [one, other]).map(Some),
                values => values.map(|value| value.map(|value| attribute_text::xattr_value(key.0, value))),
            };
            found.push(Attribute::Xattr, Some(name), shown);
        }
    }
}
