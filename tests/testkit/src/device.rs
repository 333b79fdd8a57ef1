//! Emulated USB ASICs on pseudo-terminals, and a practice pool at which they find something.

use std::sync::Arc;

use asic_emulator::{Emulator, KNOWN_ANSWERS, KnownAnswers, preset};
use practice_pool::{Config, Replay};

use crate::practice::quiet;

/// A device that finds what is known to lie in the jobs of [`replay`].
pub fn emulator(name: &str) -> Emulator {
    let answers = KnownAnswers::read(KNOWN_ANSWERS).expect("known answers");
    Emulator::start(preset(name, Arc::new(answers)).expect("a preset")).expect("pseudo-terminals")
}

/// `--device` for a driver on an emulated device.
pub fn argument(driver: &str, emulator: &Emulator) -> String {
    let ports: Vec<String> = emulator.ports().iter().map(|port| port.display().to_string()).collect();
    format!("{driver}:{}", ports.join(","))
}

/// A pool that serves jobs with known answers in turn.
pub fn replay() -> Config {
    let replay = Arc::new(Replay::read(KNOWN_ANSWERS).expect("jobs"));
    Config { replay: Some(replay), ..quiet() }
}
