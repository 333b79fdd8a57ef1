//! What a driver has of the world besides its board: time, and a guard.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use miner_core::backend::{BackendPort, EventSink};
use miner_core::work::WorkUnit;

use crate::board::{BoardError, Keeper, Telemetry};
use crate::guard::{Guard, GuardList, Trip, Trouble};

/// Time and guards; those of a test are virtual.
pub(super) trait World {
    /// The time.
    fn now(&self) -> Instant;

    /// Lets time pass until a unit comes, at most so much.
    fn wait(&self, port: &BackendPort, time: Duration) -> Result<WorkUnit, RecvTimeoutError>;

    /// Has the board of device `key` guarded; letting go of the guard switches the board off.
    fn guard(&self, key: Arc<str>, keeper: Box<dyn Keeper>) -> Result<Box<dyn Guarding>, BoardError>;
}

/// The driving thread's end of a guard.
pub(super) trait Guarding {
    /// Powers the board up, or takes it through a reset; waits until it is done.
    fn power_up(&self) -> Result<(), BoardError>;

    /// A sign of life.
    fn beat(&self);

    /// Why the board was switched off, if it was.
    fn trip(&self) -> Option<Trip>;

    /// What was measured last.
    fn telemetry(&self) -> Telemetry;

    /// Has the board switched off, for good.
    fn stop(&self);

    /// Whether the board is off and let go of.
    fn is_finished(&self) -> bool;

    /// Why the board is not off although it should be, once that is known.
    fn trouble(&self) -> Option<Trouble>;
}

/// The world as it is.
pub(super) struct Real {
    /// Silence of the driving thread after which a guard switches its board off.
    pub(super) hang: Duration,
    pub(super) guards: GuardList,
    pub(super) events: Arc<dyn EventSink>,
}

impl World for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, port: &BackendPort, time: Duration) -> Result<WorkUnit, RecvTimeoutError> {
        port.next_unit_timeout(time)
    }

    fn guard(&self, key: Arc<str>, keeper: Box<dyn Keeper>) -> Result<Box<dyn Guarding>, BoardError> {
        Ok(Box::new(Guard::start(key, keeper, self.hang, &self.guards, &self.events)?))
    }
}

impl Guarding for Guard {
    fn power_up(&self) -> Result<(), BoardError> {
        self.power_up()
    }

    fn beat(&self) {
        self.beat();
    }

    fn trip(&self) -> Option<Trip> {
        self.trip()
    }

    fn telemetry(&self) -> Telemetry {
        self.telemetry()
    }

    fn stop(&self) {
        self.stop();
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble()
    }
}
