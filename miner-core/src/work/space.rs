//! The search space of one job and the leases cut from it.
//!
//! A *plane* is all that lies under one extranonce2 and one ntime: rollable versions × 2^32 nonces. Planes are opened
//! in order, extranonce2 first, and ntime only when all of extranonce2 is used up. What has been opened and not
//! leased yet is kept as boxes ("pieces"), a stack for each class of devices, because devices that take pieces of
//! unlike shapes would cut each other's planes to shreds. A class first uses its own pieces, then opens a plane; only
//! where no plane is left does it take pieces of another class, so that nothing stays behind for a slow device.
//!
//! Every nonce is in exactly one of four states, so `leased + given up + remaining` is the size of all planes of the
//! ntime values opened so far. All counts saturate at 2^128 − 1.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Granularity, NonceRange, VersionRange};
use crate::job::{Extranonce2, JobTemplate, VersionMask};
use crate::types::{HashCount, MerkleRoot};

/// A box cut from a search space: never overlaps another lease of the same space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The miner's extranonce.
    pub extranonce2: Extranonce2,
    /// Merkle root for `extranonce2`, computed once a plane.
    pub root: MerkleRoot,
    /// Header time.
    pub ntime: u32,
    /// The bits that `versions` count through.
    pub rollable: VersionMask,
    /// The version indices.
    pub versions: VersionRange,
    /// The nonces, for each of the versions.
    pub nonces: NonceRange,
}

impl Lease {
    /// The size of the box in hashes.
    pub fn size(&self) -> HashCount {
        u128::from(self.versions.count) * u128::from(self.nonces.len)
    }
}

/// Devices that cut planes alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Nonces { step: u64, versions: u32 },
    NonceSpaces,
}

/// Planes from which on a space is rich.
const RICH: u128 = 1 << 24;
/// Ntime values of which a space remembers how far they were opened: more than any source lets roll.
const MAX_NTIMES: usize = 4096;

/// The search space of one job's content; outlives the job where the next one hashes the same.
#[derive(Debug)]
pub struct SearchSpace {
    job: Arc<JobTemplate>,
    /// The next plane to open at each ntime that was begun; `None`: all are open.
    next: BTreeMap<u32, Option<u128>>,
    /// Ntime values before this one are not opened any more.
    closed_before: u32,
    /// What was opened and not leased, by the class that opened it.
    pieces: BTreeMap<Class, Vec<Lease>>,
    leased: HashCount,
    given_up: HashCount,
}

impl SearchSpace {
    /// The whole space of `job`.
    pub fn new(job: Arc<JobTemplate>) -> Self {
        let next = BTreeMap::from([(job.ntime, Some(0))]);
        Self { job, next, closed_before: 0, pieces: BTreeMap::new(), leased: 0, given_up: 0 }
    }

    /// The job that leases are cut for.
    pub fn job(&self) -> &Arc<JobTemplate> {
        &self.job
    }

    /// Whether a search of `job` could come upon headers of this space: equal content, whatever the ntime, as that
    /// is rolled.
    pub fn covers(&self, job: &JobTemplate) -> bool {
        self.job.same_content_but_ntime(job)
    }

    /// Goes on under another job that this space [covers](Self::covers), with no header twice.
    ///
    /// Planes that were opened under version bits that are not allowed any more, or at an ntime before the new job's,
    /// are given up.
    pub fn continue_with(&mut self, job: Arc<JobTemplate>) {
        let (bits, ntime) = (job.rollable().0, job.ntime);
        for pieces in self.pieces.values_mut() {
            pieces.retain(|piece| {
                let keep = piece.rollable.0 & !bits == 0 && piece.ntime >= ntime;
                if !keep {
                    self.given_up = self.given_up.saturating_add(piece.size());
                }
                keep
            });
        }
        self.next.entry(ntime).or_insert(Some(0));
        self.job = job;
    }

