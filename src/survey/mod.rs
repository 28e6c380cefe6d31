//! Finds blocks of zeros in one parallel pass over file content. A second pass digests the stored content
//! while the output is written.

mod allocation;
mod clusters;
mod digest;
mod run_list;
mod stored;
mod surveyor;
mod windows;

pub(crate) use allocation::{allocation, joined};
pub(crate) use digest::DigestsFrom;
pub use digest::{Digester, Segments};
pub use stored::StoredView;
pub(crate) use stored::{StoredTree, Survey};

use rayon::prelude::*;

use crate::observe::{Observer, Stage};
use crate::policy::HolePolicy;
use crate::tree::NodeId;
use crate::view::View;
use surveyor::Surveyor;

/// The number of nodes in a work item of a thread.
const NODES: usize = 512;
/// The number of nodes that are surveyed before the results are collected.
const ROUND: usize = 1 << 15;

/// Surveys all content, to find the runs that the output stores.
pub fn survey(view: View<'_, '_>, holes: HolePolicy, observer: &dyn Observer) -> Survey {
    let nodes: Vec<NodeId> = view.tree.ids().collect();
    // Several files can have the same runs, and runs can belong to no file: see `hard_links`.
    let runs = nodes.iter().flat_map(|id| view.tree.runs_of(*id));
    observer.begin(Stage::Survey, runs.map(|run| u64::from(run.count)).sum());
    let surveyor = Surveyor { view, holes, observer };
    let mut survey = Survey::default();
    // Rounds limit the memory for results that are not collected yet.
    for round in nodes.chunks(ROUND) {
        let found: Vec<_> = round.par_chunks(NODES).map(|nodes| surveyor.files(nodes)).collect();
        survey.reserve(&found);
        found.into_iter().for_each(|found| survey.append(found));
    }
    survey
}
