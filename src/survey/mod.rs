//! Finds blocks of zeros in one parallel pass over file content. A second pass digests the stored content
//! while the output is written.

mod allocation;
mod clusters;
mod digest;
mod gathered;
mod output_blocks;
mod run_list;
mod stored;
mod surveyor;
mod windows;

pub(crate) use allocation::allocation;
pub(crate) use digest::DigestsFrom;
pub use digest::{Digester, Segments};
pub(crate) use output_blocks::{OutputUnits, UNWRITTEN, joined, joined_runs};
pub use stored::StoredView;
pub(crate) use stored::{StoredTree, Survey};

use rayon::prelude::*;

use crate::geometry::Geometry;
use crate::observe::{Observer, Stage};
use crate::policy::HolePolicy;
use crate::tree::NodeId;
use crate::view::View;
use surveyor::Surveyor;

/// The number of nodes in a work item of a thread.
const NODES: usize = 512;
/// The number of nodes that are surveyed before the results are collected.
const ROUND: usize = 1 << 15;

/// Surveys all content, to find the runs that an output with the geometry `output` stores. Its blocks must be
/// at least as large as the blocks of the view.
pub fn survey(view: View<'_, '_>, output: &Geometry, holes: HolePolicy, observer: &dyn Observer) -> Survey {
    let nodes: Vec<NodeId> = view.tree.ids().collect();
    // Several files can have the same runs, and runs can belong to no file: see `hard_links`.
    let runs = nodes.iter().flat_map(|id| view.tree.runs_of(*id));
    observer.begin(Stage::Survey, runs.map(|run| u64::from(run.count)).sum());
    let output = OutputUnits::new(view.source.geometry.block_size, output);
    let surveyor = Surveyor { view, output, holes, observer };
    let mut survey = Survey { per_block: output.per_block, ..Survey::default() };
    // Rounds limit the memory for results that are not collected yet.
    for round in nodes.chunks(ROUND) {
        let found: Vec<_> = round.par_chunks(NODES).map(|nodes| surveyor.files(nodes)).collect();
        survey.reserve(&found);
        found.into_iter().for_each(|found| survey.append(found));
    }
    survey
}
