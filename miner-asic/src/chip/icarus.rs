//! Icarus, Block Erupter and AntMiner U1/U2: 64 bytes of work in, four or five bytes of nonce out, and nothing else.
//!
//! There are no frames, checksums or ids. A new block of work replaces the one before at once; a device that has gone
//! through all nonces says nothing. So whether an answer belongs to the work of now or of before is found by hashing.

mod clock;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::share::Candidate;
use miner_core::types::{HashRate, Target};
use miner_core::work::{Granularity, WorkUnit};

use self::clock::set_clock;
use super::outbox::Outbox;
use super::wire::{midstate, tail};
use super::workload::{LONGEST, PART, Workload};
use super::{ChipEvent, ChipFault, ChipProtocol, TicketMask, Transmit};
use crate::slots::{Slots, Unclaimed};

/// The only baud rate of the family.
pub const BAUD: u32 = 115_200;
const WORK: usize = 64;

/// Work whose answer is known: block 171,874. Found after 100,258 tries.
const GOLDEN_MIDSTATE: [u8; 32] = [
    0x46, 0x79, 0xba, 0x4e, 0xc9, 0x98, 0x76, 0xbf, 0x4b, 0xfe, 0x08, 0x60, 0x82, 0xb4, 0x00, 0x25, 0x4d,
    0xf6, 0xc3, 0x56, 0x45, 0x14, 0x71, 0x13, 0x9a, 0x3a, 0xfa, 0x71, 0xe4, 0x8f, 0x54, 0x4a,
];
const GOLDEN_TAIL: [u8; 12] = [0x87, 0x32, 0x0b, 0x1a, 0x14, 0x26, 0x67, 0x4f, 0x2f, 0xa7, 0x22, 0xce];
const GOLDEN_NONCE: [u8; 4] = [0x00, 0x01, 0x87, 0xa2];

/// Work whose first answer tells into how many engines the nonces are split.
const ENGINES_MIDSTATE: [u8; 32] = [
    0x2e, 0x4c, 0x8f, 0x91, 0xfd, 0x59, 0x5d, 0x2d, 0x7e, 0xa2, 0x0a, 0xaa, 0xcb, 0x64, 0xa2, 0xa0, 0x43,
    0x82, 0x86, 0x02, 0x77, 0xcf, 0x26, 0xb6, 0xa1, 0xee, 0x04, 0xc5, 0x6a, 0x5b, 0x50, 0x4a,
];
const ENGINES_TAIL: [u8; 12] = [0x64, 0x61, 0x01, 0x1a, 0xc9, 0x06, 0xa9, 0x51, 0xfb, 0x9b, 0x3c, 0x73];
const ENGINES_NONCES: [([u8; 4], u32); 4] = [
    ([0x04, 0xc0, 0xfd, 0xb4], 1),
    ([0x82, 0x54, 0x0e, 0x46], 2),
    ([0x41, 0x7c, 0x0f, 0x36], 4),
    ([0x60, 0xc9, 0x94, 0xd5], 8),
];

/// How long the golden work may take, and how often it is tried.
const GOLDEN_WAIT: Duration = Duration::from_millis(300);
const GOLDEN_TRIES: u8 = 2;
/// How long bytes that belong to one answer may lie apart: USB bridges hold them back for up to 16 ms.
const SETTLE: Duration = Duration::from_millis(50);
/// How long the work for counting engines may take: some 80 million tries.
const ENGINES_WAIT: Duration = Duration::from_millis(600);
/// What an AntMiner's clock needs to settle.
const CLOCK_WAIT: Duration = Duration::from_millis(500);

/// A device of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IcarusKind {
    /// Two FPGAs of 190 MH/s (Icarus, and boards that speak like one).
    Icarus,
    /// Block Erupter USB (BE100): 336 MH/s, goes on after a nonce.
    Erupter,
    /// AntMiner U1 or U2 (BM1380) at a clock in MHz, 125 to 500.
    AntMiner {
        /// The clock.
        mhz: f64,
    },
}

impl IcarusKind {
    /// The pieces of search space that it takes.
    pub fn granularity(self) -> Granularity {
        Granularity::NonceSpaces { max_versions: 1 }
    }

    /// Its nominal rate.
    pub fn rate(self) -> HashRate {
        HashRate(match self {
            Self::Icarus => 1.0 / 2.64083e-9,
            Self::Erupter => 1.0 / 2.9761e-9,
            Self::AntMiner { mhz } => mhz * 8e6,
        })
    }

    /// The easiest target that it reports: 32 zero bits.
    pub fn report_floor(self) -> Target {
        TicketMask::EASIEST.floor()
    }

    /// Bytes of an answer: the nonce, and one more whose meaning nobody knows.
    fn answer(self) -> usize {
        if matches!(self, Self::AntMiner { .. }) { 5 } else { 4 }
    }

    /// Whether it goes on with its work after a nonce.
    fn continues(self) -> bool {
        self == Self::Erupter
    }
}

/// A clock that an AntMiner cannot be set to.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("an AntMiner runs at 125 to 500 MHz, not at {0}")]
pub struct ClockError(f64);

