//! One parallel pass over file content: which blocks hold anything but zeros. The digest of what is
//! stored is another one, beside the writing.

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

/// Nodes that one thread looks at together.
const NODES: usize = 512;
/// Nodes that are looked at before what was found is put together.
const ROUND: usize = 1 << 15;

/// Looks through all content, to find what is to be stored of it.
pub fn survey(view: View<'_, '_>, holes: HolePolicy, observer: &dyn Observer) -> Survey {
    let total: u64 = view.tree.runs.iter().map(|run| u64::from(run.count)).sum();
    observer.begin(Stage::Survey, total);
    let nodes: Vec<NodeId> = view.tree.ids().collect();
    let surveyor = Surveyor { view, holes, observer };
    let mut survey = Survey::default();
    // In rounds, so that what is in flight stays little.
    for round in nodes.chunks(ROUND) {
        let found: Vec<_> = round.par_chunks(NODES).map(|nodes| surveyor.files(nodes)).collect();
        survey.reserve(&found);
        found.into_iter().for_each(|found| survey.append(found));
    }
    survey
}
