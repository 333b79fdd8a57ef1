//! Bitaxe boards: chips behind the bitaxe-raw firmware, with the peripherals that keep them alive.
//!
//! Port 0 is the control port, port 1 the chips'. A new board holds its chips in reset, with the core voltage off and the
//! fan at rest, which no source promises. It has a supply of its own: when its USB plug is pulled and put back, it still does
//! what it did.

mod control;
mod emc2101;
mod tps546;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answers::KnownAnswers;
use crate::bm13xx::{Chain, ChipKind};
use crate::device::{Device, Fault, Frame, State};
use crate::outbox::{Outbox, earliest};
use crate::thermal::{Thermal, watts};

pub use control::Protocol;
use control::{Reader, Refusal, Request};
use emc2101::Emc2101;
use tps546::Tps546;

const CONTROL: usize = 0;
const CHIPS: usize = 1;
/// GPIO of the chips' reset, active low.
const RESET_PIN: u8 = 0x00;

/// A Bitaxe with EMC2101 and TPS546: Gamma, and the later Ultra and Supra.
#[derive(Debug)]
pub struct Bitaxe {
    protocol: Protocol,
    chain: Chain,
    reader: Reader,
    pins: [u8; 256],
    plugged: bool,
    fan: Emc2101,
    regulator: Tps546,
    thermal: Thermal,
    outbox: Outbox,
}

impl Bitaxe {
    /// Makes a board of `chips` chips whose firmware speaks `protocol`.
    pub fn new(kind: ChipKind, chips: usize, protocol: Protocol, answers: Arc<KnownAnswers>) -> Self {
        Self {
            protocol,
            chain: Chain::new(kind, chips, answers),
            reader: Reader::default(),
            pins: [0; 256],
            plugged: true,
            fan: Emc2101::new(),
            regulator: Tps546::new(),
            thermal: Thermal::new(),
            outbox: Outbox::new(CHIPS),
        }
    }

    /// Makes it warm and cool faster or slower: the time constant is 20 s otherwise.
    #[must_use]
    pub fn with_time_constant(mut self, time_constant: Duration) -> Self {
        self.thermal.set_time_constant(time_constant);
        self
    }

    fn in_reset(&self) -> bool {
        self.pins[usize::from(RESET_PIN)] == 0
    }

    fn chips_live(&self) -> bool {
        self.regulator.is_on() && !self.in_reset()
    }

    fn watts(&mut self, now: Instant) -> f64 {
        let hashing = self.chips_live() && self.chain.is_hashing(now);
        let megahertz = hashing.then(|| self.chain.megahertz());
        watts(self.chain.len(), self.regulator.volts(), megahertz)
    }

    /// Lets time pass for all that is not digital.
    fn warm(&mut self, now: Instant) {
        let watts = self.watts(now);
        self.thermal.step(now, watts, self.fan.fan());
        self.chain.set_celsius(self.thermal.celsius());
    }

    fn on_request(&mut self, now: Instant, request: &Request) -> Result<Vec<u8>, Refusal> {
        match request.page {
            0x05 => self.on_i2c(now, request.command, &request.data),
            0x06 => self.on_gpio(request.command, &request.data),
            // The LED: nothing to see.
            0x08 if request.command == 0x10 && request.data.len() == 3 => Ok(Vec::new()),
            _ => Err(Refusal::Invalid),
        }
    }

    fn on_gpio(&mut self, pin: u8, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        match *data {
            [] => {}
            [level] => self.pins[usize::from(pin)] = u8::from(level != 0),
            _ => return Err(Refusal::Invalid),
        }
        self.on_supply_changed();
        Ok(vec![self.pins[usize::from(pin)]])
    }

