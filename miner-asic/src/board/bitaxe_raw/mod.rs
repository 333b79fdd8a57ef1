//! The management protocol of bitaxe-raw firmware: requests for I2C and pins over a USB serial port of their own.
//!
//! Firmware lines answer in three formats that can't be told apart by what they look like; the product's name and
//! release tell them. Sans-IO but for [`bridge`].

pub mod bridge;

use crate::peripheral::BusError;

/// Bytes before the data of a request: length, id, bus, page, command.
const REQUEST_HEAD: usize = 6;
/// The longest answer that is believed.
const MAX_ANSWER: usize = 260;
/// The id that malformed requests are answered with.
const NO_ID: u8 = 0xff;

const I2C: u8 = 0x05;
const GPIO: u8 = 0x06;

/// How answers are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Length of the data, id, data: the original firmware. An error is a data byte of 0xFF and a code.
    V0,
    /// Length of the packet, id, status, data.
    V1,
    /// Length of the packet, id, data. A one-byte answer and an error look alike.
    Bonanza,
}

impl Format {
    /// What a product answers in; `release` is its `bcdDevice`: hardware, then a digit each for the firmware's minor
    /// version and its patch.
    ///
    /// `None`: not known.
    pub fn of(product: &str, release: u16) -> Option<Self> {
        let minor = release >> 4 & 0xf;
        match product {
            "Bitaxe" => Some(Self::V0),
            "EmberOne00" if minor >= 1 => Some(Self::V1),
            "EmberOne00" => Some(Self::V0),
            "BitaxeBonanza" => Some(Self::Bonanza),
            _ => None,
        }
    }
}

/// Something to ask of the firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Sets the clock of the I2C bus, in Hz.
    I2cFrequency(u32),
    /// Writes to a part.
    I2cWrite(u8, Vec<u8>),
    /// Writes to a part, then reads so many bytes.
    I2cWriteRead(u8, Vec<u8>, u8),
    /// Sets a pin.
    Pin(u8, bool),
    /// Asks for the level of a pin.
    ReadPin(u8),
}

impl Request {
    /// The packet; `id` comes back with the answer.
    pub fn encode(&self, id: u8) -> Vec<u8> {
        let (page, command, data) = match self {
            Self::I2cFrequency(hertz) => (I2C, 0x10, hertz.to_le_bytes().to_vec()),
            Self::I2cWrite(address, bytes) => (I2C, 0x20, [&[*address][..], bytes].concat()),
            Self::I2cWriteRead(address, bytes, count) => {
                (I2C, 0x40, [&[*address][..], bytes, &[*count]].concat())
            }
            Self::Pin(pin, level) => (GPIO, *pin, vec![u8::from(*level)]),
            Self::ReadPin(pin) => (GPIO, *pin, Vec::new()),
        };
        let length = u16::try_from(REQUEST_HEAD + data.len()).expect("requests are short");
        [&length.to_le_bytes()[..], &[id, 0, page, command], &data].concat()
    }

    /// Data bytes of its answer.
    pub fn answer_length(&self) -> usize {
        match self {
            Self::I2cFrequency(_) | Self::I2cWrite(..) => 0,
            Self::I2cWriteRead(_, _, count) => (*count).into(),
            Self::Pin(..) | Self::ReadPin(_) => 1,
        }
    }
}

/// Finds the answer to one request in a stream of bytes.
#[derive(Debug)]
pub struct Answer {
    format: Format,
    id: u8,
    wanted: usize,
    held: Vec<u8>,
}

impl Answer {
    /// Waits for the answer to `request`, which was sent as `id`.
    pub fn new(format: Format, request: &Request, id: u8) -> Self {
        Self { format, id, wanted: request.answer_length(), held: Vec::new() }
    }

    /// Takes bytes; `Some` once the answer is whole. Answers to other requests are passed over.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Result<Vec<u8>, BusError>> {
        self.held.extend_from_slice(bytes);
        loop {
            let (id, body) = match self.frame() {
                Frame::Part => return None,
                Frame::Junk => {
                    self.held.remove(0);
                    continue;
                }
                Frame::Whole(id, body) => (id, body),
            };
            if id == self.id || self.format == Format::V1 && id == NO_ID {
                return Some(self.judge(body));
            }
        }
    }

    fn frame(&mut self) -> Frame {
        let [low, high, id, ..] = self.held[..] else { return Frame::Part };
        let length = usize::from(u16::from_le_bytes([low, high]));
        let head = 3;
        let whole = if self.format == Format::V0 { length + head } else { length };
        let least = if self.format == Format::V1 { head + 1 } else { head };
        if whole < least || whole > MAX_ANSWER {
            return Frame::Junk;
        }
        if self.held.len() < whole {
            return Frame::Part;
        }
        let body = self.held.drain(..whole).skip(head).collect();
        Frame::Whole(id, body)
    }

    fn judge(&self, mut body: Vec<u8>) -> Result<Vec<u8>, BusError> {
        if self.format == Format::V1 {
            let status = body.remove(0);
            if status != 0 {
                return Err(BusError::Refused(status));
            }
        }
        match (self.format, &body[..]) {
            (_, data) if data.len() == self.wanted => Ok(body),
            (Format::V0, [0xff, code]) | (Format::Bonanza, [code]) => Err(BusError::Refused(*code)),
            (_, data) => Err(BusError::Length { wanted: self.wanted, got: data.len() }),
        }
    }
}

