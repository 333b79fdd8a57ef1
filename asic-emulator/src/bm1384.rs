//! BM1384: GekkoScience Compac (one chip), 2Pac (two), Terminus.
//!
//! Commands have 4 bytes and work 64, both without a preamble: which it is tells the length of a burst.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answers::KnownAnswers;
use crate::crc::crc5;
use crate::device::{Counts, Device, Fault, Frame, State};
use crate::hash::{Work, passes};
use crate::outbox::{Outbox, earliest};
use crate::sweep::Sweep;

const WORK_BYTES: usize = 64;
/// Silence after which a burst is over.
const GAP: Duration = Duration::from_millis(2);
/// What a byte takes at 115,200 baud.
const BYTE: Duration = Duration::from_nanos(86_806);
/// Hashes a clock of each chip.
const CORES: f64 = 55.0;
/// Core voltage in mV: a trim pot sets it.
const MILLIVOLTS: u32 = 650;
/// Clock after power-on: not in any source.
const START_PLL: [u8; 2] = [0x07, 0x83];

/// A nonce that was come upon, and the job that it is of.
type Found = ([u8; 4], u8);

/// A stick of BM1384 chips.
#[derive(Debug)]
pub struct Bm1384 {
    chips: Vec<Chip>,
    answers: Arc<KnownAnswers>,
    plugged: bool,
    input: Vec<u8>,
    last_input: Option<Instant>,
    outbox: Outbox,
    counts: Counts,
}

#[derive(Debug)]
struct Chip {
    /// `None` after the chain was made inactive.
    address: Option<u8>,
    pll: [u8; 2],
    sweep: Option<Sweep<Found>>,
    factor: f64,
    dead: bool,
}

impl Chip {
    fn new() -> Self {
        Self { address: Some(0), pll: START_PLL, sweep: None, factor: 1.0, dead: false }
    }

    /// Its clock in MHz: 50 MHz times bits 12 to 7 and one, over bits 6 to 2 and one, halved by bits 1 and 0.
    fn megahertz(&self) -> f64 {
        let [_, m, n, od] = self.pll_answer().map(u16::from);
        50.0 * f64::from(m + 1) / f64::from((n + 1) << od)
    }

    /// What a read of the PLL returns: its fields, apart.
    fn pll_answer(&self) -> [u8; 4] {
        let register = u16::from_be_bytes(self.pll);
        [0x80, (register >> 7 & 0x3f) as u8, (register >> 2 & 0x1f) as u8, (register & 3) as u8]
    }

    fn hash_rate(&self) -> f64 {
        if self.dead { 0.0 } else { CORES * self.megahertz() * 1e6 * self.factor }
    }

    fn reclock(&mut self, now: Instant) {
        let rate = self.hash_rate();
        if let Some(sweep) = &mut self.sweep {
            sweep.set_rate(now, rate);
        }
    }

    /// Takes work: the chip counts as many nonces as it is told, from where its address is the first byte.
    fn load(&mut self, now: Instant, bytes: &[u8; WORK_BYTES], answers: &KnownAnswers) {
        let midstate = bytes.first_chunk().expect("32 of 64 bytes");
        let tail = bytes.last_chunk().expect("12 of 64 bytes");
        let work = Work::from_wire(midstate, tail);
        let count = u32::from_be_bytes([bytes[40], bytes[41], bytes[42], bytes[43]]);
        // Difficulty less one, so its low bits; tested from the top of the word below the 32 zeros.
        let mask = u32::from(bytes[39]).reverse_bits();
        let first = u32::from(self.address.unwrap_or(0)) << 24;
        let known = answers.of_work(&work).iter().filter(|&&nonce| passes(&work.hash(nonce), mask));
        let place = |nonce: [u8; 4]| f64::from(u32::from_be_bytes(nonce).wrapping_sub(first));
        let hits = known.map(|&nonce| (place(nonce), (nonce, bytes[51] & 0x1f))).collect();
        self.sweep = Some(Sweep::new(now, self.hash_rate(), f64::from(count), false, hits));
    }
}

impl Bm1384 {
    /// Makes a stick of `chips` chips.
    pub fn new(chips: usize, answers: Arc<KnownAnswers>) -> Self {
        Self {
            chips: (0..chips.max(1)).map(|_| Chip::new()).collect(),
            answers,
            plugged: true,
            input: Vec::new(),
            last_input: None,
            outbox: Outbox::new(0),
            counts: Counts::default(),
        }
    }

    /// Looks at bytes that no more followed: commands, or work that broke off.
    fn on_silence(&mut self, now: Instant) {
        let input = std::mem::take(&mut self.input);
        let (commands, rest) = input.as_chunks::<4>();
        if rest.is_empty() {
            commands.iter().for_each(|command| self.on_command(now, *command));
        }
    }

