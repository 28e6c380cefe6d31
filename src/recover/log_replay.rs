//! Replays the log in the three passes of jbd2: finds the end of the log, collects the revoked blocks, and
//! replays all blocks that were not revoked.

use super::journal::Journal;
use super::recovery::Recovery;
use crate::error::{Error, Result};
use crate::ondisk::jbd2::{
    self, COMMIT_BLOCK, CommitHeader, DESCRIPTOR_BLOCK, JournalHeader, REVOKE_BLOCK, TAG_ESCAPE, Tag,
};
use crate::ondisk::view;
use crate::remedy::Remedy;
use crate::source::Overlay;
use crate::units::BlockNr;

/// A block of the log that is not the copy of a filesystem block.
struct LogBlock<'a> {
    place: u32,
    sequence: u32,
    bytes: &'a [u8],
    kind: LogBlockKind,
}

enum LogBlockKind {
    /// A descriptor block with its tags. The copies follow this block.
    Descriptor(Vec<Tag>),
    Revoke,
    Commit,
}

/// A walk through the log from its start. It ends where the sequence numbers no longer continue.
struct LogWalk<'j, 'a> {
    journal: &'j Journal<'a>,
    place: u32,
    sequence: u32,
    /// The number of blocks that may still be read. It limits the walk to one round of the ring.
    left: u32,
}

impl<'j, 'a> LogWalk<'j, 'a> {
    fn new(journal: &'j Journal<'a>) -> Self {
        let (place, sequence, left) = (journal.start, journal.sequence, journal.end - journal.first);
        Self { journal, place, sequence, left }
    }

    /// Returns the next block that is not a copy; `None` at the end of the log.
    fn next(&mut self) -> Result<Option<LogBlock<'a>>> {
        let (place, sequence) = (self.place, self.sequence);
        if self.left == 0 {
            return Ok(None);
        }
        let bytes = self.journal.block(place);
        let Some(header) = view::<JournalHeader>(bytes) else { return Ok(None) };
        if header.h_magic.get() != jbd2::MAGIC || header.h_sequence.get() != sequence {
            return Ok(None);
        }
        self.advance()?;
        let kind = match header.h_blocktype.get() {
            DESCRIPTOR_BLOCK => {
                let tags = self.journal.format.tags(bytes);
                let tags =
                    tags.ok_or_else(|| self.journal.at(place).wrong("has a tag that crosses its end"))?;
                for _ in &tags {
                    self.advance()?;
                }
                LogBlockKind::Descriptor(tags)
            }
            REVOKE_BLOCK => LogBlockKind::Revoke,
            COMMIT_BLOCK => {
                self.sequence = sequence.wrapping_add(1);
                LogBlockKind::Commit
            }
            _ => return Ok(None),
        };
        Ok(Some(LogBlock { place, sequence, bytes, kind }))
    }

    fn advance(&mut self) -> Result<()> {
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => {
                return Err(self
                    .journal
                    .at(self.place)
                    .wrong("belongs to a log that is longer than the journal"));
            }
        };
        self.place = self.journal.next(self.place);
        Ok(())
    }
}

/// Returns whether sequence number `one` comes before `other`. Sequence numbers wrap around.
fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}

/// Returns the first transaction that was not committed, which is the end of the log.
fn find_end(journal: &Journal<'_>) -> Result<u32> {
    let mut walk = LogWalk::new(journal);
    let mut scan = CommitScan { journal, end: None, doubtful: false, last_commit: 0, sum: !0 };
    // An error means that the log is longer than the journal, so no further transaction is committed.
    while let Ok(Some(step)) = walk.next() {
        if !scan.look(&step)? {
            break;
        }
    }
    Ok(scan.end.unwrap_or(walk.sequence))
}

/// The first pass over the log, which looks for valid commits.
struct CommitScan<'j, 'a> {
    journal: &'j Journal<'a>,
    /// The first transaction with a wrong checksum, if it ends the log: with asynchronous commits, or if its
    /// blocks are from an earlier round of the log.
    end: Option<u32>,
    /// Whether a descriptor or revoke block of the current transaction has a wrong checksum.
    doubtful: bool,
    /// The commit time of the previous transaction.
    last_commit: u64,
    /// The running checksum of the current transaction, for checksums of version 1.
    sum: u32,
}

impl CommitScan<'_, '_> {
    /// Scans a block. Returns whether the log continues.
    fn look(&mut self, step: &LogBlock<'_>) -> Result<bool> {
        let format = &self.journal.format;
        match &step.kind {
            LogBlockKind::Descriptor(tags) => {
                self.doubtful |= !format.tail_is_right(step.bytes);
                if format.compat & jbd2::COMPAT_CHECKSUM != 0 {
                    self.sum = jbd2::crc32_be(self.sum, step.bytes);
                    let mut place = step.place;
                    for _ in tags {
                        place = self.journal.next(place);
                        self.sum = jbd2::crc32_be(self.sum, self.journal.block(place));
                    }
                }
                Ok(true)
            }
            LogBlockKind::Revoke => {
                self.doubtful |= !format.tail_is_right(step.bytes);
                Ok(true)
            }
            LogBlockKind::Commit => self.commit(step),
        }
    }

