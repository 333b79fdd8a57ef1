//! Frames to the chips: `55 AA`, kind, length, payload, checksum.

use miner_core::types::Header;

use crate::chip::wire::{midstate, reverse_words, tail};
use crate::crc::{crc5, crc16};

const PREAMBLE: [u8; 2] = [0x55, 0xaa];
const JOB: u8 = 0x21;
/// In the kind: the command is for all chips.
const ALL: u8 = 0x10;
/// Midstates that a job frame has room for, if it has more than one.
pub(crate) const MIDSTATES: usize = 4;

/// Whom a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every chip of the chain.
    All,
    /// The chip with this address.
    Chip(u8),
}

/// A command; its checksum is CRC5 over everything after the preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first chip that has no address takes this one and lets later commands pass to the next chip.
    SetAddress(u8),
    /// Writes a register, most significant byte first.
    Write(To, u8, u32),
    /// Asks for a register.
    Read(To, u8),
    /// All chips forget their addresses and stop passing on what they get.
    ChainInactive,
}

impl Command {
    /// The frame.
    pub fn encode(self) -> Vec<u8> {
        let (kind, to, register, value) = match self {
            Self::SetAddress(address) => (0x40, To::Chip(address), 0, None),
            Self::Write(to, register, value) => (0x41, to, register, Some(value)),
            Self::Read(to, register) => (0x42, to, register, None),
            Self::ChainInactive => (0x43, To::All, 0, None),
        };
        let (kind, address) = match to {
            To::All => (kind | ALL, 0),
            To::Chip(address) => (kind, address),
        };
        let length = if value.is_some() { 9 } else { 5 };
        let mut frame = [&PREAMBLE[..], &[kind, length, address, register]].concat();
        frame.extend(value.into_iter().flat_map(u32::to_be_bytes));
        frame.push(crc5(&frame[2..]));
        frame
    }
}

/// A job for chips that roll versions and make midstates themselves: the whole header but its nonce (88 bytes).
pub(crate) fn full_job(id: u8, header: &Header) -> Vec<u8> {
    // The length byte counts what follows it, as shipping firmware but the factory's has it; chips take others too.
    let mut frame = [&PREAMBLE[..], &[JOB, 0x56, id, 1], &[0; 4]].concat();
    frame.extend(header.nbits.to_u32().to_le_bytes());
    frame.extend(header.ntime.to_le_bytes());
    frame.extend(reverse_words(header.root.0));
    frame.extend(reverse_words(header.prev.0));
    frame.extend(header.version.to_le_bytes());
    seal_job(frame)
}

/// A job for chips that want midstates made for them: of one header (56 bytes), or of up to four that differ only in
/// their versions (152 bytes; fewer are gone through again from the first).
///
/// Which header is which is told by the low two bits of the id that comes back.
pub(crate) fn midstate_job(id: u8, headers: &[[u8; 80]]) -> Vec<u8> {
    let count = if headers.len() > 1 { MIDSTATES } else { 1 };
    let length = 22 + 32 * count;
    let mut frame = [&PREAMBLE[..], &[JOB, length as u8, id, count as u8], &[0; 4]].concat();
    frame.extend(headers.first().map(tail).unwrap_or_default());
    frame.extend(headers.iter().cycle().take(count).flat_map(midstate));
    seal_job(frame)
}

fn seal_job(mut frame: Vec<u8>) -> Vec<u8> {
    frame.extend(crc16(&frame[2..]).to_be_bytes());
    frame
}
