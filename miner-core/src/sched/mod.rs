//! The scheduler: a deterministic state machine without threads, channels, clock or I/O.

mod devices;
mod feed;
mod hits;
mod io;
mod leases;
mod shares;
mod slicer;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub use devices::credit;
pub use io::{Command, Input, Output, SourceEvent};
pub use slicer::SchedulerConfig;

use crate::backend::{BackendError, BackendEvent, BackendInfo, Health};
use crate::event::MinerEvent;
use crate::job::JobTemplate;
use crate::share::{LostReason, ShareOutcome};
use crate::snapshot::{DiscardCounts, MinerSnapshot, ShareCounts, SourceState};
use crate::stats::Meter;
use crate::types::{BackendId, Difficulty, Generation, HashCount, ShareId, SourceId, WorkId};
use devices::Device;
use leases::Leases;
use slicer::Crowd;
use sources::Sources;

/// Decides who searches what, which hits are shares, and how shares are counted.
///
/// The driver calls [`handle`](Self::handle) for everything that happens and [`handle_timeout`](Self::handle_timeout)
/// at [`next_deadline`](Self::next_deadline); after each call it carries out what [`poll`](Self::poll) returns, in
/// order, until that is `None`. Nothing here waits or fails for lack of room: a backend never has more than
/// [`credit`] unfinished units.
///
/// Time that runs backwards is taken as standing still.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    started: Instant,
    now: Instant,
    generation: Generation,
    paused: bool,
    active: Option<SourceId>,
    sources: Sources,
    devices: BTreeMap<BackendId, Device>,
    leases: Leases,
    /// Backends that may have credit, in the order of their turns.
    line: VecDeque<BackendId>,
    /// Backends for which the space has run dry.
    starved: Vec<BackendId>,
    /// When an ntime opens that may hold work for them.
    refill_at: Option<Instant>,
    crowd: Crowd,
    /// Devices that have work.
    busy: usize,
    meter: Meter,
    shares: ShareCounts,
    discards: DiscardCounts,
    best: Option<Difficulty>,
    next_work: WorkId,
    next_share: ShareId,
    outputs: VecDeque<Output>,
}

impl Scheduler {
    /// A scheduler for these sources, the lowest id the most preferred; all of them are down at first.
    pub fn new(config: SchedulerConfig, now: Instant, sources: impl IntoIterator<Item = SourceId>) -> Self {
        Self {
            sources: Sources::new(sources, config.submitted),
            config,
            started: now,
            now,
            generation: Generation(0),
            paused: false,
            active: None,
            devices: BTreeMap::new(),
            leases: Leases::default(),
            line: VecDeque::new(),
            starved: Vec::new(),
            refill_at: None,
            crowd: Crowd::default(),
            busy: 0,
            meter: Meter::new(now),
            shares: ShareCounts::default(),
            discards: DiscardCounts::default(),
            best: None,
            next_work: WorkId(0),
            next_share: ShareId(0),
            outputs: VecDeque::new(),
        }
    }

    /// Takes in something that happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.pass_time(now);
        match input {
            Input::Source(id, event) => self.on_source(id, event),
            Input::BackendUp(id, info) => self.on_backend_up(id, info),
            Input::Backend(id, event) => self.on_backend(id, event),
            Input::Command(command) => self.on_command(command),
        }
        self.feed();
    }

    /// Does what has become due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pass_time(now);
        self.feed();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.suspension_end(), self.refill_at].into_iter().flatten().min()
    }

    /// The next thing that the driver must do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The state of everything.
    pub fn snapshot(&mut self, now: Instant) -> MinerSnapshot {
        let now = self.now.max(now);
        let active = self.active;
        MinerSnapshot {
            at: now,
            uptime: now - self.started,
            generation: self.generation,
            active,
            job: active.and_then(|id| self.sources.get(id)?.job.clone()),
            paused: self.paused,
            rates: self.meter.rates(now),
            shares: self.shares.clone(),
            discards: self.discards,
            best: self.best,
            devices: self.devices.iter_mut().map(|(&id, device)| device.snapshot(now, id)).collect(),
            sources: self.sources.snapshot(),
        }
    }

    /// Shares without an outcome yet.
    pub fn pending_shares(&self) -> u64 {
        self.shares.pending
    }

    /// Units that devices hold and have not reported finished, the worthless ones too.
    pub fn held_units(&self) -> usize {
        self.devices.values().map(|device| device.held).sum()
    }

    fn emit(&mut self, event: MinerEvent) {
        self.outputs.push_back(Output::Emit(event));
    }

    fn pass_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.suspension_end().is_some_and(|at| at <= self.now) {
            self.choose_source(false);
        }
        if self.refill_at.is_some_and(|at| at <= self.now) {
            self.refill();
        }
    }

    /// When the active source has been without its connection for too long.
    fn suspension_end(&self) -> Option<Instant> {
        self.sources.expiry(self.active?, self.config.suspension)
    }

    fn on_command(&mut self, command: Command) {
        let pause = command == Command::Pause;
        if pause && !self.paused {
            self.restart();
        }
        self.paused = pause;
    }
}

