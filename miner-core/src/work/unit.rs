//! A unit: the box of search space that a backend works through.

use std::sync::Arc;

use crate::job::{Extranonce2, JobTemplate, VersionMask};
use crate::types::{Generation, HashCount, Header, MerkleRoot, Target, WorkId};

/// A run of nonces from `start`; `len` up to 2^32, never past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceRange {
    /// First nonce.
    pub start: u32,
    /// How many, 1..=2^32.
    pub len: u64,
}

impl NonceRange {
    /// All 2^32 nonces.
    pub const FULL: Self = Self { start: 0, len: 1 << 32 };

    /// Whether `nonce` is in the run.
    pub fn contains(self, nonce: u32) -> bool {
        nonce >= self.start && u64::from(nonce - self.start) < self.len
    }
}

/// A run of version *indices*: see [`VersionMask::version_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// First index.
    pub first: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl VersionRange {
    /// Whether `index` is in the run.
    pub fn contains(self, index: u32) -> bool {
        index >= self.first && index - self.first < self.count
    }
}

/// What pieces of search space a backend can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// Up to `versions` neighbouring version indices times a run of nonces divisible by `step` (CPU, GPU).
    ///
    /// `step` divides 2^32.
    Nonces {
        /// Nonces are leased in multiples of this.
        step: u64,
        /// The most versions in one unit.
        versions: u32,
    },
    /// Whole spaces of 2^32 nonces, up to `max_versions` versions of them (devices without a start nonce).
    NonceSpaces {
        /// The most versions in one unit.
        max_versions: u32,
    },
    /// Everything under one extranonce2 that the device can reach by rolling these version bits itself.
    Plane {
        /// The bits that the device rolls.
        roll_mask: u32,
    },
}

/// A leased box of search space: one extranonce2, a run of versions, a run of nonces, one ntime.
///
/// The backend reports it finished after about `budget` hashes, whether or not the box is used up; what is left of
/// it is given up, counted, and never leased again.
#[derive(Clone, Debug)]
pub struct WorkUnit {
    /// The lease's name.
    pub id: WorkId,
    /// The generation that it belongs to.
    pub generation: Generation,
    /// The job.
    pub job: Arc<JobTemplate>,
    /// Merkle root for `extranonce2`.
    pub root: MerkleRoot,
    /// The extranonce2 of the whole unit.
    pub extranonce2: Extranonce2,
    /// The bits that `versions` count through: clear in the job's base version.
    pub rollable: VersionMask,
    /// The version indices.
    pub versions: VersionRange,
    /// The nonces, for each of the versions.
    pub nonces: NonceRange,
    /// Header time of the whole unit.
    pub ntime: u32,
    /// Hits at or below it are to be reported.
    pub report_target: Target,
    /// Hashes after which the backend should ask for the next unit.
    pub budget: HashCount,
}

impl WorkUnit {
    /// The size of the box in hashes.
    pub fn size(&self) -> HashCount {
        u128::from(self.versions.count) * u128::from(self.nonces.len)
    }

    /// The header version with index `index`, which is counted from 0 over all of the job's versions.
    pub fn version_at(&self, index: u32) -> u32 {
        self.rollable.version_at(self.job.version, index)
    }

    /// The header versions of the unit, in order.
    pub fn header_versions(&self) -> impl Iterator<Item = u32> + '_ {
        (self.versions.first..=self.versions.first + (self.versions.count - 1))
            .map(|index| self.version_at(index))
    }

    /// Whether a header with these fields is inside the box.
    pub fn contains(&self, version: u32, ntime: u32, nonce: u32) -> bool {
        ntime == self.ntime
            && self.nonces.contains(nonce)
            && self
                .rollable
                .index_of(self.job.version, version)
                .is_some_and(|index| self.versions.contains(index))
    }

    /// The header at one point of the box.
    pub fn header(&self, version: u32, nonce: u32) -> Header {
        self.job.header(self.root, version, self.ntime, nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_hold_their_first_and_last_and_nothing_beside() {
        assert!(NonceRange::FULL.contains(0) && NonceRange::FULL.contains(u32::MAX));
        let end = NonceRange { start: u32::MAX - 1, len: 2 };
        assert_eq!(
            [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0].map(|n| end.contains(n)),
            [false, true, true, false]
        );
        let middle = NonceRange { start: 10, len: 2 };
        assert_eq!([9, 10, 11, 12].map(|n| middle.contains(n)), [false, true, true, false]);
        let versions = VersionRange { first: 5, count: 2 };
        assert_eq!([4, 5, 6, 7].map(|i| versions.contains(i)), [false, true, true, false]);
        assert!(VersionRange { first: u32::MAX, count: 1 }.contains(u32::MAX));
    }
}
