//! The runs of a file that are to be stored, told from those that the input has.

use crate::ranges::Join;
use crate::tree::Run;

/// What one unit holds.
#[derive(Default)]
pub(super) struct SurveyedPart {
    /// What is stored of it.
    pub runs: Vec<Run>,
    /// Blocks that became holes.
    pub punched: u64,
}

/// Takes the runs of a file one by one, and joins those that go on. As long as they are the input's, none is kept.
pub(super) struct RunList<'t> {
    input: &'t [Run],
    /// How many were the input's; those behind are in the list.
    same: usize,
    changed: bool,
    /// The last one, which may go on.
    last: Option<Run>,
    list: &'t mut Vec<Run>,
}

impl<'t> RunList<'t> {
    /// For a file with these runs; others are added to the list.
    pub(super) fn new(input: &'t [Run], list: &'t mut Vec<Run>) -> Self {
        Self { input, same: 0, changed: false, last: None, list }
    }

    /// Adds blocks.
    pub(super) fn push(&mut self, run: Run) {
        if self.last.as_mut().is_some_and(|last| last.join(&run)) {
            return;
        }
        if let Some(whole) = self.last.replace(run) {
            self.keep(whole);
        }
    }

    /// Adds what a part holds, which is empty then. Returns how many blocks became holes.
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

    /// Whether the runs are others than the input's.
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