/// Sources and their jobs.
impl Scheduler {
    fn on_source(&mut self, id: SourceId, event: SourceEvent) {
        match event {
            SourceEvent::Up => self.turn_source(id, SourceState::Up, MinerEvent::SourceUp(id)),
            SourceEvent::Suspended => {
                self.turn_source(id, SourceState::Suspended, MinerEvent::SourceSuspended(id));
            }
            SourceEvent::Down => self.on_source_down(id),
            SourceEvent::Job(job) => self.on_job(id, job),
            SourceEvent::Resolved { share, outcome } => self.resolve(id, share, outcome),
            SourceEvent::Late { share, accepted } => self.on_late(id, share, accepted),
        }
    }

    fn turn_source(&mut self, id: SourceId, state: SourceState, event: MinerEvent) {
        let (now, given_up) = (self.now, state == SourceState::Down);
        let Some(source) = self.sources.get(id) else { return };
        let had_work = source.live > 0;
        if source.turn(now, state) {
            self.emit(event);
            self.choose_source(given_up && (had_work || self.active == Some(id)));
        }
    }

    fn on_source_down(&mut self, id: SourceId) {
        let Some(source) = self.sources.get(id) else { return };
        source.stale_before = self.next_work;
        for share in source.ledger.open_ids() {
            self.resolve(id, share, ShareOutcome::Lost(LostReason::NoAnswer));
        }
        self.turn_source(id, SourceState::Down, MinerEvent::SourceDown(id));
    }

    fn on_job(&mut self, id: SourceId, job: JobTemplate) {
        let next_work = self.next_work;
        let Some(source) = self.sources.get(id).filter(|source| source.state != SourceState::Down) else {
            return;
        };
        let restarts = source.adopt(JobTemplate { source: id, ..job });
        if restarts {
            source.stale_before = next_work;
        }
        if self.active == Some(id) {
            if restarts {
                self.restart();
            }
            self.announce_job(id, restarts);
        } else {
            self.choose_source(false);
        }
    }

    /// Goes over to the best source, if that is another one; running work stays good unless it is lost.
    fn choose_source(&mut self, work_is_lost: bool) {
        let best = self.sources.best(self.now, self.active, self.config.suspension);
        let left = std::mem::replace(&mut self.active, best);
        let changed = best != left;
        let restarts = work_is_lost || changed && (best.is_none() || left.is_none());
        if restarts {
            self.restart();
        }
        if changed {
            self.emit(MinerEvent::SourceActive(best));
        }
        if let Some(id) = best.filter(|_| changed) {
            self.announce_job(id, restarts);
        }
    }

    fn announce_job(&mut self, id: SourceId, restarted: bool) {
        let generation = self.generation;
        if let Some(job) = self.sources.get(id).and_then(|source| source.job.clone()) {
            self.emit(MinerEvent::JobAdopted { job, generation, restarted });
        }
        self.refill();
    }

    /// Makes all outstanding work worthless.
    fn restart(&mut self) {
        self.generation.0 += 1;
        self.outputs.push_back(Output::Advance(self.generation));
        self.sources.restart();
        for (&id, device) in &mut self.devices {
            device.current = 0;
            if device.present {
                device.rest(self.now);
            }
            if device.has_credit() && !device.waiting {
                device.waiting = true;
                self.line.push_back(id);
            }
        }
        self.busy = 0;
        self.meter.stop(self.now);
    }

    fn resolve(&mut self, id: SourceId, share: ShareId, outcome: ShareOutcome) {
        let Some(source) = self.sources.get(id) else { return };
        let Some((share, found)) = source.ledger.close(share, &outcome) else { return };
        source.shares.resolve(&share, &outcome);
        self.shares.resolve(&share, &outcome);
        if let Some(device) = self.devices.get_mut(&share.backend) {
            device.shares.resolve(&share, &outcome);
        }
        let latency = self.now - found;
        self.emit(MinerEvent::ShareResolved { share, outcome, latency });
    }

