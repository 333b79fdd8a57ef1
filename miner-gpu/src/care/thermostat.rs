//! What to do at a temperature: pure, so that hours of it can be tested in no time.

use std::time::{Duration, Instant};

use super::HeatLimits;

/// The least part of its time that a GPU works: below, only the cut-off helps.
pub(super) const LEAST_DUTY: f32 = 0.1;

/// Part of the time for each degree off the target.
const PROPORTIONAL: f32 = 0.04;

/// Part of the time for each degree off the target that lasts for a second.
const INTEGRAL: f32 = 0.0006;

/// What the controller may ask for above all of the time: a cool card whose temperature wavers by some degrees is not
/// slowed down.
const HEADROOM: f32 = 0.3;

/// Looks further apart count as no further apart than this.
const LONGEST_STEP: f32 = 5.0;

/// Below the target by less than this, a card is too hot to work on when its sensor falls silent.
const NEAR: f32 = 5.0;

/// A card is called slowed down below this part of its time, until it works all of it again.
const SLOWED: f32 = 0.95;

/// How hot a GPU is, and what follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Heat {
    /// It works as it is told to.
    #[default]
    Fine,
    /// It works less, to stay at its target.
    Slowed,
    /// It is stopped until it has cooled down.
    TooHot,
    /// Its sensor tells nothing. It was cool, and works on.
    Unknown,
    /// Its sensor tells nothing. It was hot, and is stopped.
    Lost,
}

/// What a GPU may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) heat: Heat,
    /// When what it is based on was seen; `None`: no dispatch may start.
    pub(super) seen: Option<Instant>,
    /// The part of its time that it may work.
    pub(super) duty: f32,
}

/// A proportional-integral controller below a cut-off with hysteresis.
///
/// The controller is of the velocity form: each look changes its output by what the temperature has risen and by how far
/// it is off. So nothing winds up while the output is at an end of its range, and a card that heats up is slowed down
/// before it is at its target.
#[derive(Clone, Debug)]
pub(super) struct Thermostat {
    limits: HeatLimits,
    /// How long a reading counts.
    patience: Duration,
    /// What the controller asks for: above 1, all of the time.
    output: f32,
    /// The last temperature, and when it was read.
    last: Option<(Instant, f32)>,
    heat: Heat,
}

impl Thermostat {
    pub(super) fn new(limits: HeatLimits, patience: Duration) -> Self {
        Self { limits, patience, output: 1.0 + HEADROOM, last: None, heat: Heat::Fine }
    }

    /// Takes what the sensor said, if anything.
    pub(super) fn note(&mut self, now: Instant, celsius: Option<f32>) -> Verdict {
        match celsius {
            Some(celsius) => self.on_temperature(now, celsius),
            None => self.on_silence(now),
        }
        let stopped = matches!(self.heat, Heat::TooHot | Heat::Lost);
        let seen = match self.heat {
            Heat::Unknown => now,
            // A reading that is missing once does no harm, but prolongs nothing.
            _ => self.last.map_or(now, |(then, _)| then),
        };
        Verdict { heat: self.heat, seen: (!stopped).then_some(seen), duty: self.output.min(1.0) }
    }

    fn on_temperature(&mut self, now: Instant, celsius: f32) {
        let off = self.limits.target - celsius;
        let step = match self.last {
            None => PROPORTIONAL * off.min(0.0) - if off < 0.0 { HEADROOM } else { 0.0 },
            Some((then, before)) => {
                let seconds = now.saturating_duration_since(then).as_secs_f32().min(LONGEST_STEP);
                PROPORTIONAL * (before - celsius) + INTEGRAL * off * seconds
            }
        };
        self.last = Some((now, celsius));
        let was_too_hot = self.heat == Heat::TooHot;
        if celsius >= self.limits.cutoff || was_too_hot && celsius > self.limits.resume() {
            self.heat = Heat::TooHot;
            return;
        }
        // A card that was stopped starts again gently.
        let output = if was_too_hot { LEAST_DUTY } else { self.output + step };
        self.output = output.clamp(LEAST_DUTY, 1.0 + HEADROOM);
        let slowed = self.output < SLOWED || self.heat == Heat::Slowed && self.output < 1.0;
        self.heat = if slowed { Heat::Slowed } else { Heat::Fine };
    }

