//! Explains the changes that canonicalizing makes in an image: their causes, counts and examples.

mod explainer;
mod finding;
mod kept_times;

pub use finding::{Cause, Explanation, Finding};

use explainer::{Explainer, OfInput};

use crate::check;
use crate::error::Result;
use crate::pipeline::{self, Prepared, Read, Request};
use crate::sinks::CompareSink;
use crate::source::Input;

/// Finds all changes that canonicalizing makes, with at most `limit` examples for each change. `name` is the
/// partition or the offset of the filesystem; `None` if the filesystem is the whole image.
///
/// # Errors
///
/// See [`crate::error::Error`].
pub(crate) fn explain(
    input: &Input<'_>,
    name: Option<String>,
    limit: usize,
    task: Request<'_>,
) -> Result<Explanation> {
    let Request { options, observer, .. } = task;
    pipeline::open(input, |source, recovery| {
        let mut read = Read::of(source, recovery, options, observer)?;
        let before = OfInput::of(source, &read.reading);
        let rewrite = pipeline::rewritten(source, &mut read.reading, task)?;
        let changed = rewrite.as_ref().map(|rewrite| source.with_overlay(&rewrite.overlay));
        let source = changed.as_ref().unwrap_or(source);
        let prepared = Prepared::of(source, recovery, read, observer)?;
        let Prepared { reading, plan, .. } = &prepared;
        let sink = CompareSink::new(input.clone(), usize::MAX);
        let report = &prepared.write(&sink, task)?;
        let parents = reading.tree.parents();
        let mut explainer =
            Explainer { source, reading, plan, before, options, parents, limit, findings: Vec::new() };
        explainer.superblock(report.new_uuid);
        explainer.inodes();
        explainer.content(report.blocks_punched);
        explainer.leftovers(recovery);
        explainer.directories();
        explainer.layout();
        explainer.clamped(report.times_changed);
        explainer.hard_links(report);
        explainer.structures(&check::differences(prepared.stored(), plan, sink));
        let kept = explainer.kept_times().into_iter().collect();
        let mut findings = explainer.findings;
        findings.sort_by_key(|finding| finding.cause);
        let warnings = report.all_warnings().map(str::to_owned).collect();
        Ok(Explanation { name, warnings, findings, kept })
    })
}
