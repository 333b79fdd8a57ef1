//! The driver's world in a lab: virtual time, and guards without threads.

use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use miner_core::backend::BackendPort;
use miner_core::work::WorkUnit;

use super::super::world::{Guarding, World};
use super::lab::Lab;
use crate::board::{BoardError, Keeper, NotSafe, Telemetry};
use crate::guard::{Haste, Trip, Trouble, off_within, retry_after};

/// How often it is looked at a board that is not off yet.
const LOOK: Duration = Duration::from_millis(50);

/// Time and guards of a lab.
pub(super) struct LabWorld(pub(super) Arc<Lab>);

impl World for LabWorld {
    fn now(&self) -> Instant {
        self.0.lock().now
    }

    fn wait(&self, port: &BackendPort, time: Duration) -> Result<WorkUnit, RecvTimeoutError> {
        let until = self.now() + time;
        loop {
            match port.try_next_unit() {
                Ok(unit) => return Ok(unit),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if self.now() >= until => return Err(RecvTimeoutError::Timeout),
                Err(TryRecvError::Empty) => {
                    self.0.pass(until.saturating_duration_since(self.now()).min(time))
                }
            }
        }
    }

    fn guard(&self, _: Arc<str>, keeper: Box<dyn Keeper>) -> Result<Box<dyn Guarding>, BoardError> {
        let watch = Watch {
            keeper,
            power: Power::Unknown,
            stopped: false,
            trip: None,
            not_off: None,
            telemetry: Telemetry::default(),
        };
        Ok(Box::new(LabGuard { lab: Arc::clone(&self.0), watch: Mutex::new(watch) }))
    }
}

/// A guard that looks whenever its driver does something with it, and so can do without a thread.
struct LabGuard {
    lab: Arc<Lab>,
    watch: Mutex<Watch>,
}

struct Watch {
    keeper: Box<dyn Keeper>,
    power: Power,
    /// The board is to be off for good.
    stopped: bool,
    trip: Option<Trip>,
    not_off: Option<NotSafe>,
    telemetry: Telemetry,
}

/// What the board was brought to.
#[derive(Clone, Copy, PartialEq)]
enum Power {
    Unknown,
    On { next_check: Instant },
    Off,
    NotOff { retry: Instant, pause: Duration },
}

impl LabGuard {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        self.lab.lock().now
    }

    fn switch_off(&self, watch: &mut Watch) {
        watch.not_off = watch.keeper.make_safe().err();
        watch.power = match (&watch.not_off, watch.power) {
            (None, _) => Power::Off,
            (Some(why), before) => {
                let before = if let Power::NotOff { pause, .. } = before { Some(pause) } else { None };
                let pause = retry_after(why, before);
                Power::NotOff { retry: self.now() + pause, pause }
            }
        };
    }

    /// What its thread would do by now.
    fn look(&self) -> MutexGuard<'_, Watch> {
        let mut watch = self.watch();
        match watch.power {
            Power::On { next_check } if self.now() >= next_check => self.check(&mut watch),
            Power::NotOff { retry, .. } if self.now() >= retry => self.switch_off(&mut watch),
            Power::Unknown | Power::On { .. } | Power::Off | Power::NotOff { .. } => {}
        }
        watch
    }

    fn check(&self, watch: &mut Watch) {
        let checkup = watch.keeper.check();
        watch.telemetry = checkup.telemetry;
        watch.power = Power::On { next_check: self.now() + watch.keeper.check_every() };
        if let Some(danger) = checkup.danger {
            self.switch_off(watch);
            watch.trip = Some(danger.into());
        }
    }
}

impl Guarding for LabGuard {
    fn power_up(&self) -> Result<(), BoardError> {
        let mut watch = self.look();
        if let Some(why) = watch.not_off.clone() {
            return Err(BoardError::NotOff(why));
        }
        watch.power = Power::Unknown;
        let result = watch.keeper.power_up();
        if result.is_ok() {
            watch.trip = None;
            watch.power = Power::On { next_check: self.now() };
        } else {
            self.switch_off(&mut watch);
        }
        result
    }

    fn beat(&self) {
        drop(self.look());
    }

    fn trip(&self) -> Option<Trip> {
        self.watch().trip.clone()
    }

    fn telemetry(&self) -> Telemetry {
        self.watch().telemetry
    }

    fn stop(&self) {
        let mut watch = self.watch();
        if !std::mem::replace(&mut watch.stopped, true) && watch.power != Power::Off {
            watch.power = Power::Unknown;
            self.switch_off(&mut watch);
        }
    }

    fn is_finished(&self) -> bool {
        let watch = self.look();
        watch.stopped && watch.power == Power::Off
    }

    fn trouble(&self) -> Option<Trouble> {
        self.watch().not_off.clone().map(Trouble::NotSafe)
    }
}

impl Drop for LabGuard {
    /// The program is at its end: it waits for so long and no longer, and not for a board that is not there.
    fn drop(&mut self) {
        self.stop();
        let until = self.now() + off_within(self.watch().keeper.limits(), Haste::Patient);
        while !self.is_finished() && self.now() < until {
            if self.trouble() == Some(Trouble::NotSafe(NotSafe::Absent)) {
                return;
            }
            self.lab.pass(LOOK);
        }
    }
}
