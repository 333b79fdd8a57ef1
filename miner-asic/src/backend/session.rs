//! Chips at work: from their initialisation to the end of the port, or to what stops them.

use std::time::{Duration, Instant};

use miner_core::backend::{BackendInfo, Health, HealthState};
use miner_core::share::Candidate;
use miner_core::types::Target;

use super::tally::Tally;
use super::work::{Closed, Work};
use super::world::{Guarding, World};
use super::{AsicConfig, Fault, Step};
use crate::board::{Danger, Telemetry};
use crate::chip::{ChipEvent, ChipFault, ChipProtocol, Transmit};
use crate::guard::Trip;
use crate::transport::{Link, LinkError};

/// How long chips may take to be initialised, frequency ramp included.
const INITIALISE: Duration = Duration::from_secs(60);
/// Time between two reports of health while nothing changes but figures.
const TELL: Duration = Duration::from_secs(5);

/// Why a session ended, where the port did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    /// There was no work for long; the board is better off without power.
    #[error("idle")]
    Idle,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Chips(#[from] ChipFault),
    #[error(transparent)]
    Trip(#[from] Trip),
    /// It hashes, but not as it should.
    #[error("{0}")]
    Ailing(String),
}

impl Stopped {
    /// Whether the board itself is in danger.
    pub(super) fn danger(&self) -> Option<&Danger> {
        if let Self::Trip(Trip::Danger(danger)) = self { Some(danger) } else { None }
    }
}

/// How a session ended.
pub(super) struct Ended {
    /// `Ok`: the port closed.
    pub(super) why: Result<(), Stopped>,
    /// How long the chips worked, once initialised.
    pub(super) worked: Duration,
}

/// The device at work.
pub(super) struct Session<'s, 'p> {
    pub(super) info: &'s BackendInfo,
    pub(super) config: &'s AsicConfig,
    pub(super) world: &'s dyn World,
    pub(super) clock_mhz: Option<f32>,
    pub(super) link: &'s dyn Link,
    pub(super) guard: &'s dyn Guarding,
    pub(super) chip: Box<dyn ChipProtocol>,
    pub(super) work: &'s mut Work<'p>,
    pub(super) tally: &'s mut Tally,
    pub(super) ready: Option<Ready>,
}

/// The chips are initialised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    chips: u16,
    since: Instant,
    /// When there was last work for them.
    busy: Instant,
    told: Option<(Instant, HealthState)>,
}

impl Session<'_, '_> {
    /// Works until the port closes or something is wrong. Units that the chips hold are given back.
    pub(super) fn run(mut self) -> Ended {
        self.tally.restart();
        let why = self.work_on(self.world.now() + INITIALISE);
        self.stop();
        self.work.give_back();
        let now = self.world.now();
        let worked = self.ready.map_or(Duration::ZERO, |ready| now.saturating_duration_since(ready.since));
        let why = match why {
            Ok(Closed) => Ok(()),
            Err(stopped) => Err(stopped),
        };
        Ended { why, worked }
    }

