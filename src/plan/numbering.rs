//! Assigns inode numbers to nodes.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::ondisk::features::Compat;
use crate::ondisk::quota::QuotaType;
use crate::ranges::push_joined;
use crate::read::Specials;
use crate::tree::{NodeId, Tree};
use crate::units::{GroupNr, InodeNr, fits};

/// The inode numbers of all nodes.
///
/// The root is inode 2, the boot loader is inode 5, and `lost+found` gets the first inode that is not
/// reserved. The inodes outside the tree that have no fixed number come next, then all other nodes in
/// canonical order, then EA inodes. With `stable_inodes`, all inodes of the input except EA inodes keep their
/// numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbering {
    /// The inode number of each node.
    pub(crate) numbers: Vec<InodeNr>,
    /// The nodes, sorted by inode number.
    pub(crate) by_number: Vec<(InodeNr, NodeId)>,
    /// The quota files, by type.
    quota_files: [Option<InodeNr>; 3],
    pub(crate) orphan_file: Option<InodeNr>,
    /// The EA inodes, ascending.
    pub(crate) ea_inodes: Vec<InodeNr>,
    /// All inodes in use, including the reserved ones, as sorted ranges that are not adjacent.
    pub(crate) used: Vec<Range<u32>>,
    inodes_per_group: u32,
}

/// A generator of inode numbers. It starts with the first number that is not reserved, and skips numbers that
/// are taken.
struct FreeNumbers {
    next: u32,
    /// The taken numbers, sorted.
    taken: Vec<u32>,
}

impl FreeNumbers {
    /// Returns the lowest free number. The number can't overflow, since there are fewer than 2^32 nodes and
    /// special files.
    fn take(&mut self) -> InodeNr {
        while self.taken.binary_search(&self.next).is_ok() {
            self.next += 1;
        }
        self.next += 1;
        InodeNr(self.next - 1)
    }
}

impl Numbering {
    /// Assigns numbers to the nodes of a tree and to `ea_inodes` EA inodes. `before` contains the inode
    /// number of each node in the input; 0 for a node that the input does not have.
    pub fn new(
        geometry: &Geometry,
        tree: &Tree,
        specials: &Specials,
        before: &[InodeNr],
        ea_inodes: usize,
    ) -> Self {
        let stable = geometry.features.has(Compat::STABLE_INODES);
        let quota_before = QuotaType::ALL
            .map(|kind| specials.quotas.iter().find(|file| file.kind == kind).map(|file| file.number));
        let project_before = quota_before[QuotaType::Project.index()];
        let specials_before = [project_before, specials.orphan_file.map(|file| file.number)];
        let mut taken = Vec::new();
        if stable {
            taken.extend(before.iter().chain(specials_before.iter().flatten()).map(|number| number.0));
            taken.sort_unstable();
        }
        let first = geometry.first_inode.0;
        let mut free = FreeNumbers { next: first, taken };
        let mut number = |before: InodeNr| if stable && before.0 != 0 { before } else { free.take() };
        let before = |id: NodeId| before[id.index()];

        let mut numbers = vec![InodeNr::ROOT; tree.nodes.len()];
        numbers[NodeId::LOST_FOUND.index()] = number(before(NodeId::LOST_FOUND));
        let [user_quota, group_quota, _] = quota_before;
        let project_quota = project_before.map(&mut number);
        let orphan_file = specials.orphan_file.map(|file| number(file.number));
        for id in tree.ids().skip(2) {
            let fixed = (Some(id) == tree.boot_loader).then_some(InodeNr::BOOT_LOADER);
            numbers[id.index()] = fixed.unwrap_or_else(|| number(before(id)));
        }

        let ea_inodes: Vec<_> = (0..ea_inodes).map(|_| number(InodeNr(0))).collect();
        let quota_files = [user_quota, group_quota, project_quota];
        let mut by_number: Vec<_> = numbers.iter().copied().zip(tree.ids()).collect();
        by_number.sort_unstable();
        let mut all: Vec<u32> = (1..first).collect();
        all.extend(numbers.iter().filter(|number| number.0 >= first).map(|number| number.0));
        all.extend(project_quota.iter().chain(&orphan_file).chain(&ea_inodes).map(|number| number.0));
        all.sort_unstable();
        let mut used: Vec<Range<u32>> = Vec::new();
        for number in all {
            push_joined(&mut used, number..number + 1);
        }
        Self {
            numbers,
            by_number,
            quota_files,
            orphan_file,
            ea_inodes,
            used,
            inodes_per_group: geometry.inodes_per_group,
        }
    }

    /// Returns the last inode in use.
    pub fn last(&self) -> InodeNr {
        InodeNr(self.used.last().map_or(0, |range| range.end - 1))
    }

    /// Divides the inodes into the groups of a geometry.
    pub(super) fn set_groups(&mut self, geometry: &Geometry) {
        self.inodes_per_group = geometry.inodes_per_group;
    }

    /// Checks that a geometry has enough inodes. The error does not say which size would be enough.
    ///
    /// # Errors
    ///
    /// `TooFewInodes` if the geometry has too few inodes.
    pub fn check(&self, geometry: &Geometry) -> Result<()> {
        let available = geometry.inodes_count();
        if self.last().0 > available {
            return Err(Error::TooFewInodes {
                needed: self.count().into(),
                available: available.into(),
                bytes: None,
            });
        }
        Ok(())
    }