enum Frame {
    Part,
    Junk,
    Whole(u8, Vec<u8>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_requests_are_built_byte_for_byte() {
        for (packet, id, request) in [
            ("0a0001000510801a0600", 1, Request::I2cFrequency(400_000)),
            ("0800010005204fde", 1, Request::I2cWrite(0x4f, vec![0xde])),
            ("09000100054032fe02", 1, Request::I2cWriteRead(0x32, vec![0xfe], 2)),
            ("07000000060000", 0, Request::Pin(0, false)),
            ("060000000603", 0, Request::ReadPin(3)),
            ("0a0001000510a0860100", 1, Request::I2cFrequency(100_000)),
            ("0900020005404cfe01", 2, Request::I2cWriteRead(0x4c, vec![0xfe], 1)),
            ("09000900054024ad07", 9, Request::I2cWriteRead(0x24, vec![0xad], 7)),
        ] {
            assert_eq!(hex::encode(request.encode(id)), packet, "{request:?}");
        }
    }

    fn answer(format: Format, request: &Request, id: u8, bytes: &str) -> Option<Result<Vec<u8>, String>> {
        let mut answer = Answer::new(format, request, id);
        answer.push(&hex::decode(bytes).unwrap()).map(|result| result.map_err(|error| error.to_string()))
    }

    #[test]
    fn answers_mean_what_their_format_says() {
        let pin = Request::Pin(0, true);
        let (v0, v1, bonanza) = (Format::V0, Format::V1, Format::Bonanza);
        assert_eq!(answer(v0, &pin, 0x42, "01004201"), Some(Ok(vec![1])));
        assert_eq!(answer(v1, &pin, 0x42, "0500420001"), Some(Ok(vec![1])));
        assert_eq!(answer(v1, &pin, 0x42, "04004211"), Some(Err("refused with code 0x11".to_owned())));
        assert_eq!(answer(v1, &pin, 0x42, "0400ff11"), Some(Err("refused with code 0x11".to_owned())));
        assert_eq!(answer(bonanza, &pin, 0x42, "04004201"), Some(Ok(vec![1])));
        let write = Request::I2cWrite(0x4c, vec![1, 2]);
        assert_eq!(answer(v0, &write, 0, "000000"), Some(Ok(Vec::new())));
        assert_eq!(answer(v0, &write, 0, "020000ff10"), Some(Err("refused with code 0x10".to_owned())));
        assert_eq!(answer(bonanza, &write, 7, "04000710"), Some(Err("refused with code 0x10".to_owned())));
        let read = Request::I2cWriteRead(0x24, vec![0xad], 7);
        let id = answer(v0, &read, 9, "070009065449546b2441").unwrap().unwrap();
        assert_eq!(id, [6, 0x54, 0x49, 0x54, 0x6b, 0x24, 0x41]);
        assert_eq!(answer(v0, &read, 9, "070009065449"), None, "more is to come");
        assert_eq!(answer(v0, &pin, 5, "01000401" /* late */), None);
        assert_eq!(answer(v0, &pin, 5, "0100040101000500"), Some(Ok(vec![0])));
        assert_eq!(answer(v0, &pin, 5, "0200050102"), Some(Err("2 bytes in place of 1".to_owned())));
    }

    #[test]
    fn products_answer_in_their_own_format() {
        assert_eq!(Format::of("Bitaxe", 0x0601), Some(Format::V0));
        assert_eq!(Format::of("EmberOne00", 0x0300), Some(Format::V0));
        assert_eq!(Format::of("EmberOne00", 0x0310), Some(Format::V1));
        assert_eq!(Format::of("BitaxeBonanza", 0x0100), Some(Format::Bonanza));
        assert_eq!(Format::of("bitcrane3", 0x0100), None);
    }

    proptest! {
        #[test]
        fn no_bytes_bring_the_parser_down(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
            format in prop::sample::select(vec![Format::V0, Format::V1, Format::Bonanza]),
        ) {
            let mut answer = Answer::new(format, &Request::Pin(0, true), 1);
            for piece in pieces {
                answer.push(&piece);
                prop_assert!(answer.held.len() <= MAX_ANSWER + 80);
            }
        }

        #[test]
        fn every_answer_is_found_in_any_pieces(cut in 0usize..12, id in 0u8..255, data in any::<[u8; 7]>()) {
            let request = Request::I2cWriteRead(0x24, vec![0xad], 7);
            let packet = [&[7, 0, id][..], &data].concat();
            let mut answer = Answer::new(Format::V0, &request, id);
            let (first, second) = packet.split_at(cut.min(packet.len() - 1));
            prop_assert!(answer.push(first).is_none());
            prop_assert_eq!(answer.push(second).unwrap().unwrap(), data.to_vec());
        }
    }
}
