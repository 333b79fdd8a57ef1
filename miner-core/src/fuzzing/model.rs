//! The rules of the scheduler, written down a second time.
//!
//! `predict` says what an input must lead to, `observe` takes in what came out, `check` compares.

mod observe;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::{BackendEvent, BackendInfo, HealthState};
use crate::job::JobTemplate;
use crate::sched::{Command, Input, SchedulerConfig, SourceEvent};
use crate::share::{Candidate, Discard, LostReason, Share, ShareOutcome};
use crate::snapshot::{DiscardCounts, SourceState};
use crate::types::{BackendId, Generation, ShareId, SourceId, Target, WorkId, double_sha256};
use crate::work::{NonceRange, WorkUnit};

pub(super) struct Model {
    config: SchedulerConfig,
    now: Instant,
    generation: Generation,
    paused: bool,
    active: Option<SourceId>,
    sources: BTreeMap<SourceId, Source>,
    backends: BTreeMap<BackendId, Backend>,
    units: BTreeMap<WorkId, Held>,
    shares: BTreeMap<ShareId, Entry>,
    submitted: HashSet<(SourceId, [u8; 32])>,
    /// Versions and nonces leased so far.
    boxes: HashMap<Plane, Vec<(Vec<u32>, NonceRange)>>,
    contents: Vec<Arc<JobTemplate>>,
    /// What the input that is being handled must lead to.
    must_advance: bool,
    must_submit: Option<Candidate>,
    withheld: f64,
}

/// Source, content, ntime and extranonce2.
type Plane = (SourceId, usize, u32, u128);

struct Source {
    state: SourceState,
    suspended: Option<Instant>,
    job: Option<JobTemplate>,
    /// The share target for which shares were last said to be withheld.
    withholding: Option<Target>,
}

struct Backend {
    info: Arc<BackendInfo>,
    present: bool,
    quarantined: bool,
    discards: DiscardCounts,
    hits: u64,
    hashes: u128,
    given_up: u128,
    /// Units that it has not finished.
    live: BTreeSet<WorkId>,
    /// Finished units, in order.
    finished: Vec<WorkId>,
}

struct Held {
    unit: WorkUnit,
    backend: BackendId,
    counts: bool,
    /// Its generation or its source has passed.
    stale: bool,
    done: u128,
    finished: Option<Instant>,
    /// Its backend has ended since.
    orphan: bool,
    hits: HashSet<(u32, u32)>,
}

struct Entry {
    share: Arc<Share>,
    outcome: Option<ShareOutcome>,
    late: bool,
}

/// What is told of inputs.
impl Model {
    pub(super) fn new(
        now: Instant,
        config: SchedulerConfig,
        sources: impl Iterator<Item = SourceId>,
    ) -> Self {
        let source =
            |id| (id, Source { state: SourceState::Down, suspended: None, job: None, withholding: None });
        Self {
            config,
            now,
            generation: Generation(0),
            paused: false,
            active: None,
            sources: sources.map(source).collect(),
            backends: BTreeMap::new(),
            units: BTreeMap::new(),
            shares: BTreeMap::new(),
            submitted: HashSet::new(),
            boxes: HashMap::new(),
            contents: Vec::new(),
            must_advance: false,
            must_submit: None,
            withheld: 0.0,
        }
    }

    /// A unit and who has it, mostly one that is not finished.
    pub(super) fn some_unit(&self, seed: u8) -> Option<(BackendId, WorkUnit)> {
        let recent = self.units.values().rev().take(64);
        let live: Vec<_> = recent.filter(|held| held.finished.is_none() || seed.is_multiple_of(8)).collect();
        let held = live.get(usize::from(seed) % live.len().max(1))?;
        Some((held.backend, held.unit.clone()))
    }

    pub(super) fn some_share(&self, seed: u8) -> Option<(SourceId, ShareId)> {
        let recent: Vec<_> = self.shares.iter().rev().take(16).collect();
        let (id, entry) = recent.get(usize::from(seed) % recent.len().max(1))?;
        Some((entry.share.job.source, **id))
    }

    pub(super) fn predict_timeout(&mut self, now: Instant) {
        self.now = now;
        let active = self.active.and_then(|id| self.sources.get(&id));
        if active.is_some_and(|source| self.expired(source)) {
            self.choose();
        }
    }

