//! What the scheduler knows of each backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leases::Leased;
use crate::backend::{BackendInfo, Health, HealthState};
use crate::snapshot::{DeviceSnapshot, DiscardCounts, ShareCounts};
use crate::stats::Meter;
use crate::types::{BackendId, Difficulty, HashRate};

/// Proven hits from which on the proven rate replaces the first guess.
const ENOUGH_HITS: u32 = 8;

/// Units of the current generation that a backend has at once: its depth, and at least two.
///
/// A device that holds a single unit gets its next one into the port's channel before it asks: a device with 200 ms
/// from its last hash to the scheduler's answer would otherwise stand still for that long after each unit.
fn queue(info: &BackendInfo) -> usize {
    usize::from(info.depth).max(2)
}

/// The most units of a backend that are ever unfinished at once, so the room that its channel needs: one queue of the
/// current generation, and one that became stale and was not handed back yet.
pub fn credit(info: &BackendInfo) -> usize {
    2 * queue(info)
}

/// One backend, present or gone.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) info: Arc<BackendInfo>,
    pub(super) present: bool,
    pub(super) health: Health,
    /// Unfinished units of the current generation.
    pub(super) current: usize,
    /// Unfinished units of all generations.
    pub(super) held: usize,
    /// Whether it waits in the line for work, or for a space that has some.
    pub(super) waiting: bool,
    /// Since when it has been there without a unit; `None` while it has one, or has gone.
    idle_since: Option<Instant>,
    /// Time without a unit before that.
    idle: Duration,
    /// For counted devices of hashes, for the others of the budgets that they went through.
    pub(super) meter: Meter,
    /// Its best known rate.
    pub(super) rate: HashRate,
    /// What of it is in the sum of all devices.
    pub(super) counted_in: HashRate,
    pub(super) learned: bool,
    pub(super) shares: ShareCounts,
    pub(super) discards: DiscardCounts,
    pub(super) hits: u64,
    pub(super) hashes: u128,
    pub(super) given_up: u128,
    pub(super) best: Option<Difficulty>,
}

impl Device {
    pub(super) fn new(now: Instant, info: Arc<BackendInfo>) -> Self {
        Self {
            info,
            present: true,
            health: Health::default(),
            current: 0,
            held: 0,
            waiting: false,
            idle_since: Some(now),
            idle: Duration::ZERO,
            meter: Meter::new(now),
            rate: HashRate::default(),
            counted_in: HashRate::default(),
            learned: false,
            shares: ShareCounts::default(),
            discards: DiscardCounts::default(),
            hits: 0,
            hashes: 0,
            given_up: 0,
            best: None,
        }
    }

    /// It went and is here again: its counters go on, what it said of itself is forgotten.
    pub(super) fn come_back(&mut self, now: Instant, info: Arc<BackendInfo>) {
        self.info = info;
        self.present = true;
        self.health = Health::default();
        self.idle_since = Some(now);
    }

    /// It gets its first unit, or its first one after a rest.
    pub(super) fn begin(&mut self, now: Instant) {
        self.meter.start(now);
        self.idle = self.idle(now);
        self.idle_since = None;
    }

    /// It has no unit that is worth anything any more.
    pub(super) fn rest(&mut self, now: Instant) {
        self.meter.stop(now);
        self.idle_since = self.idle_since.or(Some(now));
    }

    /// It has gone.
    pub(super) fn leave(&mut self, now: Instant) {
        (self.present, self.current, self.held) = (false, 0, 0);
        self.meter.stop(now);
        self.idle = self.idle(now);
        self.idle_since = None;
        self.rate = HashRate::default();
    }

    fn idle(&self, now: Instant) -> Duration {
        self.idle + self.idle_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Books what is left of a unit that it is done with; `worked_through`: the budget is known to be used up.
    pub(super) fn give_up(&mut self, lease: &Leased, worked_through: bool) {
        // A device that doesn't count is taken at its word that it went through the budget.
        let budget = if worked_through && !self.info.counts_hashes { lease.unit.budget } else { 0 };
        self.given_up += lease.unit.size() - lease.done.max(budget);
    }

    /// Whether it can be handed a unit.
    pub(super) fn has_credit(&self) -> bool {
        self.present
            && self.health.state != HealthState::Quarantined
            && self.current < queue(&self.info)
            && self.held < credit(&self.info)
    }

    /// What it adds to the rate of all devices: one that does not work makes no hits for which others would have to hold
    /// theirs back.
    pub(super) fn contribution(&self) -> HashRate {
        match self.health.state {
            HealthState::Ok | HealthState::Degraded if self.present => self.rate,
            _ => HashRate::default(),
        }
    }

    /// How fast it goes through its units, and whether that is measured.
    ///
    /// This alone decides how long a unit lasts; whether the hashes were really done is for the proven rate to tell.
    pub(super) fn pace(&mut self, now: Instant) -> (HashRate, bool) {
        let measured = self.meter.recent_counted(now).or_else(|| self.meter.recent_proven(now, ENOUGH_HITS));
        (measured.unwrap_or(self.info.expected), measured.is_some())
    }

    /// Its best known hash rate.
    pub(super) fn best_rate(&mut self, now: Instant, pace: HashRate) -> HashRate {
        let rate = if self.info.counts_hashes {
            pace
        } else {
            self.meter.recent_proven(now, ENOUGH_HITS).unwrap_or(self.info.expected)
        };
        HashRate(if rate.0.is_finite() { rate.0.max(0.0) } else { 0.0 })
    }

    pub(super) fn snapshot(&mut self, now: Instant, backend: BackendId) -> DeviceSnapshot {
        let mut rates = self.meter.rates(now);
        if !self.info.counts_hashes {
            rates.counted = Default::default();
        }
        DeviceSnapshot {
            backend,
            info: Arc::clone(&self.info),
            present: self.present,
            health: self.health.clone(),
            rates,
            shares: self.shares.clone(),
            discards: self.discards,
            hits: self.hits,
            idle: self.idle(now),
            hashes: self.hashes,
            given_up: self.given_up,
            best: self.best,
        }
    }
}
