//! What a GPU's threads know of its health, told as one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miner_core::backend::{BackendEvent, EventSink, Health, HealthState};

use super::HeatLimits;
use super::thermostat::Heat;
use crate::telemetry::Reading;

/// Tells the scheduler of a GPU's health whenever one of its threads has news.
pub(crate) struct Vitals {
    events: Arc<dyn EventSink>,
    known: Mutex<Known>,
    /// Nothing more is to be said.
    closed: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// The device's state, and the reason.
    device: (HealthState, Option<Arc<str>>),
    /// What follows from its temperature.
    heat: (HealthState, Option<Arc<str>>),
    /// Why it works less than it could, if by our own doing.
    slowed: Option<&'static str>,
    reading: Reading,
}

impl Vitals {
    pub(crate) fn new(events: &Arc<dyn EventSink>) -> Self {
        Self { events: Arc::clone(events), known: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// Tells how the device is.
    pub(crate) fn device(&self, state: HealthState, reason: Option<&str>) {
        let mut known = self.lock();
        known.device = (state, reason.map(Arc::from));
        self.tell(&known);
    }

    /// Tells what the sensors say, and what follows from it.
    pub(super) fn heat(&self, heat: Heat, limits: &HeatLimits, problem: Option<&str>, reading: Reading) {
        let mut known = self.lock();
        let HeatLimits { target, cutoff } = limits;
        let (state, reason) = match heat {
            Heat::Fine => (HealthState::Ok, None),
            Heat::Slowed => (HealthState::Degraded, Some(format!("kept at its target of {target:.0} °C"))),
            Heat::TooHot => {
                let resume = limits.resume();
                let reason =
                    format!("too hot: stopped at {cutoff:.0} °C until it has cooled to {resume:.0} °C");
                (HealthState::Sick, Some(reason))
            }
            Heat::Unknown => {
                let problem = problem.unwrap_or("its sensors tell none");
                (HealthState::Degraded, Some(format!("its temperature is not watched: {problem}")))
            }
            Heat::Lost => {
                let reason = "stopped: it was hot when its sensor fell silent".to_owned();
                (HealthState::Sick, Some(reason))
            }
        };
        known.heat = (state, reason.map(Arc::from));
        known.slowed = (heat == Heat::Slowed).then_some("temperature target");
        known.reading = reading;
        self.tell(&known);
    }

    /// Why its temperature lets it do nothing, if so, with the temperature.
    pub(super) fn stopped(&self) -> Option<String> {
        let Known { heat: (state, reason), reading, .. } = &*self.lock();
        let reason = reason.as_ref().filter(|_| *state == HealthState::Sick)?;
        let now = reading.celsius.map_or_else(String::new, |celsius| format!("; it is at {celsius:.0} °C"));
        Some(format!("{reason}{now}"))
    }

    /// Says nothing from now on, whichever thread still has news. Waits for none of them.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Tells while the lock is held, so that the last word is the newest. Waits while the driver is behind.
    fn tell(&self, known: &Known) {
        if !self.closed.load(Ordering::Acquire) {
            self.events.send(BackendEvent::Health(known.health()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The worse of both states, and each reason.
    fn health(&self) -> Health {
        let parts = [&self.device, &self.heat];
        let state = parts.iter().map(|(state, _)| *state).max_by_key(|state| gravity(*state));
        let reasons: Vec<&str> = parts.iter().filter_map(|(_, reason)| reason.as_deref()).collect();
        let Reading {
            celsius,
            watts,
            millivolts,
            fan_rpm,
            fan_percent,
            clock_mhz,
            utilisation,
            ref throttle,
        } = self.reading;
        Health {
            state: state.unwrap_or_default(),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ").into()),
            celsius,
            watts,
            millivolts,
            fan_rpm,
            fan_percent,
            clock_mhz,
            utilisation,
            throttle: throttle.clone().or_else(|| self.slowed.map(Arc::from)),
            chips: None,
        }
    }
}

fn gravity(state: HealthState) -> u8 {
    match state {
        HealthState::Ok => 0,
        HealthState::Degraded => 1,
        HealthState::Sick => 2,
        HealthState::Quarantined => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    struct Sink(Sender<BackendEvent>);

    impl EventSink for Sink {
        fn send(&self, event: BackendEvent) -> bool {
            self.0.send(event).is_ok()
        }
    }

    fn vitals() -> (Vitals, Receiver<BackendEvent>) {
        let (sender, events) = channel();
        let sink: Arc<dyn EventSink> = Arc::new(Sink(sender));
        (Vitals::new(&sink), events)
    }

    fn told(events: &Receiver<BackendEvent>) -> Option<Health> {
        match events.try_recv().ok()? {
            BackendEvent::Health(health) => Some(health),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_both_threads_know_is_told_as_one() {
        let (vitals, events) = vitals();
        vitals.device(HealthState::Ok, None);
        assert_eq!(told(&events), Some(Health::default()));
        let reading = Reading { celsius: Some(91.0), watts: Some(200.0), ..Reading::default() };
        vitals.heat(Heat::TooHot, &HeatLimits::default(), None, reading);
        let health = told(&events).unwrap();
        assert_eq!(
            (health.state, health.celsius, health.watts),
            (HealthState::Sick, Some(91.0), Some(200.0))
        );
        assert_eq!(health.reason.as_deref(), Some("too hot: stopped at 90 °C until it has cooled to 80 °C"));
        let why = "too hot: stopped at 90 °C until it has cooled to 80 °C; it is at 91 °C";
        assert_eq!(vitals.stopped().as_deref(), Some(why));
        vitals.device(HealthState::Quarantined, Some("it computes wrongly"));
        let health = told(&events).unwrap();
        assert_eq!((health.state, health.celsius), (HealthState::Quarantined, Some(91.0)));
        assert!(health.reason.unwrap().starts_with("it computes wrongly; too hot"));
    }

    #[test]
    fn a_card_that_is_slowed_down_says_why() {
        let (vitals, events) = vitals();
        vitals.heat(Heat::Slowed, &HeatLimits::default(), None, Reading::default());
        let health = told(&events).unwrap();
        assert_eq!((health.state, vitals.stopped()), (HealthState::Degraded, None));
        assert_eq!(health.throttle.as_deref(), Some("temperature target"));
        let reading = Reading { throttle: Some("its power limit".into()), ..Reading::default() };
        vitals.heat(Heat::Fine, &HeatLimits::default(), None, reading);
        let health = told(&events).unwrap();
        assert_eq!((health.state, health.throttle.as_deref()), (HealthState::Ok, Some("its power limit")));
    }

    #[test]
    fn nothing_is_told_after_the_end() {
        let (vitals, events) = vitals();
        vitals.close();
        vitals.heat(Heat::Lost, &HeatLimits::default(), None, Reading::default());
        vitals.device(HealthState::Sick, None);
        assert_eq!(told(&events), None);
    }
}
