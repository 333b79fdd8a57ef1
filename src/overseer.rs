//! The thread that ends lode where its driver does not: after a second signal, when a signal comes to nothing, and when the
//! driver hangs. Boards are switched off before the program is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::asic::{GuardList, Haste};
use crate::event::EndReason;
use crate::explain::Exit;
use crate::logging;
use crate::signals::Signals;

/// How often the driver gives a sign of life, and how often that is looked for.
const TICK: Duration = Duration::from_millis(500);
/// Looks in a row without a sign of life that make a driver a dead one. Looks are counted, not time: a program that was
/// stopped and goes on is not taken for one that hangs.
const HUNG: u32 = 20;
/// Looks after which an end that was asked for should have come.
const ENDLESS: u32 = 30;
/// How long the end may take once it was asked for twice.
const HURRY: Duration = Duration::from_secs(1);

/// Watches over the driver until it is dropped; heeds a second signal even then.
#[derive(Debug)]
#[must_use = "dropping it says that the driver has ended"]
pub struct Overseer {
    ended: Arc<AtomicBool>,
}

impl Overseer {
    /// Starts the thread, and what gives it signs of life on the runtime of the driver. Brings reasons to stop.
    ///
    /// # Errors
    /// The system refuses the thread, or the signals.
    pub fn start(guards: GuardList) -> io::Result<(Self, mpsc::Receiver<EndReason>)> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _within = runtime.enter();
            Signals::new()?
        };
        let (stop, reasons) = mpsc::channel(2);
        let (beats, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let pulse = Pulse { beats: Arc::clone(&beats), ended: Arc::clone(&ended), ..Pulse::default() };
        let watch = Watch { signals, guards, stop, pulse };
        thread::Builder::new().name("overseer".to_owned()).spawn(move || runtime.block_on(watch.run()))?;
        tokio::spawn(async move {
            loop {
                beats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(TICK).await;
            }
        });
        Ok((Self { ended }, reasons))
    }
}

impl Drop for Overseer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

struct Watch {
    signals: Signals,
    guards: GuardList,
    stop: mpsc::Sender<EndReason>,
    pulse: Pulse,
}

/// How the driver is.
#[derive(Debug, Default)]
struct Pulse {
    /// Signs of life.
    beats: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    /// Signs of life at the last look, and looks since there was a new one.
    seen: u64,
    silent: u32,
    /// Looks since the end was asked for.
    asked: Option<u32>,
}

/// What is wrong with a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dead {
    /// It gives no sign of life.
    Hung,
    /// It does not come to its end.
    Endless,
}

impl Watch {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                reason = self.signals.next() => self.on_signal(reason).await,
                _ = ticks.tick() => self.look(),
            }
        }
    }

    async fn on_signal(&mut self, reason: EndReason) {
        let again = self.pulse.asked.is_some();
        // Whoever asks twice does not get an orderly end, whatever the first signal was.
        let reason = if again { EndReason::Interrupted } else { reason };
        // Full or closed: the end is on its way.
        let _ = self.stop.try_send(reason);
        self.pulse.asked.get_or_insert(0);
        if again {
            tokio::time::sleep(HURRY).await;
            self.end(Haste::Hurried, Exit::Interrupted);
        }
    }

    fn look(&mut self) {
        match self.pulse.look() {
            // Without a board nobody is harmed by a driver that hangs.
            Some(Dead::Hung) if self.guards.count() > 0 => {
                tracing::error!("lode hangs: its boards are switched off, and it ends; please report this");
            }
            Some(Dead::Endless) => {
                tracing::error!("lode does not come to its end by itself; please report this");
            }
            Some(Dead::Hung) | None => return,
        }
        self.end(Haste::Patient, Exit::Failed)
    }

    fn end(&self, haste: Haste, exit: Exit) -> ! {
        let safe = self.guards.make_all_safe(haste);
        logging::flush();
        std::process::exit(if safe { exit } else { Exit::Failed } as i32)
    }
}

impl Pulse {
    fn look(&mut self) -> Option<Dead> {
        let beats = self.beats.load(Ordering::Relaxed);
        self.silent = if beats == self.seen { self.silent + 1 } else { 0 };
        self.seen = beats;
        self.asked = self.asked.map(|looks| looks + 1);
        if self.ended.load(Ordering::Relaxed) {
            return None;
        }
        let endless = self.asked.is_some_and(|looks| looks >= ENDLESS);
        match self.silent {
            _ if endless => Some(Dead::Endless),
            HUNG.. => Some(Dead::Hung),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What looks bring until there is something, each after `beats` signs of life.
    fn looks(pulse: &mut Pulse, beats: u64) -> (u32, Option<Dead>) {
        for count in 1..=2 * ENDLESS {
            pulse.beats.fetch_add(beats, Ordering::Relaxed);
            if let Some(dead) = pulse.look() {
                return (count, Some(dead));
            }
        }
        (2 * ENDLESS, None)
    }

    #[test]
    fn a_driver_is_dead_when_it_is_silent_for_long() {
        let mut pulse = Pulse::default();
        assert_eq!(looks(&mut pulse, 1), (2 * ENDLESS, None));
        assert_eq!(looks(&mut pulse, 0), (HUNG, Some(Dead::Hung)));
        assert_eq!(looks(&mut pulse, 1), (2 * ENDLESS, None), "it is back");
    }

    #[test]
    fn an_end_that_was_asked_for_has_to_come() {
        let mut pulse = Pulse { asked: Some(0), ..Pulse::default() };
        assert_eq!(looks(&mut pulse, 1), (ENDLESS, Some(Dead::Endless)));
        // Whether it did is not its own to say any more: boards are waited for.
        pulse.ended.store(true, Ordering::Relaxed);
        assert_eq!(looks(&mut pulse, 0), (2 * ENDLESS, None));
    }
}