    /// Cuts a lease of about `want` hashes in the given granularity; `None` when the space has run dry for it.
    pub fn lease(&mut self, now: Instant, want: HashCount, granularity: Granularity) -> Option<Lease> {
        let latest = self.latest_ntime(now);
        let lease = match granularity {
            Granularity::Nonces { step, versions } => {
                let step = step.clamp(1, 1 << 32);
                let class = Class::Nonces { step, versions: versions.max(1) };
                let piece = self.piece(class, latest, |piece| piece.nonces.len >= step)?;
                self.cut_nonces(class, piece, want)
            }
            Granularity::NonceSpaces { max_versions } => {
                let piece =
                    self.piece(Class::NonceSpaces, latest, |piece| piece.nonces == NonceRange::FULL)?;
                let spaces = u32::try_from(want >> 32).unwrap_or(u32::MAX).clamp(1, max_versions.max(1));
                self.split_versions(Class::NonceSpaces, piece, spaces)
            }
            Granularity::Plane { roll_mask } => self.cut_plane(latest, roll_mask)?,
        };
        self.leased = self.leased.saturating_add(lease.size());
        Some(lease)
    }

    /// Hashes in all leases so far.
    pub fn leased(&self) -> HashCount {
        self.leased
    }

    /// Hashes that will never be leased: versions that the device which took a plane cannot reach, and what
    /// [`SearchSpace::continue_with`] had to drop.
    pub fn given_up(&self) -> HashCount {
        self.given_up
    }

    /// Hashes that were neither leased nor given up, at the ntime values opened so far.
    pub fn remaining(&self) -> HashCount {
        let planes = self.next.keys().map(|&ntime| self.fresh_planes(ntime)).fold(0, u128::saturating_add);
        let pieces = self.pieces.values().flatten().map(Lease::size).fold(0, u128::saturating_add);
        pieces.saturating_add(planes.saturating_mul(plane_size(self.job.rollable())))
    }

    /// Whether there are planes in plenty, so that units may be cut short and the rest of them given up.
    pub fn is_rich(&self) -> bool {
        self.fresh_planes(self.job.ntime) >= RICH
    }

    /// Planes that have not been opened yet at an ntime.
    fn fresh_planes(&self, ntime: u32) -> u128 {
        let next = self.next.get(&ntime).copied().unwrap_or(Some(0));
        next.map_or(0, |next| (self.last_extranonce2() - next).saturating_add(1))
    }