    /// Returns the inode number of a node.
    pub fn number_of(&self, node: NodeId) -> InodeNr {
        self.numbers[node.index()]
    }

    /// Returns the node with an inode number, if there is one.
    pub fn node_of(&self, number: InodeNr) -> Option<NodeId> {
        let place = self.by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.by_number.get(place).map(|(_, node)| *node)
    }

    /// Returns the nodes, sorted by inode number.
    pub fn by_number(&self) -> &[(InodeNr, NodeId)] {
        &self.by_number
    }

    /// Returns the inode number of the quota file of a type.
    pub fn quota_file(&self, kind: QuotaType) -> Option<InodeNr> {
        self.quota_files[kind.index()]
    }

    /// Returns the inode number of an EA inode, by the index of its value in the xattr plan.
    pub fn number_of_ea_inode(&self, index: u32) -> InodeNr {
        self.ea_inodes[index as usize]
    }

    /// Returns the index of an EA inode's value in the xattr plan, or `None` if the inode is not an EA inode.
    pub fn value_of(&self, number: InodeNr) -> Option<u32> {
        let index = self.ea_inodes.binary_search(&number).ok()?;
        Some(fits(index, "inodes have numbers of 32 bits"))
    }

    /// Returns the inode number of the orphan file.
    pub fn orphan_file(&self) -> Option<InodeNr> {
        self.orphan_file
    }

    /// Returns the number of inodes in use, including the reserved ones.
    pub fn count(&self) -> u32 {
        self.used.iter().map(|range| range.end - range.start).sum()
    }

    /// Returns the used inodes of a group, as ranges of indices in its inode table.
    pub fn used_in(&self, group: GroupNr) -> impl Iterator<Item = Range<u32>> + use<'_> {
        let first = group.0 * self.inodes_per_group + 1;
        let end = first + self.inodes_per_group;
        let from = self.used.partition_point(|range| range.end <= first);
        self.used[from..]
            .iter()
            .take_while(move |range| range.start < end)
            .map(move |range| range.start.max(first) - first..range.end.min(end) - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::forty_gib;
    use crate::ondisk::inode::{InodeFlags, S_IFIFO, Timestamp};
    use crate::read::SpecialFile;
    use crate::tree::{Kind, Node};

    /// Returns a tree with this number of equal nodes. Numbering does not depend on the attributes of nodes.
    fn tree(nodes: usize) -> Tree {
        let node = Node {
            mode: S_IFIFO,
            uid: 0,
            gid: 0,
            project: 0,
            flags: InodeFlags::empty(),
            mtime: Timestamp::default(),
            links: 1,
            xattrs: None,
            kind: Kind::Empty,
        };
        let mut tree = Tree::default();
        tree.nodes = vec![node; nodes];
        tree
    }

    fn specials(number: u32) -> Specials {
        let orphan_file = Some(SpecialFile { number: InodeNr(number), blocks: 1 });
        Specials { orphan_file, ..Specials::default() }
    }

    fn numbers(numbering: &Numbering) -> Vec<u32> {
        numbering.numbers.iter().map(|number| number.0).collect()
    }

    const BEFORE: [InodeNr; 4] = [InodeNr(2), InodeNr(0), InodeNr(9000), InodeNr(12)];

    #[test]
    fn numbers_are_dense_and_history_free() {
        let numbering = Numbering::new(&forty_gib(), &tree(4), &specials(77), &BEFORE, 0);
        assert_eq!(numbers(&numbering), [2, 11, 13, 14]);
        assert_eq!(numbering.orphan_file(), Some(InodeNr(12)));
        assert_eq!(numbering.node_of(InodeNr(13)), Some(NodeId(2)));
        assert_eq!(numbering.node_of(InodeNr(12)), None);
        assert_eq!(numbering.count(), 14);
        assert!(numbering.used_in(GroupNr(0)).eq(std::iter::once(0..14)));
        assert_eq!(numbering.used_in(GroupNr(1)).next(), None);
    }

    #[test]
    fn stable_inodes_keep_their_numbers_and_new_ones_fill_gaps() {
        let mut geometry = forty_gib();
        geometry.features.compat |= Compat::STABLE_INODES;
        let numbering = Numbering::new(&geometry, &tree(4), &specials(11), &BEFORE, 0);
        // 11 and 12 are taken, so the new lost+found gets 13.
        assert_eq!(numbers(&numbering), [2, 13, 9000, 12]);
        assert_eq!(numbering.orphan_file(), Some(InodeNr(11)));
        assert_eq!(numbering.node_of(InodeNr(9000)), Some(NodeId(2)));
        assert!(numbering.used_in(GroupNr(0)).eq(std::iter::once(0..13)));
        assert!(numbering.used_in(GroupNr(1)).eq(std::iter::once(807..808)));
    }

    #[test]
    fn too_many_nodes_do_not_fit() {
        let mut geometry = forty_gib();
        (geometry.groups, geometry.inodes_per_group) = (1, 16);
        let check = |nodes| {
            Numbering::new(&geometry, &tree(nodes), &Specials::default(), &vec![InodeNr(0); nodes], 0)
                .check(&geometry)
        };
        assert!(check(7).is_ok());
        let error = check(8).unwrap_err();
        assert!(error.to_string().contains("1 too few"), "{error}");
    }
}