    fn on_late(&mut self, id: SourceId, share: ShareId, accepted: bool) {
        let Some(source) = self.sources.get(id) else { return };
        let Some((backend, booked)) = source.ledger.late(share) else { return };
        source.shares.late += 1;
        self.shares.late += 1;
        if let Some(device) = self.devices.get_mut(&backend) {
            device.shares.late += 1;
        }
        self.emit(MinerEvent::ShareLate { source: id, booked, accepted });
    }
}

/// Backends.
impl Scheduler {
    fn on_backend_up(&mut self, id: BackendId, info: Arc<BackendInfo>) {
        self.drop_work_of(id);
        let now = self.now;
        self.devices
            .entry(id)
            .and_modify(|device| device.come_back(now, Arc::clone(&info)))
            .or_insert_with(|| Device::new(now, Arc::clone(&info)));
        self.crowd.devices += 1;
        self.emit(MinerEvent::BackendUp { backend: id, info });
        self.join_line(id);
        self.weigh(id);
    }

    fn on_backend(&mut self, id: BackendId, event: BackendEvent) {
        if !self.devices.get(&id).is_some_and(|device| device.present) {
            return;
        }
        match event {
            BackendEvent::Hit(candidate) => self.on_hit(id, candidate),
            BackendEvent::Progress { work, hashes, finished } => self.on_progress(id, work, hashes, finished),
            BackendEvent::Health(health) => self.on_health(id, health),
            BackendEvent::Gone(result) => self.on_gone(id, result),
        }
    }

    fn on_progress(&mut self, id: BackendId, work: WorkId, hashes: HashCount, finished: bool) {
        let (now, generation) = (self.now, self.generation);
        let Some((booked, lease)) = self.leases.progress(now, id, work, hashes, finished) else { return };
        let Some(device) = self.devices.get_mut(&id) else { return };
        let (current, source) = (lease.unit.generation == generation, lease.unit.job.source);
        device.hashes += booked.hashes;
        if device.info.counts_hashes {
            if booked.hashes > 0 {
                device.meter.count(now, booked.hashes as f64);
                self.meter.count(now, booked.hashes as f64);
            }
        } else if booked.finished && current {
            device.meter.count(now, lease.unit.budget as f64);
        }
        if !booked.finished {
            return;
        }
        device.give_up(lease, current);
        device.held -= 1;
        if current {
            device.current -= 1;
            if device.current == 0 {
                device.rest(now);
                self.busy -= 1;
                self.stop_if_idle();
            }
            if let Some(source) = self.sources.get(source) {
                source.live -= 1;
            }
        }
        self.join_line(id);
    }

    fn on_health(&mut self, id: BackendId, health: Health) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        let said = |health: &Health| (health.state, health.reason.clone(), health.throttle.clone());
        let changed = said(&device.health) != said(&health);
        device.health = health.clone();
        self.crowd.count_in(device);
        if changed {
            self.emit(MinerEvent::BackendHealth { backend: id, health });
        }
        self.join_line(id);
    }

    fn on_gone(&mut self, id: BackendId, result: Result<(), BackendError>) {
        self.drop_work_of(id);
        let error = result.err().map(|error| error.to_string().into());
        self.emit(MinerEvent::BackendDown { backend: id, error });
    }

    /// Takes a backend out; its counters stay, its unfinished units are given up.
    fn drop_work_of(&mut self, id: BackendId) {
        let Some(device) = self.devices.get_mut(&id).filter(|device| device.present) else { return };
        for lease in self.leases.remove_backend(id) {
            let current = lease.unit.generation == self.generation;
            device.give_up(&lease, false);
            if let Some(source) = self.sources.get(lease.unit.job.source).filter(|_| current) {
                source.live -= 1;
            }
        }
        if device.current > 0 {
            self.busy -= 1;
        }
        self.crowd.devices -= 1;
        device.leave(self.now);
        self.crowd.count_in(device);
        self.stop_if_idle();
    }

    /// Stops the clock of the sum when nobody has work.
    fn stop_if_idle(&mut self) {
        if self.busy == 0 {
            self.meter.stop(self.now);
        }
    }

    fn join_line(&mut self, id: BackendId) {
        if let Some(device) = self.devices.get_mut(&id)
            && device.has_credit()
            && !device.waiting
        {
            device.waiting = true;
            self.line.push_back(id);
        }
    }

    /// Lets the starved try again.
    fn refill(&mut self) {
        self.line.extend(self.starved.drain(..));
        self.refill_at = None;
    }
}
