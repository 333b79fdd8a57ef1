//! What else may be behind a serial port: things that are no ASIC, and answer all the same.

use std::time::{Duration, Instant};

use crate::device::{Device, Fault, Frame, State};
use crate::outbox::{Noise, Outbox, earliest};

/// Bytes that a babbler says at a time, and how often: more than its line carries.
const BABBLE: usize = 256;
const BABBLE_EVERY: Duration = Duration::from_millis(20);

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrangerKind {
    /// A modem, a printer, a controller: answers `OK` to everything.
    Modem,
    /// A loopback plug, a terminal with echo: sends back what it gets.
    Echo,
    /// Sends without end, whatever it gets.
    Babbler,
    /// Takes everything and says nothing.
    Mute,
}

/// Something that is no ASIC, behind as many serial ports of 115,200 baud as one would have.
#[derive(Debug)]
pub struct Stranger {
    kind: StrangerKind,
    ports: usize,
    plugged: bool,
    noise: Noise,
    /// When the next of its babble is due, for one that babbles.
    babble: Option<Instant>,
    outbox: Outbox,
}

impl Stranger {
    /// Makes one.
    pub fn new(kind: StrangerKind, ports: usize) -> Self {
        Self {
            kind,
            ports,
            plugged: true,
            noise: Noise(0x2545_f491_4f6c_dd1d),
            babble: None,
            outbox: Outbox::new(0),
        }
    }
}

impl Device for Stranger {
    fn ports(&self) -> usize {
        self.ports
    }

    fn baud(&self, _port: usize) -> Option<u32> {
        Some(self.outbox.baud(115_200))
    }

    fn handle_bytes(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        match self.kind {
            StrangerKind::Modem => self.outbox.push(now, port, b"OK\r\n".to_vec()),
            StrangerKind::Echo => self.outbox.push(now, port, bytes.to_vec()),
            StrangerKind::Babbler | StrangerKind::Mute => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.kind == StrangerKind::Babbler && self.babble.is_none_or(|at| at <= now) {
            self.babble = Some(now + BABBLE_EVERY);
            for port in 0..self.ports {
                let bytes = (0..BABBLE).map(|_| self.noise.byte()).collect();
                self.outbox.push(now, port, bytes);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        earliest([self.babble, self.outbox.next_due()])
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        self.outbox.poll(now)
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        // Nothing else can go wrong with it.
        let _struck = self.outbox.inject(now, fault);
    }

    fn set_plugged(&mut self, _now: Instant, plugged: bool) {
        self.plugged = plugged;
        self.outbox.power_cycle();
    }

    fn state(&mut self, _now: Instant) -> State {
        State {
            plugged: self.plugged,
            powered: false,
            in_reset: false,
            hashing: false,
            chips: 0,
            megahertz: 0.0,
            hash_rate: 0.0,
            millivolts: 0,
            celsius: f64::NAN,
            fan_percent: 0,
            works: 0,
            nonces: 0,
            bad_frames: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::run;

    #[test]
    fn each_says_what_it_says() {
        let now = Instant::now();
        let said = |kind| {
            let mut stranger = Stranger::new(kind, 2);
            stranger.handle_bytes(now, 1, b"AT");
            let said = run(&mut stranger, now, now + Duration::from_millis(100));
            said.into_iter().map(|(_, port, bytes)| (port, bytes.len())).collect::<Vec<_>>()
        };
        assert_eq!(said(StrangerKind::Modem), [(1, 4)]);
        assert_eq!(said(StrangerKind::Echo), [(1, 2)]);
        assert!(said(StrangerKind::Mute).is_empty());
        assert!(said(StrangerKind::Babbler).iter().map(|(_, len)| len).sum::<usize>() > 2000);
    }
}
