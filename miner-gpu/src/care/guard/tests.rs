//! Guards of cards whose sensor, driver or scheduler misbehaves. Nothing here sleeps for long: a guard looks each
//! millisecond.

use std::sync::Mutex;
use std::sync::mpsc::Receiver;

use miner_core::backend::{BackendEvent, EventSink, Health};

use super::*;
use crate::telemetry::TelemetryError;

const WATCH: Watch = Watch { interval: Duration::from_millis(1), patience: Duration::from_millis(50) };

/// What a sensor does when it is read.
#[derive(Clone, Copy, Debug)]
enum Says {
    Celsius(f32),
    Nothing,
    Panics,
    Hangs,
}

struct Script(Mutex<Says>);

impl Script {
    fn new(says: Says) -> Arc<Self> {
        Arc::new(Self(Mutex::new(says)))
    }

    fn set(&self, says: Says) {
        *self.0.lock().unwrap() = says;
    }
}

impl Sensor for Script {
    fn source(&self) -> &str {
        "script"
    }

    fn read(&self) -> Result<Reading, TelemetryError> {
        let says = *self.0.lock().unwrap();
        match says {
            Says::Celsius(celsius) => Ok(Reading { celsius: Some(celsius), ..Reading::default() }),
            Says::Nothing => Err(TelemetryError::Silent("unplugged".to_owned())),
            Says::Panics => panic!("a sensor's fault, on purpose"),
            Says::Hangs => loop {
                thread::park();
            },
        }
    }
}

/// Takes health, or nothing at all, as a scheduler that is dead.
enum Driver {
    Alive(Sender<Health>),
    Dead,
}

impl EventSink for Driver {
    fn send(&self, event: BackendEvent) -> bool {
        match (self, event) {
            (Self::Alive(sender), BackendEvent::Health(health)) => sender.send(health).is_ok(),
            (Self::Alive(_), other) => panic!("{other:?}"),
            (Self::Dead, _) => loop {
                thread::park();
            },
        }
    }
}

fn guard(sensor: Option<Arc<dyn Sensor>>, driver: Driver) -> Guard {
    let sink: Arc<dyn EventSink> = Arc::new(driver);
    Guard::start(sensor, HeatLimits::default(), WATCH, Vitals::new(&sink)).unwrap()
}

fn alive() -> (Driver, Receiver<Health>) {
    let (sender, told) = channel();
    (Driver::Alive(sender), told)
}

fn becomes(guard: &Guard, open: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while guard.gate().is_open() != open {
        assert!(Instant::now() < deadline, "the gate does not become open = {open}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for a health whose reason has these words.
fn hears(told: &Receiver<Health>, words: &str) -> Health {
    let has = |health: &Health| health.reason.as_deref().is_some_and(|reason| reason.contains(words));
    std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(60)).ok()).find(has).expect(words)
}

#[test]
fn by_default_two_seconds_pass_at_most_and_several_looks_fit_into_them() {
    let Watch { interval, patience } = Watch::default();
    assert!(patience <= Duration::from_secs(2) && 3 * interval < patience);
}

#[test]
fn a_card_without_a_sensor_is_let_work() {
    let (driver, told) = alive();
    let guard = guard(None, driver);
    assert!(guard.gate().is_open() && guard.wait(|_| false));
    assert!(told.try_recv().is_err());
    let gate = guard.gate().clone();
    drop(guard);
    assert!(!gate.is_open(), "nothing starts after the end");
}

#[test]
fn a_hot_card_is_stopped_and_works_again_when_it_has_cooled() {
    let (driver, told) = alive();
    let script = Script::new(Says::Celsius(60.0));
    let guard = guard(Some(script.clone()), driver);
    becomes(&guard, true);
    script.set(Says::Celsius(95.0));
    becomes(&guard, false);
    assert!(guard.gate().is_held());
    let health = hears(&told, "too hot");
    assert_eq!((health.state, health.celsius), (HealthState::Sick, Some(95.0)));
    script.set(Says::Celsius(75.0));
    assert!(guard.wait(|pause| {
        thread::sleep(pause);
        true
    }));
    assert!(guard.gate().duty() < 0.5, "it starts again gently");
}

#[test]
fn a_sensor_that_fails_stops_a_hot_card() {
    let (driver, told) = alive();
    let script = Script::new(Says::Celsius(79.0));
    let guard = guard(Some(script.clone()), driver);
    becomes(&guard, true);
    script.set(Says::Nothing);
    becomes(&guard, false);
    assert_eq!(hears(&told, "fell silent").state, HealthState::Sick);
    script.set(Says::Celsius(79.0));
    becomes(&guard, true);
}

#[test]
fn a_cool_card_whose_sensor_fails_works_on_and_says_so() {
    let (driver, told) = alive();
    let script = Script::new(Says::Nothing);
    let guard = guard(Some(script), driver);
    becomes(&guard, true);
    assert_eq!(
        hears(&told, "not watched: its sensors cannot be read: unplugged").state,
        HealthState::Degraded
    );
}

#[test]
fn a_sensor_that_hangs_stops_the_card_and_is_told_by_who_waits() {
    let (driver, told) = alive();
    let script = Script::new(Says::Celsius(40.0));
    let guard = guard(Some(script.clone()), driver);
    becomes(&guard, true);
    script.set(Says::Hangs);
    becomes(&guard, false);
    assert!(!guard.gate().is_held(), "it closed by itself");
    let start = Instant::now();
    let waited = guard.wait(|pause| {
        thread::sleep(pause);
        start.elapsed() < 3 * WATCH.patience
    });
    assert!(!waited);
    assert_eq!(hears(&told, "does not answer").state, HealthState::Sick);
}

#[test]
fn a_guard_that_dies_stops_the_card() {
    let (driver, _told) = alive();
    let script = Script::new(Says::Celsius(40.0));
    let guard = guard(Some(script.clone()), driver);
    becomes(&guard, true);
    script.set(Says::Panics);
    becomes(&guard, false);
}

#[test]
fn a_hot_card_is_stopped_with_the_scheduler_dead() {
    let script = Script::new(Says::Celsius(60.0));
    let guard = guard(Some(script.clone()), Driver::Dead);
    // It hangs in its first report, and what it granted before ends.
    script.set(Says::Celsius(95.0));
    becomes(&guard, false);
    for _ in 0..100 {
        thread::sleep(WATCH.interval);
        assert!(!guard.gate().is_open());
    }
}