    fn on_command(&mut self, now: Instant, [code, a, b, crc]: [u8; 4]) {
        if crc5(&[code, a, b, 0], 27) != crc {
            self.counts.bad_frames += 1;
            return;
        }
        let mut alive = self.chips.iter_mut().filter(|chip| !chip.dead);
        let meant = |chip: &&mut Chip| code & 0x80 != 0 || chip.address == Some(a);
        match code {
            0x01 => {
                if let Some(chip) = alive.find(|chip| chip.address.is_none()) {
                    chip.address = Some(a);
                }
            }
            0x85 => alive.for_each(|chip| chip.address = None),
            0x82 => alive.for_each(|chip| {
                chip.pll = [a, b];
                chip.reclock(now);
            }),
            0x04 | 0x84 => {
                for chip in alive.filter(meant) {
                    let value = match b {
                        0x00 => [0x13, 0x84, 0x00, chip.address.unwrap_or(0)],
                        0x04 => chip.pll_answer(),
                        _ => continue,
                    };
                    let crc = crc5(&[&value[..], &[0]].concat(), 35);
                    self.outbox.push(now, 0, [&value[..], &[crc]].concat());
                }
            }
            _ => {}
        }
    }

    fn silence_due(&self) -> Option<Instant> {
        self.last_input.filter(|_| !self.input.is_empty()).map(|last| last + GAP)
    }
}

/// The command that a burst begins with, if it does: a burst too long for commands is work, or both, where whoever runs
/// this model was too late to see the silence between them. One work in some 100,000 begins like a command.
fn leading_command(burst: &[u8; WORK_BYTES]) -> Option<[u8; 4]> {
    let &[code, a, b, crc, ..] = burst;
    let known = matches!(code, 0x01 | 0x04 | 0x82 | 0x84 | 0x85);
    (known && crc5(&[code, a, b, 0], 27) == crc).then_some([code, a, b, crc])
}

impl Device for Bm1384 {
    fn ports(&self) -> usize {
        1
    }

    fn baud(&self, _port: usize) -> Option<u32> {
        Some(self.outbox.baud(115_200))
    }

    fn handle_bytes(&mut self, now: Instant, _port: usize, bytes: &[u8]) {
        // Silence ends with their first; `now` is the time of their last.
        let before = BYTE * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.handle_timeout(now.checked_sub(before).unwrap_or(now));
        if self.outbox.is_hung() {
            return;
        }
        self.last_input = Some(now);
        self.input.extend_from_slice(bytes);
        while let Some(work) = self.input.first_chunk::<WORK_BYTES>().copied() {
            if let Some(command) = leading_command(&work) {
                self.input.drain(..command.len());
                self.on_command(now, command);
                continue;
            }
            self.input.drain(..WORK_BYTES);
            self.counts.works += 1;
            let alive = self.chips.iter_mut().filter(|chip| !chip.dead);
            alive.for_each(|chip| chip.load(now, &work, &self.answers));
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        for chip in &mut self.chips {
            while let Some((nonce, job)) = chip.sweep.as_mut().and_then(|sweep| sweep.poll(now)) {
                self.counts.nonces += 1;
                self.outbox.push_nonce(now, nonce, |[a, b, c, d], wrong_job| {
                    vec![a, b, c, d, 0x80 | if wrong_job { job ^ 0x08 } else { job }]
                });
            }
        }
        if self.silence_due().is_some_and(|due| due <= now) {
            self.on_silence(now);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let hits = self.chips.iter().filter_map(|chip| chip.sweep.as_ref().and_then(Sweep::next_due));
        earliest([hits.min(), self.silence_due(), self.outbox.next_due()])
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        self.outbox.poll(now)
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        if self.outbox.inject(now, fault) {
            return;
        }
        let (place, act): (_, &dyn Fn(&mut Chip)) = match fault {
            Fault::Slow { chip, factor } => (chip, &move |chip| chip.factor = factor.max(0.0)),
            Fault::Dead { chip } => (chip, &|chip| chip.dead = true),
            _ => return,
        };
        if let Some(chip) = self.chips.get_mut(place) {
            act(chip);
            chip.reclock(now);
        }
    }

    fn set_plugged(&mut self, _now: Instant, plugged: bool) {
        self.plugged = plugged;
        for chip in &mut self.chips {
            let Chip { factor, dead, .. } = *chip;
            *chip = Chip { factor, dead, ..Chip::new() };
        }
        self.input.clear();
        self.outbox.power_cycle();
    }

    fn state(&mut self, now: Instant) -> State {
        let hashing = self.chips.iter_mut().filter_map(|chip| chip.sweep.as_mut());
        State {
            plugged: self.plugged,
            powered: self.plugged,
            in_reset: false,
            hashing: hashing.fold(false, |any, sweep| sweep.is_running(now) | any),
            chips: self.chips.len(),
            megahertz: self.chips.first().map_or(0.0, Chip::megahertz),
            hash_rate: self.chips.iter().map(Chip::hash_rate).sum(),
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
