//! Chooses the size of the output that the options request, and places all files and metadata in it.

use super::attempt::{Attempt, Demand};
use super::smallest_size::smallest;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::policy::SizePolicy;
use crate::remedy::Remedy;
use crate::resized_geometry::{refused, resized};
use crate::target::Target;

/// Returns the size in bytes of an output whose filesystem has this geometry.
pub(super) fn image_bytes(target: &Target, policy: SizePolicy, geometry: &Geometry) -> u64 {
    match policy {
        SizePolicy::Keep => target.image_bytes,
        SizePolicy::Smallest => geometry.filesystem_bytes(),
        SizePolicy::Bytes(bytes) => bytes,
        SizePolicy::More(more) => target.geometry.filesystem_bytes().saturating_add(more),
    }
}

/// Returns the target with the sizes that the policy requests, except for the smallest size.
///
/// # Errors
///
/// `Options` if no filesystem can have the requested size.
pub(crate) fn resized_target(target: Target, policy: SizePolicy) -> Result<Target> {
    let bytes = match policy {
        SizePolicy::Keep | SizePolicy::Smallest => return Ok(target),
        SizePolicy::Bytes(_) | SizePolicy::More(_) => image_bytes(&target, policy, &target.geometry),
    };
    let geometry = resized(&target.geometry, bytes / target.geometry.block_bytes())?;
    Ok(target.with_size(geometry, bytes))
}

/// Places all files and metadata in the geometry that the policy requests. `demand` returns the minimum
/// numbers of inodes and blocks that a geometry must provide.
///
/// # Errors
///
/// `Options` if no filesystem can have the requested size, or if the static metadata does not fit into a
/// changed size; `Unsupported` if the static metadata does not fit into the size of the input; `DoesNotFit`
/// if there are too few blocks; otherwise the error of `attempt` or `demand`.
pub(super) fn place<T>(
    target: &Target,
    from: Geometry,
    policy: SizePolicy,
    demand: impl FnOnce() -> Result<Demand>,
    attempt: impl Fn(&Geometry) -> Result<Attempt<T>>,
) -> Result<(Geometry, T)> {
    let geometry = match policy {
        SizePolicy::Keep if from.least_inodes.is_some() => resized(&from, from.blocks_count)?,
        SizePolicy::Keep => from.clone(),
        SizePolicy::Smallest => return smallest(&from, demand()?, attempt),
        SizePolicy::Bytes(_) | SizePolicy::More(_) => {
            resized(&from, image_bytes(target, policy, &from) / from.block_bytes())?
        }
    };
    match attempt(&geometry)? {
        Attempt::Fits(found) => Ok((geometry, found)),
        Attempt::Lacks(Error::Unsupported { .. }) if policy != SizePolicy::Keep => refused(
            format!("the size leaves {} blocks, into which not all metadata fits", geometry.blocks_count),
            Remedy::LargerSize,
        ),
        Attempt::Lacks(Error::DoesNotFit { needed, available, .. }) => {
            // Adding the number of missing blocks is not enough, since a larger filesystem has more metadata.
            // So search for the smallest size.
            let least = demand().and_then(|demand| smallest(&from, demand, attempt));
            Err(match least {
                Ok((least, _)) => Error::DoesNotFit {
                    needed: least.blocks_count,
                    available,
                    bytes: Some(least.filesystem_bytes()),
                },
                Err(_) => Error::DoesNotFit { needed, available, bytes: None },
            })
        }
        Attempt::Lacks(error) => Err(error),
    }
}
