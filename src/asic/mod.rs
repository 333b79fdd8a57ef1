//! Which USB ASICs are mined with, and why others are not.

#[cfg(feature = "asic")]
mod choice;
#[cfg(all(feature = "emulate", target_os = "linux"))]
pub mod emulate;
#[cfg(feature = "asic")]
mod plug;

use miner_core::backend::HashBackend;
use serde::Serialize;

#[cfg(feature = "asic")]
pub use choice::{backends, backends_on, list};
#[cfg(feature = "asic")]
pub use miner_asic::guard::{GuardList, Guards, Haste};
#[cfg(feature = "asic")]
pub use plug::{Plug, Watching};

/// An ASIC, or what may be one, as `lode devices` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FoundAsic {
    /// The device key, as everywhere; `None` where it is not known what it is.
    pub key: Option<String>,
    /// What it calls itself.
    pub name: String,
    /// Its ids on USB, like `c0de:cafe`.
    pub usb_id: String,
    /// Its serial ports.
    pub ports: Vec<String>,
    /// Whether `--asic all` mines with it.
    pub usable: bool,
    /// Why not, or how else to have it used.
    pub note: Option<String>,
}

/// Why an ASIC, or any, is not mined with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsicProblem {
    /// The code for ASICs was left out.
    #[error("this lode was built without USB ASICs")]
    NotBuilt,
    /// None that is surely one is on USB.
    #[error("no USB ASIC found")]
    None,
    /// The system does not tell.
    #[error("{0}")]
    Usb(String),
    /// No such driver.
    #[error("there is no ASIC driver `{name}`")]
    NoDriver {
        /// As it was given.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The driver wants another number of ports.
    #[error("{driver} needs {wanted} serial ports, not `{given}`")]
    Ports {
        /// The driver.
        driver: &'static str,
        /// How many.
        wanted: usize,
        /// As it was given.
        given: String,
    },
    /// A setting that the device refuses.
    #[error("{0}")]
    Settings(String),
    /// It is there and can't be used as it is.
    #[error("{device} cannot be used: {obstacle}")]
    Unusable {
        /// The device.
        device: String,
        /// What stands in the way.
        obstacle: String,
        /// Whether it is a matter of permission.
        denied: bool,
    },
    /// A device is named twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// The code for emulated devices was left out, or has nothing to run on.
    #[error("this lode was built without emulated devices")]
    NoEmulation,
    /// No such device can be emulated.
    #[error("there is no emulated device `{0}`")]
    NoKind(String),
    /// The system refuses something that a device is emulated by.
    #[error("no device can be emulated: {0}")]
    Emulator(String),
    /// More devices were plugged in, one after the other, than are kept account of.
    #[error("{device} cannot be used: {limit} ASICs were plugged in since the start")]
    TooMany {
        /// The device.
        device: String,
        /// How many are kept account of.
        limit: usize,
    },
}

/// The ASICs to mine with.
#[derive(Default)]
pub struct AsicBackends {
    /// A backend for each.
    pub list: Vec<Box<dyn HashBackend>>,
    /// What was asked for and can't be had.
    pub problems: Vec<AsicProblem>,
    /// What may still come, if anything may.
    pub plug: Option<Plug>,
}

/// Emulated ASICs.
pub struct Emulation {
    /// A backend for each.
    pub list: Vec<Box<dyn HashBackend>>,
    /// The only pool where they find anything.
    pub pool: practice_pool::Config,
}

/// Stands in for emulated devices.
#[cfg(not(all(feature = "emulate", target_os = "linux")))]
pub mod emulate {
    use super::{AsicProblem, Emulation, GuardList};

    /// Says that there are none in this build.
    ///
    /// # Errors
    /// Always.
    pub fn kinds() -> Result<Vec<(&'static str, &'static str)>, AsicProblem> {
        Err(AsicProblem::NoEmulation)
    }

    /// Says that there are none in this build, if any were asked for.
    ///
    /// # Errors
    /// Some were.
    pub fn start(kinds: &[String], _: &GuardList) -> Result<Option<Emulation>, AsicProblem> {
        if kinds.is_empty() { Ok(None) } else { Err(AsicProblem::NoEmulation) }
    }
}

/// The guards of all boards. What a person must know of boards that are not off goes to the log.
#[cfg(feature = "asic")]
pub fn guards() -> Guards {
    Guards::telling(|notice| {
        let text = crate::report::format::printable(&notice.to_string());
        if notice.is_grave() { tracing::error!("{text}") } else { tracing::warn!("{text}") }
    })
}

/// There are none.
#[cfg(not(feature = "asic"))]
pub fn guards() -> Guards {
    Guards(())
}

/// Stands in for what keeps boards safe.
#[cfg(not(feature = "asic"))]
#[derive(Debug)]
pub struct Guards(());

/// Stands in for how long boards are waited for.
#[cfg(not(feature = "asic"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// For long.
    Patient,
    /// Not for long.
    Hurried,
}

/// Stands in for what keeps boards safe.
#[cfg(not(feature = "asic"))]
#[derive(Clone, Debug, Default)]
pub struct GuardList;

#[cfg(not(feature = "asic"))]
impl Guards {
    /// An empty list.
    pub fn list(&self) -> GuardList {
        GuardList
    }
}

#[cfg(not(feature = "asic"))]
impl GuardList {
    /// There is nothing to do.
    pub fn make_all_safe(&self, _: Haste) -> bool {
        true
    }

    /// None.
    pub fn count(&self) -> usize {
        0
    }
}

/// Stands in for what looks for devices: nothing comes.
#[cfg(not(feature = "asic"))]
pub enum Plug {}

/// Stands in for a search that goes on.
#[cfg(not(feature = "asic"))]
pub struct Watching(());

#[cfg(not(feature = "asic"))]
impl Plug {
    /// There is none to start.
    ///
    /// # Errors
    /// None.
    pub fn watch(self, _: tokio::sync::mpsc::Sender<Box<dyn HashBackend>>) -> std::io::Result<Watching> {
        match self {}
    }
}

/// Says that there are none in this build, if any were asked for.
#[cfg(not(feature = "asic"))]
pub fn backends(settings: &crate::settings::AsicSettings, _: &GuardList) -> AsicBackends {
    let wanted = settings.all || !settings.picks.is_empty();
    let problems = wanted.then_some(AsicProblem::NotBuilt).into_iter().collect();
    AsicBackends { problems, ..AsicBackends::default() }
}

/// Says that there are none in this build.
///
/// # Errors
/// Always.
#[cfg(not(feature = "asic"))]
pub fn list() -> Result<Vec<FoundAsic>, AsicProblem> {
    Err(AsicProblem::NotBuilt)
}
