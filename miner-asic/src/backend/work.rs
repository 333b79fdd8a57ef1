//! The units of a device: those that wait and those that its chips hold.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use miner_core::backend::{BackendEvent, BackendPort, Health};
use miner_core::share::Candidate;
use miner_core::types::{HashCount, HashRate, WorkId};
use miner_core::work::WorkUnit;

use super::world::World;
use crate::chip::ChipProtocol;

/// How often a resting device looks whether what it holds has become stale.
const LOOK: Duration = Duration::from_millis(100);

/// Finished units whose late nonces can still be told right from wrong.
const RECENT: usize = 32;

/// Every unit that came and was not reported finished.
pub(super) struct Work<'a> {
    port: &'a BackendPort,
    world: &'a dyn World,
    depth: usize,
    waiting: VecDeque<WorkUnit>,
    held: BTreeMap<WorkId, WorkUnit>,
    recent: VecDeque<WorkUnit>,
    /// What was told last of the device's health.
    told: Option<Health>,
}

/// The port is closed: the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl<'a> Work<'a> {
    /// `depth`: units that the chips hold at once.
    pub(super) fn new(port: &'a BackendPort, world: &'a dyn World, depth: u8) -> Self {
        Self {
            port,
            world,
            depth: depth.into(),
            waiting: VecDeque::new(),
            held: BTreeMap::new(),
            recent: VecDeque::new(),
            told: None,
        }
    }

    /// Takes what has come, and is done with what is stale and was not begun.
    pub(super) fn take(&mut self) -> Result<(), Closed> {
        loop {
            match self.port.try_next_unit() {
                Ok(unit) => self.waiting.push_back(unit),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Closed),
            }
        }
        self.drop_stale();
        Ok(())
    }

    /// Lets `time` pass.
    pub(super) fn rest(&mut self, time: Duration) -> Result<(), Closed> {
        let until = self.world.now() + time;
        loop {
            let left = until.saturating_duration_since(self.world.now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait(left.min(LOOK))?;
        }
    }

    /// Waits until there is a unit.
    pub(super) fn await_unit(&mut self) -> Result<(), Closed> {
        while self.waiting.is_empty() {
            self.wait(LOOK)?;
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) -> Result<(), Closed> {
        match self.world.wait(self.port, time) {
            Ok(unit) => self.waiting.push_back(unit),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Closed),
        }
        self.drop_stale();
        Ok(())
    }

    /// Has the chips let go of stale units, and hold as many fresh ones as they can.
    pub(super) fn load(&mut self, now: Instant, chip: &mut dyn ChipProtocol) {
        let port = self.port;
        if self.held.values().any(|unit| port.is_stale(unit)) {
            chip.flush(now, &|unit| port.is_stale(unit));
        }
        while self.held.len() < self.depth
            && let Some(unit) = self.waiting.pop_front()
        {
            self.held.insert(unit.id, unit.clone());
            chip.load(now, unit);
        }
    }

    /// Whether the chips have anything to do.
    pub(super) fn works(&self) -> bool {
        !self.held.is_empty()
    }

    /// How long a device of this rate takes on average for a nonce of what its chips have to do, if they have anything.
    pub(super) fn expected_wait(&self, rate: HashRate) -> Option<Duration> {
        let hashes = self.held.values().map(|unit| unit.report_target.expected_hashes()).reduce(f64::max)?;
        Some(Duration::try_from_secs_f64(hashes / rate.0.max(1.0)).unwrap_or(Duration::MAX))
    }

    /// The unit that a claim is about, if the chips hold it or held it lately.
    pub(super) fn unit(&self, work: WorkId) -> Option<&WorkUnit> {
        self.held.get(&work).or_else(|| self.recent.iter().find(|unit| unit.id == work))
    }

    /// Notes what the device can't be interrupted in.
    pub(super) fn busy(&self, what: &'static str) {
        self.port.busy().set(Some(what));
    }

    /// Passes a claim on.
    pub(super) fn hit(&self, candidate: Candidate) {
        self.port.report(BackendEvent::Hit(candidate));
    }

    /// Passes progress on; what is said of units that the chips don't hold is not.
    pub(super) fn progress(&mut self, work: WorkId, hashes: HashCount, finished: bool) {
        if !self.held.contains_key(&work) {
            return;
        }
        if finished && let Some(unit) = self.held.remove(&work) {
            self.retire(unit);
        }
        self.port.report(BackendEvent::Progress { work, hashes, finished });
    }

    /// Tells how the device is, once.
    pub(super) fn health(&mut self, health: Health) {
        if self.told.as_ref() != Some(&health) {
            self.told = Some(health.clone());
            self.port.report(BackendEvent::Health(health));
        }
    }

    /// The chips are no more: what they held is done with.
    pub(super) fn give_back(&mut self) {
        for (work, unit) in std::mem::take(&mut self.held) {
            self.retire(unit);
            self.finish(work);
        }
    }

    /// The device is no more.
    pub(super) fn abandon(&mut self) {
        self.give_back();
        for unit in std::mem::take(&mut self.waiting) {
            self.finish(unit.id);
        }
    }

    fn drop_stale(&mut self) {
        let port = self.port;
        self.waiting.retain(|unit| {
            let stale = port.is_stale(unit);
            if stale {
                port.report(BackendEvent::Progress { work: unit.id, hashes: 0, finished: true });
            }
            !stale
        });
    }

    fn retire(&mut self, unit: WorkUnit) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(unit);
    }

    fn finish(&self, work: WorkId) {
        self.port.report(BackendEvent::Progress { work, hashes: 0, finished: true });
    }
}