    fn work_on(&mut self, ready_by: Instant) -> Result<Closed, Stopped> {
        let mut buffer = [0; 2048];
        self.chip.handle_timeout(self.world.now());
        loop {
            self.guard.beat();
            self.hook(Step::Loop);
            if let Some(trip) = self.guard.trip() {
                return Err(trip.into());
            }
            if self.work.take().is_err() {
                return Ok(Closed);
            }
            let now = self.world.now();
            if self.ready.is_some() {
                self.work.load(now, &mut *self.chip);
            } else if now > ready_by {
                return Err(ChipFault::NoAnswer { doing: "initialising" }.into());
            }
            if self.chip.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.chip.handle_timeout(now);
            }
            self.transmit()?;
            self.handle_events(now)?;
            self.judge(now)?;
            let count = self.link.read(&mut buffer)?;
            if count > 0 {
                let now = self.world.now();
                self.chip.handle_bytes(now, buffer.get(..count).unwrap_or_default());
                self.handle_events(now)?;
                self.transmit()?;
            }
        }
    }

    /// Frames already in the system's buffer are never taken back: half a frame would put a chip without framing out
    /// of step for good, and a frame takes milliseconds.
    fn transmit(&mut self) -> Result<(), Stopped> {
        while let Some(transmit) = self.chip.poll_transmit() {
            match transmit {
                Transmit::Bytes(bytes) => self.link.write(&bytes)?,
                Transmit::Baud(baud) => self.link.set_baud(baud)?,
            }
        }
        Ok(())
    }

    fn handle_events(&mut self, now: Instant) -> Result<(), Stopped> {
        while let Some(event) = self.chip.poll_event() {
            match event {
                ChipEvent::Ready { chips } => {
                    self.ready = Some(Ready { chips, since: now, busy: now, told: None });
                }
                ChipEvent::Nonce { candidate, chip } => self.on_nonce(now, candidate, chip),
                ChipEvent::Progress { work, hashes, finished } => self.work.progress(work, hashes, finished),
                ChipEvent::Register { .. } => {}
                ChipEvent::Fault(fault @ (ChipFault::NoAnswer { .. } | ChipFault::WrongChips(_))) => {
                    return Err(fault.into());
                }
                ChipEvent::Fault(fault) => self.tally.fault(&fault),
            }
        }
        Ok(())
    }

    /// Right ones that the scheduler did not ask for are the only ones kept from it: wrong ones are for it to count.
    fn on_nonce(&mut self, now: Instant, candidate: Candidate, chip: Option<u16>) {
        self.hook(Step::Nonce);
        let Some(unit) = self.work.unit(candidate.work) else {
            return self.tally.fault(&ChipFault::LateNonce);
        };
        let hash = unit.header(candidate.version, candidate.nonce).hash();
        let right = self.info.report_floor.unwrap_or(Target::MAX).is_met_by(&hash);
        let wanted = unit.report_target.is_met_by(&hash);
        self.tally.nonce(now, chip, right);
        if wanted || !right {
            self.work.hit(candidate);
        }
    }

    fn judge(&mut self, now: Instant) -> Result<(), Stopped> {
        let works = self.work.works();
        let Some(ready) = &mut self.ready else { return Ok(()) };
        if works {
            ready.busy = now;
        } else if now.saturating_duration_since(ready.busy) >= self.config.idle {
            return Err(Stopped::Idle);
        }
        self.tally.works(now, self.work.expected_wait(self.info.expected));
        let (mut state, mut reason) = self.tally.judge(now, ready.chips);
        if state == HealthState::Sick {
            return Err(Stopped::Ailing(reason.unwrap_or_default()));
        }
        let telemetry = self.guard.telemetry();
        if let Some(celsius) = telemetry.celsius.filter(|celsius| *celsius >= self.config.warm) {
            state = HealthState::Degraded;
            reason = Some(format!("hot: {celsius:.0} °C"));
        }
        let due = ready.told.is_none_or(|(at, told)| told != state || now >= at + TELL);
        if due {
            ready.told = Some((now, state));
            let health = health(state, reason, telemetry, self.clock_mhz, ready.chips);
            self.work.health(health);
        }
        Ok(())
    }

    /// What the chips can be told to stop by frames alone; the guard does the rest.
    fn stop(&mut self) {
        self.chip.make_safe();
        while let Some(transmit) = self.chip.poll_transmit() {
            if let Transmit::Bytes(bytes) = transmit
                && self.link.write(&bytes).is_err()
            {
                break;
            }
        }
        // What it has to say of its units no longer matters: they are given back.
        while self.chip.poll_event().is_some() {}
    }

    fn hook(&self, step: Step) {
        match self.config.faults.as_ref().map_or(Fault::None, |fault| fault(step)) {
            Fault::None => {}
            Fault::Panic => panic!("a test asked for it"),
            Fault::Hang => loop {
                std::thread::park();
            },
        }
    }
}

fn health(
    state: HealthState,
    reason: Option<String>,
    telemetry: Telemetry,
    clock_mhz: Option<f32>,
    chips: u16,
) -> Health {
    let Telemetry { celsius, watts, millivolts, fan_rpm, fan_percent } = telemetry;
    Health {
        state,
        reason: reason.map(Into::into),
        celsius,
        watts,
        millivolts,
        fan_rpm,
        fan_percent,
        clock_mhz,
        chips: Some(chips),
        ..Health::default()
    }
}
