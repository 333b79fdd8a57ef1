//! Icarus, Block Erupter USB, AntMiner U1 and U2: 64 bytes of work in, a nonce out, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answers::KnownAnswers;
use crate::crc::crc5;
use crate::device::{Counts, Device, Fault, Frame, State};
use crate::hash::{Work, passes};
use crate::outbox::{Outbox, earliest};
use crate::sweep::Sweep;

const WORK_BYTES: usize = 64;
/// Silence after which begun work is forgotten and a short burst is a command.
const GAP: Duration = Duration::from_millis(10);
/// Core voltage of all of them, in mV: none can change it.
const MILLIVOLTS: u32 = 1200;

/// Which device of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcarusKind {
    /// Two FPGAs, 380 MH/s; stops at a nonce.
    Icarus,
    /// Block Erupter USB, 336 MH/s; goes on after a nonce.
    Erupter,
    /// AntMiner U1 or U2, 8 hashes a clock from 125 to 500 MHz; answers have 5 bytes; stops at a nonce.
    AntMinerU1,
}

/// A device of the Icarus family.
#[derive(Debug)]
pub struct Icarus {
    kind: IcarusKind,
    answers: Arc<KnownAnswers>,
    /// Nonces of each engine that are really hashed when work comes.
    brute_force: u32,
    megahertz: f64,
    factor: f64,
    dead: bool,
    plugged: bool,
    input: Vec<u8>,
    last_input: Option<Instant>,
    sweep: Option<Sweep<[u8; 4]>>,
    outbox: Outbox,
    counts: Counts,
}

impl IcarusKind {
    /// Engines that share the nonces, a power of two.
    fn engines(self) -> u32 {
        match self {
            Self::Icarus => 2,
            Self::Erupter | Self::AntMinerU1 => 1,
        }
    }

    fn stops_at_a_nonce(self) -> bool {
        self != Self::Erupter
    }
}

impl Icarus {
    /// Makes a device that finds `answers`, and what is among the first `brute_force` nonces of each engine.
    ///
    /// Those are really hashed, whenever work comes, and that takes time: 131,072 of them hold the answer to the work by which
    /// drivers recognise the family.
    pub fn new(kind: IcarusKind, answers: Arc<KnownAnswers>, brute_force: u32) -> Self {
        Self {
            kind,
            answers,
            brute_force,
            megahertz: 250.0,
            factor: 1.0,
            dead: false,
            plugged: true,
            input: Vec::new(),
            last_input: None,
            sweep: None,
            outbox: Outbox::new(0),
            counts: Counts::default(),
        }
    }

    /// Hashes a second.
    fn hash_rate(&self) -> f64 {
        let rate = match self.kind {
            IcarusKind::Icarus => 1e9 / 2.640_83,
            IcarusKind::Erupter => 1e9 / 2.976_1,
            IcarusKind::AntMinerU1 => 8e6 * self.megahertz,
        };
        if self.dead { 0.0 } else { rate * self.factor }
    }

    /// Nonces a second of each engine.
    fn engine_rate(&self) -> f64 {
        self.hash_rate() / f64::from(self.kind.engines())
    }

    fn on_work(&mut self, now: Instant, bytes: &[u8; WORK_BYTES]) {
        self.counts.works += 1;
        let midstate = bytes.first_chunk().expect("32 of 64 bytes");
        let tail = bytes.last_chunk().expect("12 of 64 bytes");
        let work = Work::from_wire(midstate, tail);
        let range = (1u64 << 32) / u64::from(self.kind.engines());
        let mut nonces = self.answers.of_work(&work).to_vec();
        for engine in 0..u64::from(self.kind.engines()) {
            let first = engine * range;
            let tried = (first..first + range).take(self.brute_force as usize);
            nonces.extend(tried.map(|nonce| (nonce as u32).to_be_bytes()));
        }
        nonces.retain(|&nonce| passes(&work.hash(nonce), 0));
        nonces.sort_unstable();
        nonces.dedup();
        let place = |nonce: [u8; 4]| (u64::from(u32::from_be_bytes(nonce)) % range) as f64;
        let hits = nonces.into_iter().map(|nonce| (place(nonce), nonce)).collect();
        self.sweep = Some(Sweep::new(now, self.engine_rate(), range as f64, false, hits));
    }

