//! A wish to end early, seen by everything that takes long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use crate::event::EndReason;
use crate::explain::Exit;
use crate::signals::Signals;

const NOT_ASKED: u8 = 0;
const INTERRUPTED: u8 = 1;
const TERMINATED: u8 = 2;

/// Whether a measurement is to end early; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// One that Ctrl-C and SIGTERM ask; the second signal ends the process at once.
    ///
    /// # Errors
    /// The system refuses the thread that waits for signals.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let asked = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _within = runtime.enter();
            Signals::new()?
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            asked.ask(runtime.block_on(signals.next()));
            runtime.block_on(signals.next());
            std::process::exit(Exit::Interrupted as i32);
        })?;
        Ok(stop)
    }

    /// Asks for the end; the first reason counts.
    pub fn ask(&self, reason: EndReason) {
        let reason = if reason == EndReason::Terminated { TERMINATED } else { INTERRUPTED };
        let _ = self.0.compare_exchange(NOT_ASKED, reason, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the end is asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NOT_ASKED
    }

    /// How lode ends for it: as it would have for SIGTERM, else as interrupted.
    pub fn exit(&self) -> Exit {
        if self.0.load(Ordering::Relaxed) == INTERRUPTED { Exit::Interrupted } else { Exit::Ok }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let stop = Stop::default();
        assert!(!stop.is_asked());
        assert_eq!(stop.exit(), Exit::Ok);
        stop.clone().ask(EndReason::Interrupted);
        stop.ask(EndReason::Terminated);
        assert!(stop.is_asked());
        assert_eq!(stop.exit(), Exit::Interrupted);
    }
}
