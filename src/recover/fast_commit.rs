//! Scans the journal for complete fast commits. `fast_commit_replay` applies their records.

use super::fast_commit_replay::FastCommitReplay;
use super::journal::Journal;
use crate::error::{Error, Result};
use crate::ondisk::checksum::crc32c;
use crate::ondisk::fast_commit::{
    FastCommitHead, FastCommitTag, FastCommitTail, Record, Records, TAG_HEAD, TAG_TAIL,
};
use crate::ondisk::view;
use crate::remedy::Remedy;
use crate::source::{FastCommits, Source};

/// Replays the fast commits that follow the log. The last transaction of the log is `sequence` - 1. Returns
/// the outcome of the fast commits and the number of their records.
///
/// # Errors
///
/// `Unclean` if the kernel or e2fsck would not replay the fast commits; `Corrupt` for records that contradict
/// the filesystem, or that the kernel and e2fsck replay differently; `Unsupported` for a filesystem with
/// inline_data.
pub(super) fn replay<'a>(
    source: &Source<'_>,
    journal: &Journal<'a>,
    sequence: u32,
) -> Result<(FastCommits<'a>, u64)> {
    let inode_size = source.geometry.inode_size;
    let count = FastCommitScan::new(sequence).run(journal, inode_size)?;
    let mut replay = FastCommitReplay::new(source);
    let blocks = journal.fast_commit_area();
    let records = blocks.flat_map(|place| {
        Records::new(journal.block(place), inode_size).flatten().map(move |record| (place, record))
    });
    for (place, record) in
        records.take(usize::try_from(count).expect("fits: no more than the mapped area has bytes"))
    {
        replay.record(&record, || journal.at(place))?;
    }
    Ok((replay.finish()?, count))
}

/// The first pass over the fast commits, which counts the records of complete fast commits.
struct FastCommitScan {
    /// The transaction to which the fast commits belong.
    sequence: u32,
    /// The number of records so far. `whole` is the number of records up to the last valid tail.
    seen: u64,
    whole: u64,
    /// The running checksum of the current fast commit.
    sum: u32,
}

/// The decision whether the scan continues after a record.
enum AfterRecord {
    More,
    Stop,
}

/// The result of scanning a record, or the reason to refuse all fast commits.
type ScanResult = std::result::Result<AfterRecord, &'static str>;

impl FastCommitScan {
    fn new(sequence: u32) -> Self {
        Self { sequence, seen: 0, whole: 0, sum: 0 }
    }

    fn run(mut self, journal: &Journal<'_>, inode_size: usize) -> Result<u64> {
        let mut area = journal.fast_commit_area();
        let Some(first) = area.next() else { return Ok(0) };
        let begins = view::<FastCommitTag>(journal.block(first)).map(|head| head.fc_tag.get());
        if begins != Some(TAG_HEAD) {
            return Ok(0);
        }
        for place in std::iter::once(first).chain(area) {
            for record in Records::new(journal.block(place), inode_size) {
                let next = match record {
                    Some(record) => self.look(&record),
                    None => self.end("a record of an unknown kind or with a wrong length"),
                };
                let next = next.map_err(|what| refusal(journal, place, what))?;
                if matches!(next, AfterRecord::Stop) {
                    return Ok(self.whole);
                }
            }
        }
        // The kernel and e2fsck fail, because they try to read one more block, which does not exist.
        Err(refusal(journal, first, "no end, since all of their blocks are in use"))
    }

    /// Ends the scan. Returns an error if no fast commit is complete.
    fn end(&self, what: &'static str) -> ScanResult {
        if self.whole > 0 { Ok(AfterRecord::Stop) } else { Err(what) }
    }

    fn look(&mut self, record: &Record<'_>) -> ScanResult {
        match record.tag {
            TAG_TAIL => {
                let Some(tail) = view::<FastCommitTail>(record.value) else { return self.end("no tail") };
                self.seen += 1;
                let covered = size_of::<FastCommitTag>() + size_of::<FastCommitTail>() - 4;
                let sum = crc32c(self.sum, record.bytes.get(..covered).unwrap_or_default());
                self.sum = 0;
                if tail.fc_tid.get() != self.sequence || tail.fc_crc.get() != sum {
                    return self.end("a wrong checksum");
                }
                self.whole = self.seen;
                return Ok(AfterRecord::More);
            }
            TAG_HEAD => {
                let Some(head) = view::<FastCommitHead>(record.value) else { return self.end("no head") };
                if head.fc_features.get() != 0 {
                    return Err("unknown features");
                }
                if head.fc_tid.get() != self.sequence {
                    return Ok(AfterRecord::Stop);
                }
            }
            _ => {}
        }
        self.seen += 1;
        self.sum = crc32c(self.sum, record.bytes);
        Ok(AfterRecord::More)
    }
}

fn refusal(journal: &Journal<'_>, place: u32, what: &str) -> Error {
    Error::Unclean {
        state: format!(
            "{}: the fast commits have {what}, so a kernel would not replay them",
            journal.at(place)
        ),
        remedy: Remedy::fsck("run e2fsck -f on the image, which drops them"),
    }
}
