//! The thread that keeps a board safe, whatever becomes of the one that drives it.
//!
//! It alone talks to the board's power, reset, fan and sensors. It switches the board off when a sensor says so, when
//! the driving thread gives no sign of life, when that thread lets go of it (a panic included), and when the program
//! ends; and it tries on until the board says that it is off. It never waits for anything but the board, and says by
//! when it will be heard of again, so that a board that blocks it is noticed by the driving thread and by the end of the
//! program.

mod list;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miner_core::backend::{BackendEvent, EventSink, Health, HealthState};

use crate::board::{BoardError, Danger, Keeper, Limits, NotSafe, Telemetry};

pub use list::{GuardList, Guards, Haste, Notice};

/// The pause after a first vain try to switch a board off; it doubles with each, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How often an unplugged board with a supply of its own is looked for.
const RETRY_ABSENT: Duration = Duration::from_millis(500);
/// How long a board without power may be left alone.
const IDLE: Duration = Duration::from_secs(1);
/// How much later than it wants to a waiting thread may run, on a machine that is busy.
const LATE: Duration = Duration::from_secs(3);
/// How often the driving thread looks at what it waits for.
const LOOK: Duration = Duration::from_millis(1);

/// Why the guard switched a board off.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Trip {
    /// The board itself.
    #[error(transparent)]
    Danger(#[from] Danger),
    /// The thread that drives it.
    #[error("its driver gave no sign of life for {} s", .0.as_secs_f32())]
    Hung(Duration),
    /// The guard's own thread has ended.
    #[error("the thread that guards it has ended")]
    Unguarded,
    /// The guard's own thread is blocked.
    #[error("the thread that guards it does not answer")]
    Stuck,
}

/// Why a board that should be off is not known to be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// It was tried.
    #[error(transparent)]
    NotSafe(#[from] NotSafe),
    /// The thread that would do it is blocked.
    #[error("the thread that guards it does not answer")]
    Stuck,
    /// The thread that would do it is not done yet.
    #[error("it takes longer than it should")]
    Slow,
}

#[derive(Debug)]
enum Command {
    PowerUp(SyncSender<Result<(), BoardError>>),
    Stop,
}

/// The driving thread's end. Dropping it has the board switched off, and waits until that was tried.
pub(crate) struct Guard {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What the threads know of each other.
#[derive(Debug)]
struct Shared {
    key: Arc<str>,
    limits: Limits,
    started: Instant,
    /// The driver's last sign of life, in ms since `started`.
    beat: AtomicU64,
    /// When the guard will have been heard of again, in ms since `started`.
    promise: AtomicU64,
    /// The board is off, for good.
    safe: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    telemetry: Telemetry,
    trip: Option<Trip>,
    /// Why a board that should be off is not.
    not_off: Option<NotSafe>,
}

impl Guard {
    /// Has the `keeper` of device `key` on a thread of its own; a driver silent for longer than `hang` is taken for dead.
    pub(crate) fn start(
        key: Arc<str>,
        keeper: Box<dyn Keeper>,
        hang: Duration,
        guards: &GuardList,
        events: &Arc<dyn EventSink>,
    ) -> Result<Self, BoardError> {
        let (commands, orders) = channel();
        let shared = Arc::new(Shared::new(key, keeper.limits()));
        let entry = list::Entry { commands: commands.clone(), shared: Arc::clone(&shared) };
        if !guards.enter(entry) {
            return Err(BoardError::Unguarded);
        }
        let guards = guards.clone();
        let of_thread = Arc::clone(&shared);
        let events = Arc::downgrade(events);
        let watch = Watch { keeper, shared: of_thread, hang, guards, events, orders, power: Power::Unknown };
        let thread = std::thread::Builder::new()
            .name("asic-guard".to_owned())
            .spawn(move || watch.run())
            .map_err(|error| {
                // Nothing was switched on.
                shared.safe.store(true, Ordering::Release);
                BoardError::Part { part: "guard", problem: error.to_string() }
            })?;
        Ok(Self { commands, shared, thread })
    }

    /// Powers the board up, or takes it through a reset; waits until it is done, or the guard is blocked.
    pub(crate) fn power_up(&self) -> Result<(), BoardError> {
        let (reply, answer) = sync_channel(1);
        self.commands.send(Command::PowerUp(reply)).map_err(|_| BoardError::Unguarded)?;
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(BoardError::Unguarded),
                Err(RecvTimeoutError::Timeout) if self.shared.is_stuck() => return Err(BoardError::Stuck),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        self.shared.beat();
    }

