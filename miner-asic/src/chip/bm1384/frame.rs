//! Commands of four bytes, tasks of 64, answers of five.

use crate::chip::TicketMask;
use crate::crc::{crc5, crc5_within};

/// Length of an answer.
pub(super) const ANSWER: usize = 5;
const ALL: u8 = 0x80;

/// A command; five bits of CRC over the 27 before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The first chip that has no address takes this one.
    SetAddress(u8),
    /// Sets the clock of all chips.
    WriteClock(Clock),
    /// Asks the chip with this address, or all, for a register.
    Read(Option<u8>, u8),
    /// All chips forget their addresses.
    ChainInactive,
}

impl Command {
    pub(super) fn encode(self) -> [u8; 4] {
        let [kind, second, third] = match self {
            Self::SetAddress(address) => [0x01, address, 0],
            Self::WriteClock(Clock(register)) => [0x02 | ALL, (register >> 8) as u8, register as u8],
            Self::Read(Some(address), register) => [0x04, address, register],
            Self::Read(None, register) => [0x04 | ALL, 0, register],
            Self::ChainInactive => [0x05 | ALL, 0, 0],
        };
        [kind, second, third, crc5_within(&[kind, second, third], 0)]
    }
}

/// A clock: multiplier − 1 in bits 12 to 7, divider − 1 in 6 to 2, log2 of the second divider in 1 and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock(pub(super) u16);

impl Clock {
    /// `50 MHz × (m + 1) / ((n + 1) × 2^od)` nearest to `mhz`, which is 100 to 500 MHz.
    pub(super) fn nearest(mhz: f64) -> Self {
        // The oscillator is kept at 800 to 1,600 MHz.
        let od = if mhz < 200.0 { 3 } else { u16::from(mhz < 400.0) + 1 };
        // Shipping software divides once more where the clock is no multiple of 25 MHz.
        let n = u16::from(mhz % 25.0 != 0.0);
        let m = (mhz * f64::from((n + 1) << od) / 50.0).round().clamp(1.0, 64.0) as u16 - 1;
        Self(m << 7 | n << 2 | od)
    }

    /// The clock in MHz.
    pub(super) fn mhz(self) -> f64 {
        let Self(register) = self;
        50.0 * f64::from((register >> 7 & 0x3f) + 1)
            / f64::from(((register >> 2 & 0x1f) + 1) << (register & 3))
    }
}

/// A task: `id` is 0x10 to 0x1f; `sweep` counts the nonces that each chip tries.
pub(super) fn task(midstate: &[u8; 32], tail: &[u8; 12], id: u8, ticket: TicketMask, sweep: u32) -> [u8; 64] {
    let mut task = [0; 64];
    task[..32].copy_from_slice(midstate);
    task[39] = ticket.low_byte();
    task[40..44].copy_from_slice(&sweep.to_be_bytes());
    task[51] = id;
    task[52..].copy_from_slice(tail);
    task
}

/// What a chip says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A register's value.
    Value(u32),
    /// Bytes 76 to 79 of the header, and the id of the task.
    Nonce { nonce: [u8; 4], job: u8 },
}

impl Answer {
    /// `None`: no answer ends with such a byte, or its checksum is wrong. Nonces have none.
    pub(super) fn read(frame: &[u8; ANSWER]) -> Option<Self> {
        let &[a, b, c, d, last] = frame;
        match last {
            0..=0x1f if crc5(frame) == 0 => Some(Self::Value(u32::from_be_bytes([a, b, c, d]))),
            0x90..=0x9f => Some(Self::Nonce { nonce: [a, b, c, d], job: last & 0x1f }),
            _ => None,
        }
    }
}
