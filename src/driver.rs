//! The driver: the only owner of the scheduler. It carries inputs in and outputs out, and waits for nobody.

use std::time::{Duration, Instant};

use miner_core::backend::{GenerationGate, HashBackend};
use miner_core::event::MinerEvent;
use miner_core::sched::{Command, Input, Output, Scheduler, SchedulerConfig, SourceEvent};
use miner_core::share::{LostReason, ShareOutcome};
use miner_core::types::SourceId;
use tokio::sync::mpsc;

use crate::backends::Backends;
use crate::bus::Bus;
use crate::event::{EndReason, EventKind};
use crate::pools::Pools;
use crate::settings::RunLimits;

/// How long answers are waited for at the end.
const DRAIN: Duration = Duration::from_secs(4);
/// How long devices are waited for, to tell the last of their hashes.
const LAST_WORD: Duration = Duration::from_millis(300);

/// What a run came to.
#[derive(Debug)]
pub struct End {
    /// Why it ended.
    pub reason: EndReason,
    /// Whether there ever was a job.
    pub had_job: bool,
}

/// Carries inputs into the scheduler and outputs out of it.
pub struct Driver {
    scheduler: Scheduler,
    gate: GenerationGate,
    backends: Backends,
    /// Devices that are still being made ready; `None` once no more will come.
    arrivals: Option<Arrivals>,
    /// Devices that are plugged in later. Nobody waits for these.
    newcomers: Option<Arrivals>,
    pools: Pools,
    bus: Bus,
    limits: RunLimits,
    report_every: Duration,
    accepted: u64,
    had_job: bool,
    state: State,
}

/// Where devices come from.
pub type Arrivals = mpsc::Receiver<Box<dyn HashBackend>>;

#[derive(Clone, Copy, Debug)]
enum State {
    Mining { next_report: Instant, until: Option<Instant> },
    Draining { reason: EndReason, devices_until: Instant, until: Instant },
    Ended(EndReason),
}

impl Driver {
    /// A driver that starts the backends as they arrive. One whose thread the system refuses is left out, and said.
    pub fn new(
        arrivals: Arrivals,
        pools: Pools,
        bus: Bus,
        limits: RunLimits,
        report_every: Duration,
    ) -> Self {
        Self::with_config(SchedulerConfig::default(), arrivals, pools, bus, limits, report_every)
    }

    /// The same, with a scheduler of these settings.
    pub fn with_config(
        config: SchedulerConfig,
        arrivals: Arrivals,
        pools: Pools,
        bus: Bus,
        limits: RunLimits,
        report_every: Duration,
    ) -> Self {
        let now = now();
        let sources =
            (0..pools.count()).map(|i| SourceId(u16::try_from(i).expect("checked with the settings")));
        Self {
            scheduler: Scheduler::new(config, now, sources),
            gate: GenerationGate::default(),
            backends: Backends::default(),
            arrivals: Some(arrivals),
            newcomers: None,
            pools,
            bus,
            limits,
            report_every,
            accepted: 0,
            had_job: false,
            state: State::Mining {
                next_report: now + report_every,
                until: limits.time.and_then(|limit| now.checked_add(limit)),
            },
        }
    }

    /// Has devices join that are plugged in while the others mine.
    pub fn joined_by(self, newcomers: Option<Arrivals>) -> Self {
        Self { newcomers, ..self }
    }

    /// Mines until a limit is reached, no device is left, or `stop` names a reason; then drains.
    ///
    /// Each further reason while draining ends the wait.
    pub async fn run(mut self, mut stop: mpsc::Receiver<EndReason>) -> End {
        let reason = loop {
            #[cfg(all(debug_assertions, feature = "asic"))]
            crate::hooks::strike(crate::hooks::Place::Driver);
            self.check_limits();
            if let State::Ended(reason) = self.state {
                break reason;
            }
            let deadline = tokio::time::Instant::from_std(self.next_deadline());
            tokio::select! {
                // A clean job must not queue behind a thousand hits, nor a timer behind a device that never pauses.
                biased;
                Some(reason) = stop.recv() => self.on_stop(reason),
                (source, event) = self.pools.recv() => self.on_source(source, event),
                backend = next(&mut self.arrivals) => self.on_arrival(backend),
                backend = next(&mut self.newcomers) => self.on_newcomer(backend),
                () = tokio::time::sleep_until(deadline) => self.on_timeout(),
                (backend, event) = self.backends.recv() => self.input(Input::Backend(backend, event)),
            }
        };
        self.finish(reason).await
    }

    /// Books what is left, tells the final account and stops the devices.
    async fn finish(mut self, reason: EndReason) -> End {
        for (source, event) in self.pools.shutdown().await {
            self.on_source(source, event);
        }
        let snapshot = self.scheduler.snapshot(now()).into();
        self.bus.emit(EventKind::Ended { reason, snapshot });
        let Self { backends, had_job, .. } = self;
        backends.stop();
        End { reason, had_job }
    }