/// One device.
#[derive(Debug)]
pub struct Icarus {
    kind: IcarusKind,
    phase: Phase,
    /// Bytes that are no whole answer yet, and when the last of them came.
    held: Vec<u8>,
    heard: Option<Instant>,
    engines: u32,
    slots: Slots<Arc<WorkUnit>>,
    /// Where in there the work of now is, and the work of before.
    current: usize,
    before: usize,
    workload: Workload,
    out: Outbox,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Off,
    /// The golden work was sent for the n-th time; `clocked`: again, after the clock was set.
    Golden {
        tries: u8,
        until: Instant,
        clocked: bool,
    },
    /// The golden nonce came; more bytes would tell another kind.
    Surplus {
        until: Instant,
        clocked: bool,
    },
    Clock {
        until: Instant,
    },
    Engines {
        until: Instant,
    },
    Mining,
    Stopped,
}

impl Icarus {
    /// A device of this kind. Nothing is sent yet.
    pub fn new(kind: IcarusKind) -> Result<Self, ClockError> {
        if let IcarusKind::AntMiner { mhz } = kind
            && !(125.0..=500.0).contains(&mhz)
        {
            return Err(ClockError(mhz));
        }
        Ok(Self {
            kind,
            phase: Phase::Off,
            held: Vec::new(),
            heard: None,
            engines: 1,
            slots: Slots::new(2, 1),
            current: 0,
            before: 0,
            // 64 bytes of ten bits each, and a quarter more.
            workload: Workload::new(kind.rate(), Duration::from_secs(800) / BAUD, PART),
            out: Outbox::default(),
        })
    }

    fn try_golden(&mut self, now: Instant, tries: u8, clocked: bool) {
        self.held.clear();
        self.out.send(block(&GOLDEN_MIDSTATE, &GOLDEN_TAIL).to_vec());
        self.phase = Phase::Golden { tries, until: now + GOLDEN_WAIT, clocked };
    }

    fn on_detected(&mut self, now: Instant, clocked: bool) {
        let (expected, surplus) = (self.kind.answer() - GOLDEN_NONCE.len(), self.held.len());
        self.held.clear();
        if surplus != expected {
            let bytes = GOLDEN_NONCE.len() + surplus;
            let expected = self.kind.answer();
            return self
                .fail(ChipFault::WrongChips(format!("it answers in {bytes} bytes instead of {expected}")));
        }
        match self.kind {
            IcarusKind::AntMiner { mhz } if !clocked => {
                self.out.send(set_clock(mhz).to_vec());
                self.phase = Phase::Clock { until: now + CLOCK_WAIT };
            }
            IcarusKind::AntMiner { .. } => self.on_ready(now),
            IcarusKind::Icarus | IcarusKind::Erupter => {
                self.out.send(block(&ENGINES_MIDSTATE, &ENGINES_TAIL).to_vec());
                self.phase = Phase::Engines { until: now + ENGINES_WAIT };
            }
        }
    }

    fn on_ready(&mut self, now: Instant) {
        self.held.clear();
        self.phase = Phase::Mining;
        self.out.say(ChipEvent::Ready { chips: 1 });
        self.work_on(now);
    }

    /// Sends the next unit if the device has none.
    fn work_on(&mut self, now: Instant) {
        while self.workload.is_idle() {
            let Some(unit) = self.workload.next(now, LONGEST, &mut self.out) else { return };
            let header = unit.header(unit.version_at(unit.versions.first), 0).to_bytes();
            let block = block(&midstate(&header), &tail(&header));
            if sets_cairnsmore_clock(&block) {
                self.workload.end_after(0, &mut self.out);
                continue;
            }
            self.before = std::mem::replace(&mut self.current, self.slots.insert(unit));
            self.out.send(block.to_vec());
        }
    }

    /// Looks for the golden nonce, after whatever an earlier program's work may still answer.
    fn look_for_golden(&mut self, now: Instant, clocked: bool) {
        if let Some(at) = self.held.windows(GOLDEN_NONCE.len()).position(|window| window == GOLDEN_NONCE) {
            self.held.drain(..at + GOLDEN_NONCE.len());
            self.phase = Phase::Surplus { until: now + SETTLE, clocked };
        } else {
            self.held.drain(..self.held.len().saturating_sub(GOLDEN_NONCE.len()));
        }
    }

    fn look_for_engines(&mut self, now: Instant) {
        let said =
            self.held.windows(4).find_map(|window| ENGINES_NONCES.iter().find(|(nonce, _)| window == nonce));
        if let Some((_, engines)) = said {
            self.engines = *engines;
            self.on_ready(now);
        }
    }

    fn take_answers(&mut self, now: Instant) {
        let length = self.kind.answer();
        while let Some(nonce) = self.held.first_chunk().copied().filter(|_| self.held.len() >= length) {
            self.held.drain(..length);
            self.on_nonce(now, nonce);
        }
    }

