//! GekkoScience Compac A1 and A2: a BM1362 or a BM1370 on a CP2105, with a microcontroller for power and telemetry on its
//! second port.
//!
//! Port 0 is the chip's, port 1 the microcontroller's. Fresh from the plug the regulator is off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answers::KnownAnswers;
use crate::bm13xx::{Chain, ChipKind};
use crate::device::{Device, Fault, Frame, Line, State};
use crate::outbox::{Outbox, earliest};
use crate::thermal::{Thermal, watts};

const CHIPS: usize = 0;
const TELEMETRY: usize = 1;
/// Largest voltage setting, in steps of 5 mV.
const MAX_VOLTAGE: u8 = 100;
/// The voltage that heat is reckoned at when a stick is at its own default: what a Bitaxe Gamma's chip gets.
const GAMMA_VOLTS: f64 = 1.15;

/// What tells the two sticks apart.
#[derive(Debug)]
struct Model {
    chip: ChipKind,
    /// Answer to "?v": the telemetry's version in the upper four bits.
    version: u8,
    /// The 5 V of USB as this version has them.
    vin: u8,
    /// The voltage setting after power-on, in steps of 5 mV.
    voltage: u8,
}

/// 6/255 V each; 300 mV.
const A1: Model = Model { chip: ChipKind::Bm1362, version: 0x10, vin: 0xd5, voltage: 60 };
/// 24.576/255 V each; 270 mV.
const A2: Model = Model { chip: ChipKind::Bm1370, version: 0x20, vin: 0x34, voltage: 54 };

/// A Compac A1 or A2.
#[derive(Debug)]
pub struct CompacA {
    model: &'static Model,
    chain: Chain,
    /// The latched pins of the bridge: all low is power on and reset released.
    latch: u8,
    regulator_on: bool,
    tripped: bool,
    voltage: u8,
    fan_percent: u8,
    fan_stuck: bool,
    sensor_open: bool,
    /// How often it does not answer to being switched off.
    stays_on: u32,
    /// The first byte of a command that has begun.
    begun: Option<u8>,
    plugged: bool,
    thermal: Thermal,
    outbox: Outbox,
}

impl CompacA {
    /// Makes a Compac A1.
    pub fn a1(answers: Arc<KnownAnswers>) -> Self {
        Self::new(&A1, answers)
    }

    /// Makes a Compac A2.
    pub fn a2(answers: Arc<KnownAnswers>) -> Self {
        Self::new(&A2, answers)
    }

