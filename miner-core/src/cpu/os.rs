//! What only the operating system can do: pin a thread, lower its priority.

use crate::backend::BackendError;

pub use platform::allowed_cpus;

/// Gives the calling thread its place and its niceness.
pub(super) fn settle(cpu: Option<usize>, niceness: u8) -> Result<(), BackendError> {
    if let Some(cpu) = cpu {
        platform::pin(cpu)
            .map_err(|source| BackendError::Os { context: "cannot pin a hashing thread", source })?;
    }
    platform::lower(niceness)
        .map_err(|source| BackendError::Os { context: "cannot lower a thread's priority", source })
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;

    use rustix::process::{getpriority_process, setpriority_process};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The logical CPUs that the calling thread may run on; `None` where the system does not say.
    pub fn allowed_cpus() -> Option<Vec<usize>> {
        let set = sched_getaffinity(None).ok()?;
        Some((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
    }

    pub(super) fn pin(cpu: usize) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(cpu);
        Ok(sched_setaffinity(None, &set)?)
    }

    /// On Linux niceness belongs to the thread. It is only ever raised: the other way needs a privilege.
    pub(super) fn lower(niceness: u8) -> io::Result<()> {
        if getpriority_process(None)? < i32::from(niceness) {
            setpriority_process(None, i32::from(niceness))?;
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;

    /// The logical CPUs that the calling thread may run on; `None` where the system does not say.
    pub fn allowed_cpus() -> Option<Vec<usize>> {
        None
    }

    pub(super) fn pin(_cpu: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Niceness belongs to the whole process elsewhere: left alone.
    pub(super) fn lower(_niceness: u8) -> io::Result<()> {
        Ok(())
    }
}
