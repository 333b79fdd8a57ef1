//! Boards: a chain of chips with its link and with what keeps it safe.

pub mod bitaxe;
pub mod bitaxe_raw;
pub mod compac;
#[cfg(target_os = "linux")]
pub mod gpio;
#[cfg(test)]
pub(crate) mod mock;
pub mod place;
pub mod reset;
pub mod stick;

use std::sync::Arc;
use std::time::Duration;

use miner_core::backend::BackendInfo;

use crate::chip::ChipProtocol;
use crate::peripheral::BusError;
use crate::transport::{Link, LinkError};

/// Units that chips hold at once: the running one and two ahead of it.
const DEPTH: u8 = 3;

/// A device as a whole. Knows how to find its own ports again after it was unplugged.
pub trait Board: Send + 'static {
    /// What it is and how it wants its work. Constant.
    fn info(&self) -> BackendInfo;

    /// Opens its ports. Switches nothing on.
    ///
    /// # Errors
    /// A port can't be opened, or the board is not what it was taken for.
    fn open(&mut self) -> Result<Opened, BoardError>;
}

/// A board whose ports are open.
pub struct Opened {
    /// The link to the chips.
    pub link: Arc<dyn Link>,
    /// Makes the protocol of its chips, as after a reset.
    pub chips: Box<dyn Fn() -> Box<dyn ChipProtocol> + Send>,
    /// What keeps it safe.
    pub keeper: Box<dyn Keeper>,
    /// The clock that the chips are set to, in MHz.
    pub clock_mhz: Option<f32>,
}

/// Opens a port anew, wherever it is now.
pub(crate) type Reopen = Box<dyn FnMut() -> Result<Arc<dyn Link>, LinkError> + Send>;

/// The part of a board that keeps it safe: power, reset, fan, temperature.
///
/// It lives on a thread of its own, apart from the one that carries work, and is made safe on every way out.
pub trait Keeper: Send {
    /// Makes sure that hashing is safe, then powers the chips up and takes them through a reset.
    ///
    /// Called again to reset them. Blocks for as long as the board needs.
    ///
    /// # Errors
    /// It is not safe, or the board does not answer.
    fn power_up(&mut self) -> Result<(), BoardError>;

    /// Looks at temperature and voltages, and sets the fan.
    fn check(&mut self) -> Checkup;

    /// How often to look.
    fn check_every(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// How long its calls take at worst.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Stops the chips and takes their power away as far as the board can, whatever else fails.
    ///
    /// Called again until it has succeeded: where a port was lost, it is opened anew. A board on which nothing was ever
    /// switched on owes no success.
    ///
    /// # Errors
    /// The board may be on.
    fn make_safe(&mut self) -> Result<(), NotSafe>;
}

/// How long calls to a keeper take at worst: beyond that it is taken for blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// [`Keeper::power_up`].
    pub power_up: Duration,
    /// [`Keeper::check`].
    pub check: Duration,
    /// [`Keeper::make_safe`]: the end of the program waits for so long.
    pub make_safe: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { power_up: seconds(30), check: seconds(10), make_safe: seconds(4) }
    }
}

/// Why a board may be on although it was to be switched off.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotSafe {
    /// Its ports are gone, and with them not its power.
    #[error("it is unplugged from USB, but has a power supply of its own")]
    Absent,
    /// A part of it did not do what it was told.
    #[error("{part}: {problem}")]
    Failed {
        /// The part.
        part: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl NotSafe {
    /// Whether all that helps is to wait until it is plugged in again.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// What a look at the board showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkup {
    /// What was read.
    pub telemetry: Telemetry,
    /// Why it must be switched off at once.
    pub danger: Option<Danger>,
}

/// What a board measures. Unknown is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Telemetry {
    /// The hottest temperature in °C.
    pub celsius: Option<f32>,
    /// Power of the chips in W.
    pub watts: Option<f32>,
    /// Core voltage in mV.
    pub millivolts: Option<f32>,
    /// Fan speed in revolutions a minute.
    pub fan_rpm: Option<f32>,
    /// Fan duty in percent.
    pub fan_percent: Option<f32>,
}

/// Why a board was switched off.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Danger {
    /// The chips are too hot.
    #[error("too hot: {0:.0} °C")]
    Hot(f32),
    /// The regulator is too hot.
    #[error("its voltage regulator is too hot: {0:.0} °C")]
    RegulatorHot(f32),
    /// The regulator reports a fault.
    #[error("its voltage regulator reports {0}")]
    Regulator(String),
    /// What is measured can't be read, so nothing is known to be safe.
    #[error("its sensors can't be read: {0}")]
    Blind(String),
}

/// Why a board can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// A port.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A part of the board does not answer, or not as it should.
    #[error("{part}: {problem}")]
    Part {
        /// The part.
        part: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It is not safe to switch it on.
    #[error(transparent)]
    Danger(#[from] Danger),
    /// A setting is out of bounds.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// It has not what lode needs to keep it safe.
    #[error("it has no {part} that lode knows, so it is not switched on: {problem}")]
    Unsupported {
        /// What it lacks.
        part: &'static str,
        /// What was found in its place.
        problem: String,
    },
    /// The guard's thread has ended.
    #[error("the thread that guards it has ended")]
    Unguarded,
    /// The guard's thread is blocked.
    #[error("the thread that guards it does not answer")]
    Stuck,
    /// It could not be switched off before, so it is not switched on.
    #[error("it could not be switched off before: {0}")]
    NotOff(NotSafe),
}

impl BoardError {
    /// A part that could not be talked to; a board whose ports are gone is no board with a broken part.
    fn of_bus(part: &'static str, error: BusError) -> Self {
        match error {
            BusError::Link(error) if error.is_absence() => error.into(),
            error => Self::Part { part, problem: error.to_string() },
        }
    }
}

/// A setting that a board refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BoundsError {
    /// Out of the documented bounds.
    #[error("{what} of {value} {unit} is refused: {board} takes {low} to {high} {unit}")]
    Outside {
        /// What is set.
        what: &'static str,
        /// What was asked for.
        value: f32,
        /// Its unit.
        unit: &'static str,
        /// Who refuses.
        board: &'static str,
        /// The least.
        low: f32,
        /// The most.
        high: f32,
    },
    /// No source names a default.
    #[error("{board} needs {what}= to be given: no source names a default")]
    Needed {
        /// What is to be set.
        what: &'static str,
        /// Who needs it.
        board: &'static str,
    },
    /// The board can't set it at all.
    #[error("{board} has no {what} to set")]
    NotThere {
        /// What would be set.
        what: &'static str,
        /// Who refuses.
        board: &'static str,
    },
}

/// What a person may set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoardSettings {
    /// Clock of the chips in MHz; `None`: the board's own default.
    pub mhz: Option<f32>,
    /// Core voltage in mV; `None`: the board's own default.
    pub millivolts: Option<u32>,
}

/// Waits: the real clock, or a test's.
pub type Sleep = Arc<dyn Fn(Duration) + Send + Sync>;

/// Waits by the real clock.
pub fn real_sleep() -> Sleep {
    Arc::new(std::thread::sleep)
}