    fn on_i2c(&mut self, now: Instant, command: u8, data: &[u8]) -> Result<Vec<u8>, Refusal> {
        match (command, data) {
            (0x10, [_, _, _, _]) => Ok(Vec::new()),
            (0x20, [address, bytes @ ..]) => self.i2c_write(*address, bytes).map(|()| Vec::new()),
            (0x30, [address, len]) => self.i2c_read(now, *address, (*len).into()),
            (0x40, [address, bytes @ .., len]) => {
                self.i2c_write(*address, bytes)?;
                self.i2c_read(now, *address, (*len).into())
            }
            _ => Err(Refusal::Invalid),
        }
    }

    fn i2c_write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Refusal> {
        match address {
            emc2101::ADDRESS => self.fan.write(bytes),
            tps546::ADDRESS => {
                if !self.regulator.write(bytes) {
                    return Err(Refusal::Timeout);
                }
                self.on_supply_changed();
            }
            _ => return Err(Refusal::Timeout),
        }
        Ok(())
    }

    fn i2c_read(&mut self, now: Instant, address: u8, len: usize) -> Result<Vec<u8>, Refusal> {
        let celsius = self.thermal.celsius();
        match address {
            emc2101::ADDRESS => Ok(self.fan.read(len, celsius)),
            tps546::ADDRESS => {
                let volts = self.regulator.volts();
                let amperes = if volts > 0.0 { self.watts(now) / volts } else { 0.0 };
                // The regulator sits beside the chip and is a little cooler.
                Ok(self.regulator.read(len, amperes, 25.0 + (celsius - 25.0) * 0.8))
            }
            _ => Err(Refusal::Timeout),
        }
    }

    /// Chips without power or in reset forget everything.
    fn on_supply_changed(&mut self) {
        if !self.chips_live() {
            self.chain.reset();
        }
    }
}

impl Device for Bitaxe {
    fn ports(&self) -> usize {
        2
    }

    fn baud(&self, port: usize) -> Option<u32> {
        (port == CHIPS).then(|| self.outbox.baud(self.chain.baud()))
    }

    fn handle_bytes(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        self.handle_timeout(now);
        if self.outbox.is_hung() {
            return;
        }
        match port {
            CONTROL => {
                let Some(request) = self.reader.feed(now, bytes) else { return };
                let id = request.as_ref().ok().map(|request| request.id);
                let result = request.and_then(|request| self.on_request(now, &request));
                let answer = self.protocol.answer(id, &result);
                self.outbox.push(now, CONTROL, answer);
            }
            CHIPS if self.chips_live() => self.chain.handle_bytes(now, bytes, &mut self.outbox),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.warm(now);
        self.chain.handle_timeout(now, &mut self.outbox);
    }

    fn next_deadline(&self) -> Option<Instant> {
        earliest([self.chain.next_deadline(), self.outbox.next_due()])
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        self.outbox.poll(now)
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        self.warm(now);
        if self.outbox.inject(now, fault) || self.chain.inject(now, fault) {
            return;
        }
        match fault {
            Fault::Ambient(celsius) => self.thermal.set_ambient(celsius),
            Fault::Temperature(celsius) => self.thermal.set_celsius(celsius),
            Fault::FanStuck(stuck) => self.fan.set_stuck(stuck),
            Fault::SensorOpen(open) => self.fan.set_diode_open(open),
            Fault::StaysOn(times) => self.regulator.stay_on(times),
            Fault::RegulatorTrip => {
                self.regulator.trip();
                self.on_supply_changed();
            }
            _ => {}
        }
    }

    fn set_plugged(&mut self, now: Instant, plugged: bool) {
        self.warm(now);
        self.plugged = plugged;
        self.reader = Reader::default();
        self.outbox.clear();
    }

    fn state(&mut self, now: Instant) -> State {
        self.warm(now);
        State {
            plugged: self.plugged,
            powered: self.regulator.is_on(),
            in_reset: self.in_reset(),
            millivolts: (self.regulator.volts() * 1000.0).round() as u32,
            celsius: self.thermal.celsius(),
            fan_percent: (self.fan.fan() * 100.0).round() as u8,
            ..self.chain.state(now)
        }
    }
}

#[cfg(test)]
mod tests;
