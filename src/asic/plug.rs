//! ASICs that are plugged in while lode mines.
//!
//! A device that was mined with and has gone is no matter of this: its own backend waits for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Thread};
use std::time::Instant;

use miner_asic::backend::AsicBackend;
use miner_asic::board::place::Place;
use miner_asic::board::{Board, BoardSettings};
use miner_asic::discover::{Match, Sighting, look, obstacle_at};
use miner_asic::drivers::Driver;
use miner_asic::guard::GuardList;
use miner_asic::hotplug::{Bell, Change, Watch};
use miner_asic::usb::Enumerate;
use miner_core::backend::{BackendError, BackendInfo, BackendPort, HashBackend};
use tokio::sync::mpsc::Sender;

use super::choice::{Choice, Named, config, name, unusable};
use super::{AsicBackends, AsicProblem};
use crate::explain::{Explain, Explanation};
use crate::report::format::printable;

/// Devices that are taken in one run, those that went included: accounts are kept of each.
const MAX_DEVICES: usize = 256;

/// Looks for ASICs that come later: those that are named, and any where all are asked for.
pub struct Plug {
    all: bool,
    named: Vec<Named>,
    usb: Arc<dyn Enumerate>,
    watch: Watch,
    roster: Roster,
    guards: GuardList,
    /// Whether it was said that no more are taken.
    full: bool,
}

/// A search that goes on until this is dropped.
pub struct Watching {
    ended: Arc<AtomicBool>,
    thread: Thread,
}

/// What a look brought.
enum News {
    Device(Box<dyn HashBackend>),
    Problem(AsicProblem),
}

impl Plug {
    /// Backends of what was chosen, and the search for what may come.
    pub(super) fn begin(
        choice: Choice,
        all: bool,
        usb: Arc<dyn Enumerate>,
        seen: Vec<Sighting>,
        guards: &GuardList,
    ) -> AsicBackends {
        let Choice { boards, mut problems, named, .. } = choice;
        let watch = Watch::new(Instant::now(), seen);
        let (roster, guards) = (Roster::default(), guards.clone());
        let mut plug = Self { all, named, usb, watch, roster, guards, full: false };
        let mut list = Vec::new();
        for news in boards.into_iter().filter_map(|board| plug.enlist(board)) {
            match news {
                News::Device(backend) => list.push(backend),
                News::Problem(problem) => problems.push(problem),
            }
        }
        let expects_any = plug.all || plug.named.iter().any(|named| named.enabled);
        AsicBackends { list, problems, plug: expects_any.then_some(plug) }
    }