    /// The last ntime that a header may carry now: the job's own plus the whole seconds since it came.
    fn latest_ntime(&self, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.job.received).as_secs();
        let roll = u32::try_from(age).unwrap_or(u32::MAX).min(self.job.max_ntime_roll);
        self.job.ntime.saturating_add(roll)
    }

    fn last_extranonce2(&self) -> u128 {
        match self.job.extranonce2_size().min(16) {
            0 => 0,
            size => u128::MAX >> (128 - 8 * u32::from(size)),
        }
    }

    /// Opens the next plane.
    fn open(&mut self, latest: u32) -> Option<Lease> {
        let last = self.last_extranonce2();
        let (ntime, value) = (self.job.ntime.max(self.closed_before)..=latest).find_map(|ntime| {
            let next = self.next.entry(ntime).or_insert(Some(0));
            let value = (*next)?;
            *next = value.checked_add(1).filter(|&next| next <= last);
            Some((ntime, value))
        })?;
        if self.next.len() > MAX_NTIMES {
            self.close_oldest();
        }
        let extranonce2 = Extranonce2 { value, size: self.job.extranonce2_size() };
        let rollable = self.job.rollable();
        Some(Lease {
            extranonce2,
            root: self.job.merkle_root(extranonce2),
            ntime,
            rollable,
            versions: VersionRange { first: 0, count: rollable.count() },
            nonces: NonceRange::FULL,
        })
    }

    /// Gives up what was not opened at the oldest ntime.
    fn close_oldest(&mut self) {
        if let Some(&oldest) = self.next.keys().next() {
            let rest = self.fresh_planes(oldest).saturating_mul(plane_size(self.job.rollable()));
            self.given_up = self.given_up.saturating_add(rest);
            self.next.remove(&oldest);
            self.closed_before = oldest + 1;
        }
    }

    /// A piece for `class`: its own newest, else a fresh plane, else the largest one of the other classes.
    fn piece(&mut self, class: Class, latest: u32, fits: impl Fn(&Lease) -> bool) -> Option<Lease> {
        // A job of the same content that came later may have to wait until its ntime may roll so far again.
        let fits = |piece: &Lease| piece.ntime <= latest && fits(piece);
        let own = self.pieces.entry(class).or_default();
        if let Some(i) = own.iter().rposition(fits) {
            return Some(own.remove(i));
        }
        if let Some(plane) = self.open(latest) {
            return Some(plane);
        }
        let all = self
            .pieces
            .iter()
            .flat_map(|(&owner, pieces)| pieces.iter().enumerate().map(move |(i, piece)| (owner, i, piece)));
        let (owner, i, _) = all.filter(|(.., piece)| fits(piece)).max_by_key(|(.., piece)| piece.size())?;
        Some(self.pieces.get_mut(&owner)?.remove(i))
    }

    fn keep(&mut self, class: Class, piece: Lease) {
        self.pieces.entry(class).or_default().push(piece);
    }

    /// Cuts a column of `versions` × a run of nonces off `piece`; what is left goes back to the class.
    fn cut_nonces(&mut self, class: Class, piece: Lease, want: HashCount) -> Lease {
        let Class::Nonces { step, versions } = class else { return piece };
        let column = self.split_versions(class, piece, versions);
        let steps = want.div_ceil(u128::from(column.versions.count) * u128::from(step));
        let len = step * evenly(column.nonces.len / step, u64::try_from(steps).unwrap_or(u64::MAX));
        if len < column.nonces.len {
            let start = column.nonces.start + len as u32;
            let nonces = NonceRange { start, len: column.nonces.len - len };
            self.keep(class, Lease { nonces, ..column });
        }
        Lease { nonces: NonceRange { len, ..column.nonces }, ..column }
    }

    /// Cuts the first `count` versions off `piece`; what is left goes back to the class.
    fn split_versions(&mut self, class: Class, piece: Lease, count: u32) -> Lease {
        let VersionRange { first, count: all } = piece.versions;
        let count = evenly(all.into(), count.into()) as u32;
        if count < all {
            let versions = VersionRange { first: first + count, count: all - count };
            self.keep(class, Lease { versions, ..piece });
        }
        Lease { versions: VersionRange { first, count }, ..piece }
    }

    /// Takes a whole plane for a device that rolls the versions in `roll_mask` itself; the others are given up.
    fn cut_plane(&mut self, latest: u32, roll_mask: u32) -> Option<Lease> {
        let plane = self.open(latest)?;
        let rollable = VersionMask(plane.rollable.0 & roll_mask);
        let versions = VersionRange { first: 0, count: rollable.count() };
        let lease = Lease { rollable, versions, ..plane };
        self.given_up = self.given_up.saturating_add(plane.size() - lease.size());
        Some(lease)
    }
}

/// Hashes under one extranonce2 and one ntime.
fn plane_size(rollable: VersionMask) -> HashCount {
    u128::from(rollable.count()) << 32
}

/// How much of `all` to take where `want` is wanted: never so much that only a sliver is left, which would keep a
/// device busy for less time than it takes to send it the next unit.
fn evenly(all: u64, want: u64) -> u64 {
    if want >= all {
        all
    } else if want > all / 2 {
        all.div_ceil(2)
    } else {
        want.max(1)
    }
}

#[cfg(test)]
mod tests;
