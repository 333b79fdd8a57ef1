//! Core cycles of a thread, where the processor counts them and the system lets us read them.
//!
//! The time-stamp counter is no substitute: it runs at one rate whatever the core's clock does, and a virtual machine
//! has no other. So a figure comes from the hardware's own counter or not at all.

use serde::{Deserialize, Serialize};

/// Whether core cycles could be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycles {
    /// Where the figures come from; `None`: there are none.
    pub source: Option<String>,
    /// Why there are none.
    pub reason: Option<String>,
}

impl Cycles {
    /// Tries it.
    pub fn probe() -> Self {
        match Counter::open().and_then(|mut counter| counter.try_out()) {
            Ok(()) => Self { source: Some("perf_event_open".to_owned()), reason: None },
            Err(reason) => Self { source: None, reason: Some(reason) },
        }
    }
}

pub(super) use platform::Counter;

impl Counter {
    /// Whether it counts at all: some virtual machines have counters that stand still.
    fn try_out(&mut self) -> Result<(), String> {
        let (_, cycles) = self.during(|| (0..100_000u32).fold(0, |sum, i| std::hint::black_box(sum ^ i)));
        cycles.map(|_| ()).ok_or_else(|| "the processor's cycle counter stands still".to_owned())
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::io;

    use perf_event::Builder;
    use perf_event::events::{Event, Hardware};
    use rustix::io::Errno;

    /// Counts the calling thread's cycles outside the kernel.
    pub(in super::super) struct Counter(perf_event::Counter);

    impl Counter {
        pub(in super::super) fn open() -> Result<Self, String> {
            Self::of(Hardware::CPU_CYCLES)
        }

        /// Counts something else.
        pub(super) fn of(event: impl Into<Event>) -> Result<Self, String> {
            Builder::new().kind(event).build().map(Self).map_err(|error| reason(&error))
        }

        /// The cycles that `work` took; `None` where they were not counted all the time.
        pub(in super::super) fn during<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<u64>) {
            let started = self.0.reset().and_then(|()| self.0.enable());
            let before = self.0.read_count_and_time();
            let done = work();
            let after = self.0.disable().and_then(|()| self.0.read_count_and_time());
            let (Ok(()), Ok(before), Ok(after)) = (started, before, after) else { return (done, None) };
            // Where counters are short, the kernel shares them out by time and the count is a part.
            let shared = after.time_enabled - before.time_enabled != after.time_running - before.time_running;
            let cycles = after.count.saturating_sub(before.count);
            (done, (!shared && cycles > 0).then_some(cycles))
        }
    }

    /// In words that help: perf_event_open(2) has the meanings.
    fn reason(error: &io::Error) -> String {
        match Errno::from_io_error(error) {
            Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV) => {
                "this processor, or the hypervisor below it, offers no cycle counter".to_owned()
            }
            Some(Errno::ACCESS | Errno::PERM) => {
                let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
                let level = level.trim();
                format!("the system forbids it (kernel.perf_event_paranoid is {level}; 2 or less allows it)")
            }
            Some(Errno::NOSYS) => "this kernel has no performance counters".to_owned(),
            _ => format!("the cycle counter cannot be opened: {error}"),
        }
    }

    #[cfg(test)]
    mod tests {
        use perf_event::events::Software;

        use super::*;

        #[test]
        fn a_counter_counts_what_is_done_between() {
            // The hardware may have no counter to lend; the kernel's own clock of a task always runs.
            let mut counter = match Counter::of(Software::TASK_CLOCK) {
                Ok(counter) => counter,
                Err(reason) => {
                    assert!(
                        reason.contains("forbids") || reason.contains("no performance counters"),
                        "{reason}"
                    );
                    return;
                }
            };
            let mut spin = |rounds: u32| {
                let work = || (0..rounds).fold(0, |sum, i| std::hint::black_box(sum ^ i));
                counter.during(work).1.unwrap()
            };
            let (short, long) = (spin(1_000), spin(10_000_000));
            assert!(short > 0 && long > 20 * short, "{short} and {long} ns");
        }

        #[test]
        fn a_refusal_is_told_in_words() {
            for (errno, words) in [
                (Errno::NOENT, "no cycle counter"),
                (Errno::ACCESS, "perf_event_paranoid is"),
                (Errno::NOSYS, "no performance counters"),
                (Errno::MFILE, "cannot be opened"),
            ] {
                let reason = reason(&errno.into());
                assert!(reason.contains(words), "{reason}");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    /// Nothing: lode knows how to count cycles on Linux only.
    pub(in super::super) struct Counter(std::convert::Infallible);

    impl Counter {
        pub(in super::super) fn open() -> Result<Self, String> {
            Err("lode can count cycles on Linux only".to_owned())
        }

        pub(in super::super) fn during<T>(&mut self, _work: impl FnOnce() -> T) -> (T, Option<u64>) {
            match self.0 {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_source_or_a_reason() {
        let cycles = Cycles::probe();
        assert_ne!(cycles.source.is_some(), cycles.reason.is_some(), "{cycles:?}");
    }
}