    /// Looks on a thread of its own, and sends what is plugged in to `devices`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn watch(self, devices: Sender<Box<dyn HashBackend>>) -> io::Result<Watching> {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = Builder::new().name("asic-plug".to_owned()).spawn({
            let ended = Arc::clone(&ended);
            move || self.run(&devices, &ended)
        })?;
        Ok(Watching { ended, thread: thread.thread().clone() })
    }

    fn run(mut self, devices: &Sender<Box<dyn HashBackend>>, ended: &AtomicBool) {
        let mut bell = Bell::new();
        loop {
            bell.wait(self.watch.pause());
            if ended.load(Ordering::Acquire) {
                return;
            }
            for news in self.look(Instant::now()) {
                match news {
                    News::Device(backend) => {
                        tracing::info!("{} is plugged in: mining with it", printable(&backend.info().key));
                        if devices.blocking_send(backend).is_err() {
                            return;
                        }
                    }
                    News::Problem(problem) => {
                        let Explanation { what, advice, .. } = problem.explain();
                        tracing::warn!("{what}: {}", advice.unwrap_or_default());
                    }
                }
            }
        }
    }

    fn look(&mut self, now: Instant) -> Vec<News> {
        let mut news = self.look_at_ports();
        let needs_usb = self.all || self.named.iter().any(|named| named.ports().is_none());
        // A system that does not tell was complained of at the start.
        let seen = if needs_usb { look(&*self.usb).ok() } else { None };
        for change in seen.map_or_else(Vec::new, |seen| self.watch.look(now, seen)) {
            match change {
                Change::Appeared(sighting) => news.extend(self.on_appeared(&sighting)),
                Change::Hindered(sighting) => news.extend(self.on_hindered(&sighting)),
                Change::Vanished(device) => tracing::debug!("{} is unplugged", name(&device)),
            }
        }
        news
    }

    /// Takes the devices that are named by ports which have come since the last look.
    fn look_at_ports(&mut self) -> Vec<News> {
        let come = |named: &mut Named| {
            let ports = named.ports().filter(|_| named.enabled)?;
            let missing = obstacle_at(&ports).is_some();
            let was_missing = std::mem::replace(&mut named.missing, missing);
            (was_missing && !missing).then(|| (named.driver, Place::Named(ports), named.settings))
        };
        let come: Vec<_> = self.named.iter_mut().filter_map(come).collect();
        come.into_iter().filter_map(|(driver, place, settings)| self.take(driver, place, settings)).collect()
    }

    fn on_appeared(&mut self, sighting: &Sighting) -> Option<News> {
        let (driver, settings) = self.wanted(sighting)?;
        let place = Place::Usb(Arc::clone(&self.usb), sighting.device.clone());
        self.take(driver, place, settings)
    }

    /// The driver and the settings for a device on USB, if it is to be mined with.
    fn wanted(&self, sighting: &Sighting) -> Option<(Driver, BoardSettings)> {
        let Sighting { device, is, .. } = sighting;
        match (self.named.iter().find(|named| named.is(device)), is) {
            (Some(named), _) if named.is_called(device) => {
                named.enabled.then_some((named.driver, named.settings))
            }
            // Its port is looked at.
            (Some(_), _) => None,
            (None, Match::Sure(driver)) => self.all.then_some((*driver, BoardSettings::default())),
            (None, Match::Maybe(_) | Match::NotDriven(_)) => None,
        }
    }

    fn on_hindered(&self, sighting: &Sighting) -> Option<News> {
        let not_driven = self.all && matches!(sighting.is, Match::NotDriven(_));
        let problem = unusable(name(&sighting.device), sighting.obstacle.as_ref()?);
        (not_driven || self.wanted(sighting).is_some()).then_some(News::Problem(problem))
    }

    fn take(&mut self, driver: Driver, place: Place, settings: BoardSettings) -> Option<News> {
        match driver.board(place, settings) {
            Ok(board) => self.enlist(board),
            Err(error) => Some(News::Problem(AsicProblem::Settings(error.to_string()))),
        }
    }

    /// A backend for a board, unless there is one at work.
    fn enlist(&mut self, board: Box<dyn Board>) -> Option<News> {
        let key = board.info().key.to_string();
        match self.roster.enter(&key) {
            Ok(entry) => {
                let backend = AsicBackend::new(board, config(), self.guards.clone());
                Some(News::Device(Box::new(Enlisted { backend, entry })))
            }
            Err(Refusal::AtWork) => None,
            Err(Refusal::Full) => {
                let told = std::mem::replace(&mut self.full, true);
                let problem = AsicProblem::TooMany { device: printable(&key), limit: MAX_DEVICES };
                (!told).then_some(News::Problem(problem))
            }
        }
    }
}

impl Drop for Watching {
    /// The thread ends by itself: USB may keep it waiting for seconds.
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The devices that ever were, by key, and whether they have a backend now.
#[derive(Clone, Debug, Default)]
struct Roster(Arc<Mutex<BTreeMap<String, bool>>>);

/// Why a device is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    AtWork,
    Full,
}

impl Roster {
    fn enter(&self, key: &str) -> Result<Entry, Refusal> {
        let mut devices = self.lock();
        let full = devices.len() >= MAX_DEVICES;
        match devices.get_mut(key) {
            Some(true) => return Err(Refusal::AtWork),
            Some(at_work) => *at_work = true,
            None if full => return Err(Refusal::Full),
            None => {
                devices.insert(key.to_owned(), true);
            }
        }
        Ok(Entry { roster: self.clone(), key: key.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The backend of a device is at work until this is dropped.
struct Entry {
    roster: Roster,
    key: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.roster.lock().insert(std::mem::take(&mut self.key), false);
    }
}

/// A backend that is known to be at work.
struct Enlisted {
    backend: AsicBackend,
    entry: Entry,
}

impl HashBackend for Enlisted {
    fn info(&self) -> BackendInfo {
        self.backend.info()
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        let Self { backend, entry: _at_work } = *self;
        Box::new(backend).run(port)
    }
}

#[cfg(test)]
mod tests;