    fn new(model: &'static Model, answers: Arc<KnownAnswers>) -> Self {
        Self {
            model,
            chain: Chain::new(model.chip, 1, answers),
            latch: 0,
            regulator_on: false,
            tripped: false,
            voltage: model.voltage,
            fan_percent: 100,
            fan_stuck: false,
            sensor_open: false,
            stays_on: 0,
            begun: None,
            plugged: true,
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

    fn millivolts(&self) -> u32 {
        let on = self.regulator_on && !self.tripped && self.latch == 0;
        if on { u32::from(self.voltage) * 5 } else { 0 }
    }

    fn is_live(&self) -> bool {
        self.millivolts() > 0
    }

    fn fan(&self) -> f64 {
        if self.fan_stuck { 0.0 } else { f64::from(self.fan_percent) / 100.0 }
    }

    fn warm(&mut self, now: Instant) {
        let hashing = self.is_live() && self.chain.is_hashing(now);
        let megahertz = hashing.then(|| self.chain.megahertz());
        let volts = f64::from(self.millivolts()) / (5.0 * f64::from(self.model.voltage)) * GAMMA_VOLTS;
        self.thermal.step(now, watts(1, volts, megahertz), self.fan());
    }

    /// Does a command of two bytes and returns its answer, nothing for one that it does not know.
    fn on_command(&mut self, command: u8, argument: u8) -> Vec<u8> {
        match (command, argument) {
            (b'?', b'v') => return vec![self.model.version],
            (b'G', b'.') => return self.telemetry().to_vec(),
            (b'V', 0..=MAX_VOLTAGE) => self.voltage = argument,
            (b'B', b'O') => (self.regulator_on, self.tripped) = (true, false),
            (b'B', b'-') if self.stays_on > 0 => {
                self.stays_on -= 1;
                return Vec::new();
            }
            (b'B', b'-') => self.regulator_on = false,
            (b'F', 0..=100) => self.fan_percent = argument,
            (b'L', b'-' | b'H' | b'N' | b'O') => {}
            _ => return Vec::new(),
        }
        self.on_supply_changed();
        vec![command]
    }

    /// Input voltage and current, output voltage and current, two temperatures, fan.
    fn telemetry(&self) -> [u8; 7] {
        let vout = f64::from(self.millivolts()) / 1000.0 * 2.0 * 255.0 / 2.048;
        let temperature = match (self.thermal.celsius() + 50.0) * 218.0 / 175.0 {
            _ if self.sensor_open => 0,
            code => code.round().clamp(1.0, 255.0) as u8,
        };
        [self.model.vin, 0, vout.round() as u8, 0, temperature, 0, 0]
    }

    fn on_supply_changed(&mut self) {
        if !self.is_live() {
            self.chain.reset();
        }
    }
}

impl Device for CompacA {
    fn ports(&self) -> usize {
        2
    }

    fn baud(&self, port: usize) -> Option<u32> {
        Some(self.outbox.baud(if port == CHIPS { self.chain.baud() } else { 115_200 }))
    }

    fn handle_bytes(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        self.handle_timeout(now);
        if self.outbox.is_hung() {
            return;
        }
        if port == CHIPS {
            if self.is_live() {
                self.chain.handle_bytes(now, bytes, &mut self.outbox);
            }
            return;
        }
        for &byte in bytes {
            match self.begun.take() {
                None => self.begun = Some(byte),
                Some(command) => {
                    let answer = self.on_command(command, byte);
                    if !answer.is_empty() {
                        self.outbox.push(now, TELEMETRY, answer);
                    }
                }
            }
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

    fn set_line(&mut self, now: Instant, line: Line) {
        self.warm(now);
        if let Line::Latch { mask, state } = line {
            self.latch = self.latch & !mask | state & mask;
            self.on_supply_changed();
        }
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        self.warm(now);
        if self.outbox.inject(now, fault) || self.chain.inject(now, fault) {
            return;
        }
        match fault {
            Fault::Ambient(celsius) => self.thermal.set_ambient(celsius),
            Fault::Temperature(celsius) => self.thermal.set_celsius(celsius),
            Fault::FanStuck(stuck) => self.fan_stuck = stuck,
            Fault::SensorOpen(open) => self.sensor_open = open,
            Fault::StaysOn(times) => self.stays_on = times,
            Fault::RegulatorTrip => {
                self.tripped = true;
                self.on_supply_changed();
            }
            _ => {}
        }
    }

    fn set_plugged(&mut self, now: Instant, plugged: bool) {
        self.warm(now);
        self.plugged = plugged;
        (self.latch, self.regulator_on, self.tripped, self.begun) = (0, false, false, None);
        (self.voltage, self.fan_percent) = (self.model.voltage, 100);
        self.chain.reset();
        self.outbox.power_cycle();
    }

    fn state(&mut self, now: Instant) -> State {
        self.warm(now);
        State {
            plugged: self.plugged,
            powered: self.is_live(),
            in_reset: self.latch != 0,
            millivolts: self.millivolts(),
            celsius: self.thermal.celsius(),
            fan_percent: (self.fan() * 100.0).round() as u8,
            ..self.chain.state(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{bytes, of_family, run};

    fn a1() -> CompacA {
        CompacA::a1(Arc::new(KnownAnswers::published()))
    }

    fn a2() -> CompacA {
        CompacA::a2(Arc::new(KnownAnswers::published()))
    }

    fn ask(stick: &mut CompacA, now: Instant, port: usize, request: &[u8]) -> Vec<u8> {
        stick.handle_bytes(now, port, request);
        run(stick, now, now)
            .into_iter()
            .flat_map(|(_, from, bytes)| {
                assert_eq!(from, port);
                bytes
            })
            .collect()
    }

    #[test]
    fn published_commands_are_answered_byte_for_byte() {
        let (mut stick, now) = (a1(), Instant::now());
        for vector in of_family("gekko-telemetry").iter().filter(|vector| vector["tx"].is_string()) {
            if vector["tx"] == "472e" {
                // What the answer says: 0.44 V and 46.33 °C.
                assert_eq!(ask(&mut stick, now, TELEMETRY, b"V\x58"), b"V");
                stick.inject(now, Fault::Temperature(46.33));
            }
            assert_eq!(
                ask(&mut stick, now, TELEMETRY, &bytes(&vector["tx"])),
                bytes(&vector["rx"]),
                "{}",
                vector["name"]
            );
        }
        assert_eq!(ask(&mut stick, now, TELEMETRY, b"V\x65"), b"", "more than 500 mV is refused");
        assert_eq!(ask(&mut stick, now, TELEMETRY, b"xx"), b"");
    }

    #[test]
    fn an_a2_speaks_the_later_version() {
        let (mut stick, now) = (a2(), Instant::now());
        assert_eq!(ask(&mut stick, now, TELEMETRY, b"?v"), [0x20]);
        let [vin, ..] = ask(&mut stick, now, TELEMETRY, b"G.")[..] else { panic!("no telemetry") };
        assert!((f64::from(vin) * 24.576 / 255.0 - 5.0).abs() < 0.05);
    }

    #[test]
    fn the_chip_lives_while_latch_and_regulator_let_it() {
        let now = Instant::now();
        let id = [0x55, 0xaa, 0x52, 5, 0, 0, 0x0a];
        for (mut stick, family, millivolts) in [(a1(), "bm1362", 300), (a2(), "bm1370", 270)] {
            let vectors = of_family(family);
            let answer = bytes(&vectors.iter().find(|vector| vector["expect"]["type"] == 0).unwrap()["rx"]);
            assert_eq!(ask(&mut stick, now, CHIPS, &id), b"");
            ask(&mut stick, now, TELEMETRY, b"BO");
            assert_eq!(ask(&mut stick, now, CHIPS, &id)[..7], answer[..7], "{family}");
            assert_eq!(stick.state(now).millivolts, millivolts);
            stick.set_line(now, Line::Latch { mask: 7, state: 7 });
            assert_eq!(ask(&mut stick, now, CHIPS, &id), b"");
            assert!(stick.state(now).is_safe() && stick.state(now).in_reset);
            stick.set_line(now, Line::Latch { mask: 7, state: 0 });
            assert_eq!(ask(&mut stick, now, CHIPS, &id)[..7], answer[..7]);
            ask(&mut stick, now, TELEMETRY, b"B-");
            assert!(ask(&mut stick, now, CHIPS, &id).is_empty() && !stick.state(now).powered);
        }
    }

    #[test]
    fn it_can_refuse_to_be_switched_off() {
        let (mut stick, now) = (a1(), Instant::now());
        ask(&mut stick, now, TELEMETRY, b"BO");
        stick.inject(now, Fault::StaysOn(1));
        assert!(ask(&mut stick, now, TELEMETRY, b"B-").is_empty() && stick.state(now).powered);
        assert_eq!(ask(&mut stick, now, TELEMETRY, b"B-"), b"B");
        assert!(!stick.state(now).powered);
    }
}
