//! BM1384: GekkoScience Compac (one chip), 2Pac (two) and Terminus (more).
//!
//! Commands have four bytes, answers five, work the 64 bytes of an Icarus with an id, a ticket mask and a sweep in the
//! gap. A nonce carries no checksum, only the id of its job.

mod frame;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::share::Candidate;
use miner_core::types::HashRate;
use miner_core::work::{Granularity, WorkUnit};

use self::frame::{Answer, Clock, Command, task};
use super::outbox::{Outbox, Script, Step};
use super::workload::{LONGEST, Workload};
use super::{ChipEvent, ChipFault, ChipProtocol, TicketMask, Transmit};
use crate::slots::{Slots, Unclaimed};

/// The only baud rate of the chip; 8 data bits, no parity.
pub const BAUD: u32 = 115_200;
/// Clocks that may be asked for, MHz.
pub const CLOCKS: std::ops::RangeInclusive<f64> = 100.0..=500.0;
const CHIP_ID: u8 = 0x00;
const MODEL: u32 = 0x1384;
const CORES: u16 = 55;
const MAX_CHIPS: u16 = 64;

/// How long chips are given to say who they are.
const COUNTING: Duration = Duration::from_millis(500);
/// Time between the tasks that open cores, and before them: neither commands nor work have a preamble, so that only
/// silence tells where one ends.
const OPENING: Duration = Duration::from_millis(10);
/// Where the clock's ramp begins, MHz; it goes on while the chips find nonces.
const RAMP_START: f64 = 100.0;
const RAMP_STEP: f64 = 6.25;
const RAMP_PAUSE: Duration = Duration::from_secs(1);
/// How long the bytes of one answer may lie apart.
const SETTLE: Duration = Duration::from_millis(50);
/// The part of the nonces after which work is replaced: what shipping software does on Linux.
const PART: f64 = 0.5;

/// A chain, as its board has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bm1384Config {
    /// How many chips there must be; `None`: as many as answer.
    pub chips: Option<u16>,
    /// Their clock in MHz, within [`CLOCKS`]; met to 6.25 MHz, above 400 MHz to 12.5.
    pub mhz: f64,
}

impl Bm1384Config {
    /// The pieces of search space that a chain takes.
    pub fn granularity(&self) -> Granularity {
        Granularity::NonceSpaces { max_versions: 1 }
    }

    /// What so many chips do at the full clock.
    pub fn rate(&self, chips: u16) -> HashRate {
        rate(chips, self.mhz)
    }
}

/// A clock that BM1384 cannot be set to.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("BM1384 runs at 100 to 500 MHz, not at {0}")]
pub struct ClockError(f64);

/// A chain of BM1384.
#[derive(Debug)]
pub struct Bm1384 {
    config: Bm1384Config,
    phase: Phase,
    held: Vec<u8>,
    heard: Option<Instant>,
    chips: u16,
    clock: f64,
    /// Nonces since the clock was last raised, and when it may be raised next.
    nonces: u32,
    raise: Option<Instant>,
    /// The register asked for last, and the chip whose answer comes next.
    asked: Option<(u8, u16)>,
    slots: Slots<Arc<WorkUnit>>,
    workload: Workload,
    out: Outbox,
}

#[derive(Debug)]
enum Phase {
    Off,
    Counting(Script, Vec<u32>),
    SettingUp(Script),
    Mining,
    Stopped,
}

impl Bm1384 {
    /// A chain. Nothing is sent yet.
    pub fn new(config: Bm1384Config) -> Result<Self, ClockError> {
        if !CLOCKS.contains(&config.mhz) {
            return Err(ClockError(config.mhz));
        }
        // 64 bytes of ten bits each, and a quarter more.
        let shortest = Duration::from_secs(800) / BAUD;
        Ok(Self {
            config,
            phase: Phase::Off,
            held: Vec::new(),
            heard: None,
            chips: 0,
            clock: RAMP_START,
            nonces: 0,
            raise: None,
            asked: None,
            slots: Slots::new(8, 1),
            workload: Workload::new(HashRate(0.0), shortest, PART),
            out: Outbox::default(),
        })
    }

