//! What a device's nonces say of its health. Pure: time is passed in.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use miner_core::backend::HealthState;

use crate::chip::ChipFault;

/// The last nonces that error rates are taken over.
const WINDOW: usize = 64;
/// Nonces before an error rate means anything.
const ENOUGH: usize = 16;
/// Wrong nonces in percent from which on a device is ailing, and from which on it is broken.
const AILING: usize = 5;
const BROKEN: usize = 50;
/// Times the expected wait for a nonce after which none will come.
const PATIENCE: u32 = 20;

/// What a chip has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChipCounts {
    /// Nonces, right or wrong.
    pub nonces: u64,
    /// Those that were wrong when hashed again.
    pub wrong: u64,
}

/// Counts of one device.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) chips: BTreeMap<u16, ChipCounts>,
    pub(super) all: ChipCounts,
    pub(super) late: u64,
    pub(super) duplicate: u64,
    pub(super) garbage_bytes: u64,
    window: VecDeque<bool>,
    /// The wait for a nonce after which none will come.
    patience: Duration,
    /// Since when a nonce is waited for.
    since: Option<Instant>,
}

impl Tally {
    /// `expected_wait`: how long a nonce of the device takes on average; it is not called silent before `least_silence`.
    pub(super) fn new(expected_wait: Duration, least_silence: Duration) -> Self {
        Self {
            chips: BTreeMap::new(),
            all: ChipCounts::default(),
            late: 0,
            duplicate: 0,
            garbage_bytes: 0,
            window: VecDeque::with_capacity(WINDOW),
            patience: (expected_wait * PATIENCE).max(least_silence),
            since: None,
        }
    }

    /// The device starts anew: its counters stay, its error rate and its silence don't.
    pub(super) fn restart(&mut self) {
        self.window.clear();
        self.since = None;
    }

    pub(super) fn nonce(&mut self, now: Instant, chip: Option<u16>, right: bool) {
        let per_chip = chip.map(|chip| self.chips.entry(chip).or_default());
        for counts in [Some(&mut self.all), per_chip].into_iter().flatten() {
            counts.nonces += 1;
            counts.wrong += u64::from(!right);
        }
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(right);
        if right {
            self.since = Some(now);
        }
    }

    /// Counts a fault that is not fatal.
    pub(super) fn fault(&mut self, fault: &ChipFault) {
        match fault {
            ChipFault::Garbage { bytes } => self.garbage_bytes += u64::from(*bytes),
            ChipFault::LateNonce => self.late += 1,
            ChipFault::DuplicateNonce => self.duplicate += 1,
            ChipFault::NoAnswer { .. } | ChipFault::WrongChips(_) => {}
        }
    }

    /// Whether the device has work; silence without work means nothing.
    pub(super) fn works(&mut self, now: Instant, works: bool) {
        self.since = works.then(|| self.since.unwrap_or(now));
    }

    /// The device's state and why it is not ok; [`HealthState::Sick`]: it must be recovered.
    pub(super) fn judge(&self, now: Instant) -> (HealthState, Option<String>) {
        let silence = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if silence > self.patience {
            let text = format!("no right nonce for {} s", silence.as_secs());
            return (HealthState::Sick, Some(text));
        }
        let wrong = self.window.iter().filter(|right| !**right).count();
        let count = self.window.len();
        if count < ENOUGH || 100 * wrong < AILING * count {
            return (HealthState::Ok, None);
        }
        let state = if 100 * wrong < BROKEN * count { HealthState::Degraded } else { HealthState::Sick };
        let worst = self.chips.iter().filter(|(_, chip)| chip.wrong > 0).max_by_key(|(_, chip)| chip.wrong);
        let worst = worst
            .filter(|_| self.chips.len() > 1)
            .map_or(String::new(), |(chip, counts)| format!(", most by chip {chip} ({})", counts.wrong));
        (state, Some(format!("{wrong} of the last {count} nonces were wrong{worst}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST_SILENCE: Duration = Duration::from_secs(60);

    fn fed(rights: impl IntoIterator<Item = bool>) -> (HealthState, Option<String>) {
        let now = Instant::now();
        let mut tally = Tally::new(Duration::from_secs(1), LEAST_SILENCE);
        for (index, right) in rights.into_iter().enumerate() {
            tally.nonce(now, Some(index as u16 % 2), right);
        }
        tally.judge(now)
    }

    #[test]
    fn error_rates_decide_once_there_are_enough_nonces() {
        let wrong = |wrong, all| (0..all).map(move |index| index >= wrong);
        assert_eq!(fed(wrong(15, 15)).0, HealthState::Ok, "too few to tell");
        assert_eq!(fed(wrong(1, 64)).0, HealthState::Ok);
        assert_eq!(fed(wrong(8, 64)).0, HealthState::Degraded);
        let (state, reason) = fed(wrong(33, 64));
        assert_eq!(state, HealthState::Sick);
        assert_eq!(reason.unwrap(), "33 of the last 64 nonces were wrong, most by chip 0 (17)");
        assert_eq!(fed(wrong(64, 128)).0, HealthState::Ok, "what is long ago is forgotten");
    }

    #[test]
    fn silence_counts_only_while_there_is_work() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1000);
        let mut tally = Tally::new(Duration::from_secs(10), LEAST_SILENCE);
        assert_eq!(tally.judge(later).0, HealthState::Ok, "it has no work");
        tally.works(start, true);
        assert_eq!(tally.judge(start + Duration::from_secs(200)).0, HealthState::Ok);
        let silent = tally.judge(start + Duration::from_secs(201));
        assert_eq!(silent, (HealthState::Sick, Some("no right nonce for 201 s".to_owned())));
        tally.nonce(later, None, false);
        assert_eq!(tally.judge(later).0, HealthState::Sick, "a wrong one is none");
        tally.nonce(later, None, true);
        assert_eq!(tally.judge(later).0, HealthState::Ok);
        tally.works(later, false);
        assert_eq!(tally.judge(later + Duration::from_secs(1000)).0, HealthState::Ok);
    }
}