    fn commit(&mut self, step: &LogBlock<'_>) -> Result<bool> {
        let format = &self.journal.format;
        let Some(header) = view::<CommitHeader>(step.bytes) else { return Ok(false) };
        let stale = header.seconds() < self.last_commit;
        let corrupt = |what: &str| {
            Err(Error::Unclean {
                state: format!(
                    "{}: {what} of transaction {} is damaged",
                    self.journal.at(step.place),
                    step.sequence
                ),
                remedy: Remedy::FSCK,
            })
        };
        if self.doubtful {
            // Old blocks from an earlier round of the log are not damage.
            return if stale { self.stop(step) } else { corrupt("a descriptor or revoke block") };
        }
        let first = format.compat & jbd2::COMPAT_CHECKSUM != 0;
        let right = if first { self.sum_is_right(header) } else { format.commit_is_right(step.bytes) };
        self.sum = !0;
        if self.end.is_some() {
            // A transaction is incomplete, but a later transaction was committed.
            return corrupt("the log before the commit block");
        }
        if right {
            self.last_commit = header.seconds();
            return Ok(true);
        }
        if stale {
            return self.stop(step);
        }
        if format.incompat & jbd2::INCOMPAT_ASYNC_COMMIT == 0 {
            return corrupt("the checksum in the commit block");
        }
        self.end = Some(step.sequence);
        Ok(true)
    }

    fn stop(&mut self, step: &LogBlock<'_>) -> Result<bool> {
        self.end = Some(self.end.unwrap_or(step.sequence));
        Ok(false)
    }

    /// Returns whether the checksum of version 1 is valid or was never computed.
    fn sum_is_right(&self, header: &CommitHeader) -> bool {
        let (kind, size, stored) = (header.h_chksum_type, header.h_chksum_size, header.h_chksum[0].get());
        (kind, size, stored) == (jbd2::CHECKSUM_CRC32, 4, self.sum) || (kind, size, stored) == (0, 0, 0)
    }
}

/// Replays the log into an overlay. Also returns the transaction at which the log ends.
pub(super) fn replay<'a>(journal: &Journal<'a>) -> Result<(Recovery<'a>, u32)> {
    let end = find_end(journal)?;
    let revokes = Revokes::read(journal, end)?;
    let mut recovery = Recovery { needed: true, error: journal.error, ..Recovery::default() };
    each(journal, end, |step| {
        match step.kind {
            LogBlockKind::Commit => recovery.transactions += 1,
            LogBlockKind::Revoke => {}
            LogBlockKind::Descriptor(tags) => {
                let mut place = step.place;
                for tag in tags {
                    place = journal.next(place);
                    if revokes.covers(tag.block, step.sequence) {
                        recovery.revoked += 1;
                        continue;
                    }
                    put(journal, &tag, place, step.sequence, &mut recovery.overlay)?;
                    recovery.replayed += 1;
                }
            }
        }
        Ok(())
    })?;
    Ok((recovery, end))
}

/// The blocks with a copy in the log, sorted. Each has the last transaction that revoked it. Revoke records
/// for blocks without a copy have no effect.
struct Revokes(Vec<(u64, Option<u32>)>);

impl Revokes {
    fn read(journal: &Journal<'_>, end: u32) -> Result<Self> {
        let mut any = false;
        each(journal, end, |step| {
            any |= matches!(step.kind, LogBlockKind::Revoke);
            Ok(())
        })?;
        let mut revokes = Self(Vec::new());
        if !any {
            return Ok(revokes);
        }
        each(journal, end, |step| {
            if let LogBlockKind::Descriptor(tags) = &step.kind {
                revokes.0.extend(tags.iter().map(|tag| (tag.block, None)));
            }
            Ok(())
        })?;
        revokes.0.sort_unstable();
        revokes.0.dedup();
        each(journal, end, |step| {
            if !matches!(step.kind, LogBlockKind::Revoke) {
                return Ok(());
            }
            let blocks = journal.format.revoked(step.bytes);
            let blocks =
                blocks.ok_or_else(|| journal.at(step.place).wrong("has more revoke records than fit"))?;
            for block in blocks {
                if let Ok(place) = revokes.0.binary_search_by_key(&block, |(block, _)| *block) {
                    // Sequence numbers increase, so later records replace earlier records.
                    revokes.0[place].1 = Some(step.sequence);
                }
            }
            Ok(())
        })?;
        Ok(revokes)
    }

    /// Returns whether a block was revoked by this transaction or a later one.
    fn covers(&self, block: u64, sequence: u32) -> bool {
        let place = self.0.binary_search_by_key(&block, |(block, _)| *block);
        let last = place.ok().and_then(|place| self.0[place].1);
        last.is_some_and(|last| !before(last, sequence))
    }
}

/// Calls `look` with the blocks of all transactions of the log before the transaction `end`.
fn each<'a>(journal: &Journal<'a>, end: u32, mut look: impl FnMut(LogBlock<'a>) -> Result<()>) -> Result<()> {
    let mut walk = LogWalk::new(journal);
    while before(walk.sequence, end)
        && let Some(step) = walk.next()?
    {
        look(step)?;
    }
    Ok(())
}

/// Adds a copy of a block to the overlay, and restores its escaped first bytes.
fn put<'a>(
    journal: &Journal<'a>,
    tag: &Tag,
    place: u32,
    sequence: u32,
    overlay: &mut Overlay<'a>,
) -> Result<()> {
    let bytes = journal.block(place);
    if let Err(expected) = journal.check_target(tag.block) {
        return Err(journal.at(place).value("the block of a tag", tag.block, expected));
    }
    if !journal.format.copy_is_right(tag, sequence, bytes) {
        return Err(journal
            .at(place)
            .wrong(format!("is a copy of block {} with a wrong checksum", tag.block)));
    }
    let block = BlockNr(tag.block);
    if tag.flags & TAG_ESCAPE == 0 {
        overlay.insert(block, bytes);
    } else {
        overlay.insert_escaped(block, bytes, jbd2::MAGIC.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn sequences_go_round() {
        assert!(before(1, 2) && !before(2, 2) && !before(3, 2));
        assert!(before(u32::MAX, 0) && before(u32::MAX - 5, 5) && !before(5, u32::MAX - 5));
    }
}
