//! Chains of BM1362, BM1366, BM1368, BM1370 and BM1397, without the board around them.

mod chip;
mod frame;
mod kind;

use std::sync::Arc;
use std::time::Instant;

use crate::answers::KnownAnswers;
use crate::device::{Counts, Fault, State};
use crate::outbox::Outbox;

use chip::{Chip, Job};
use frame::{Command, Reader};
pub use kind::ChipKind;

/// Chips on one UART.
#[derive(Debug)]
pub(crate) struct Chain {
    kind: ChipKind,
    chips: Vec<Chip>,
    reader: Reader,
    answers: Arc<KnownAnswers>,
    pub(crate) counts: Counts,
}

impl Chain {
    /// A chain of 1 to 128 chips.
    pub(crate) fn new(kind: ChipKind, chips: usize, answers: Arc<KnownAnswers>) -> Self {
        let count = chips.clamp(1, 128);
        let interval = 256 / count as u32;
        let chips = (0..count).map(|_| Chip::new(kind, interval)).collect();
        Self { kind, chips, reader: Reader::new(kind), answers, counts: Counts::default() }
    }

    /// Returns all chips to the state after reset.
    pub(crate) fn reset(&mut self) {
        self.reader.clear();
        self.chips.iter_mut().for_each(Chip::reset);
    }

    /// The speed of the UART: 25 MHz over eight times the divider and one.
    pub(crate) fn baud(&self) -> u32 {
        let divider = self.chips.first().map_or(26, Chip::baud_divider);
        // At divider 26 the chips run at 115,741.
        25_000_000 / (8 * (divider + 1))
    }

    pub(crate) fn handle_bytes(&mut self, now: Instant, bytes: &[u8], outbox: &mut Outbox) {
        self.handle_timeout(now, outbox);
        self.reader.feed(bytes);
        while let Some(command) = self.reader.poll() {
            self.on_command(now, &command, outbox);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, outbox: &mut Outbox) {
        for chip in &mut self.chips {
            while let Some(found) = chip.poll(now) {
                self.counts.nonces += 1;
                outbox.push_nonce(now, found.nonce, |nonce, wrong_job| chip.report(&found, nonce, wrong_job));
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.chips.iter().filter_map(Chip::next_due).min()
    }

    /// Takes a fault of a chip; returns whether it was one.
    pub(crate) fn inject(&mut self, now: Instant, fault: Fault) -> bool {
        let (place, act): (_, &dyn Fn(&mut Chip)) = match fault {
            Fault::Slow { chip, factor } => (chip, &move |chip| chip.factor = factor.max(0.0)),
            Fault::Dead { chip } => (chip, &|chip| chip.dead = true),
            _ => return false,
        };
        if let Some(chip) = self.chips.get_mut(place) {
            act(chip);
            chip.search_again(now, &self.answers);
        }
        true
    }

    /// Tells the chips how hot they are.
    pub(crate) fn set_celsius(&mut self, celsius: f64) {
        self.chips.iter_mut().for_each(|chip| chip.celsius = celsius);
    }

    pub(crate) fn len(&self) -> usize {
        self.chips.len()
    }

    pub(crate) fn is_hashing(&mut self, now: Instant) -> bool {
        self.chips.iter_mut().fold(false, |any, chip| chip.is_hashing(now) | any)
    }

    /// Hashes a second of all chips while they have work.
    pub(crate) fn hash_rate(&self) -> f64 {
        self.chips.iter().map(Chip::hash_rate).sum()
    }

    /// Clock of the first chip.
    pub(crate) fn megahertz(&self) -> f64 {
        self.chips.first().map_or(0.0, Chip::megahertz)
    }

    /// What can be said of the chips alone: powered, out of reset, without a fan.
    pub(crate) fn state(&mut self, now: Instant) -> State {
        State {
            plugged: true,
            powered: true,
            in_reset: false,
            hashing: self.is_hashing(now),
            chips: self.chips.len(),
            megahertz: self.megahertz(),
            hash_rate: self.hash_rate(),
            millivolts: 0,
            celsius: f64::NAN,
            fan_percent: 0,
            works: self.counts.works,
            nonces: self.counts.nonces,
            bad_frames: self.counts.bad_frames,
        }
    }

    fn on_command(&mut self, now: Instant, command: &Command, outbox: &mut Outbox) {
        let Self { kind, chips, answers, counts, .. } = self;
        let mut alive = chips.iter_mut().filter(|chip| !chip.dead);
        match command {
            Command::Bad => counts.bad_frames += 1,
            Command::ChainInactive => alive.for_each(|chip| chip.address = None),
            Command::SetAddress(address) => {
                if let Some(chip) = alive.find(|chip| chip.address.is_none()) {
                    chip.address = Some(*address);
                }
            }
            Command::Write { address, register, value } => {
                let meant = alive.filter(|chip| address.is_none() || chip.address == *address);
                meant.for_each(|chip| chip.write(now, *register, *value, answers));
            }
            Command::Read { address, register } => {
                let meant = alive.filter(|chip| address.is_none() || chip.address == *address);
                meant.for_each(|chip| outbox.push(now, outbox.chips(), chip.answer(*register)));
            }
            Command::Job(bytes) => {
                if let Some(job) = Job::decode(*kind, bytes) {
                    counts.works += 1;
                    alive.for_each(|chip| chip.load(now, &job, answers));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
