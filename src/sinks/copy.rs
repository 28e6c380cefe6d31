//! Copies bytes outside filesystems to a sink.

use std::io::{self, IoSlice};
use std::ops::Range;

use crate::bytes::is_zero;
use crate::sink::Sink;
use crate::source::Input;

/// Copies a range of the input to the same offsets of the sink. Skips zeros.
pub(crate) fn copy(input: &Input<'_>, range: Range<u64>, sink: &dyn Sink) -> io::Result<()> {
    const STEP: usize = 1 << 16;
    sink.in_use(range.clone());
    for data in input.data_within(range) {
        let taken = sink.take_over(data.start, data.start, data.end - data.start);
        let start = data.start + taken;
        let bytes = input.range(start, data.end).expect("the input stores these bytes");
        for (offset, part) in (start..).step_by(STEP).zip(bytes.chunks(STEP)) {
            if !is_zero(part) {
                sink.write_at(offset, &[IoSlice::new(part)])?;
            }
        }
    }
    Ok(())
}
