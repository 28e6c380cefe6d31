//! Collects the stored runs of a file, and keeps them only if they differ from the runs of the input.

use crate::ranges::Join;
use crate::tree::Run;

/// The result of surveying a part of a file.
#[derive(Default)]
pub(super) struct SurveyedPart {
    /// The runs that are stored.
    pub runs: Vec<Run>,
    /// The number of blocks that became holes.
    pub punched: u64,
}

/// A collector of the runs of a file, which joins contiguous runs. It stores no runs as long as they are
/// equal to the input's runs.
pub(super) struct RunList<'t> {
    input: &'t [Run],
    /// The number of leading runs that are equal to the input's runs. Later runs are in the list.
    same: usize,
    changed: bool,
    /// The last run, which the next run can extend.
    last: Option<Run>,
    list: &'t mut Vec<Run>,
}

impl<'t> RunList<'t> {
    /// Creates a collector for a file with the runs `input`. Runs that differ are added to `list`.
    pub(super) fn new(input: &'t [Run], list: &'t mut Vec<Run>) -> Self {
        Self { input, same: 0, changed: false, last: None, list }
    }

    /// Adds a run.
    pub(super) fn push(&mut self, run: Run) {
        if self.last.as_mut().is_some_and(|last| last.join(&run)) {
            return;
        }
        if let Some(whole) = self.last.replace(run) {
            self.keep(whole);
        }
    }

    /// Moves the runs of a part to this list. Returns the number of blocks that became holes.
    pub(super) fn add(&mut self, part: &mut SurveyedPart) -> u64 {
        part.runs.drain(..).for_each(|run| self.push(run));
        std::mem::take(&mut part.punched)
    }

    fn keep(&mut self, run: Run) {
        if !self.changed && self.input.get(self.same) == Some(&run) {
            self.same += 1;
            return;
        }
        self.change();
        self.list.push(run);
    }

    fn change(&mut self) {
        if !self.changed {
            self.changed = true;
            self.list.extend_from_slice(&self.input[..self.same]);
        }
    }

    /// Finishes the list. Returns whether the runs differ from the input's.
    pub(super) fn finish(mut self) -> bool {
        if let Some(last) = self.last.take() {
            self.keep(last);
        }
        if self.same < self.input.len() {
            self.change();
        }
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Bytes;
    use crate::units::BlockNr;

    fn run(logical: u32, count: u32, block: u64) -> Run {
        Run::new(logical, count, Bytes::At(BlockNr(block)))
    }

    fn stored(input: &[Run], runs: &[Run]) -> (bool, Vec<Run>) {
        let mut list = vec![run(7, 7, 7)];
        let mut stored = RunList::new(input, &mut list);
        runs.iter().for_each(|run| stored.push(*run));
        let changed = stored.finish();
        (changed, list.split_off(1))
    }

    #[test]
    fn the_runs_of_the_input_are_not_kept() {
        let input = [run(0, 4, 10), run(4, 4, 20)];
        let same = [run(0, 2, 10), run(2, 2, 12), run(4, 4, 20)];
        assert_eq!(stored(&input, &same), (false, vec![]));
        assert_eq!(stored(&input, &same[1..]), (true, vec![run(2, 2, 12), run(4, 4, 20)]));
        assert_eq!(stored(&input, &same[..2]), (true, vec![run(0, 4, 10)]));
        assert_eq!(stored(&input, &[]), (true, vec![]));
        assert_eq!(stored(&[], &[]), (false, vec![]));
        let more = [run(0, 4, 10), run(4, 4, 20), run(9, 1, 30)];
        assert_eq!(stored(&input, &more), (true, more.to_vec()));
    }
}