    fn advance(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Off | Phase::Stopped => {}
            Phase::Counting(script, _) => {
                if script.run(now, &mut self.out) {
                    self.on_counted(now);
                }
            }
            Phase::SettingUp(script) => {
                if script.run(now, &mut self.out) {
                    self.phase = Phase::Mining;
                    self.raise = Some(now + RAMP_PAUSE);
                    self.out.say(ChipEvent::Ready { chips: self.chips });
                    self.work_on(now);
                }
            }
            Phase::Mining => {
                self.workload.handle_timeout(now, &mut self.out);
                self.work_on(now);
                // Commands come after work, not just before it: by the next work there is silence.
                self.raise_clock(now);
            }
        }
    }

    fn on_counted(&mut self, now: Instant) {
        let Phase::Counting(_, ids) = &mut self.phase else { return };
        let ids = std::mem::take(ids);
        match self.check(&ids) {
            Ok(chips) => {
                self.chips = chips;
                self.workload.set_rate(rate(chips, self.clock));
                self.phase = Phase::SettingUp(Script::new(self.setup()));
                self.advance(now);
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// How many chips there are, if they are what was expected.
    fn check(&self, ids: &[u32]) -> Result<u16, ChipFault> {
        if let Some(other) = ids.iter().find(|id| *id >> 16 != MODEL) {
            return Err(ChipFault::WrongChips(format!(
                "a chip says it is a BM{:04x}, not a BM1384",
                other >> 16
            )));
        }
        let expected = self.config.chips;
        match u16::try_from(ids.len()) {
            Ok(0) => Err(ChipFault::NoAnswer { doing: "counting chips" }),
            Ok(chips) if chips <= MAX_CHIPS && expected.is_none_or(|expected| expected == chips) => Ok(chips),
            _ => {
                let (found, expected) = (ids.len(), expected.unwrap_or(MAX_CHIPS));
                Err(ChipFault::WrongChips(format!("{found} chips answer where {expected} are expected")))
            }
        }
    }

    /// Addresses, the first clock, and a task for each core and one more, which opens them.
    fn setup(&self) -> Vec<Step> {
        let mut steps = self.addresses();
        steps.extend(self.clock_frames().map(Step::Send));
        steps.push(Step::Pause(OPENING));
        for id in 0..=CORES {
            let opener = task(&[0; 32], &[0; 12], 0x10 | id as u8 & 0x0f, TicketMask::EASIEST, 0);
            steps.extend([Step::Send(opener.to_vec()), Step::Pause(OPENING)]);
        }
        steps
    }

    fn addresses(&self) -> Vec<Step> {
        let inactive = Step::Send(Command::ChainInactive.encode().to_vec());
        let each = (0..self.chips).map(|chip| self.address(chip));
        let set = each.map(|address| Step::Send(Command::SetAddress(address).encode().to_vec()));
        [inactive].into_iter().chain(set).collect()
    }

    /// Sets the clock; the chips forget their addresses over it.
    fn clock_frames(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let clock = Command::WriteClock(Clock::nearest(self.clock)).encode().to_vec();
        let frames = self.addresses().into_iter().filter_map(|step| match step {
            Step::Send(frame) => Some(frame),
            _ => None,
        });
        [clock].into_iter().chain(frames)
    }

    /// One step up once a second, as long as nonces come and the clock is not what was asked for.
    fn raise_clock(&mut self, now: Instant) {
        if self.clock >= self.config.mhz || self.raise.is_none_or(|raise| now < raise) {
            return;
        }
        self.raise = Some(now + RAMP_PAUSE);
        if std::mem::take(&mut self.nonces) > 0 {
            self.clock = (self.clock + RAMP_STEP).min(self.config.mhz);
            self.clock_frames().for_each(|frame| self.out.send(frame));
            self.workload.set_rate(rate(self.chips, Clock::nearest(self.clock).mhz()));
        }
    }

    fn work_on(&mut self, now: Instant) {
        if !self.workload.is_idle() {
            return;
        }
        let Some(unit) = self.workload.next(now, LONGEST, &mut self.out) else { return };
        let header = unit.header(unit.version_at(unit.versions.first), 0).to_bytes();
        let ticket = TicketMask::for_target(unit.report_target);
        let place = self.slots.insert(unit);
        let sweep = u32::MAX / u32::from(self.chips.max(1));
        let (midstate, tail) = (super::wire::midstate(&header), super::wire::tail(&header));
        self.out.send(task(&midstate, &tail, 0x10 | place as u8, ticket, sweep).to_vec());
    }

    /// Reads what is held as long as it begins with a whole answer; where it does not, a byte is dropped and counted.
    fn take_answers(&mut self) -> u32 {
        let mut dropped = 0;
        while let Some(frame) = self.held.first_chunk::<{ frame::ANSWER }>() {
            if let Some(answer) = Answer::read(frame) {
                self.held.drain(..frame::ANSWER);
                self.on_answer(answer);
            } else {
                self.held.remove(0);
                dropped += 1;
            }
        }
        dropped
    }

    fn on_answer(&mut self, answer: Answer) {
        match (answer, &mut self.phase) {
            (Answer::Value(value), Phase::Counting(_, ids)) if ids.len() <= usize::from(MAX_CHIPS) => {
                ids.push(value)
            }
            (Answer::Value(value), Phase::Mining) => {
                let Some((register, chip)) = self.asked else { return };
                self.asked = (chip + 1 < self.chips).then_some((register, chip + 1));
                self.out.say(ChipEvent::Register { chip, register, value });
            }
            (Answer::Nonce { nonce, job }, Phase::Mining) => self.on_nonce(nonce, job),
            _ => {}
        }
    }

    fn on_nonce(&mut self, nonce: [u8; 4], job: u8) {
        self.nonces = self.nonces.saturating_add(1);
        let value = u32::from_le_bytes(nonce);
        match self.slots.claim(usize::from(job & 0x0f), (value, 0)) {
            Ok(unit) => {
                let version = unit.version_at(unit.versions.first);
                let candidate = Candidate { work: unit.id, version, ntime: unit.ntime, nonce: value };
                let chip = (u16::from(nonce[0]) / (256 / self.chips)).min(self.chips - 1);
                self.out.say(ChipEvent::Nonce { candidate, chip: Some(chip) });
            }
            Err(Unclaimed::Late) => self.out.complain(ChipFault::LateNonce),
            Err(Unclaimed::Duplicate) => self.out.complain(ChipFault::DuplicateNonce),
        }
    }

    fn drop_rest(&mut self, now: Instant) {
        if self.rest_deadline().is_some_and(|deadline| now >= deadline) {
            self.out.complain_of_garbage(self.held.len() as u32);
            self.held.clear();
        }
    }

    fn rest_deadline(&self) -> Option<Instant> {
        self.heard.filter(|_| !self.held.is_empty()).map(|heard| heard + SETTLE)
    }

    /// Evenly spaced, so that they part the nonces evenly.
    fn address(&self, chip: u16) -> u8 {
        (chip * (256 / self.chips)) as u8
    }

    fn fail(&mut self, fault: ChipFault) {
        self.phase = Phase::Stopped;
        self.workload.end_all(&mut self.out);
        self.out.complain(fault);
    }
}

impl ChipProtocol for Bm1384 {
    fn load(&mut self, now: Instant, unit: WorkUnit) {
        self.workload.push(unit);
        match self.phase {
            Phase::Mining => self.work_on(now),
            Phase::Stopped => self.workload.end_all(&mut self.out),
            _ => {}
        }
    }

    fn flush(&mut self, now: Instant, is_stale: &dyn Fn(&WorkUnit) -> bool) {
        self.workload.flush(now, is_stale, &mut self.out);
        if matches!(self.phase, Phase::Mining) {
            self.work_on(now);
        }
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if matches!(self.phase, Phase::Off | Phase::Stopped) {
            return;
        }
        self.drop_rest(now);
        self.heard = Some(now);
        let mut dropped = 0;
        for &byte in bytes {
            self.held.push(byte);
            dropped += self.take_answers();
        }
        self.out.complain_of_garbage(dropped);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.drop_rest(now);
        if matches!(self.phase, Phase::Off) {
            let ask = Command::Read(None, CHIP_ID).encode().to_vec();
            let script = Script::new([Step::Send(ask), Step::Pause(COUNTING)]);
            self.phase = Phase::Counting(script, Vec::new());
        }
        self.advance(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let next = match &self.phase {
            Phase::Counting(script, _) | Phase::SettingUp(script) => script.deadline(),
            Phase::Mining => {
                let raise = self.raise.filter(|_| self.clock < self.config.mhz);
                raise.into_iter().chain(self.workload.deadline()).min()
            }
            Phase::Off | Phase::Stopped => return None,
        };
        next.into_iter().chain(self.rest_deadline()).min()
    }

    /// Chips are asked one by one, as their answers do not name them.
    fn read(&mut self, register: u8) {
        if matches!(self.phase, Phase::Mining) {
            self.asked = Some((register, 0));
            for chip in 0..self.chips {
                self.out.send(Command::Read(Some(self.address(chip)), register).encode().to_vec());
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<ChipEvent> {
        self.out.poll_event()
    }

    /// There is no stop: the chips get a task without a sweep in place of theirs.
    fn make_safe(&mut self) {
        self.out.unsend();
        self.workload.end_all(&mut self.out);
        if !matches!(self.phase, Phase::Off) {
            self.out.send(task(&[0; 32], &[0; 12], 0x10, TicketMask::EASIEST, 0).to_vec());
        }
        self.phase = Phase::Stopped;
    }
}

fn rate(chips: u16, mhz: f64) -> HashRate {
    HashRate(f64::from(chips) * f64::from(CORES) * mhz * 1e6)
}
