//! Describes the allocation of a file's blocks, for comparisons and the tree digest.

use super::run_list::SurveyedPart;
use super::stored::{StoredTree, Survey};
use super::surveyor::{Surveyor, Zeros};
use crate::observe::Silent;
use crate::policy::HolePolicy;
use crate::tree::{Bytes, Kind, NodeId, Run};
use crate::view::View;

/// Returns the runs of a regular file in the output as logical block, length and state; `None` if the bytes
/// of the file alone determine the runs.
pub(crate) fn allocation(view: View<'_, '_>, holes: HolePolicy, id: NodeId) -> Option<Vec<(u32, u32, u8)>> {
    let surveyor = Surveyor { view, holes, observer: &Silent };
    let Kind::Regular { size, .. } = view.tree.node(id).kind else { return None };
    let rules = surveyor.rules(id, size);
    if rules.zeros == Zeros::Punch && rules.opaque_from.is_none() {
        return None;
    }
    let mut found = Survey::default();
    surveyor.file(id, &mut found, &mut SurveyedPart::default());
    let runs = StoredTree { tree: view.tree, stored: &found.stored }.runs_of(id);
    Some(joined(runs).collect())
}

/// Joins logically adjacent runs with the same state (0: written, 1: zeros, 2: unwritten), regardless of the
/// location of their blocks in the input.
pub(crate) fn joined(runs: &[Run]) -> impl Iterator<Item = (u32, u32, u8)> + use<'_> {
    let state = |run: &Run| match run.bytes() {
        Bytes::At(_) | Bytes::Tree => 0,
        Bytes::Zeros => 1,
        Bytes::Unwritten(_) => 2,
    };
    let goes_on =
        move |one: &Run, next: &Run| one.end() == u64::from(next.logical) && state(one) == state(next);
    runs.chunk_by(goes_on).filter_map(move |runs| {
        let count = runs.iter().map(|run| run.count).sum();
        runs.first().map(|first| (first.logical, count, state(first)))
    })
}