    /// Looks at bytes that no more followed: a command to a U1, or work that broke off.
    fn on_silence(&mut self, now: Instant) {
        if self.kind == IcarusKind::AntMinerU1
            && let [0x82, high, low, crc] = self.input[..]
        {
            if crc5(&[0x82, high, low, 0], 27) == crc {
                self.set_pll(now, u16::from_be_bytes([high, low]));
            } else {
                self.counts.bad_frames += 1;
            }
        }
        self.input.clear();
    }

    /// Bits 12 to 7 multiply 25 MHz, 6 to 2 and 1 to 0 divide.
    fn set_pll(&mut self, now: Instant, register: u16) {
        let (m, n, od) = (register >> 7 & 0x3f, register >> 2 & 0x1f, register & 3);
        self.megahertz = 25.0 * f64::from(m + 1) / f64::from((n + 1) << od);
        self.reclock(now);
    }

    fn reclock(&mut self, now: Instant) {
        let rate = self.engine_rate();
        if let Some(sweep) = &mut self.sweep {
            sweep.set_rate(now, rate);
        }
    }

    fn report(&mut self, now: Instant, nonce: [u8; 4]) {
        self.counts.nonces += 1;
        let five = self.kind == IcarusKind::AntMinerU1;
        self.outbox.push_nonce(now, nonce, |nonce, _| {
            let mut answer = nonce.to_vec();
            answer.extend(five.then_some(0));
            answer
        });
        if self.kind.stops_at_a_nonce() {
            self.sweep = None;
        }
    }

    fn silence_due(&self) -> Option<Instant> {
        self.last_input.filter(|_| !self.input.is_empty()).map(|last| last + GAP)
    }
}

impl Device for Icarus {
    fn ports(&self) -> usize {
        1
    }

    fn baud(&self, _port: usize) -> Option<u32> {
        Some(self.outbox.baud(115_200))
    }

    fn handle_bytes(&mut self, now: Instant, _port: usize, bytes: &[u8]) {
        self.handle_timeout(now);
        if self.outbox.is_hung() || self.dead {
            return;
        }
        self.last_input = Some(now);
        self.input.extend_from_slice(bytes);
        while let Some(work) = self.input.first_chunk().copied() {
            self.input.drain(..WORK_BYTES);
            self.on_work(now, &work);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(nonce) = self.sweep.as_mut().and_then(|sweep| sweep.poll(now)) {
            self.report(now, nonce);
        }
        if self.silence_due().is_some_and(|due| due <= now) {
            self.on_silence(now);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let hit = self.sweep.as_ref().and_then(Sweep::next_due);
        earliest([hit, self.silence_due(), self.outbox.next_due()])
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        self.outbox.poll(now)
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        if self.outbox.inject(now, fault) {
            return;
        }
        match fault {
            Fault::Slow { chip: 0, factor } => self.factor = factor.max(0.0),
            Fault::Dead { chip: 0 } => self.dead = true,
            _ => {}
        }
        self.reclock(now);
    }

    fn set_plugged(&mut self, _now: Instant, plugged: bool) {
        self.plugged = plugged;
        self.megahertz = 250.0;
        self.input.clear();
        self.sweep = None;
        self.outbox.power_cycle();
    }

    fn state(&mut self, now: Instant) -> State {
        let hash_rate = self.hash_rate();
        State {
            plugged: self.plugged,
            powered: self.plugged,
            in_reset: false,
            hashing: self.sweep.as_mut().is_some_and(|sweep| sweep.is_running(now)),
            chips: if self.kind == IcarusKind::Icarus { 2 } else { 1 },
            megahertz: if self.kind == IcarusKind::AntMinerU1 { self.megahertz } else { 0.0 },
            hash_rate,
            millivolts: MILLIVOLTS,
            celsius: f64::NAN,
            fan_percent: 0,
            works: self.counts.works,
            nonces: self.counts.nonces,
            bad_frames: self.counts.bad_frames,
        }
    }
}

#[cfg(test)]
mod tests;
