//! What only the operating system can do: pin a thread, lower its priority, tell its CPU time.

use super::Priority;
use crate::backend::BackendError;

pub use platform::allowed_cpus;
pub(super) use platform::{cpu_time, pin};

/// Gives the calling thread its place and its priority.
pub(super) fn settle(cpu: Option<usize>, priority: Priority) -> Result<(), BackendError> {
    if let Some(cpu) = cpu {
        pin(cpu).map_err(|source| BackendError::Os { context: "cannot pin a hashing thread", source })?;
    }
    platform::lower(priority)
        .map_err(|source| BackendError::Os { context: "cannot lower a thread's priority", source })
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::time::Duration;

    use rustix::process::{getpriority_process, setpriority_process};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use rustix::time::{ClockId, clock_gettime};

    use super::Priority;

    /// The logical CPUs that the calling thread may run on; `None` where the system does not say.
    pub fn allowed_cpus() -> Option<Vec<usize>> {
        let set = sched_getaffinity(None).ok()?;
        Some((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
    }

    /// Has the calling thread run on one logical CPU only.
    pub(in super::super) fn pin(cpu: usize) -> io::Result<()> {
        let mut set = CpuSet::new();
        set.set(cpu);
        Ok(sched_setaffinity(None, &set)?)
    }

    /// The CPU time of the calling thread so far; `None` where the system does not say.
    pub(in super::super) fn cpu_time() -> Option<Duration> {
        clock_gettime(ClockId::ThreadCPUTime).try_into().ok()
    }

    /// On Linux priority belongs to the thread. It is only ever lowered: the other way needs a privilege.
    pub(super) fn lower(priority: Priority) -> io::Result<()> {
        match priority {
            Priority::Idle => idle(),
            Priority::Nice(niceness) if getpriority_process(None)? < i32::from(niceness) => {
                Ok(setpriority_process(None, i32::from(niceness))?)
            }
            Priority::Nice(_) => Ok(()),
        }
    }

    /// Has the calling thread run only where nobody else wants to.
    #[expect(unsafe_code, reason = "rustix has no sched_setscheduler")]
    fn idle() -> io::Result<()> {
        // SAFETY: all its fields are integers, of which zero is a value.
        let param: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: `param` is a sched_param that lives through the call, which only reads it; 0 is the calling thread.
        match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const param) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::time::Duration;

    use super::Priority;

    /// The logical CPUs that the calling thread may run on; `None` where the system does not say.
    pub fn allowed_cpus() -> Option<Vec<usize>> {
        None
    }

    pub(in super::super) fn pin(_cpu: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Unknown: the time that chunks take stands for it.
    pub(in super::super) fn cpu_time() -> Option<Duration> {
        None
    }

    /// Priority belongs to the whole process elsewhere: left alone.
    pub(super) fn lower(_priority: Priority) -> io::Result<()> {
        Ok(())
    }
}
