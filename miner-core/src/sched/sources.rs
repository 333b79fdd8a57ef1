//! Sources of jobs and the choice between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leases::Recent;
use super::shares::Ledger;
use crate::job::JobTemplate;
use crate::snapshot::{ShareCounts, SourceSnapshot, SourceState};
use crate::types::{Difficulty, SourceId, Target, WorkId};
use crate::work::SearchSpace;

/// Spaces of earlier jobs that are kept, so that content that comes back is not searched twice.
const MAX_SPACES: usize = 8;

/// One configured source.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) state: SourceState,
    /// Since when its connection is broken.
    suspended: Option<Instant>,
    pub(super) job: Option<Arc<JobTemplate>>,
    /// Search spaces of its jobs, the newest job's first.
    spaces: VecDeque<SearchSpace>,
    /// Units before this one are worthless, whatever their generation.
    pub(super) stale_before: WorkId,
    /// Its unfinished units of the current generation.
    pub(super) live: usize,
    pub(super) ledger: Ledger,
    pub(super) shares: ShareCounts,
    /// Hashes of submitted headers, the low halves.
    pub(super) submitted: Recent<u128>,
    pub(super) exhausted_told: bool,
    /// The share target for which it was last told that shares are withheld.
    pub(super) withholding: Option<Target>,
}

impl Source {
    /// It remembers so many hashes of `submitted` headers.
    fn new(submitted: usize) -> Self {
        Self {
            state: SourceState::Down,
            suspended: None,
            job: None,
            spaces: VecDeque::new(),
            stale_before: WorkId(0),
            live: 0,
            ledger: Ledger::default(),
            shares: ShareCounts::default(),
            submitted: Recent::new(submitted),
            exhausted_told: false,
            withholding: None,
        }
    }

    /// Moves to another state; `false` when it was in it already.
    pub(super) fn turn(&mut self, now: Instant, state: SourceState) -> bool {
        if self.state == state {
            return false;
        }
        self.state = state;
        self.suspended = (state == SourceState::Suspended).then_some(now);
        if state == SourceState::Down {
            self.job = None;
        }
        true
    }

    /// Takes its newest job; returns whether that makes all its earlier work worthless.
    pub(super) fn adopt(&mut self, job: JobTemplate) -> bool {
        let job = Arc::new(job);
        let restarts = self.job.as_ref().is_none_or(|old| {
            let narrowed = old.version_mask.0 & !job.version_mask.0 != 0;
            job.clean || old.prev != job.prev || narrowed
        });
        match self.spaces.iter().position(|space| space.covers(&job)) {
            Some(i) => {
                self.spaces.swap(0, i);
                self.spaces[0].continue_with(Arc::clone(&job));
            }
            None => {
                self.spaces.push_front(SearchSpace::new(Arc::clone(&job)));
                self.spaces.truncate(MAX_SPACES);
            }
        }
        self.job = Some(job);
        self.exhausted_told = false;
        restarts
    }

    /// The space of its newest job, if it has one.
    pub(super) fn space(&mut self) -> Option<&mut SearchSpace> {
        self.job.as_ref()?;
        self.spaces.front_mut()
    }

    /// When its job stops being minable because the connection stays broken.
    fn expiry(&self, suspension: Duration) -> Option<Instant> {
        self.suspended.map(|since| since + suspension)
    }

    pub(super) fn snapshot(&self, source: SourceId) -> SourceSnapshot {
        let difficulty = self.job.as_ref().map(|job| Difficulty::of(job.share_target));
        SourceSnapshot { source, state: self.state, shares: self.shares.clone(), difficulty }
    }
}

/// All sources, in order of preference.
#[derive(Debug)]
pub(super) struct Sources(BTreeMap<SourceId, Source>);

impl Sources {
    pub(super) fn new(ids: impl IntoIterator<Item = SourceId>, submitted: usize) -> Self {
        Self(ids.into_iter().map(|id| (id, Source::new(submitted))).collect())
    }

    pub(super) fn get(&mut self, id: SourceId) -> Option<&mut Source> {
        self.0.get_mut(&id)
    }

    /// When the job of this source stops being minable, if its connection is broken.
    pub(super) fn expiry(&self, id: SourceId, suspension: Duration) -> Option<Instant> {
        self.0.get(&id)?.expiry(suspension)
    }

    /// The first source that is up and has a job; failing that, the one that was suspended a short while ago, the
    /// active one before others.
    pub(super) fn best(
        &self,
        now: Instant,
        active: Option<SourceId>,
        suspension: Duration,
    ) -> Option<SourceId> {
        let with_job = || self.0.iter().filter(|(_, source)| source.job.is_some());
        let up = with_job().find(|(_, source)| source.state == SourceState::Up);
        let suspended =
            || with_job().filter(|(_, source)| source.expiry(suspension).is_some_and(|at| at > now));
        up.or_else(|| suspended().find(|&(&id, _)| Some(id) == active))
            .or_else(|| suspended().next())
            .map(|(&id, _)| id)
    }

    /// Marks the units of all sources as stale: the generation has moved.
    pub(super) fn restart(&mut self) {
        self.0.values_mut().for_each(|source| source.live = 0);
    }

    pub(super) fn snapshot(&self) -> Vec<SourceSnapshot> {
        self.0.iter().map(|(&id, source)| source.snapshot(id)).collect()
    }
}