    /// Why the board was switched off, if it was, or is no longer guarded.
    pub(crate) fn trip(&self) -> Option<Trip> {
        let trip = self.shared.lock().trip.clone();
        let ended = || self.thread.is_finished().then_some(Trip::Unguarded);
        let stuck = || self.shared.is_stuck().then_some(Trip::Stuck);
        trip.or_else(ended).or_else(stuck)
    }

    /// What was measured last.
    pub(crate) fn telemetry(&self) -> Telemetry {
        self.shared.lock().telemetry
    }

    /// Has the board switched off, for good. Does not wait.
    pub(crate) fn stop(&self) {
        // A guard that has ended has left its board safe.
        let _ = self.commands.send(Command::Stop);
    }

    /// Whether the board is off and let go of.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Why the board is not off although it should be, once that is known.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.shared.trouble()
    }
}

impl Drop for Guard {
    /// Where the first try is in vain, the thread is left to go on, and the list of guards tells what becomes of it.
    fn drop(&mut self) {
        self.stop();
        let until = Instant::now() + self.shared.off_within(Haste::Hurried);
        while !self.is_finished() && self.trouble().is_none() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
}

impl Shared {
    fn new(key: Arc<str>, limits: Limits) -> Self {
        Self {
            key,
            limits,
            started: Instant::now(),
            beat: AtomicU64::new(0),
            promise: AtomicU64::new(millis(LATE)),
            safe: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    fn beat(&self) {
        self.beat.store(millis(self.started.elapsed()), Ordering::Release);
    }

    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.beat.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(last)
    }

    /// The guard will be heard of again within `time`.
    fn promise(&self, time: Duration) {
        self.promise.store(millis(self.started.elapsed() + time), Ordering::Release);
    }

    /// Time that is left until the guard should have been heard of.
    fn promised(&self) -> Duration {
        let promise = Duration::from_millis(self.promise.load(Ordering::Acquire));
        promise.saturating_sub(self.started.elapsed())
    }

    fn is_stuck(&self) -> bool {
        self.promised().is_zero() && !self.is_safe()
    }

    fn is_safe(&self) -> bool {
        self.safe.load(Ordering::Acquire)
    }

    /// Whether waiting changes nothing: the board is off, or out of reach.
    fn is_settled(&self) -> bool {
        self.is_safe() || self.lock().not_off == Some(NotSafe::Absent)
    }

    /// How long it takes at worst until the board is off, if it has to be tried only so often.
    fn off_within(&self, haste: Haste) -> Duration {
        self.promised() + off_within(self.limits, haste)
    }

    fn trouble(&self) -> Option<Trouble> {
        let not_off = self.lock().not_off.clone().map(Trouble::NotSafe);
        not_off.or_else(|| self.is_stuck().then_some(Trouble::Stuck))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long so many tries to switch a board off take at worst.
pub(crate) fn off_within(limits: Limits, haste: Haste) -> Duration {
    (limits.make_safe + RETRY.0) * haste.tries()
}

/// The pause after a vain try to switch a board off, by the one that was made before it.
pub(crate) fn retry_after(why: &NotSafe, before: Option<Duration>) -> Duration {
    match (why, before) {
        (NotSafe::Absent, _) => RETRY_ABSENT,
        (NotSafe::Failed { .. }, Some(pause)) => (2 * pause).min(RETRY.1),
        (NotSafe::Failed { .. }, None) => RETRY.0,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The guard's thread.
struct Watch {
    keeper: Box<dyn Keeper>,
    shared: Arc<Shared>,
    hang: Duration,
    guards: GuardList,
    /// Where it is told that the driver, which tells everything else, is silent; there as long as the driver is.
    events: Weak<dyn EventSink>,
    orders: Receiver<Command>,
    power: Power,
}

/// What the board was brought to.
#[derive(Clone, Copy, Debug)]
enum Power {
    /// Nothing is known.
    Unknown,
    On {
        next_check: Instant,
    },
    Off,
    /// It could not be switched off: nothing else is done until it is.
    NotOff {
        retry: Instant,
        pause: Duration,
    },
}

impl Watch {
    fn run(mut self) {
        // A panic of the keeper ends the guard, which the driver notices. The board is switched off all the same.
        if catch_unwind(AssertUnwindSafe(|| self.watch())).is_err() {
            self.shared.lock().trip = Some(Trip::Unguarded);
            self.power = Power::Unknown;
        }
        self.leave();
    }

    fn watch(&mut self) {
        loop {
            let pause = self.pause();
            self.shared.promise(pause + LATE);
            match self.orders.recv_timeout(pause) {
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

    /// The end: only a board that is off is left.
    fn leave(&mut self) {
        if let Power::NotOff { .. } = self.power {
            // This is urgent.
            self.power = Power::Unknown;
        }
        while !matches!(self.power, Power::Off) && !self.switch_off() {
            let pause = self.pause();
            self.shared.promise(pause + LATE);
            std::thread::sleep(pause);
        }
        self.shared.safe.store(true, Ordering::Release);
    }

    fn pause(&self) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        match self.power {
            Power::On { next_check } => until(next_check).min(self.hang / 4),
            Power::NotOff { retry, .. } => until(retry),
            Power::Unknown | Power::Off => IDLE,
        }
    }

    fn power_up(&mut self) -> Result<(), BoardError> {
        if let Some(why) = self.shared.lock().not_off.clone() {
            return Err(BoardError::NotOff(why));
        }
        self.power = Power::Unknown;
        self.shared.promise(self.shared.limits.power_up);
        let result = self.keeper.power_up();
        self.shared.beat();
        match result {
            Ok(()) => {
                self.shared.lock().trip = None;
                self.power = Power::On { next_check: Instant::now() };
            }
            Err(_) => {
                self.switch_off();
            }
        }
        result
    }

    fn look(&mut self) {
        let now = Instant::now();
        match self.power {
            Power::On { next_check } => {
                let silence = self.shared.silence();
                if silence > self.hang {
                    self.trip(Trip::Hung(silence));
                } else if now >= next_check {
                    self.check();
                }
            }
            Power::NotOff { retry, .. } if now >= retry => {
                self.switch_off();
            }
            Power::NotOff { .. } | Power::Unknown | Power::Off => {}
        }
    }

    fn check(&mut self) {
        self.shared.promise(self.shared.limits.check);
        let checkup = self.keeper.check();
        self.shared.lock().telemetry = checkup.telemetry;
        self.power = Power::On { next_check: Instant::now() + self.keeper.check_every() };
        if let Some(danger) = checkup.danger {
            self.trip(danger.into());
        }
    }

    fn trip(&mut self, why: Trip) {
        self.switch_off();
        if let Trip::Hung(_) = why {
            let reason = Some(why.to_string().into());
            self.say(Health { state: HealthState::Quarantined, reason, ..Health::default() });
        }
        self.shared.lock().trip = Some(why);
    }

    /// Whether the board is off now; where it is not, when to try again.
    fn switch_off(&mut self) -> bool {
        self.shared.promise(self.shared.limits.make_safe);
        let panicked = |_| Err(NotSafe::Failed { part: "driver", problem: "it panicked".to_owned() });
        let result = catch_unwind(AssertUnwindSafe(|| self.keeper.make_safe())).unwrap_or_else(panicked);
        let key = Arc::clone(&self.shared.key);
        let before = std::mem::replace(&mut self.shared.lock().not_off, result.clone().err());
        match result {
            Ok(()) => {
                self.power = Power::Off;
                if before.is_some() {
                    self.guards.tell(Notice::OffAfterAll { key });
                }
                true
            }
            Err(why) => {
                let before_this =
                    if let Power::NotOff { pause, .. } = self.power { Some(pause) } else { None };
                let pause = retry_after(&why, before_this);
                self.power = Power::NotOff { retry: Instant::now() + pause, pause };
                let said = before.is_some_and(|before| before.is_absence() == why.is_absence());
                if !said {
                    self.guards.tell(Notice::NotOff { key, why: why.into() });
                }
                false
            }
        }
    }

    /// Tells the scheduler, which may keep whoever tells it waiting for ever: a thread of its own.
    fn say(&self, health: Health) {
        let Some(events) = self.events.upgrade() else { return };
        let say = move || {
            events.send(BackendEvent::Health(health));
        };
        // Without a thread it goes unsaid: the board is off.
        let _ = std::thread::Builder::new().name("asic-guard-says".to_owned()).spawn(say);
    }
}
