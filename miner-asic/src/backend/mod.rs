//! Any board as a [`HashBackend`]: driven on its own thread, guarded by another, recovered when it fails.

#[cfg(test)]
mod faults;
mod session;
mod strikes;
mod tally;
#[cfg(test)]
mod tests;
mod work;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use miner_core::backend::{BackendError, BackendInfo, BackendPort, HashBackend, Health, HealthState};

use crate::board::{Board, BoardError, Danger, NotSafe, Opened};
use crate::chip::ChipProtocol;
use crate::guard::{GuardList, Trouble};
use crate::transport::Link;
use session::{Ended, Session, Stopped};
use strikes::{Remedy, Strikes};
use tally::Tally;
use work::{Closed, Work};
use world::{Guarding, Real, World};

/// How often an unplugged device is looked for.
const REPLUG: Duration = Duration::from_millis(500);
/// How often it is looked whether a board is off.
const OFF_LOOK: Duration = Duration::from_millis(5);

/// How a device is looked after.
#[derive(Clone)]
pub struct AsicConfig {
    /// Silence of the driving thread after which the board is switched off.
    pub hang: Duration,
    /// Time without work after which the board is switched off until there is some.
    pub idle: Duration,
    /// Time without a right nonce after which a device is recovered, or 20 times the expected wait for one where that
    /// is longer.
    pub silence: Duration,
    /// Temperature in °C from which on the device is reported as ailing.
    pub warm: f32,
    /// What is to go wrong: for tests.
    pub faults: Option<FaultHook>,
}

impl Default for AsicConfig {
    fn default() -> Self {
        Self {
            hang: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            warm: 75.0,
            faults: None,
        }
    }
}

impl fmt::Debug for AsicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hang, idle, silence, warm, faults } = self;
        f.debug_struct("AsicConfig")
            .field("hang", hang)
            .field("idle", idle)
            .field("silence", silence)
            .field("warm", warm)
            .field("faults", &faults.is_some())
            .finish()
    }
}

/// Says what goes wrong at a step.
pub type FaultHook = Arc<dyn Fn(Step) -> Fault + Send + Sync>;

/// Where something can go wrong in the driving thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes round once more.
    Loop,
    /// A nonce came.
    Nonce,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The thread panics.
    Panic,
    /// The thread hangs for ever.
    Hang,
}

/// One device.
pub struct AsicBackend {
    board: Box<dyn Board>,
    config: AsicConfig,
    guards: GuardList,
}

impl AsicBackend {
    /// Sets a device up; its ports are opened when it runs.
    pub fn new(board: Box<dyn Board>, config: AsicConfig, guards: GuardList) -> Self {
        Self { board, config, guards }
    }
}

impl HashBackend for AsicBackend {
    fn info(&self) -> BackendInfo {
        self.board.info()
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        let Self { board, config, guards } = *self;
        let world = Real { hang: config.hang, guards, events: Arc::clone(port.events()) };
        drive(board, config, &port, &world)
    }
}

/// Drives a board until the port closes or the board is given up.
fn drive(
    board: Box<dyn Board>,
    config: AsicConfig,
    port: &BackendPort,
    world: &dyn World,
) -> Result<(), BackendError> {
    let info = board.info();
    let mut driver = Driver {
        board,
        world,
        tally: Tally::new(config.silence),
        work: Work::new(port, world, info.depth),
        config,
        info,
        strikes: Strikes::default(),
        unsupported: None,
    };
    let ended = driver.run();
    driver.work.abandon();
    ended.map(|Closed| ())
}

/// The device and its record.
struct Driver<'p> {
    board: Box<dyn Board>,
    config: AsicConfig,
    world: &'p dyn World,
    info: BackendInfo,
    tally: Tally,
    work: Work<'p>,
    strikes: Strikes,
    /// What it was last found to be that lode can't drive.
    unsupported: Option<String>,
}

/// What failed.
enum Failure {
    Board(BoardError),
    Chips(Stopped),
}

/// How work with an open board ended.
enum Over {
    /// It is decided what comes next.
    Then(Then),
    /// This failed, after so long at work: the board is switched off first.
    Failed(Failure, Duration),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Closed,
    /// Open the board anew after a while.
    Reopen(Duration),
    /// The board is still open: initialise its chips again.
    Reinitialise,
    /// Open the board anew when there is work.
    AwaitWork,
}

