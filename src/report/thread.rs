//! Reporters run on threads of their own, so that nobody waits for their output.
//!
//! The bus is a ring: its sender, the mining driver, never waits. A reporter whose output is blocked (a pipe that
//! nobody reads, a stopped terminal, a dead network disk) falls behind, loses the oldest events of the ring and is
//! told how many; the last event is never lost that way. No runtime is needed: the thread blocks on the ring.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Reporter;
use crate::event::{Event, EventKind};

/// A running reporter.
#[derive(Debug)]
pub struct ReportThread {
    ended: oneshot::Receiver<()>,
}

/// Has `reporter` read `events` on a thread of its own, until [`EventKind::Ended`] is reported or the bus is gone.
///
/// Fails when the system gives no thread.
pub fn spawn(
    mut events: broadcast::Receiver<Arc<Event>>,
    mut reporter: Box<dyn Reporter>,
) -> io::Result<ReportThread> {
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("report".to_owned()).spawn(move || {
        run(&mut events, &mut *reporter);
        // The other side may have stopped waiting.
        let _ = end.send(());
    })?;
    Ok(ReportThread { ended })
}

impl ReportThread {
    /// Waits until everything is reported, but no longer than `patience`: a blocked output must not hold up the end.
    ///
    /// `false`: it was not done in time, or it panicked. The thread ends with the process.
    pub async fn finish(self, patience: Duration) -> bool {
        matches!(timeout(patience, self.ended).await, Ok(Ok(())))
    }
}

fn run(events: &mut broadcast::Receiver<Arc<Event>>, reporter: &mut dyn Reporter) {
    loop {
        match events.blocking_recv() {
            Ok(event) => {
                reporter.report(&event);
                if matches!(event.kind, EventKind::Ended { .. }) {
                    return;
                }
            }
            Err(RecvError::Lagged(count)) => reporter.lagged(count),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::event::EndReason;
    use crate::report::console::{Console, Look};
    use crate::report::samples;

    /// Waits for leave before each event, and tells what it saw.
    struct Gated {
        leave: mpsc::Receiver<()>,
        seen: mpsc::Sender<Seen>,
    }

    #[derive(Debug, PartialEq)]
    enum Seen {
        Event(bool),
        Lagged(u64),
    }

    impl Reporter for Gated {
        fn report(&mut self, event: &Event) {
            // Once the gate is gone, everything may pass.
            let _ = self.leave.recv();
            self.seen.send(Seen::Event(matches!(event.kind, EventKind::Ended { .. }))).unwrap();
        }

        fn lagged(&mut self, count: u64) {
            self.seen.send(Seen::Lagged(count)).unwrap();
        }
    }

    fn wait(thread: ReportThread, patience: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(thread.finish(patience))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_blocked_reporter_stalls_nobody_and_learns_what_it_missed() {
        let (bus, events) = broadcast::channel(16);
        let ((open, leave), (seen, told)) = (mpsc::channel(), mpsc::channel());
        let thread = spawn(events, Box::new(Gated { leave, seen })).unwrap();
        for ms in 0..10_000 {
            bus.send(Arc::new(samples::cpu_up(ms))).unwrap();
        }
        bus.send(Arc::new(samples::ended(0, EndReason::Interrupted))).unwrap();
        drop(open);
        assert!(wait(thread, LONG));
        let told: Vec<_> = told.iter().collect();
        let count = |seen: &Seen| if let Seen::Lagged(count) = seen { *count } else { 1 };
        assert_eq!(told.iter().map(count).sum::<u64>(), 10_001);
        assert!(told.iter().any(|seen| matches!(seen, Seen::Lagged(_))));
        assert_eq!(told.last(), Some(&Seen::Event(true)), "the last event is never lost");
    }

    #[test]
    fn the_end_does_not_wait_for_a_blocked_reporter() {
        let (bus, events) = broadcast::channel(16);
        let ((open, leave), (seen, _told)) = (mpsc::channel(), mpsc::channel());
        let thread = spawn(events, Box::new(Gated { leave, seen })).unwrap();
        bus.send(Arc::new(samples::ended(0, EndReason::Interrupted))).unwrap();
        assert!(!wait(thread, Duration::ZERO));
        drop(open);
    }

    #[test]
    fn the_thread_ends_with_the_bus() {
        let (bus, events) = broadcast::channel(16);
        let ((_, leave), (seen, told)) = (mpsc::channel(), mpsc::channel());
        let thread = spawn(events, Box::new(Gated { leave, seen })).unwrap();
        bus.send(Arc::new(samples::cpu_up(0))).unwrap();
        drop(bus);
        assert!(wait(thread, LONG));
        assert_eq!(told.iter().collect::<Vec<_>>(), [Seen::Event(false)]);
    }

    #[test]
    fn a_pipe_that_nobody_reads_and_then_closes_neither_stalls_nor_panics() {
        let (mut reader, writer) = io::pipe().unwrap();
        let look =
            Look { color: false, verbosity: 1, interval: Duration::ZERO, zone: TimeZone::UTC, dates: false };
        let (bus, events) = broadcast::channel(1024);
        let thread = spawn(events, Box::new(Console::new(writer, "the pipe", look))).unwrap();
        // Some ten times what a pipe holds.
        for ms in 0..20_000 {
            bus.send(Arc::new(samples::snapshot_event(ms, samples::snapshot()))).unwrap();
        }
        reader.read_exact(&mut [0; 64]).unwrap();
        drop(reader);
        bus.send(Arc::new(samples::ended(0, EndReason::Interrupted))).unwrap();
        assert!(wait(thread, LONG));
    }
}
