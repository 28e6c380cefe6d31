//! Compares an image with its canonical form, without writing that form.

use crate::bytes::first_set_byte;
use crate::plan::{PieceContent, Plan};
use crate::report::Difference;
use crate::sinks::CompareSink;
use crate::survey::StoredView;

/// Returns the differences, sorted by offset, up to the limit of the sink: the first byte that differs in
/// each written part, the first byte in each gap between pieces that should be zero but is not, and a
/// different length.
pub(crate) fn differences(view: StoredView<'_, '_>, plan: &Plan, sink: CompareSink<'_>) -> Vec<Difference> {
    let (size, limit) = (plan.geometry.block_bytes(), sink.limit());
    let mut offsets = sink.offsets().into_iter().peekable();
    let input = view.source.input();
    let (mut differences, mut gaps) = (Vec::new(), 0);
    // The end and the content of the previous piece.
    let (mut next, mut what) = (0, None);
    let end = plan.geometry.blocks_count * size;
    let pieces = plan.pieces(view.stored).map(|piece| {
        let blocks = piece.bytes.div_ceil(size);
        (piece.start.0 * size..(piece.start.0 + blocks) * size, Some(piece.content))
    });
    for (range, content) in pieces.chain([(end..end, None)]) {
        let is_last = content.is_none();
        while let Some(offset) = offsets.next_if(|offset| is_last || *offset < range.start) {
            let what: Option<PieceContent> = what;
            let what = what.map_or_else(|| "bytes after the filesystem".to_owned(), |what| what.describe());
            differences.push(Difference { offset, what });
        }
        if gaps < limit
            && let Some(offset) = first_set_byte(input.bytes(), input.data_within(next..range.start))
        {
            differences.push(Difference { offset, what: "bytes that should be zero".to_owned() });
            gaps += 1;
        }
        (next, what) = (range.end, content);
    }
    let length = input.bytes().len() as u64;
    if plan.image_bytes != length {
        let what = format!("end of the image, which should have {} bytes", plan.image_bytes);
        differences.push(Difference { offset: plan.image_bytes.min(length), what });
    }
    differences.sort_by_key(|difference| difference.offset);
    differences.truncate(limit);
    differences
}