    /// `None`: no more will come.
    fn on_arrival(&mut self, backend: Option<Box<dyn HashBackend>>) {
        match backend {
            Some(backend) => self.start(backend),
            None => self.arrivals = None,
        }
    }

    /// `None`: no more will come.
    fn on_newcomer(&mut self, backend: Option<Box<dyn HashBackend>>) {
        match (backend, self.state) {
            (Some(backend), State::Mining { .. }) => self.start(backend),
            // It is too late to power it up.
            (Some(_), State::Draining { .. } | State::Ended(_)) => {}
            (None, _) => self.newcomers = None,
        }
    }

    fn start(&mut self, backend: Box<dyn HashBackend>) {
        match self.backends.start(backend, self.gate.clone()) {
            Ok((id, info)) => self.input(Input::BackendUp(id, info)),
            Err(error) => tracing::error!(%error, "the system refuses a thread for a device"),
        }
    }

    fn on_source(&mut self, source: SourceId, event: SourceEvent) {
        self.had_job |= matches!(event, SourceEvent::Job(_));
        self.input(Input::Source(source, event));
    }

    fn on_stop(&mut self, reason: EndReason) {
        match self.state {
            State::Mining { .. } => self.drain(reason),
            State::Draining { .. } | State::Ended(_) => self.state = State::Ended(reason),
        }
    }

    fn on_timeout(&mut self) {
        let now = now();
        self.pools.handle_timeout(now);
        self.scheduler.handle_timeout(now);
        self.drain_outputs();
        if let State::Mining { next_report, .. } = &mut self.state
            && now >= *next_report
        {
            *next_report = now + self.report_every;
            let snapshot = self.scheduler.snapshot(now).into();
            self.bus.emit(EventKind::Snapshot(snapshot));
        }
    }

    /// Stops hashing; what is under way still gets its answer.
    fn drain(&mut self, reason: EndReason) {
        let now = now();
        self.state = State::Draining { reason, devices_until: now + LAST_WORD, until: now + DRAIN };
        self.input(Input::Command(Command::Pause));
        self.bus.emit(EventKind::Draining(reason));
    }

    fn check_limits(&mut self) {
        let now = now();
        match self.state {
            State::Mining { until, .. } => {
                if self.arrivals.is_none() && !self.backends.any_left() {
                    self.drain(EndReason::NoDevice);
                } else if self.limits.shares.is_some_and(|limit| self.accepted >= limit) {
                    self.drain(EndReason::SharesReached);
                } else if until.is_some_and(|until| now >= until) {
                    self.drain(EndReason::TimeLimit);
                }
            }
            State::Draining { .. } | State::Ended(_) => {}
        }
        if let State::Draining { reason, devices_until, until } = self.state {
            let answered = self.scheduler.pending_shares() == 0;
            let told = now >= devices_until || self.scheduler.held_units() == 0;
            if now >= until || answered && told {
                self.state = State::Ended(reason);
            }
        }
    }

    fn next_deadline(&mut self) -> Instant {
        let own = match self.state {
            State::Mining { next_report, until } => until.map_or(next_report, |until| until.min(next_report)),
            State::Draining { devices_until, until, .. } if now() >= devices_until => until,
            State::Draining { devices_until, .. } => devices_until,
            State::Ended(_) => now(),
        };
        [self.scheduler.next_deadline(), self.pools.next_deadline()]
            .into_iter()
            .flatten()
            .fold(own, Instant::min)
    }

    fn input(&mut self, input: Input) {
        self.scheduler.handle(now(), input);
        self.drain_outputs();
    }

    fn drain_outputs(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Advance(generation) => {
                    self.gate.advance(generation);
                    self.backends.wake();
                }
                Output::Feed(backend, unit) => self.backends.feed(backend, unit),
                Output::Submit(source, share) => {
                    if let Err(share) = self.pools.submit(source, share) {
                        let outcome = ShareOutcome::Lost(LostReason::NotSent);
                        let event = SourceEvent::Resolved { share: share.id, outcome };
                        self.scheduler.handle(now(), Input::Source(source, event));
                    }
                }
                Output::Emit(event) => self.emit(event),
            }
        }
    }

    fn emit(&mut self, event: MinerEvent) {
        match event {
            MinerEvent::ShareResolved { outcome: ShareOutcome::Accepted, .. } => self.accepted += 1,
            MinerEvent::Withholding { source, per_second } => self.pools.slow_down(source, per_second),
            _ => {}
        }
        self.bus.emit(EventKind::Miner(event));
    }
}

/// The next device; never again once no more will come. Cancel-safe.
async fn next(arrivals: &mut Option<Arrivals>) -> Option<Box<dyn HashBackend>> {
    match arrivals {
        Some(arrivals) => arrivals.recv().await,
        None => std::future::pending().await,
    }
}

/// The shell's clock: tokio's, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
