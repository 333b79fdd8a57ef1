//! Frames from the chips: `AA 55`, six or eight bytes, and a byte of kind and checksum.

use crate::crc::crc5;

const PREAMBLE: [u8; 2] = [0xaa, 0x55];
const SHORT: usize = 9;
const LONG: usize = 11;
/// The top three bits of the last byte.
const KIND: u8 = 0xe0;
const NONCE: u8 = 0x80;

/// What a chip says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A register's value.
    Register {
        /// The chip's address.
        address: u8,
        /// The register.
        register: u8,
        /// The value, most significant byte first on the wire.
        value: u32,
    },
    /// An answer to a job.
    Nonce {
        /// Bytes 76 to 79 of the header.
        nonce: [u8; 4],
        /// Twice the leading zero bits of the hash beyond the ticket mask (BM1362 and later).
        excess: u8,
        /// Bits of the job id, and the subcore or the midstate.
        job: u8,
        /// The version bits that the chip rolled, shifted down by 13; zero in short frames.
        roll: u16,
    },
}

/// Which frames chips send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Nine bytes: BM1397, and later chips until version rolling is enabled.
    Short,
    /// Eleven bytes: chips that roll versions.
    Long,
    /// Not known yet: whichever has a good checksum. Only register values are taken.
    Either,
}

/// Finds frames in a stream of bytes, whatever pieces it comes in and whatever lies between them.
///
/// Where no frame begins, one byte is dropped, and looked at again from there: `AA 55` occurs within frames too. It
/// never holds more than one frame less a byte between calls.
#[derive(Debug)]
pub struct ReplyParser {
    format: Format,
    held: Vec<u8>,
    dropped: u32,
}

/// What the bytes held begin with.
enum Start {
    Frame(Reply, usize),
    Junk,
    Unknown,
}

impl ReplyParser {
    /// A parser that holds nothing.
    pub fn new(format: Format) -> Self {
        Self { format, held: Vec::new(), dropped: 0 }
    }

    /// Looks for frames of this format from here on.
    pub fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Takes bytes and returns the frames that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Reply> {
        let mut replies = Vec::new();
        for &byte in bytes {
            self.held.push(byte);
            self.take(false, &mut replies);
        }
        replies
    }

    /// No more bytes are coming for now: returns what they are when nothing needs to be waited for.
    pub fn finish(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        self.take(true, &mut replies);
        self.drop_first(self.held.len());
        replies
    }

    /// The bytes dropped since this was asked last.
    pub fn take_dropped(&mut self) -> u32 {
        std::mem::take(&mut self.dropped)
    }

    fn take(&mut self, last: bool, replies: &mut Vec<Reply>) {
        loop {
            match self.start(last) {
                Start::Frame(reply, length) => {
                    replies.push(reply);
                    self.held.drain(..length);
                }
                Start::Junk => self.drop_first(1),
                Start::Unknown => return,
            }
        }
    }

    fn drop_first(&mut self, bytes: usize) {
        self.held.drain(..bytes);
        self.dropped = self.dropped.saturating_add(bytes as u32);
    }

    fn start(&self, last: bool) -> Start {
        let held = &self.held[..];
        if !held.iter().zip(PREAMBLE).all(|(&byte, expected)| byte == expected) {
            return Start::Junk;
        }
        let whole = |length| held.get(..length).and_then(|frame| read(frame, self.format));
        let (short, long) = match self.format {
            Format::Short => (whole(SHORT), None),
            Format::Long => (None, whole(LONG)),
            Format::Either => (whole(SHORT), whole(LONG)),
        };
        let longest = if self.format == Format::Short { SHORT } else { LONG };
        let next = held.get(SHORT..).unwrap_or_default();
        // Of two readings the short one is right if another frame follows it.
        let another = next.iter().zip(PREAMBLE).all(|(&byte, expected)| byte == expected);
        match (short, long) {
            _ if held.len() < longest && !last => Start::Unknown,
            (Some(reply), _) if self.format == Format::Short || another => Start::Frame(reply, SHORT),
            (_, Some(reply)) => Start::Frame(reply, LONG),
            _ if held.is_empty() => Start::Unknown,
            _ => Start::Junk,
        }
    }
}

/// Reads a whole frame; `None` if its checksum is wrong or its kind unknown.
fn read(frame: &[u8], format: Format) -> Option<Reply> {
    let (&[a, b, c, d, sixth, seventh], rest) = frame.get(2..)?.split_first_chunk()?;
    let (&last, rolled) = rest.split_last()?;
    if crc5(frame.get(2..)?) != 0 {
        return None;
    }
    let roll = rolled.try_into().map_or(0, u16::from_be_bytes);
    match last & KIND {
        0 => Some(Reply::Register {
            address: sixth,
            register: seventh,
            value: u32::from_be_bytes([a, b, c, d]),
        }),
        NONCE if format != Format::Either => {
            Some(Reply::Nonce { nonce: [a, b, c, d], excess: sixth, job: seventh, roll })
        }
        _ => None,
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Reply {
    /// The frame as a chip would send it: for tests of the parser.
    pub fn encode(self, long: bool) -> Vec<u8> {
        let (body, rolled, kind) = match self {
            Self::Register { address, register, value } => {
                ([&value.to_be_bytes()[..], &[address, register]].concat(), 0, 0)
            }
            Self::Nonce { nonce, excess, job, roll } => ([&nonce[..], &[excess, job]].concat(), roll, NONCE),
        };
        let mut frame = [&PREAMBLE[..], &body].concat();
        if long {
            frame.extend(u16::to_be_bytes(rolled));
        }
        frame.push(kind | crate::crc::crc5_within(&frame[2..], kind));
        frame
    }
}
