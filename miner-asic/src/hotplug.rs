//! Devices that come and go while the program runs.
//!
//! [`Watch`] decides, without I/O: lists of what is seen and times in, changes out. [`Bell`] waits for the time of the next
//! list.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_core::Stream;
use nusb::hotplug::HotplugWatch;

use crate::discover::{Obstacle, Sighting};
use crate::usb::UsbDevice;

/// How long a device must have been as it is before it is told of: its ports are made after it, and given to their group
/// still later.
const STEADY: Duration = Duration::from_secs(1);
/// How long a device must have been away before it counts as unplugged: one that starts its firmware anew goes and comes.
const GONE: Duration = Duration::from_secs(2);
/// How long what stands in the way of a device may take to go before that is told.
const PATIENCE: Duration = Duration::from_secs(8);
/// Devices that are kept track of; more are not noticed.
const MAX_KNOWN: usize = 256;
/// Time between two looks where nothing happens.
const POLL: Duration = Duration::from_secs(2);
/// Time between two looks while something is not decided.
const SOON: Duration = Duration::from_millis(500);
/// Time from an event to the look that follows: events come in swarms.
const SWARM: Duration = Duration::from_millis(200);
/// Events that are taken before there is a look.
const EVENTS: usize = 64;

/// What became of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was plugged in, or can be used at last. Told once, until it has vanished.
    Appeared(Sighting),
    /// It was plugged in and can't be used as it is. Told once; `Appeared` may follow.
    Hindered(Sighting),
    /// It was unplugged, and one of the others had been told of it.
    Vanished(UsbDevice),
}

/// Tells devices that come and go from those that only flicker.
#[derive(Debug)]
pub struct Watch {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    sighting: Sighting,
    /// Since when it is as it is.
    since: Instant,
    /// Since when it is missing.
    missing: Option<Instant>,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Hindered,
    Appeared,
}

impl Watch {
    /// Begins with devices that need no telling: somebody has looked at them already.
    pub fn new(now: Instant, seen: Vec<Sighting>) -> Self {
        let mut watch = Self { known: Vec::new() };
        watch.see(now, seen);
        for known in &mut watch.known {
            known.told = if known.sighting.obstacle.is_none() { Told::Appeared } else { Told::Hindered };
        }
        watch
    }

    /// Takes in all that is seen now; says what has changed.
    pub fn look(&mut self, now: Instant, seen: Vec<Sighting>) -> Vec<Change> {
        let mut present = self.see(now, seen).into_iter();
        let mut changes = Vec::new();
        self.known.retain_mut(|known| {
            if present.next().unwrap_or(false) {
                changes.extend(known.settle(now));
                return true;
            }
            let gone = now.saturating_duration_since(*known.missing.get_or_insert(now)) >= GONE;
            if gone && known.told != Told::Nothing {
                changes.push(Change::Vanished(known.sighting.device.clone()));
            }
            !gone
        });
        changes
    }

    /// Time until the next look.
    pub fn pause(&self) -> Duration {
        if self.known.iter().any(Known::is_open) { SOON } else { POLL }
    }

    /// Notes what is seen; which of the known devices that is.
    fn see(&mut self, now: Instant, seen: Vec<Sighting>) -> Vec<bool> {
        let mut present = vec![false; self.known.len()];
        for sighting in seen {
            let is_it = |known: &Known| known.sighting.device.is_same(&sighting.device);
            match self.known.iter().position(is_it) {
                // Another one that calls itself the same: there is no telling them apart.
                Some(place) if present[place] => {}
                Some(place) => {
                    present[place] = true;
                    self.known[place].see(now, sighting);
                }
                None if self.known.len() < MAX_KNOWN => {
                    present.push(true);
                    self.known.push(Known { sighting, since: now, missing: None, told: Told::Nothing });
                }
                None => {}
            }
        }
        present
    }
}

impl Known {
    fn see(&mut self, now: Instant, sighting: Sighting) {
        let was_missing = self.missing.take().is_some();
        if was_missing || self.sighting != sighting {
            self.since = now;
        }
        self.sighting = sighting;
    }

    /// What is to be told of it, now that it is here.
    fn settle(&mut self, now: Instant) -> Option<Change> {
        let age = now.saturating_duration_since(self.since);
        match (&self.sighting.obstacle, self.told) {
            (None, Told::Nothing | Told::Hindered) if age >= STEADY => {
                self.told = Told::Appeared;
                Some(Change::Appeared(self.sighting.clone()))
            }
            (Some(obstacle), Told::Nothing) if age >= patience(obstacle) => {
                self.told = Told::Hindered;
                Some(Change::Hindered(self.sighting.clone()))
            }
            _ => None,
        }
    }

    /// Whether time alone will decide something about it.
    fn is_open(&self) -> bool {
        let hindered = self.sighting.obstacle.is_some();
        self.missing.is_some() || self.told == Told::Nothing || self.told == Told::Hindered && !hindered
    }
}

fn patience(obstacle: &Obstacle) -> Duration {
    if let Obstacle::NotDriven(_) = obstacle { STEADY } else { PATIENCE }
}

/// Rings when something happens on USB, where the system tells, and in any case after a while.
///
/// Notices come by way of a udev daemon, which containers lack.
pub struct Bell {
    events: Option<HotplugWatch>,
    waker: Waker,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Bell {
    /// A bell for this thread, which is woken by [`Thread::unpark`] as well.
    pub fn new() -> Self {
        Self { events: nusb::watch_devices().ok(), waker: Waker::from(Arc::new(Unpark(thread::current()))) }
    }

    /// Waits for an event, an `unpark`, or this long.
    pub fn wait(&mut self, at_most: Duration) {
        if self.has_rung() {
            thread::sleep(SWARM);
        } else {
            thread::park_timeout(at_most);
        }
    }

    /// Takes the events that have come. If there are none, this thread is woken by the next.
    fn has_rung(&mut self) -> bool {
        let Some(events) = &mut self.events else { return false };
        let (mut events, mut context) = (pin!(events), Context::from_waker(&self.waker));
        let taken = (0..EVENTS).take_while(|_| {
            let next = events.as_mut().poll_next(&mut context);
            matches!(next, Poll::Ready(Some(_)))
        });
        taken.count() > 0
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
