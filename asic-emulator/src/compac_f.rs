//! GekkoScience Compac F and R909: BM1397 chips on an FTDI bridge, whose CBUS1 pin is their reset.

use std::sync::Arc;
use std::time::Instant;

use crate::answers::KnownAnswers;
use crate::bm13xx::{Chain, ChipKind};
use crate::device::{Device, Fault, Frame, Line, State};
use crate::outbox::{Outbox, earliest};

/// Core voltage in mV: a trim pot sets it.
const MILLIVOLTS: u32 = 1400;

/// A stick of BM1397 chips: one in a Compac F, six in an R909.
#[derive(Debug)]
pub struct CompacF {
    chain: Chain,
    in_reset: bool,
    plugged: bool,
    outbox: Outbox,
}

impl CompacF {
    /// Makes a stick of `chips` chips, out of reset.
    pub fn new(chips: usize, answers: Arc<KnownAnswers>) -> Self {
        let chain = Chain::new(ChipKind::Bm1397, chips, answers);
        Self { chain, in_reset: false, plugged: true, outbox: Outbox::new(0) }
    }
}

impl Device for CompacF {
    fn ports(&self) -> usize {
        1
    }

    fn baud(&self, _port: usize) -> Option<u32> {
        Some(self.outbox.baud(self.chain.baud()))
    }

    fn handle_bytes(&mut self, now: Instant, _port: usize, bytes: &[u8]) {
        self.handle_timeout(now);
        if !self.in_reset && !self.outbox.is_hung() {
            self.chain.handle_bytes(now, bytes, &mut self.outbox);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.chain.handle_timeout(now, &mut self.outbox);
    }

    fn next_deadline(&self) -> Option<Instant> {
        earliest([self.chain.next_deadline(), self.outbox.next_due()])
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        self.outbox.poll(now)
    }

    fn set_line(&mut self, _now: Instant, line: Line) {
        if let Line::Cbus1 { high } = line {
            self.in_reset = !high;
            if self.in_reset {
                self.chain.reset();
            }
        }
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        let _struck = self.outbox.inject(now, fault) || self.chain.inject(now, fault);
    }

    fn set_plugged(&mut self, _now: Instant, plugged: bool) {
        self.plugged = plugged;
        self.in_reset = false;
        self.chain.reset();
        self.outbox.power_cycle();
    }

    fn state(&mut self, now: Instant) -> State {
        State {
            plugged: self.plugged,
            powered: self.plugged,
            in_reset: self.in_reset,
            millivolts: MILLIVOLTS,
            celsius: f64::NAN,
            ..self.chain.state(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, of_family, run};

    #[test]
    fn a_stick_answers_unless_its_reset_is_low() {
        let now = Instant::now();
        let mut stick = CompacF::new(1, Arc::new(KnownAnswers::published()));
        let ask = |stick: &mut CompacF| {
            stick.handle_bytes(now, 0, &[0x55, 0xaa, 0x52, 5, 0, 0, 0x0a]);
            run(stick, now, now)
        };
        let answer = of_family("bm1397").iter().find(|vector| vector["name"] == "chip id answer").cloned();
        assert_eq!(ask(&mut stick)[0].2, bytes(&answer.unwrap()["rx"]));
        stick.set_line(now, Line::Cbus1 { high: false });
        assert!(ask(&mut stick).is_empty() && stick.state(now).in_reset && stick.state(now).is_safe());
        stick.set_line(now, Line::Cbus1 { high: true });
        assert_eq!(ask(&mut stick).len(), 1);
    }
}
