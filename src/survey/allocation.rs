//! Which blocks the output stores of a file, where holes count.

use super::{Bytes, Part, StoredRun, Survey, Surveyor, Zeros};
use crate::observe::Silent;
use crate::policy::HolePolicy;
use crate::source::Source;
use crate::tree::{Kind, NodeId, Tree};

/// Which blocks of a regular file are stored, and how; `None` where that follows from its bytes alone.
pub fn allocation(
    source: &Source<'_>,
    tree: &Tree,
    holes: HolePolicy,
    id: NodeId,
) -> Option<Vec<(u32, u32, u8)>> {
    let surveyor = Surveyor { source, tree, holes, observer: &Silent };
    let Kind::Regular { size, .. } = tree.node(id).kind else { return None };
    let rules = surveyor.rules(id, size);
    if rules.zeros == Zeros::Punch && rules.opaque_from.is_none() {
        return None;
    }
    let mut survey = Survey::default();
    surveyor.file(id, &mut survey, &mut Part::default());
    Some(joined(&survey.runs))
}

/// Runs by logical block and state (0: bytes, 1: zeros, 2: unwritten), wherever the input has them.
pub fn joined(runs: &[StoredRun]) -> Vec<(u32, u32, u8)> {
    let mut joined: Vec<(u32, u32, u8)> = Vec::with_capacity(runs.len());
    for run in runs {
        let state = if run.unwritten { 2 } else { u8::from(run.source == Bytes::Zeros) };
        match joined.last_mut() {
            Some((logical, count, last)) if *last == state && *logical + *count == run.logical => {
                *count += run.count;
            }
            _ => joined.push((run.logical, run.count, state)),
        }
    }
    joined
}
