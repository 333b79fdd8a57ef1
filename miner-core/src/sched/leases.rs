//! The registry of leases: who works on what, and for how long late hits are honoured.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::types::{BackendId, HashCount, WorkId};
use crate::work::WorkUnit;

/// Finished units of one backend that are kept for late hits, at most.
const MAX_RETIRED: usize = 64;
/// Hits that one lease remembers. They cost the device real work, so that a lease has a few hundred at most.
const MAX_SEEN: usize = 4096;

/// A unit in the hands of a backend, or finished a short while ago.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) unit: WorkUnit,
    pub(super) backend: BackendId,
    /// Hashes that the backend reported for it.
    pub(super) done: HashCount,
    /// Good hits so far: version and nonce.
    pub(super) seen: Recent<(u32, u32)>,
    retired: Option<Instant>,
}

/// What a report of progress came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booked {
    /// The hashes that count: no unit has more than its size.
    pub(super) hashes: HashCount,
    /// `true` the first time that the unit is reported finished.
    pub(super) finished: bool,
}

/// All live leases, and the retired ones of late.
#[derive(Debug, Default)]
pub(super) struct Leases {
    leases: HashMap<WorkId, Leased>,
    live: HashMap<BackendId, HashSet<WorkId>>,
    retired: HashMap<BackendId, VecDeque<WorkId>>,
}

impl Leases {
    pub(super) fn insert(&mut self, backend: BackendId, unit: WorkUnit) {
        self.live.entry(backend).or_default().insert(unit.id);
        let seen = Recent::new(MAX_SEEN);
        self.leases.insert(unit.id, Leased { unit, backend, done: 0, seen, retired: None });
    }

    /// The lease of `work` if `backend` has it, or had it less than `retention` ago.
    pub(super) fn get(
        &mut self,
        now: Instant,
        backend: BackendId,
        work: WorkId,
        retention: Duration,
    ) -> Option<&mut Leased> {
        self.leases.get_mut(&work).filter(|lease| {
            lease.backend == backend
                && lease.retired.is_none_or(|at| now.saturating_duration_since(at) <= retention)
        })
    }

    /// Books progress on a live lease of `backend`; what is said of any other counts for nothing.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        backend: BackendId,
        work: WorkId,
        hashes: HashCount,
        finished: bool,
    ) -> Option<(Booked, &Leased)> {
        if !self.live.get(&backend)?.contains(&work) {
            return None;
        }
        let lease = self.leases.get_mut(&work)?;
        let hashes = hashes.min(lease.unit.size() - lease.done);
        lease.done += hashes;
        if finished {
            lease.retired = Some(now);
            self.live.entry(backend).or_default().remove(&work);
            let retired = self.retired.entry(backend).or_default();
            retired.push_back(work);
            if retired.len() > MAX_RETIRED
                && let Some(oldest) = retired.pop_front()
            {
                self.leases.remove(&oldest);
            }
        }
        Some((Booked { hashes, finished }, self.leases.get(&work)?))
    }

    /// Forgets all leases of a backend that has ended; returns those that it had not finished.
    pub(super) fn remove_backend(&mut self, backend: BackendId) -> Vec<Leased> {
        for work in self.retired.remove(&backend).unwrap_or_default() {
            self.leases.remove(&work);
        }
        let live = self.live.remove(&backend).unwrap_or_default();
        live.into_iter().filter_map(|work| self.leases.remove(&work)).collect()
    }
}

/// A set of the newest `limit` entries.
#[derive(Debug)]
pub(super) struct Recent<T> {
    limit: usize,
    set: HashSet<T>,
    order: VecDeque<T>,
}

impl<T: Copy + Eq + Hash> Recent<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, set: HashSet::new(), order: VecDeque::new() }
    }

    /// `false`: it is there already.
    pub(super) fn insert(&mut self, entry: T) -> bool {
        if !self.set.insert(entry) {
            return false;
        }
        self.order.push_back(entry);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}
