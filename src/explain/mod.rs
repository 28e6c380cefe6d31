//! What of an image canonicalization rewrites, and where it came from.

mod explainer;
mod finding;

pub use finding::{Cause, Finding};

use explainer::{BeforeSurvey, Explainer};

use crate::Prepared;
use crate::check::{self, CompareSink};
use crate::error::Result;
use crate::observe::Observer;
use crate::policy::Options;
use crate::recover;
use crate::source::{Input, Source};
use crate::write::Order;

/// Finds everything in an image that is rewritten, by its cause, with at most `limit` examples of each.
///
/// # Errors
///
/// See [`crate::Error`].
pub fn explain(
    input: &Input<'_>,
    options: &Options,
    limit: usize,
    observer: &dyn Observer,
) -> Result<(Vec<String>, Vec<Finding>)> {
    let recovery = recover::recover(input)?;
    let source = Source::open(input.clone(), &recovery.overlay)?;
    let read = crate::read_tree(&source, &recovery, options, observer)?;
    let before = BeforeSurvey::of(&source, &read.1);
    let prepared = Prepared::of(&source, &recovery, read, observer)?;
    let Prepared { reading, plan, .. } = &prepared;
    let sink = CompareSink::new(input.clone(), usize::MAX);
    let report = &prepared.write(Order::Any, &sink, observer)?;
    let parents = reading.tree.parents();
    let source = &source;
    let mut explainer =
        Explainer { source, reading, plan, before, options, parents, limit, findings: Vec::new() };
    explainer.superblock(report.new_uuid);
    explainer.inodes();
    explainer.content(report.blocks_punched);
    explainer.leftovers(&recovery);
    explainer.directories();
    explainer.layout();
    explainer.clamped(report.times_changed);
    explainer.structures(&check::differences(source, &reading.tree, plan, sink));
    let mut findings = explainer.findings;
    findings.sort_by_key(|finding| finding.cause);
    Ok((report.warnings.clone(), findings))
}
