//! What to do about a device that fails, time after time.

use std::time::Duration;

/// A device that worked for so long has recovered from its failures.
const STEADY: Duration = Duration::from_secs(60);
/// Failures, one soon after the other, from which on a device is put aside for a while.
const QUARANTINE: u32 = 3;
/// Failures after which it is given up.
const MAX: u32 = 8;
/// The first time aside; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Initialise the chips again.
    Reinitialise,
    /// Switch the board off, open it anew and take it through a reset.
    Reset,
    /// Leave it switched off for so long.
    Quarantine(Duration),
    /// No more.
    GiveUp,
}

/// Failures that came soon after each other.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    count: u32,
    /// One of them switched the board off.
    grave: bool,
}

impl Strikes {
    /// Notes a failure after the device had `worked` so long; a `grave` one is one that switched the board off.
    pub(super) fn note(&mut self, worked: Duration, grave: bool) -> Remedy {
        if worked >= STEADY {
            *self = Self::default();
        }
        self.grave |= grave;
        self.count = if grave { (self.count + 1).max(QUARANTINE) } else { self.count + 1 };
        match self.count {
            0 | 1 => Remedy::Reinitialise,
            2 => Remedy::Reset,
            count @ QUARANTINE..MAX => Remedy::Quarantine(FIRST_PAUSE * (1 << (count - QUARANTINE))),
            _ => Remedy::GiveUp,
        }
    }

    /// Notes that it was unplugged: that may have put it right, but it cools no board with a supply of its own.
    pub(super) fn unplugged(&mut self) {
        if !self.grave {
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_grow_with_each_failure_until_it_is_given_up() {
        let mut strikes = Strikes::default();
        let remedies: Vec<Remedy> = (0..8).map(|_| strikes.note(Duration::ZERO, false)).collect();
        let aside = |seconds| Remedy::Quarantine(Duration::from_secs(seconds));
        assert_eq!(
            remedies,
            [
                Remedy::Reinitialise,
                Remedy::Reset,
                aside(15),
                aside(30),
                aside(60),
                aside(120),
                aside(240),
                Remedy::GiveUp
            ]
        );
    }

    #[test]
    fn a_device_that_worked_long_starts_afresh() {
        let mut strikes = Strikes::default();
        for _ in 0..20 {
            assert_eq!(strikes.note(STEADY, false), Remedy::Reinitialise);
        }
    }

    #[test]
    fn a_device_that_was_unplugged_starts_afresh_unless_it_was_in_danger() {
        let mut strikes = Strikes::default();
        for _ in 0..20 {
            assert_eq!(strikes.note(Duration::ZERO, false), Remedy::Reinitialise);
            assert_eq!(strikes.note(Duration::ZERO, false), Remedy::Reset);
            strikes.unplugged();
        }
        assert_eq!(strikes.note(Duration::ZERO, true), Remedy::Quarantine(FIRST_PAUSE));
        strikes.unplugged();
        assert_eq!(strikes.note(Duration::ZERO, false), Remedy::Quarantine(2 * FIRST_PAUSE));
        assert_eq!(strikes.note(STEADY, false), Remedy::Reinitialise);
        strikes.unplugged();
        assert_eq!(strikes.note(Duration::ZERO, false), Remedy::Reinitialise);
    }

    #[test]
    fn what_switched_the_board_off_puts_it_aside_at_once() {
        let mut strikes = Strikes::default();
        assert_eq!(strikes.note(STEADY, true), Remedy::Quarantine(FIRST_PAUSE));
        assert_eq!(strikes.note(Duration::ZERO, true), Remedy::Quarantine(2 * FIRST_PAUSE));
    }
}
