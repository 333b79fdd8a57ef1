//! The units of a chain: which one the chips work on, how far they must be, and when the next one is due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::types::{HashCount, HashRate};
use miner_core::work::WorkUnit;

use super::ChipEvent;
use super::outbox::Outbox;

/// How often progress is reported; the contract of backends asks for once a second.
const REPORT: Duration = Duration::from_millis(500);
/// The part of a unit's box after which it is replaced: a chip that is a little faster than nominal must not run dry.
pub(super) const PART: f64 = 0.97;
/// How much sooner than its box a unit ends, as far as half of it allows: that may be noticed only once the link was
/// waited for, and the next job takes its time on the link.
const SOONER: Duration = Duration::from_millis(10);
/// The longest that a unit is worked on, whatever its budget.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// Units in the order in which they came. Hashes are inferred: time × nominal rate, at most the unit's size.
#[derive(Debug)]
pub(super) struct Workload {
    rate: HashRate,
    /// The shortest time between two jobs: what the link takes to carry one.
    shortest: Duration,
    /// The part of a unit's box after which it is replaced.
    part: f64,
    waiting: VecDeque<WorkUnit>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    unit: Arc<WorkUnit>,
    rate: HashRate,
    since: Instant,
    until: Instant,
    report: Instant,
    reported: HashCount,
}

impl Workload {
    pub(super) fn new(rate: HashRate, shortest: Duration, part: f64) -> Self {
        Self { rate, shortest, part, waiting: VecDeque::new(), running: None }
    }

    /// What the chips can do, for the units from the next one on.
    pub(super) fn set_rate(&mut self, rate: HashRate) {
        self.rate = rate;
    }

    pub(super) fn push(&mut self, unit: WorkUnit) {
        self.waiting.push_back(unit);
    }

    /// The unit that comes next.
    pub(super) fn peek(&self) -> Option<&WorkUnit> {
        self.waiting.front()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Ends what runs and makes the next unit the running one, for at most `longest`.
    pub(super) fn next(
        &mut self,
        now: Instant,
        longest: Duration,
        out: &mut Outbox,
    ) -> Option<Arc<WorkUnit>> {
        let unit = Arc::new(self.waiting.pop_front()?);
        self.end(now, out);
        let time = |hashes: f64| Duration::try_from_secs_f64(hashes / self.rate.0).unwrap_or(LONGEST);
        let (budget, size) = (unit.budget as f64, unit.size() as f64);
        let whole = time(size);
        let before_dry = whole.saturating_sub(SOONER).max(whole / 2);
        let time = time(budget.min(size * self.part)).min(before_dry).min(longest);
        self.running = Some(Running {
            unit: Arc::clone(&unit),
            rate: self.rate,
            since: now,
            until: now + time.max(self.shortest),
            report: now + REPORT,
            reported: 0,
        });
        Some(unit)
    }

    /// Ends what runs; hashes by the clock.
    pub(super) fn end(&mut self, now: Instant, out: &mut Outbox) {
        let Some(running) = &self.running else { return };
        let done = Self::done(running, now);
        self.end_after(done, out);
    }

    /// Ends what runs; so many hashes of it are known to be done.
    pub(super) fn end_after(&mut self, done: HashCount, out: &mut Outbox) {
        let Some(running) = self.running.take() else { return };
        let hashes = done.min(running.unit.size()).saturating_sub(running.reported);
        out.say(ChipEvent::Progress { work: running.unit.id, hashes, finished: true });
    }

    /// Reports what is due; ends a unit whose time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        let Some(running) = &self.running else { return };
        if now >= running.until {
            return self.end(now, out);
        }
        let done = Self::done(running, now);
        let Some(running) = self.running.as_mut().filter(|running| now >= running.report) else { return };
        running.report = now + REPORT;
        let hashes = done.saturating_sub(running.reported);
        running.reported += hashes;
        out.say(ChipEvent::Progress { work: running.unit.id, hashes, finished: false });
    }

    /// Ends all units that are stale.
    pub(super) fn flush(&mut self, now: Instant, is_stale: &dyn Fn(&WorkUnit) -> bool, out: &mut Outbox) {
        if self.running.as_ref().is_some_and(|running| is_stale(&running.unit)) {
            self.end(now, out);
        }
        self.waiting.retain(|unit| {
            let stale = is_stale(unit);
            if stale {
                out.say(ChipEvent::Progress { work: unit.id, hashes: 0, finished: true });
            }
            !stale
        });
    }

    /// Ends all units; of the running one nothing more is claimed than was reported.
    pub(super) fn end_all(&mut self, out: &mut Outbox) {
        self.end_after(0, out);
        for unit in self.waiting.drain(..) {
            out.say(ChipEvent::Progress { work: unit.id, hashes: 0, finished: true });
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.until.min(running.report))
    }

    fn done(running: &Running, now: Instant) -> HashCount {
        let time = now.saturating_duration_since(running.since);
        (running.rate.hashes_in(time) as HashCount).min(running.unit.size())
    }
}
