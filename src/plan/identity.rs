//! Determines the UUID of the output. Only the UUID and checksums depend on the digest of the content.

use std::sync::{Mutex, PoisonError};

use super::content_uuid::Hashing;
use super::finished::Plan;
use crate::policy::UuidPolicy;
use crate::read::Specials;
use crate::survey::{Digester, Segments, StoredTree, StoredView};

/// The size in bytes of the parts in which content is read. It is small enough that several parts fit into
/// the CPU cache.
pub(super) const PART_BYTES: u64 = 1 << 20;

/// The state of computing the UUID, which can require reading all content.
#[derive(Debug)]
pub(crate) struct Identity<'s, 'a> {
    plan: &'s Plan,
    stored: StoredTree<'s>,
    specials: &'s Specials,
    origin: UuidOrigin<'s, 'a>,
}

#[derive(Debug)]
enum UuidOrigin<'s, 'a> {
    Known([u8; 16]),
    Content { digester: Box<Digester<'s, 'a>>, hashing: Mutex<Hashing> },
}

impl<'s, 'a> Identity<'s, 'a> {
    /// Returns the segments of the content that must be digested for this policy.
    pub(crate) fn segments(view: StoredView<'_, '_>, policy: UuidPolicy) -> Segments {
        match policy {
            UuidPolicy::Content => Segments::new(view.source.geometry.block_size, view.stored, PART_BYTES),
            UuidPolicy::Keep | UuidPolicy::Given(_) => Segments::default(),
        }
    }

    /// Creates the state for a policy.
    pub(crate) fn new(
        view: StoredView<'s, 'a>,
        specials: &'s Specials,
        segments: &'s Segments,
        plan: &'s Plan,
        policy: UuidPolicy,
    ) -> Self {
        let origin = match policy {
            UuidPolicy::Content => UuidOrigin::Content {
                digester: Box::new(Digester::new(view, segments)),
                hashing: Mutex::new(Hashing::new(&plan.superblock, view.stored, specials)),
            },
            UuidPolicy::Keep => UuidOrigin::Known(view.source.superblock.s_uuid),
            UuidPolicy::Given(uuid) => UuidOrigin::Known(uuid),
        };
        Self { plan, stored: view.stored, specials, origin }
    }

    /// Returns the number of parts of about [`PART_BYTES`] to read.
    pub(crate) fn parts(&self) -> usize {
        match &self.origin {
            UuidOrigin::Known(_) => 0,
            UuidOrigin::Content { digester, .. } => digester.parts(),
        }
    }

    /// Digests one part of the content; does nothing if the UUID does not depend on the content. Parts are
    /// numbered in the order of the files.
    pub(crate) fn read(&self, part: usize) {
        if let UuidOrigin::Content { digester, .. } = &self.origin {
            digester.digest(part);
        }
    }

    /// Hashes the next nodes whose content was read, unless another thread is hashing.
    pub(crate) fn advance(&self) {
        if let UuidOrigin::Content { digester, hashing } = &self.origin
            && let Ok(mut hashing) = hashing.try_lock()
        {
            hashing.advance(self.stored, digester);
        }
    }

    /// Reads the remaining content and returns the UUID.
    pub(crate) fn uuid(self) -> [u8; 16] {
        match self.origin {
            UuidOrigin::Known(uuid) => uuid,
            UuidOrigin::Content { digester, hashing } => {
                let hashing = hashing.into_inner().unwrap_or_else(PoisonError::into_inner);
                hashing.finish(self.plan.geometry.block_size, self.stored, self.specials, &digester)
            }
        }
    }
}
