//! Two ends of a serial line, and whether they agree on its speed.

use std::time::Duration;

/// How far two UARTs may be apart: half a bit in the ten of a byte.
const TOLERANCE: f64 = 0.05;
/// Start, eight data bits, stop.
const BITS_PER_BYTE: f64 = 10.0;

/// The speed of a line in bits a second, and whether both ends agree on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Speed {
    byte_time: Duration,
    garbled: bool,
}

impl Speed {
    /// The speed at which `sender` sends and how `receiver` takes it; `None` for a port that is no UART.
    pub(crate) fn new(sender: Option<u32>, receiver: Option<u32>) -> Self {
        let (Some(sender), Some(receiver)) = (sender, receiver) else {
            return Self { byte_time: Duration::ZERO, garbled: false };
        };
        let (sender, receiver) = (f64::from(sender.max(1)), f64::from(receiver.max(1)));
        Self {
            byte_time: Duration::from_secs_f64(BITS_PER_BYTE / sender),
            garbled: (sender / receiver - 1.0).abs() > TOLERANCE,
        }
    }

    /// What a byte takes on the line.
    pub(crate) fn byte_time(self) -> Duration {
        self.byte_time
    }

    /// Whether other bytes arrive than were sent.
    pub(crate) fn garbled(self) -> bool {
        self.garbled
    }
}
