//! What goes wrong with a GPU.

use std::time::Duration;

use miner_core::backend::BackendError;

/// Why a GPU cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The driver opens no device.
    #[error("cannot be opened: {0}")]
    Open(String),
    /// The driver takes no kernel.
    #[error("its driver refuses the kernel: {0}")]
    Kernel(String),
    /// The driver has given the device up.
    #[error("lost by its driver: {0}")]
    Lost(String),
    /// A dispatch does not end.
    #[error("no answer for {} s", .0.as_secs_f32())]
    Hang(Duration),
    /// It may not start a dispatch now.
    #[error("held back by its temperature guard")]
    Held,
    /// Its temperature guard has stopped it, and nobody waits until it has cooled down.
    #[error("{0}")]
    Stopped(String),
    /// A known answer was missed.
    #[error("{case}: expected {expected:x?}, found {found:x?}")]
    WrongAnswer {
        /// What was asked.
        case: String,
        /// The right nonces, each with the index of its header.
        expected: Vec<(u32, u32)>,
        /// Those that were found.
        found: Vec<(u32, u32)>,
    },
}

impl GpuError {
    /// Whether another kernel may do where this one did not.
    pub(crate) fn is_of_kernel(&self) -> bool {
        matches!(self, Self::Kernel(_) | Self::WrongAnswer { .. })
    }
}

impl From<GpuError> for BackendError {
    fn from(error: GpuError) -> Self {
        match error {
            GpuError::WrongAnswer { .. } => Self::SelfTest(error.to_string()),
            _ => Self::DeviceLost(error.to_string()),
        }
    }
}
