//! Bytes to and from a device.

#[cfg(test)]
pub(crate) mod mock;
mod serial;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

pub use serial::{SerialLink, WRITE_LIMIT};

/// A byte stream to a device. Shared by the thread that drives the device and the one that guards it.
pub trait Link: Send + Sync {
    /// Reads what is there, and waits at most a few milliseconds for something; 0: nothing came.
    ///
    /// # Errors
    /// The device is gone, or the system refuses.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, LinkError>;

    /// Writes all of `bytes`, as one write where the system takes it so.
    ///
    /// # Errors
    /// The device is gone, or has not taken all of them within [`WRITE_LIMIT`].
    fn write(&self, bytes: &[u8]) -> Result<(), LinkError>;

    /// Has everything written out, then switches the host's side to `baud` bits a second.
    ///
    /// # Errors
    /// The device is gone or does not take what was written, or the port can't be that fast.
    fn set_baud(&self, baud: u32) -> Result<(), LinkError>;

    /// Forgets what came and was not read.
    ///
    /// # Errors
    /// The device is gone.
    fn discard_input(&self) -> Result<(), LinkError>;

    /// The time by which answers are waited for; that of a test is virtual.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// A link to a device that is not there.
pub(crate) struct Unplugged;

impl Unplugged {
    fn gone<T>() -> Result<T, LinkError> {
        Err(LinkError::Vanished { path: PathBuf::from("the port") })
    }
}

impl Link for Unplugged {
    fn read(&self, _: &mut [u8]) -> Result<usize, LinkError> {
        Self::gone()
    }

    fn write(&self, _: &[u8]) -> Result<(), LinkError> {
        Self::gone()
    }

    fn set_baud(&self, _: u32) -> Result<(), LinkError> {
        Self::gone()
    }

    fn discard_input(&self) -> Result<(), LinkError> {
        Self::gone()
    }
}

/// What can be wrong with a port.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no such port.
    #[error("{} is not there", .path.display())]
    NotFound {
        /// The port.
        path: PathBuf,
    },
    /// Another program has it.
    #[error("{} is in use by another program", .path.display())]
    Busy {
        /// The port.
        path: PathBuf,
    },
    /// We may not use it.
    #[error("no permission to use {}{}", .path.display(), of_group(.group.as_deref()))]
    Denied {
        /// The port.
        path: PathBuf,
        /// The group that may, where the system tells.
        group: Option<String>,
    },
    /// It is something else.
    #[error("{} is not a serial port", .path.display())]
    NotSerial {
        /// The port.
        path: PathBuf,
    },
    /// It went while it was in use.
    #[error("{} has vanished", .path.display())]
    Vanished {
        /// The port.
        path: PathBuf,
    },
    /// It can't be that fast.
    #[error("{} does not take {baud} baud", .path.display())]
    Baud {
        /// The port.
        path: PathBuf,
        /// The rate asked for, in bits a second.
        baud: u32,
    },
    /// The system refuses something else.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The port.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LinkError {
    /// Whether the port is not there, so that waiting for it is all that helps.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Vanished { .. })
    }
}

fn of_group(group: Option<&str>) -> String {
    group.map_or(String::new(), |group| format!(", which belongs to group {group}"))
}
