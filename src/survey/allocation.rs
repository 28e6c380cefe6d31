//! Describes the allocation of a file's blocks, for comparisons and the tree digest.

use super::output_blocks::{BlockState, OutputUnits, joined};
use super::run_list::SurveyedPart;
use super::stored::Survey;
use super::surveyor::{Surveyor, Zeros};
use crate::geometry::Geometry;
use crate::observe::Silent;
use crate::policy::HolePolicy;
use crate::tree::{Kind, NodeId};
use crate::view::View;

/// Returns the blocks of a regular file in an output with the geometry `output`, as logical block, length and
/// state; `None` if the bytes of the file alone determine them.
pub(crate) fn allocation(
    view: View<'_, '_>,
    output: &Geometry,
    holes: HolePolicy,
    id: NodeId,
) -> Option<Vec<BlockState>> {
    let output = OutputUnits::new(view.source.geometry.block_size, output);
    let surveyor = Surveyor { view, output, holes, observer: &Silent };
    let Kind::Regular { size, .. } = view.tree.node(id).kind else { return None };
    let rules = surveyor.rules(id, size);
    if rules.zeros == Zeros::Punch && rules.opaque_from.is_none() {
        return None;
    }
    let mut found = Survey { per_block: output.per_block, ..Survey::default() };
    surveyor.file(id, &mut found, &mut SurveyedPart::default());
    Some(joined(found.stored(view.tree).blocks_of(id)).collect())
}
