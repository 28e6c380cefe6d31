//! The UUID of the output, on which nothing of the plan depends but the checksums.

use std::sync::{Mutex, PoisonError};

use super::content_uuid::Hashing;
use super::finished::Plan;
use crate::policy::UuidPolicy;
use crate::read::Specials;
use crate::survey::{Digester, Segments, StoredTree, StoredView};

/// The bytes of content that are read at once, of which some fit into a processor's cache.
pub(super) const PART_BYTES: u64 = 1 << 20;

/// Finds the UUID, for which all content may have to be read.
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
    /// What the policy needs to read of a tree's content.
    pub(crate) fn segments(view: StoredView<'_, '_>, policy: UuidPolicy) -> Segments {
        match policy {
            UuidPolicy::Content => Segments::new(view.source.geometry.block_size, view.stored, PART_BYTES),
            UuidPolicy::Keep | UuidPolicy::Given(_) => Segments::default(),
        }
    }

    /// What the policy says of it.
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

    /// How many parts of about [`PART_BYTES`] the content has that is to be read.
    pub(crate) fn parts(&self) -> usize {
        match &self.origin {
            UuidOrigin::Known(_) => 0,
            UuidOrigin::Content { digester, .. } => digester.parts(),
        }
    }

    /// Reads a part; they are in the order of the files.
    pub(crate) fn read(&self, part: usize) {
        if let UuidOrigin::Content { digester, .. } = &self.origin {
            digester.digest(part);
        }
    }

    /// Goes a step on with what follows from the parts that were read, unless another thread does.
    pub(crate) fn advance(&self) {
        if let UuidOrigin::Content { digester, hashing } = &self.origin
            && let Ok(mut hashing) = hashing.try_lock()
        {
            hashing.advance(self.stored, digester);
        }
    }

    /// The UUID, once what is left is read.
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
