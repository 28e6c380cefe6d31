//! Divides files into windows of logical blocks, and cuts runs to windows.

use std::ops::Range;

use crate::tree::Run;

/// Returns the blocks of a run that are in a window.
pub(super) fn cut(run: &Run, window: &Range<u64>) -> Option<Run> {
    let start = window.start.max(run.logical.into());
    let end = window.end.min(run.end());
    let count = u32::try_from(end.checked_sub(start)?).ok().filter(|count| *count > 0)?;
    Some(run.part(u32::try_from(start).ok()?, count))
}

/// Divides the logical blocks of a file into windows of `size` blocks. Each window has the range of runs that
/// overlap it. Leaves out windows without runs. `span` returns the blocks of a run.
pub(super) fn windows<T>(
    runs: &[T],
    size: u64,
    span: impl Fn(&T) -> Range<u64>,
) -> Vec<(Range<u64>, Range<usize>)> {
    let (mut windows, mut next, mut last_end) = (Vec::new(), 0, 0);
    while next < runs.len() {
        let start = (span(&runs[next]).start / size * size).max(last_end);
        last_end = start + size;
        let reach = runs[next..].partition_point(|run| span(run).start < last_end);
        // At least the first run overlaps the window. The last run can also overlap the next window.
        let reached = next + reach;
        let goes_on = span(&runs[reached - 1]).end > last_end;
        windows.push((start..last_end, next..reached));
        next = if goes_on { reached - 1 } else { reached };
    }
    windows
}