impl Driver<'_> {
    fn run(&mut self) -> Result<Closed, BackendError> {
        loop {
            let rested = match self.open_and_work()? {
                Then::Closed => Err(Closed),
                Then::Reopen(pause) => self.work.rest(pause),
                Then::Reinitialise => Ok(()),
                Then::AwaitWork => self.work.await_unit(),
            };
            if rested.is_err() {
                return Ok(Closed);
            }
        }
    }

    /// From opening the board to closing it: it is switched off when this returns, as far as it can be.
    fn open_and_work(&mut self) -> Result<Then, BackendError> {
        let Opened { link, chips, keeper, clock_mhz } = match self.board.open() {
            Ok(opened) => opened,
            Err(error) => return self.failed(&Failure::Board(error), Duration::ZERO),
        };
        let guard = match self.world.guard(Arc::clone(&self.info.key), keeper) {
            Ok(guard) => guard,
            // The program is at its end.
            Err(BoardError::Unguarded) => return Ok(Then::Closed),
            Err(error) => return self.failed(&Failure::Board(error), Duration::ZERO),
        };
        let over = self.work_on(&*guard, &*link, &*chips, clock_mhz)?;
        drop((link, chips));
        if matches!(over, Over::Then(Then::Closed)) || self.switch_off(&*guard).is_err() {
            // By the guard, which is waited for a moment.
            self.work.busy("is being switched off");
            return Ok(Then::Closed);
        }
        match over {
            Over::Then(then) => Ok(then),
            Over::Failed(failure, worked) => self.failed(&failure, worked),
        }
    }

    /// Has chips at work until it takes more than initialising them again to go on.
    fn work_on(
        &mut self,
        guard: &dyn Guarding,
        link: &dyn Link,
        chips: &dyn Fn() -> Box<dyn ChipProtocol>,
        clock_mhz: Option<f32>,
    ) -> Result<Over, BackendError> {
        loop {
            if let Err(error) = guard.power_up() {
                return Ok(Over::Failed(Failure::Board(error), Duration::ZERO));
            }
            let session = Session {
                info: &self.info,
                config: &self.config,
                world: self.world,
                clock_mhz,
                link,
                guard,
                chip: chips(),
                work: &mut self.work,
                tally: &mut self.tally,
                ready: None,
            };
            let Ended { why, worked } = session.run();
            let failure = match why {
                Ok(()) => return Ok(Over::Then(Then::Closed)),
                Err(Stopped::Idle) => return Ok(Over::Then(Then::AwaitWork)),
                Err(stopped @ (Stopped::Link(_) | Stopped::Trip(_))) => {
                    return Ok(Over::Failed(Failure::Chips(stopped), worked));
                }
                Err(stopped) => Failure::Chips(stopped),
            };
            match self.failed(&failure, worked)? {
                Then::Reinitialise => {}
                then => return Ok(Over::Then(then)),
            }
        }
    }

    /// Waits until the board is off, however long that takes: nothing else is done with one that is not.
    fn switch_off(&mut self, guard: &dyn Guarding) -> Result<(), Closed> {
        guard.stop();
        while !guard.is_finished() {
            if let Some(trouble) = guard.trouble() {
                let (state, reason) = words(&trouble);
                self.tell(state, reason);
            }
            self.work.rest(OFF_LOOK)?;
        }
        Ok(())
    }

    /// Says what is wrong and decides what to do about it.
    fn failed(&mut self, failure: &Failure, worked: Duration) -> Result<Then, BackendError> {
        let (reason, danger) = match failure {
            Failure::Board(error) => (error.to_string(), board_danger(error)),
            Failure::Chips(stopped) => (stopped.to_string(), stopped.danger().cloned()),
        };
        if failure.is_absence() {
            self.strikes.unplugged();
            self.tell(HealthState::Sick, format!("{reason}: waiting for it"));
            return Ok(Then::Reopen(REPLUG));
        }
        if self.is_final(failure, &reason) {
            self.tell(HealthState::Quarantined, reason.clone());
            return Err(BackendError::DeviceLost(reason));
        }
        // A port that was just made belongs to root for a moment, or to a program that looks what it is.
        let refused = matches!(failure, Failure::Board(BoardError::Link(_)));
        let pause = if refused { REPLUG } else { Duration::ZERO };
        let (state, reason, then) = match self.strikes.note(worked, danger.is_some()) {
            Remedy::Reinitialise if !refused => (HealthState::Sick, reason, Then::Reinitialise),
            Remedy::Reinitialise | Remedy::Reset => (HealthState::Sick, reason, Then::Reopen(pause)),
            Remedy::Quarantine(pause) => {
                let reason = format!("{reason}: switched off for {} s", pause.as_secs());
                (HealthState::Quarantined, reason, Then::Reopen(pause))
            }
            Remedy::GiveUp => {
                self.tell(HealthState::Quarantined, reason.clone());
                return Err(match danger {
                    Some(Danger::Hot(celsius) | Danger::RegulatorHot(celsius)) => {
                        BackendError::Thermal(celsius)
                    }
                    _ => BackendError::DeviceLost(reason),
                });
            }
        };
        self.tell(state, reason);
        Ok(then)
    }

    /// Whether it can't be driven at all. That it has not what it needs is believed when it says so twice: what parts of a
    /// board answer may be garbled.
    fn is_final(&mut self, failure: &Failure, reason: &str) -> bool {
        match failure {
            Failure::Board(BoardError::Bounds(_)) => true,
            Failure::Board(BoardError::Unsupported { .. }) => {
                self.unsupported.replace(reason.to_owned()).is_some_and(|before| before == reason)
            }
            _ => {
                self.unsupported = None;
                false
            }
        }
    }

    /// Each state and reason once.
    fn tell(&mut self, state: HealthState, reason: String) {
        let health = Health { state, reason: Some(reason.into()), ..Health::default() };
        self.work.health(health);
    }
}

impl Failure {
    fn is_absence(&self) -> bool {
        match self {
            Self::Board(BoardError::Link(error)) | Self::Chips(Stopped::Link(error)) => error.is_absence(),
            Self::Board(_) | Self::Chips(_) => false,
        }
    }
}

/// How a board is that is not off although it should be.
fn words(trouble: &Trouble) -> (HealthState, String) {
    match trouble {
        Trouble::NotSafe(NotSafe::Absent) => {
            (HealthState::Sick, format!("{trouble}, so it may hash on: waiting for it"))
        }
        Trouble::NotSafe(_) => {
            (HealthState::Quarantined, format!("could not be switched off: {trouble}; pull its power plug"))
        }
        Trouble::Stuck | Trouble::Slow => {
            (HealthState::Quarantined, format!("{trouble}, so it may be on: pull its power plug"))
        }
    }
}

fn board_danger(error: &BoardError) -> Option<Danger> {
    if let BoardError::Danger(danger) = error { Some(danger.clone()) } else { None }
}