    fn on_silence(&mut self, now: Instant) {
        let silent = self.last.is_none_or(|(then, _)| now.saturating_duration_since(then) >= self.patience);
        let was_hot = self.last.is_some_and(|(_, celsius)| celsius > self.limits.target - NEAR);
        self.heat = match self.heat {
            Heat::TooHot => Heat::TooHot,
            heat if !silent => heat,
            _ if was_hot => Heat::Lost,
            _ => Heat::Unknown,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeatLimits = HeatLimits { target: 80.0, cutoff: 90.0 };
    const LOOK: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(2);

    fn thermostat() -> Thermostat {
        Thermostat::new(LIMITS, PATIENCE)
    }

    /// A card that takes `inertia` seconds for most of its way to `room + power * duty`, and a sensor that is `late`
    /// looks behind and tells whole degrees.
    struct Card {
        room: f32,
        power: f32,
        inertia: f32,
        late: usize,
        past: Vec<f32>,
    }

    impl Card {
        fn step(&mut self, duty: f32) -> f32 {
            let celsius = self.past.last().copied().unwrap_or(self.room);
            let seconds = LOOK.as_secs_f32();
            self.past.push(celsius + (self.room + self.power * duty - celsius) * seconds / self.inertia);
            self.past[self.past.len().saturating_sub(1 + self.late)].round()
        }
    }

    #[test]
    fn a_card_that_would_be_too_hot_settles_at_its_target() {
        for (power, inertia, late) in [60.0f32, 80.0, 120.0]
            .into_iter()
            .flat_map(|power| [10.0f32, 30.0, 60.0, 200.0].map(|inertia| (power, inertia)))
            .flat_map(|(power, inertia)| [0, 4].map(|late| (power, inertia, late)))
        {
            let case = format!("{power} °C at full power, {inertia} s, {late} looks late");
            let mut card = Card { room: 30.0, power, inertia, late, past: Vec::new() };
            let (mut thermostat, start) = (thermostat(), Instant::now());
            let mut duty = 1.0;
            for look in 0..7200 {
                let celsius = card.step(duty);
                let verdict = thermostat.note(start + LOOK * look, Some(celsius));
                assert!(verdict.seen.is_some(), "{case}: it was never stopped");
                duty = verdict.duty;
            }
            let hottest = card.past.iter().copied().fold(0.0, f32::max);
            assert!(hottest < LIMITS.target + 5.0, "{case}: overshoots to {hottest}");
            let settled = &card.past[3600..];
            let wanted = LIMITS.target.min(30.0 + power);
            let off = settled.iter().map(|celsius| (celsius - wanted).abs()).fold(0.0, f32::max);
            assert!(off <= 1.5, "{case}: {off} °C off after half an hour");
        }
    }

    #[test]
    fn a_cool_card_works_all_the_time() {
        let (mut thermostat, start) = (thermostat(), Instant::now());
        for look in 0..600u32 {
            let verdict = thermostat.note(start + LOOK * look, Some(60.0 + (look % 7) as f32));
            assert_eq!((verdict.heat, verdict.duty), (Heat::Fine, 1.0));
            assert_eq!(verdict.seen, Some(start + LOOK * look));
        }
    }

    #[test]
    fn the_cut_off_stops_at_once_and_lets_go_ten_degrees_below() {
        let mut thermostat = thermostat();
        let mut now = Instant::now();
        for (celsius, heat) in [
            (79.0, Heat::Fine),
            (90.0, Heat::TooHot),
            (89.0, Heat::TooHot),
            (80.5, Heat::TooHot),
            (80.0, Heat::Slowed),
            (85.0, Heat::Slowed),
            (95.0, Heat::TooHot),
            (79.0, Heat::Slowed),
        ] {
            now += LOOK;
            let verdict = thermostat.note(now, Some(celsius));
            assert_eq!(verdict.heat, heat, "{celsius}");
            assert_eq!(verdict.seen.is_some(), heat != Heat::TooHot, "{celsius}");
        }
        assert!(thermostat.output < 0.2, "it starts again gently");
    }

    #[test]
    fn a_card_that_is_hot_from_the_start_is_slowed_down_or_stopped_at_once() {
        let verdict = thermostat().note(Instant::now(), Some(88.0));
        assert_eq!(verdict.heat, Heat::Slowed);
        assert!(verdict.duty < 0.8);
        assert_eq!(thermostat().note(Instant::now(), Some(90.0)).seen, None);
    }

    #[test]
    fn a_sensor_that_falls_silent_stops_a_hot_card_and_not_a_cool_one() {
        for (celsius, heat) in [(60.0, Heat::Unknown), (75.0, Heat::Unknown), (76.0, Heat::Lost)] {
            let mut thermostat = thermostat();
            let start = Instant::now();
            thermostat.note(start, Some(celsius));
            for look in 1..4 {
                let verdict = thermostat.note(start + LOOK * look, None);
                assert_eq!(verdict.seen, Some(start), "a short silence does no harm, and prolongs nothing");
            }
            let now = start + PATIENCE;
            let verdict = thermostat.note(now, None);
            assert_eq!(verdict.heat, heat, "{celsius}");
            assert_eq!(verdict.seen, (heat == Heat::Unknown).then_some(now));
            let verdict = thermostat.note(now + LOOK, Some(celsius));
            assert_eq!(verdict.seen, Some(now + LOOK), "it speaks again");
        }
    }

    #[test]
    fn a_stopped_card_stays_so_whatever_its_sensor_does_not_say() {
        let (mut thermostat, start) = (thermostat(), Instant::now());
        thermostat.note(start, Some(91.0));
        for look in 1..100 {
            assert_eq!(thermostat.note(start + LOOK * look, None).heat, Heat::TooHot);
        }
        assert_eq!(thermostat.note(start + LOOK * 100, Some(85.0)).heat, Heat::TooHot);
        assert_eq!(thermostat.note(start + LOOK * 101, Some(79.0)).heat, Heat::Slowed);
    }

    #[test]
    fn a_sensor_that_never_spoke_is_told() {
        let now = Instant::now();
        let verdict = thermostat().note(now, None);
        assert_eq!((verdict.heat, verdict.seen, verdict.duty), (Heat::Unknown, Some(now), 1.0));
    }
}
