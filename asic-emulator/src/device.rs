//! What all models have in common: bytes in and out at times, a physical state, and things that go wrong.

use std::time::{Duration, Instant};

/// A device without any I/O: bytes in at a time, bytes out at times.
///
/// After each call that takes `now`, the shell takes all of [`poll_transmit`](Self::poll_transmit) and calls
/// [`handle_timeout`](Self::handle_timeout) at [`next_deadline`](Self::next_deadline).
pub trait Device: Send {
    /// How many serial ports it shows, at least 1.
    fn ports(&self) -> usize;

    /// The speed of the UART behind a port, `None` where the port is no UART but a USB endpoint.
    fn baud(&self, port: usize) -> Option<u32>;

    /// Takes bytes that arrived on a port.
    fn handle_bytes(&mut self, now: Instant, port: usize, bytes: &[u8]);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// When it wants to be called next.
    fn next_deadline(&self) -> Option<Instant>;

    /// Takes the next bytes to send.
    fn poll_transmit(&mut self, now: Instant) -> Option<Frame>;

    /// Follows a line that does not go through a port: a bridge's reset pin.
    ///
    /// Models without such a line ignore it.
    fn set_line(&mut self, now: Instant, line: Line) {
        let _ = (now, line);
    }

    /// Makes something go wrong, or right again.
    fn inject(&mut self, now: Instant, fault: Fault);

    /// Is plugged in or unplugged. What USB powers begins anew, broken chips and surroundings aside; a board with a supply of
    /// its own goes on with what it does.
    fn set_plugged(&mut self, now: Instant, plugged: bool);

    /// What a person with a meter and a thermometer would see.
    fn state(&mut self, now: Instant) -> State;
}

/// Bytes to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The port that they leave by, from 0.
    pub port: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the plug is pulled when half of them are out.
    pub unplug: bool,
}

/// A line of a USB bridge, as control transfers move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The reset pin behind FTDI's CBUS1: low holds the chips in reset.
    Cbus1 {
        /// Its level.
        high: bool,
    },
    /// A write to a CP2105's latch: pins in `mask` take the level in `state`. All low is power on and reset released.
    Latch {
        /// Pins written.
        mask: u8,
        /// Their levels.
        state: u8,
    },
}

/// What can go wrong with a device. Those named `..Next` strike once.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// That many random bytes come out of the chips' port at once.
    Garbage(usize),
    /// The next frame loses its second half.
    TruncateNext,
    /// A bit of the next frame flips.
    CorruptNext,
    /// This bit of the next frame flips, from 0; counted round where the frame is shorter.
    FlipNext(usize),
    /// The next nonce is wrong, its checksum is not.
    WrongNonceNext,
    /// The next nonce names another job; ignored where answers name none.
    WrongJobNext,
    /// The next nonce comes twice.
    DuplicateNext,
    /// The next nonce comes late.
    LateNext(Duration),
    /// The plug is pulled in the middle of the next frame.
    UnplugNext,
    /// Nothing comes out and nothing is heeded until [`Fault::Recover`], or until a device that USB powers is plugged in again.
    Hang,
    /// Ends a hang.
    Recover,
    /// A chip runs at a fraction of its speed: 0.1 is a tenth, 1 is healthy.
    Slow {
        /// Its place in the chain, from 0.
        chip: usize,
        /// The fraction.
        factor: f64,
    },
    /// A chip does not answer, take work or hash; it passes on what is for others.
    Dead {
        /// Its place in the chain, from 0.
        chip: usize,
    },
    /// The air around it changes to so many °C; the device follows.
    Ambient(f64),
    /// It jumps to so many °C, and goes on from there as power and fan have it.
    Temperature(f64),
    /// The fan stands still, whatever it is told, or is free again.
    FanStuck(bool),
    /// The wire to the chip's thermometer is broken, or whole again: what is read is no temperature.
    SensorOpen(bool),
    /// The voltage regulator switches off by itself, as after an overcurrent.
    RegulatorTrip,
    /// The voltage regulator stays on, and does not acknowledge, the next so many times that it is told to switch off.
    StaysOn(u32),
    /// The UARTs run at this many times the speed that they should: what comes and goes is garbled. 1 is right.
    Uart(f64),
}

/// What a device physically does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Whether it is plugged in.
    pub plugged: bool,
    /// Whether the chips have their core voltage.
    pub powered: bool,
    /// Whether the chips are held in reset.
    pub in_reset: bool,
    /// Whether any chip hashes now.
    pub hashing: bool,
    /// Chips in it.
    pub chips: usize,
    /// Clock of the first chip in MHz, 0 where there is none.
    pub megahertz: f64,
    /// Hashes a second, of all chips, while they hash.
    pub hash_rate: f64,
    /// Core voltage of a chip in mV.
    pub millivolts: u32,
    /// Chip temperature in °C, NaN where the model has none.
    pub celsius: f64,
    /// Fan setting in percent, 0 where there is no fan.
    pub fan_percent: u8,
    /// Whole frames of work taken.
    pub works: u64,
    /// Nonces found.
    pub nonces: u64,
    /// Frames thrown away for their checksum.
    pub bad_frames: u64,
}

impl State {
    /// Whether nothing can heat up: the chips are without power or held in reset, or do not hash.
    pub fn is_safe(&self) -> bool {
        !self.powered || self.in_reset || !self.hashing
    }
}

/// Counts of a device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) works: u64,
    pub(crate) nonces: u64,
    pub(crate) bad_frames: u64,
}

impl<D: Device + ?Sized> Device for Box<D> {
    fn ports(&self) -> usize {
        (**self).ports()
    }

    fn baud(&self, port: usize) -> Option<u32> {
        (**self).baud(port)
    }

    fn handle_bytes(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        (**self).handle_bytes(now, port, bytes);
    }

    fn handle_timeout(&mut self, now: Instant) {
        (**self).handle_timeout(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        (**self).next_deadline()
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        (**self).poll_transmit(now)
    }

    fn set_line(&mut self, now: Instant, line: Line) {
        (**self).set_line(now, line);
    }

    fn inject(&mut self, now: Instant, fault: Fault) {
        (**self).inject(now, fault);
    }

    fn set_plugged(&mut self, now: Instant, plugged: bool) {
        (**self).set_plugged(now, plugged);
    }

    fn state(&mut self, now: Instant) -> State {
        (**self).state(now)
    }
}