    fn on_nonce(&mut self, now: Instant, nonce: [u8; 4]) {
        let value = u32::from_le_bytes(nonce);
        let solves = |place: &usize| self.slots.get(*place).is_some_and(|unit| is_hit(unit, value));
        // What solves neither is the current work's: an error, for others to count.
        let place = [self.current, self.before].into_iter().find(solves).unwrap_or(self.current);
        match self.slots.claim(place, (value, 0)) {
            Ok(unit) => {
                let version = unit.version_at(unit.versions.first);
                let candidate = Candidate { work: unit.id, version, ntime: unit.ntime, nonce: value };
                self.out.say(ChipEvent::Nonce { candidate, chip: Some(0) });
                let right = is_hit(unit, value);
                if place == self.current && !self.kind.continues() {
                    self.on_stopped(now, right.then(|| self.tries_until(nonce)));
                }
            }
            Err(Unclaimed::Late) => self.out.complain(ChipFault::LateNonce),
            Err(Unclaimed::Duplicate) => self.out.complain(ChipFault::DuplicateNonce),
        }
    }

    /// The device stands still after its answer: it is done with the unit, after so many tries if they are known.
    fn on_stopped(&mut self, now: Instant, tries: Option<u128>) {
        match tries {
            Some(tries) => self.workload.end_after(tries, &mut self.out),
            None => self.workload.end(now, &mut self.out),
        }
        self.work_on(now);
    }

    /// What all engines together have tried when one of them comes upon this nonce, each going up through its part.
    fn tries_until(&self, nonce: [u8; 4]) -> u128 {
        let part = (1u64 << 32) / u64::from(self.engines);
        let tried = u64::from(u32::from_be_bytes(nonce)) % part + 1;
        u128::from(tried) * u128::from(self.engines)
    }

    /// Drops what was left alone for too long to become an answer.
    fn drop_rest(&mut self, now: Instant) {
        if self.rest_deadline().is_some_and(|deadline| now >= deadline) {
            self.out.complain_of_garbage(self.held.len() as u32);
            self.held.clear();
        }
    }

    fn rest_deadline(&self) -> Option<Instant> {
        self.heard.filter(|_| !self.held.is_empty()).map(|heard| heard + SETTLE)
    }

    fn fail(&mut self, fault: ChipFault) {
        self.phase = Phase::Stopped;
        self.workload.end_all(&mut self.out);
        self.out.complain(fault);
    }
}

impl ChipProtocol for Icarus {
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
        if self.phase == Phase::Mining {
            self.work_on(now);
        }
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if matches!(self.phase, Phase::Off | Phase::Stopped) {
            return;
        }
        self.drop_rest(now);
        self.heard = Some(now);
        for &byte in bytes {
            // Bounded: more than this is no answer in any phase.
            if self.held.len() < 2 * WORK {
                self.held.push(byte);
            }
            match self.phase {
                Phase::Golden { clocked, .. } => self.look_for_golden(now, clocked),
                Phase::Engines { .. } => self.look_for_engines(now),
                Phase::Mining => self.take_answers(now),
                Phase::Off | Phase::Surplus { .. } | Phase::Clock { .. } | Phase::Stopped => {}
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Off => self.try_golden(now, 1, false),
            Phase::Golden { tries, until, clocked } if now >= until => {
                if tries < GOLDEN_TRIES {
                    self.try_golden(now, tries + 1, clocked);
                } else {
                    self.fail(ChipFault::NoAnswer { doing: "looking for the golden nonce" });
                }
            }
            Phase::Surplus { until, clocked } if now >= until => self.on_detected(now, clocked),
            Phase::Clock { until } if now >= until => self.try_golden(now, 1, true),
            Phase::Engines { until } if now >= until => {
                // Most boards that don't say have two.
                self.engines = 2;
                self.on_ready(now);
            }
            Phase::Mining => {
                self.drop_rest(now);
                self.workload.handle_timeout(now, &mut self.out);
                self.work_on(now);
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Golden { until, .. }
            | Phase::Surplus { until, .. }
            | Phase::Clock { until }
            | Phase::Engines { until } => Some(until),
            Phase::Mining => self.workload.deadline().into_iter().chain(self.rest_deadline()).min(),
            Phase::Off | Phase::Stopped => None,
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<ChipEvent> {
        self.out.poll_event()
    }

    /// The family knows no stop: a device stands still by itself once it has gone through its work.
    fn make_safe(&mut self) {
        self.out.unsend();
        self.workload.end_all(&mut self.out);
        self.phase = Phase::Stopped;
    }
}

/// A block of work.
fn block(midstate: &[u8; 32], tail: &[u8; 12]) -> [u8; WORK] {
    let mut block = [0; WORK];
    block[..32].copy_from_slice(midstate);
    block[52..].copy_from_slice(tail);
    block
}

/// Firmware of the Cairnsmore takes this for a command to change its clock.
fn sets_cairnsmore_clock(block: &[u8; WORK]) -> bool {
    block[..32] == [0; 32] && block[56..60] == [0xff; 4]
}

/// Whether the header with this nonce hashes to 32 zero bits.
fn is_hit(unit: &WorkUnit, nonce: u32) -> bool {
    unit.header(unit.version_at(unit.versions.first), nonce).hash().to_target().high_word() == 0
}
