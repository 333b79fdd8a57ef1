//! A device to which something happens at a chosen step of what its host does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::device::{Device, Fault, Frame, Line, State};
use crate::outbox::earliest;

/// Arrivals that are kept.
const LOG: usize = 4096;

/// A device with faults that strike with the n-th arrival of bytes, just before those are looked at, or so long after it.
///
/// Bytes that come without a pause between them arrive together: on a [`Bench`](crate::Bench) that is what the host wrote at once.
pub struct Armed {
    device: Box<dyn Device>,
    /// Port and bytes of the first arrivals, and how many there were.
    log: Vec<(usize, Vec<u8>)>,
    arrivals: u64,
    nth: u64,
    plan: Vec<(Duration, Fault)>,
    struck: Option<Instant>,
    due: VecDeque<(Instant, Fault)>,
}

impl Armed {
    /// Has faults strike `device` with the `nth` arrival, from 0, and so long after it; times go up.
    pub fn new(device: Box<dyn Device>, nth: u64, plan: Vec<(Duration, Fault)>) -> Self {
        Self { device, log: Vec::new(), arrivals: 0, nth, plan, struck: None, due: VecDeque::new() }
    }

    /// When the arrival came that the faults wait for.
    pub fn struck(&self) -> Option<Instant> {
        self.struck
    }

    /// Ports and bytes of the first 4,096 arrivals.
    pub fn arrivals(&self) -> &[(usize, Vec<u8>)] {
        &self.log
    }

    fn strike(&mut self, now: Instant) {
        while let Some((at, fault)) = self.due.pop_front() {
            if at > now {
                self.due.push_front((at, fault));
                break;
            }
            self.device.inject(at, fault);
        }
    }
}

impl Device for Armed {
    fn ports(&self) -> usize {
        self.device.ports()
    }

    fn baud(&self, port: usize) -> Option<u32> {
        self.device.baud(port)
    }

    fn handle_bytes(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        if self.arrivals == self.nth {
            self.struck = Some(now);
            self.due.extend(self.plan.iter().map(|&(after, fault)| (now + after, fault)));
        }
        self.arrivals += 1;
        if self.log.len() < LOG {
            self.log.push((port, bytes.to_vec()));
        }
        self.strike(now);
        self.device.handle_bytes(now, port, bytes);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.strike(now);
        self.device.handle_timeout(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        earliest([self.device.next_deadline(), self.due.front().map(|(at, _)| *at)])
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        self.device.poll_transmit(now)
    }

    fn set_line(&mut self, now: Instant, line: Line) {
        self.device.set_line(now, line);
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        self.device.inject(now, fault);
    }

    fn set_plugged(&mut self, now: Instant, plugged: bool) {
        self.device.set_plugged(now, plugged);
    }

    fn state(&mut self, now: Instant) -> State {
        self.device.state(now)
    }
}

impl std::fmt::Debug for Armed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Armed").field("nth", &self.nth).field("plan", &self.plan).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;
    use crate::vectors::run;

    #[test]
    fn faults_strike_at_their_arrival_and_after_it() {
        let stick = preset("compac", std::sync::Arc::default()).unwrap();
        let second = Duration::from_secs(1);
        let mut stick = Armed::new(stick, 1, vec![(Duration::ZERO, Fault::Hang), (second, Fault::Recover)]);
        let now = Instant::now();
        let mut ask = |now| {
            stick.handle_bytes(now, 0, &[0x84, 0, 0, 0x11]);
            let said = run(&mut stick, now, now + second / 2).len();
            (said, stick.struck())
        };
        assert_eq!(ask(now), (1, None));
        assert_eq!(ask(now + second), (0, Some(now + second)));
        assert_eq!(ask(now + 2 * second), (1, Some(now + second)));
        assert_eq!(ask(now + 3 * second), (1, Some(now + second)), "once");
    }
}
