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
/// The least wait before a chip is called silent where others are not.
const MIN_CHIP_SILENCE: Duration = Duration::from_secs(300);

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
    /// The least wait before the device is called silent.
    least_silence: Duration,
    /// How long a nonce of its present work takes on average.
    expected_wait: Duration,
    /// For how long there was work since the start, and since when there is.
    worked: Duration,
    working: Option<Instant>,
    /// After how much work the last right nonce came, and the last of each chip.
    heard: Duration,
    heard_chips: BTreeMap<u16, Duration>,
}

impl Tally {
    /// The device is not called silent before `least_silence`.
    pub(super) fn new(least_silence: Duration) -> Self {
        Self {
            chips: BTreeMap::new(),
            all: ChipCounts::default(),
            late: 0,
            duplicate: 0,
            garbage_bytes: 0,
            window: VecDeque::with_capacity(WINDOW),
            least_silence,
            expected_wait: Duration::ZERO,
            worked: Duration::ZERO,
            working: None,
            heard: Duration::ZERO,
            heard_chips: BTreeMap::new(),
        }
    }

    /// The device starts anew: its counters stay, its error rate and its silence don't.
    pub(super) fn restart(&mut self) {
        self.window.clear();
        (self.worked, self.working, self.heard) = (Duration::ZERO, None, Duration::ZERO);
        self.heard_chips.clear();
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
            self.heard = self.worked(now);
            self.heard_chips.extend(chip.map(|chip| (chip, self.heard)));
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

    /// Whether the device has work, and how long a nonce of it takes on average.
    ///
    /// Silence without work means nothing; it does not make up for silence before, as every new job leaves a moment without
    /// work.
    pub(super) fn works(&mut self, now: Instant, expected_wait: Option<Duration>) {
        self.worked = self.worked(now);
        self.working = expected_wait.map(|_| now);
        self.expected_wait = expected_wait.unwrap_or(self.expected_wait);
    }

    fn worked(&self, now: Instant) -> Duration {
        self.worked + self.working.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The state of a device of so many chips and why it is not ok; [`HealthState::Sick`]: it must be recovered.
    pub(super) fn judge(&self, now: Instant, chips: u16) -> (HealthState, Option<String>) {
        if let Some(silent) = self.silence(now, chips) {
            return silent;
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

    /// Who has found nothing for too long. Chips one by one only where nonces tell them apart.
    ///
    /// A chip that was never heard of is only told of: it may be that nonces name their chips in another way than was thought.
    fn silence(&self, now: Instant, chips: u16) -> Option<(HealthState, Option<String>)> {
        let worked = self.worked(now);
        let patience = self.expected_wait.saturating_mul(PATIENCE);
        let silence = worked - self.heard;
        if silence > patience.max(self.least_silence) {
            return Some((HealthState::Sick, Some(format!("no right nonce for {} s", silence.as_secs()))));
        }
        if chips < 2 || self.heard_chips.is_empty() {
            return None;
        }
        let patience = patience.saturating_mul(chips.into()).max(MIN_CHIP_SILENCE).max(self.least_silence);
        let heard = |chip: &u16| self.heard_chips.get(chip).copied();
        let silent = (0..chips).find(|chip| worked - heard(chip).unwrap_or_default() > patience)?;
        Some(match heard(&silent) {
            Some(last) => {
                let silence = (worked - last).as_secs();
                (HealthState::Sick, Some(format!("no right nonce from chip {silent} for {silence} s")))
            }
            None => (HealthState::Degraded, Some(format!("no right nonce from chip {silent} yet"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST_SILENCE: Duration = Duration::from_secs(60);
    const WAIT: Option<Duration> = Some(Duration::from_secs(10));

    fn fed(rights: impl IntoIterator<Item = bool>) -> (HealthState, Option<String>) {
        let now = Instant::now();
        let mut tally = Tally::new(LEAST_SILENCE);
        for (index, right) in rights.into_iter().enumerate() {
            tally.nonce(now, Some(index as u16 % 2), right);
        }
        tally.judge(now, 1)
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
        let mut tally = Tally::new(LEAST_SILENCE);
        assert_eq!(tally.judge(later, 1).0, HealthState::Ok, "it has no work");
        tally.works(start, WAIT);
        assert_eq!(tally.judge(start + Duration::from_secs(200), 1).0, HealthState::Ok);
        let silent = tally.judge(start + Duration::from_secs(201), 1);
        assert_eq!(silent, (HealthState::Sick, Some("no right nonce for 201 s".to_owned())));
        tally.nonce(later, None, false);
        assert_eq!(tally.judge(later, 1).0, HealthState::Sick, "a wrong one is none");
        tally.nonce(later, None, true);
        assert_eq!(tally.judge(later, 1).0, HealthState::Ok);
        tally.works(later, None);
        assert_eq!(tally.judge(later + Duration::from_secs(1000), 1).0, HealthState::Ok);
    }

    #[test]
    fn a_silent_device_is_noticed_however_often_its_work_is_replaced() {
        let start = Instant::now();
        let mut tally = Tally::new(LEAST_SILENCE);
        for second in 0..=200 {
            let now = start + Duration::from_secs(second);
            tally.works(now, WAIT);
            assert_eq!(tally.judge(now, 1).0, HealthState::Ok, "after {second} s");
            tally.works(now, WAIT.filter(|_| second % 5 > 0));
            tally.works(now, WAIT);
        }
        let (state, reason) = tally.judge(start + Duration::from_secs(202), 1);
        assert_eq!((state, reason.as_deref()), (HealthState::Sick, Some("no right nonce for 202 s")));
    }

    #[test]
    fn a_silent_chip_among_others_is_noticed() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut tally = Tally::new(LEAST_SILENCE);
        tally.works(start, Some(Duration::from_secs(1)));
        for second in 0..=301 {
            tally.nonce(at(second), Some(1), true);
            tally.nonce(at(second), Some(0), second == 1);
        }
        assert_ne!(tally.judge(at(301), 2).1.unwrap_or_default(), "no right nonce from chip 0 for 300 s");
        let (state, reason) = tally.judge(at(302), 2);
        assert_eq!(
            (state, reason.as_deref()),
            (HealthState::Sick, Some("no right nonce from chip 0 for 301 s"))
        );
        let mut unheard = Tally::new(LEAST_SILENCE);
        unheard.works(start, Some(Duration::from_secs(1)));
        unheard.nonce(at(301), Some(1), true);
        let (state, reason) = unheard.judge(at(302), 2);
        assert_eq!(
            (state, reason.as_deref()),
            (HealthState::Degraded, Some("no right nonce from chip 0 yet"))
        );
        let mut untold = Tally::new(LEAST_SILENCE);
        untold.works(start, Some(Duration::from_secs(1)));
        untold.nonce(at(301), None, true);
        assert_eq!(untold.judge(at(302), 2).0, HealthState::Ok, "nobody knows whose nonces they are");
    }
}
