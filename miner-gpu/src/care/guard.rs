//! The thread that watches a GPU's temperature.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use miner_core::backend::HealthState;

use super::thermostat::{Thermostat, Verdict};
use super::{Gate, HeatLimits, Vitals, Watch};
use crate::error::GpuError;
use crate::telemetry::{Reading, Sensor};

/// Time between two reports while nothing but figures changes.
const TELL: Duration = Duration::from_secs(2);

/// How often the gate is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What is wrong where the gate closed by itself.
const NO_ANSWER: &str = "stopped: its sensor does not answer";

/// A watched GPU. Dropped, nothing starts any more, and nothing more is told.
pub(crate) struct Guard {
    gate: Gate,
    vitals: Arc<Vitals>,
    patience: Duration,
    _end: Option<Sender<()>>,
}

impl Guard {
    /// Watches by this sensor; without one, the gate is open for good.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn start(
        sensor: Option<Arc<dyn Sensor>>,
        limits: HeatLimits,
        watch: Watch,
        vitals: Vitals,
    ) -> io::Result<Self> {
        let vitals = Arc::new(vitals);
        let Watch { patience, .. } = watch;
        let Some(sensor) = sensor else {
            return Ok(Self { gate: Gate::open(), vitals, patience, _end: None });
        };
        let gate = Gate::closed();
        let (sender, end) = channel();
        let watcher = Watcher { sensor, limits, watch, gate: gate.clone(), vitals: Arc::clone(&vitals), end };
        thread::Builder::new().name("gpu-guard".to_owned()).spawn(move || watcher.run())?;
        Ok(Self { gate, vitals, patience, _end: Some(sender) })
    }

    /// What is to be asked where a dispatch is submitted.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Where the GPU's health is told.
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Waits until dispatches may start; `rest` waits for so long, or says that there is nothing to wait for any more.
    pub(crate) fn wait(&self, mut rest: impl FnMut(Duration) -> bool) -> bool {
        let (start, mut told) = (Instant::now(), false);
        while !self.gate.is_open() {
            // A guard that is well has said itself what is wrong.
            if !told && start.elapsed() > self.patience && !self.gate.is_held() {
                told = true;
                self.vitals.device(HealthState::Sick, Some(NO_ANSWER));
            }
            if !rest(LOOK) {
                return false;
            }
        }
        true
    }

    /// Waits for the sensor's word where it is not there yet or late, but not until a GPU that was stopped has cooled down.
    ///
    /// # Errors
    /// Why nothing may start.
    pub(crate) fn ready(&self) -> Result<(), GpuError> {
        let start = Instant::now();
        while !self.gate.is_open() {
            // The gate closes before it is said why.
            let silent = start.elapsed() > 2 * self.patience;
            let why = self.vitals.stopped().or_else(|| silent.then(|| NO_ANSWER.to_owned()));
            why.map_or(Ok(()), |why| Err(GpuError::Stopped(why)))?;
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.gate.close();
        self.vitals.close();
    }
}

struct Watcher {
    sensor: Arc<dyn Sensor>,
    limits: HeatLimits,
    watch: Watch,
    gate: Gate,
    vitals: Arc<Vitals>,
    end: Receiver<()>,
}

impl Watcher {
    fn run(self) {
        let mut thermostat = Thermostat::new(self.limits, self.watch.patience);
        let mut told = None;
        loop {
            // A reading is as old as the question.
            let now = Instant::now();
            let reading = self.sensor.read();
            let celsius = reading.as_ref().ok().and_then(|reading| reading.celsius);
            let verdict = thermostat.note(now, celsius);
            let Verdict { heat, seen, duty } = verdict;
            match seen {
                Some(seen) => self.gate.open_until(seen + self.watch.patience, duty),
                None => self.gate.close(),
            }
            // The gate comes first: what follows waits for the driver, while it is behind.
            if told.is_none_or(|(then, before)| before != heat || now >= then + TELL) {
                let problem = reading.as_ref().err().map(ToString::to_string);
                let reading: Reading = reading.unwrap_or_default();
                self.vitals.heat(heat, &self.limits, problem.as_deref(), reading);
                told = Some((now, heat));
            }
            match self.end.recv_timeout(self.watch.interval) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
