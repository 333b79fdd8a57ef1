//! The thread that keeps a board safe, whatever becomes of the one that drives it.
//!
//! It alone talks to the board's power, reset, fan and sensors. It switches the board off when a sensor says so, when
//! the driving thread gives no sign of life, when that thread lets go of it (a panic included), and when the program
//! ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miner_core::backend::{BackendEvent, EventSink, Health, HealthState};

use crate::board::{BoardError, Danger, Keeper, Telemetry};

/// Why the guard switched a board off.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Trip {
    /// The board itself.
    #[error(transparent)]
    Danger(#[from] Danger),
    /// The thread that drives it.
    #[error("its driver gave no sign of life for {} s", .0.as_secs_f32())]
    Hung(Duration),
    /// The guard's own thread.
    #[error("the thread that guards it has ended")]
    Unguarded,
}

/// All guards of a program, so that its end can be held up until every board is safe.
///
/// Dropping it makes all of them safe: hold it where a panic unwinds through.
#[derive(Debug, Default)]
pub struct Guards {
    list: GuardList,
}

/// What backends take part in.
#[derive(Clone, Debug, Default)]
pub struct GuardList(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    closed: bool,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    commands: Sender<Command>,
    done: Arc<AtomicBool>,
}

impl Guards {
    /// How long boards may take to be switched off.
    const PATIENCE: Duration = Duration::from_secs(4);

    /// The list for backends to take part in.
    pub fn list(&self) -> GuardList {
        self.list.clone()
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        self.list.make_all_safe(Self::PATIENCE);
    }
}

impl GuardList {
    /// Switches every board off, for good, and waits until that is done, at most `patience`. `false`: not all are.
    pub fn make_all_safe(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut list = self.lock();
        list.closed = true;
        for entry in &list.entries {
            // A guard that has ended has left its board safe.
            let _ = entry.commands.send(Command::Stop);
        }
        // They stay in the list: whoever asks at the same time waits for them too.
        let done: Vec<_> = list.entries.iter().map(|entry| Arc::clone(&entry.done)).collect();
        drop(list);
        loop {
            if done.iter().all(|done| done.load(Ordering::Acquire)) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Guards that are at work.
    pub fn count(&self) -> usize {
        self.lock().entries.iter().filter(|entry| !entry.done.load(Ordering::Acquire)).count()
    }

    fn enter(&self, entry: Entry) -> bool {
        let mut list = self.lock();
        list.entries.retain(|entry| !entry.done.load(Ordering::Acquire));
        if !list.closed {
            list.entries.push(entry);
        }
        !list.closed
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Command {
    PowerUp(SyncSender<Result<(), BoardError>>),
    Stop,
}

/// The driving thread's end. Dropping it switches the board off and waits until that is done.
pub(crate) struct Guard {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    started: Instant,
    /// The last sign of life, in ms since `started`.
    beat: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    telemetry: Telemetry,
    trip: Option<Trip>,
}

impl Guard {
    /// Has `keeper` on a thread of its own; a driver silent for longer than `hang` is taken for dead.
    pub(crate) fn start(
        keeper: Box<dyn Keeper>,
        hang: Duration,
        guards: &GuardList,
        events: Arc<dyn EventSink>,
    ) -> Result<Self, BoardError> {
        let (commands, orders) = channel();
        let shared =
            Arc::new(Shared { started: Instant::now(), beat: AtomicU64::new(0), state: Mutex::default() });
        let done = Arc::new(AtomicBool::new(false));
        if !guards.enter(Entry { commands: commands.clone(), done: Arc::clone(&done) }) {
            return Err(BoardError::Unguarded);
        }
        let watch = Watch {
            keeper: SafeOnDrop(keeper),
            shared: Arc::clone(&shared),
            hang,
            events,
            orders,
            next_check: None,
            _done: SetOnDrop(done),
        };
        let thread = std::thread::Builder::new()
            .name("asic-guard".to_owned())
            .spawn(move || watch.run())
            .map_err(|error| BoardError::Part { part: "guard", problem: error.to_string() })?;
        Ok(Self { commands, shared, thread: Some(thread) })
    }

    /// Powers the board up, or takes it through a reset; waits until it is done.
    pub(crate) fn power_up(&self) -> Result<(), BoardError> {
        let (reply, answer) = sync_channel(1);
        self.commands.send(Command::PowerUp(reply)).map_err(|_| BoardError::Unguarded)?;
        answer.recv().map_err(|_| BoardError::Unguarded)?
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        self.shared.beat();
    }

    /// Why the board was switched off, if it was.
    pub(crate) fn trip(&self) -> Option<Trip> {
        let trip = self.shared.lock().trip.clone();
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        trip.or_else(|| ended().then_some(Trip::Unguarded))
    }

    /// What was measured last.
    pub(crate) fn telemetry(&self) -> Telemetry {
        self.shared.lock().telemetry
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A guard that has ended has left its board safe.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(now, Ordering::Release);
    }

    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.beat.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(last)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guard's thread. Fields are dropped in order: safe first, then done.
struct Watch {
    keeper: SafeOnDrop,
    shared: Arc<Shared>,
    hang: Duration,
    /// Where it is told that the driver, which tells everything else, is silent.
    events: Arc<dyn EventSink>,
    orders: Receiver<Command>,
    /// `Some` while the board is powered.
    next_check: Option<Instant>,
    _done: SetOnDrop,
}

impl Watch {
    fn run(mut self) {
        // A panic of a keeper ends the guard, which leaves the board safe and is noticed by the driver.
        let _ = catch_unwind(AssertUnwindSafe(|| self.watch()));
    }

    fn watch(&mut self) {
        loop {
            match self.orders.recv_timeout(self.pause()) {
                Ok(Command::PowerUp(reply)) => {
                    let result = self.power_up();
                    // Whoever asked may be gone; then it also stops.
                    let _ = reply.send(result);
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    fn pause(&self) -> Duration {
        match self.next_check {
            Some(at) => at.saturating_duration_since(Instant::now()).min(self.hang / 4),
            None => Duration::from_secs(1),
        }
    }

    fn power_up(&mut self) -> Result<(), BoardError> {
        let result = self.keeper.0.power_up();
        self.shared.beat();
        match result {
            Ok(()) => {
                self.shared.lock().trip = None;
                self.next_check = Some(Instant::now());
            }
            Err(_) => self.switch_off(),
        }
        result
    }

    fn look(&mut self) {
        let Some(next_check) = self.next_check else { return };
        let silence = self.shared.silence();
        if silence > self.hang {
            return self.trip(Trip::Hung(silence));
        }
        if Instant::now() >= next_check {
            let checkup = self.keeper.0.check();
            self.shared.lock().telemetry = checkup.telemetry;
            self.next_check = Some(Instant::now() + self.keeper.0.check_every());
            if let Some(danger) = checkup.danger {
                self.trip(danger.into());
            }
        }
    }

    fn trip(&mut self, why: Trip) {
        self.switch_off();
        if let Trip::Hung(_) = why {
            let reason = Some(why.to_string().into());
            let health = Health { state: HealthState::Quarantined, reason, ..Health::default() };
            self.events.send(BackendEvent::Health(health));
        }
        self.shared.lock().trip = Some(why);
    }

    fn switch_off(&mut self) {
        self.next_check = None;
        self.keeper.0.make_safe();
    }
}

struct SafeOnDrop(Box<dyn Keeper>);

impl Drop for SafeOnDrop {
    fn drop(&mut self) {
        // A second panic while one unwinds would end the program, other boards and all.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.make_safe()));
    }
}

#[derive(Debug)]
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