    pub(super) fn predict(&mut self, now: Instant, input: &Input) {
        self.now = now;
        match input {
            Input::Source(id, event) if self.sources.contains_key(id) => self.predict_source(*id, event),
            Input::Source(..) => {}
            Input::BackendUp(id, info) => {
                self.orphan_units_of(*id);
                let backend = self.backends.entry(*id).or_insert_with(|| Backend {
                    info: info.clone(),
                    present: true,
                    quarantined: false,
                    discards: DiscardCounts::default(),
                    hits: 0,
                    hashes: 0,
                    given_up: 0,
                    live: BTreeSet::new(),
                    finished: Vec::new(),
                });
                backend.info = info.clone();
                (backend.present, backend.quarantined) = (true, false);
            }
            Input::Backend(id, event) => {
                if self.backends.get(id).is_some_and(|backend| backend.present) {
                    self.predict_backend(*id, event);
                }
            }
            Input::Command(command) => {
                self.must_advance = *command == Command::Pause && !self.paused;
                self.paused = *command == Command::Pause;
            }
        }
    }

    fn predict_source(&mut self, id: SourceId, event: &SourceEvent) {
        let now = self.now;
        let Some(source) = self.sources.get_mut(&id) else { return };
        match event {
            SourceEvent::Up | SourceEvent::Suspended => {
                let suspended = matches!(event, SourceEvent::Suspended);
                let state = if suspended { SourceState::Suspended } else { SourceState::Up };
                if source.state != state {
                    source.state = state;
                    source.suspended = suspended.then_some(now);
                    self.choose();
                }
            }
            SourceEvent::Down => {
                let known = source.state != SourceState::Down;
                source.state = SourceState::Down;
                (source.suspended, source.job) = (None, None);
                let had_work = self.live().any(|held| held.unit.job.source == id && self.is_current(held));
                let was_active = self.active == Some(id);
                self.outdate(id);
                for entry in self.shares.values_mut().filter(|entry| entry.share.job.source == id) {
                    entry.outcome.get_or_insert(ShareOutcome::Lost(LostReason::NoAnswer));
                }
                self.choose();
                self.must_advance |= known && (had_work || was_active);
            }
            SourceEvent::Job(_) if source.state == SourceState::Down => {}
            SourceEvent::Job(job) => {
                let restarts = source.job.as_ref().is_none_or(|old| {
                    job.clean || job.prev != old.prev || old.version_mask.0 & !job.version_mask.0 != 0
                });
                source.job = Some(job.clone());
                if restarts {
                    self.outdate(id);
                }
                let was_active = self.active == Some(id);
                self.choose();
                self.must_advance |= was_active && restarts;
            }
            SourceEvent::Resolved { share, outcome } => {
                if let Some(entry) = self.shares.get_mut(share).filter(|e| e.share.job.source == id) {
                    entry.outcome.get_or_insert(outcome.clone());
                }
            }
            SourceEvent::Late { share, .. } => {
                if let Some(entry) = self.shares.get_mut(share).filter(|e| e.share.job.source == id) {
                    entry.late |= matches!(entry.outcome, Some(ShareOutcome::Lost(_)));
                }
            }
        }
    }

    fn predict_backend(&mut self, id: BackendId, event: &BackendEvent) {
        match event {
            BackendEvent::Hit(candidate) => self.predict_hit(id, *candidate),
            BackendEvent::Progress { work, hashes, finished } => {
                let (now, generation) = (self.now, self.generation);
                let (Some(held), Some(backend)) = (self.units.get_mut(work), self.backends.get_mut(&id))
                else {
                    return;
                };
                if held.backend != id || held.orphan || held.finished.is_some() {
                    return;
                }
                let hashes = (*hashes).min(held.unit.size() - held.done);
                held.done += hashes;
                backend.hashes += hashes;
                if *finished {
                    held.finished = Some(now);
                    let by_budget = !held.counts && held.unit.generation == generation;
                    let worked = if by_budget { held.done.max(held.unit.budget) } else { held.done };
                    backend.given_up += held.unit.size() - worked;
                    backend.live.remove(work);
                    backend.finished.push(*work);
                }
            }
            BackendEvent::Health(health) => {
                if let Some(backend) = self.backends.get_mut(&id) {
                    backend.quarantined = health.state == HealthState::Quarantined;
                }
            }
            BackendEvent::Gone(_) => {
                self.orphan_units_of(id);
                if let Some(backend) = self.backends.get_mut(&id) {
                    backend.present = false;
                }
            }
        }
    }

    fn predict_hit(&mut self, id: BackendId, candidate: Candidate) {
        let verdict = self.judge(id, candidate);
        let Some(backend) = self.backends.get_mut(&id) else { return };
        let genuine = [Ok(()), Err(Discard::Stale), Err(Discard::BelowShareTarget)].contains(&verdict);
        if genuine && let Some(held) = self.units.get_mut(&candidate.work) {
            held.hits.insert((candidate.version, candidate.nonce));
            backend.hits += 1;
            let (report, share) = (held.unit.report_target, held.unit.job.share_target);
            self.withheld += (report.expected_hashes() / share.expected_hashes() - 1.0).max(0.0);
        }
        match verdict {
            Ok(()) => self.must_submit = Some(candidate),
            Err(reason) => backend.discards.add(reason),
        }
    }

