//! Collects the bytes of output blocks that consist of several smaller blocks of the input.

use std::ops::Range;

use super::output_blocks::BlockState;
use super::stored::StoredView;
use crate::tree::{Bytes, NodeId, Run};
use crate::units::fits;

/// Zeros that stand for bytes that the input does not store.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Calls `take` with the bytes of all written output blocks of a file in a range of its bytes, in order. Bytes
/// that the input does not store are passed as zeros. Bytes past `size`, the size of the file, are left out.
///
/// The range must begin and end at boundaries of output blocks.
pub(super) fn each_part<'v>(
    view: StoredView<'v, '_>,
    (id, size): (NodeId, u64),
    range: &Range<u64>,
    mut take: impl FnMut(&'v [u8]),
) {
    let unit = view.source.geometry.block_bytes();
    let block = unit * u64::from(view.stored.per_block);
    let bytes = |(logical, count, _): &BlockState| {
        let start = u64::from(*logical) * block;
        start..start + u64::from(*count) * block
    };
    let runs = view.stored.runs_of(id);
    let blocks = view.stored.blocks_of(id).skip_while(|blocks| bytes(blocks).end <= range.start);
    for written in blocks.take_while(|blocks| bytes(blocks).start < range.end) {
        if written.2 != 0 {
            continue;
        }
        let Range { start, end } = bytes(&written);
        let (start, end) = (start.max(range.start), end.min(range.end).min(size));
        let mut next = start;
        let first = runs.partition_point(|run| run.end() * unit <= start);
        for run in runs[first..].iter().take_while(|run| u64::from(run.logical) * unit < end) {
            let part = start.max(u64::from(run.logical) * unit)..end.min(run.end() * unit);
            stored_parts(view, id, run, part, |offset, bytes| {
                zeros(offset - next, &mut take);
                take(bytes);
                next = offset + bytes.len() as u64;
            });
        }
        zeros(end.saturating_sub(next), &mut take);
    }
}

/// Calls `take` with `count` zeros.
fn zeros<'v>(mut count: u64, take: &mut impl FnMut(&'v [u8])) {
    while count > 0 {
        let length = count.min(ZEROS.len() as u64);
        take(&ZEROS[..fits::<usize, _>(length, "it is at most 64 KiB")]);
        count -= length;
    }
}

/// Calls `take` with the offsets and the bytes that the input stores for a part of a run.
fn stored_parts<'v>(
    view: StoredView<'v, '_>,
    id: NodeId,
    run: &Run,
    part: Range<u64>,
    mut take: impl FnMut(u64, &'v [u8]),
) {
    let unit = view.source.geometry.block_bytes();
    match run.bytes() {
        Bytes::Zeros | Bytes::Unwritten(_) => {}
        Bytes::Tree => {
            let all = view.stored.tree.inline_of(id).expect("the run says that the tree holds the bytes");
            let end = part.end.min(all.len() as u64);
            let range = |offset: u64| fits::<usize, _>(offset, "inline data is in memory");
            if part.start < end {
                take(part.start, &all[range(part.start)..range(end)]);
            }
        }
        Bytes::At(first) => {
            let mut next = part.start;
            while next < part.end {
                let block = first + (next / unit - u64::from(run.logical));
                let bytes = view.source.together(block, (part.end - next).div_ceil(unit));
                let bytes = bytes.expect("the reader checked that the run is in the image");
                let length = (part.end - next).min(bytes.len() as u64);
                take(next, &bytes[..fits::<usize, _>(length, "it is at most the length of a slice")]);
                next += length;
            }
        }
    }
}
