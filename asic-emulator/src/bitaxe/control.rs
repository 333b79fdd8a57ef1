//! The bitaxe-raw management protocol: requests in, answers out.

use std::time::{Duration, Instant};

/// How long the bytes of one request may stall.
const STALL: Duration = Duration::from_millis(4);
/// Length, id, bus, page and command.
const HEADER: usize = 6;
/// The longest request.
const LONGEST: usize = 256;

/// How the firmware lays out its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Length of the data alone, id, data; an error looks like data (original bitaxe-raw, Gamma).
    V0,
    /// Length of the whole packet, id, status, data (emberone firmware).
    V1,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: u8,
    pub(super) page: u8,
    pub(super) command: u8,
    pub(super) data: Vec<u8>,
}

/// Why a request was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody answered on the bus.
    Timeout = 0x10,
    /// The firmware doesn't know it.
    Invalid = 0x11,
}

/// Splits the stream of a control port into requests, one for each arrival of bytes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    last: Option<Instant>,
}

impl Reader {
    /// Takes bytes of one USB packet and returns the request that they complete; a second one in the same packet waits for
    /// the next. `Err` is a length that no request has.
    pub(super) fn feed(&mut self, now: Instant, bytes: &[u8]) -> Option<Result<Request, Refusal>> {
        let stalled = self.last.is_some_and(|last| now.saturating_duration_since(last) > STALL);
        if stalled && self.wanted().is_some_and(|wanted| self.buffer.len() < wanted) {
            self.buffer.clear();
        }
        self.last = Some(now);
        self.buffer.extend_from_slice(bytes);
        let wanted = self.wanted()?;
        if !(HEADER..=LONGEST).contains(&wanted) {
            self.buffer.clear();
            return Some(Err(Refusal::Invalid));
        }
        if self.buffer.len() < wanted {
            return None;
        }
        let packet: Vec<u8> = self.buffer.drain(..wanted).collect();
        let [_, _, id, _bus, page, command, ref data @ ..] = packet[..] else { return None };
        Some(Ok(Request { id, page, command, data: data.to_vec() }))
    }

    /// The length of the packet that has begun, as far as it is known.
    fn wanted(&self) -> Option<usize> {
        match *self.buffer {
            [] => None,
            [_] => Some(HEADER),
            [low, high, ..] => Some(u16::from_le_bytes([low, high]).into()),
        }
    }
}

impl Protocol {
    /// Writes the answer to a request, or to what was none.
    pub(super) fn answer(self, id: Option<u8>, result: &Result<Vec<u8>, Refusal>) -> Vec<u8> {
        let id = id.unwrap_or(0xff);
        let (status, data) = match result {
            Ok(data) => (0, data.clone()),
            Err(refusal) if self == Self::V0 => (0, vec![0xff, *refusal as u8]),
            Err(refusal) => (*refusal as u8, Vec::new()),
        };
        let mut answer = Vec::new();
        match self {
            Self::V0 => {
                answer.extend((data.len() as u16).to_le_bytes());
                answer.push(id);
            }
            Self::V1 => {
                answer.extend((data.len() as u16 + 4).to_le_bytes());
                answer.extend([id, status]);
            }
        }
        answer.extend(data);
        answer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{bytes, of_family};

    #[test]
    fn published_requests_are_understood() {
        for vector in of_family("bitaxe-raw").iter().filter(|vector| vector["kind"] == "control request") {
            let request = Reader::default().feed(Instant::now(), &bytes(&vector["tx"])).unwrap().unwrap();
            let expect = &vector["expect"];
            assert_eq!(
                (request.page, request.command),
                (bytes(&expect["page"])[0], bytes(&expect["command"])[0])
            );
            assert_eq!(request.data, bytes(&expect["data"]), "{}", vector["name"]);
            assert!(expect["id"].as_u64().is_none_or(|id| id == u64::from(request.id)));
        }
    }

    #[test]
    fn published_answers_are_written_byte_for_byte() {
        let id = Some(0x42);
        assert_eq!(Protocol::V0.answer(id, &Ok(vec![1])), [1, 0, 0x42, 1]);
        assert_eq!(Protocol::V1.answer(id, &Ok(vec![1])), [5, 0, 0x42, 0, 1]);
        assert_eq!(Protocol::V1.answer(id, &Err(Refusal::Invalid)), [4, 0, 0x42, 0x11]);
        assert_eq!(Protocol::V0.answer(id, &Err(Refusal::Timeout)), [2, 0, 0x42, 0xff, 0x10]);
        assert_eq!(Protocol::V1.answer(None, &Err(Refusal::Invalid)), [4, 0, 0xff, 0x11]);
    }

    #[test]
    fn a_request_that_stalls_is_thrown_away() {
        let (mut reader, now) = (Reader::default(), Instant::now());
        let request = [7, 0, 5, 0, 6, 0, 1];
        assert_eq!(reader.feed(now, &request[..4]), None);
        assert_eq!(reader.feed(now + Duration::from_millis(3), &request[4..]).unwrap().unwrap().id, 5);
        assert_eq!(reader.feed(now, &[7, 0, 9, 0]), None);
        assert_eq!(reader.feed(now + Duration::from_millis(20), &request).unwrap().unwrap().id, 5);
    }

    #[test]
    fn a_second_request_in_a_packet_waits_for_more_bytes() {
        let (mut reader, now) = (Reader::default(), Instant::now());
        let request = |id| [6, 0, id, 0, 6, 0];
        assert_eq!(reader.feed(now, &[request(1), request(2)].concat()).unwrap().unwrap().id, 1);
        let later = now + Duration::from_secs(1);
        assert_eq!(reader.feed(later, &request(3)).unwrap().unwrap().id, 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let (mut reader, mut now) = (Reader::default(), Instant::now());
            for chunk in chunks {
                let _ = reader.feed(now, &chunk);
                now += STALL * 2;
            }
            reader.buffer.clear();
            prop_assert_eq!(reader.feed(now, &[6, 0, 9, 0, 6, 0]).unwrap().unwrap().id, 9);
        }
    }
}