    /// What is to become of a claim.
    fn judge(&self, id: BackendId, candidate: Candidate) -> Result<(), Discard> {
        let Candidate { work, version, ntime, nonce } = candidate;
        let held = self.units.get(&work).filter(|held| held.backend == id && !held.orphan);
        let held = held.filter(|held| self.is_remembered(held)).ok_or(Discard::UnknownWork)?;
        let Held { unit, .. } = held;
        let run = unit.nonces;
        let in_run = (run.start.into()..u64::from(run.start) + run.len).contains(&nonce.into());
        if ntime != unit.ntime || !in_run || !versions(unit).contains(&version) {
            return Err(Discard::OutOfLease);
        }
        let hash = hash(unit, version, ntime, nonce);
        let meets = |target: Target| {
            let mut big_endian = hash;
            big_endian.reverse();
            big_endian <= target.to_be_bytes()
        };
        if !meets(unit.report_target) {
            return Err(Discard::HardwareError);
        }
        if held.hits.contains(&(version, nonce)) {
            return Err(Discard::Duplicate);
        }
        if held.stale && !meets(unit.job.nbits.target()) {
            return Err(Discard::Stale);
        }
        if !meets(unit.job.share_target) {
            return Err(Discard::BelowShareTarget);
        }
        assert!(!self.submitted.contains(&(unit.job.source, hash)), "R4: one header in two leases");
        Ok(())
    }

    /// Late hits are honoured for a while, and for the newest 64 finished units of a backend.
    fn is_remembered(&self, held: &Held) -> bool {
        let Some(finished) = held.finished else { return true };
        let newest = self.backends[&held.backend].finished.iter().rev().take(64);
        self.now - finished <= self.config.retention && newest.into_iter().any(|work| *work == held.unit.id)
    }

    fn orphan_units_of(&mut self, id: BackendId) {
        self.units.values_mut().filter(|held| held.backend == id).for_each(|held| held.orphan = true);
        let Some(backend) = self.backends.get_mut(&id) else { return };
        for held in std::mem::take(&mut backend.live).iter().map(|work| &self.units[work]) {
            backend.given_up += held.unit.size() - held.done;
        }
    }

    fn outdate(&mut self, id: SourceId) {
        self.units.values_mut().filter(|held| held.unit.job.source == id).for_each(|held| held.stale = true);
    }

    fn expired(&self, source: &Source) -> bool {
        source.suspended.is_some_and(|since| self.now >= since + self.config.suspension)
    }

    /// The first source that is up and has a job; else a suspended one, the active one before others.
    fn choose(&mut self) {
        let with_job: Vec<_> = self.sources.iter().filter(|(_, source)| source.job.is_some()).collect();
        let up = with_job.iter().find(|(_, source)| source.state == SourceState::Up);
        let suspended: Vec<_> = with_job
            .iter()
            .filter(|(_, source)| source.state == SourceState::Suspended && !self.expired(source))
            .collect();
        let active = suspended.iter().find(|&&&(&id, _)| self.active == Some(id));
        let best = up.or(active.copied()).or(suspended.first().copied()).map(|&(&id, _)| id);
        self.must_advance |= best.is_none() != self.active.is_none();
        self.active = best;
    }

    fn live(&self) -> impl Iterator<Item = &Held> {
        self.backends.values().flat_map(|backend| &backend.live).map(|work| &self.units[work])
    }

    fn is_current(&self, held: &Held) -> bool {
        held.unit.generation == self.generation
    }
}

/// The header versions of a unit, bit by bit.
fn versions(unit: &WorkUnit) -> Vec<u32> {
    let bits: Vec<u32> = (0..32).map(|i| 1 << i).filter(|bit| unit.rollable.0 & bit != 0).collect();
    let all = 0..1u32 << bits.len();
    all.filter(|index| *index >= unit.versions.first && index - unit.versions.first < unit.versions.count)
        .map(|index| {
            let set = bits.iter().enumerate().filter(|(place, _)| index >> place & 1 == 1);
            set.fold(unit.job.version, |version, (_, bit)| version | bit)
        })
        .collect()
}

/// The hash of a header, laid out a second time.
fn hash(unit: &WorkUnit, version: u32, ntime: u32, nonce: u32) -> [u8; 32] {
    let root = unit.job.merkle_root(unit.extranonce2).0;
    let nbits = unit.job.nbits.to_u32();
    let [version, ntime, nbits, nonce] = [version, ntime, nbits, nonce].map(u32::to_le_bytes);
    double_sha256(&[&version[..], &unit.job.prev.0, &root, &ntime, &nbits, &nonce].concat())
}
