//! Frames between host and chips: 55 AA down, AA 55 up.

use crate::crc::{crc5, crc16};

use super::kind::ChipKind;

/// The length of a frame that carries a header.
const HEADER_JOB: usize = 88;

/// What a host sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// The first chip without an address takes this one.
    SetAddress(u8),
    /// Chips lose their addresses.
    ChainInactive,
    /// A register is written, of one chip or of all.
    Write { address: Option<u8>, register: u8, value: [u8; 4] },
    /// A register is read, of one chip or of all.
    Read { address: Option<u8>, register: u8 },
    /// Work: what lies between the length byte and the checksum.
    Job(Vec<u8>),
    /// A frame whose checksum is wrong.
    Bad,
}

/// Finds commands in a stream of bytes; what is none is passed over.
#[derive(Debug)]
pub(super) struct Reader {
    kind: ChipKind,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(kind: ChipKind) -> Self {
        Self { kind, buffer: Vec::new() }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Takes the next frame that is complete.
    pub(super) fn poll(&mut self) -> Option<Command> {
        loop {
            let start = self.buffer.iter().position(|&byte| byte == 0x55).unwrap_or(self.buffer.len());
            self.buffer.drain(..start);
            let (&[_, second], rest) = self.buffer.split_first_chunk()?;
            if second != 0xaa {
                self.buffer.drain(..1);
                continue;
            }
            let (&[header, length], _) = rest.split_first_chunk()?;
            let Some(total) = self.total(header, length) else {
                self.buffer.drain(..2);
                continue;
            };
            let frame = self.buffer.get(..total)?;
            let command = decode(frame);
            // The checksum of what only looks like a frame is wrong: a real one may begin inside.
            self.buffer.drain(..if command == Command::Bad { 2 } else { total });
            return Some(command);
        }
    }

    /// The length of a frame with its preamble, `None` for one that no chip knows.
    fn total(&self, header: u8, length: u8) -> Option<usize> {
        match (header, length) {
            (0x40 | 0x42 | 0x52 | 0x53, 5) | (0x41 | 0x51, 9) => Some(usize::from(length) + 2),
            // Drivers disagree about the length byte here, and the chips take any.
            (0x21, _) if self.kind.takes_headers() => Some(HEADER_JOB),
            (0x21, 54 | 86 | 118 | 150) => Some(usize::from(length) + 2),
            _ => None,
        }
    }
}

/// Reads a complete frame.
fn decode(frame: &[u8]) -> Command {
    let content = &frame[2..];
    if content[0] == 0x21 {
        let (job, crc) = content.split_at(content.len() - 2);
        return if crc16(job).to_be_bytes() == *crc { Command::Job(job[2..].to_vec()) } else { Command::Bad };
    }
    let (command, crc) = content.split_at(content.len() - 1);
    if crc5(command, 8 * command.len()) != crc[0] {
        return Command::Bad;
    }
    match *command {
        [0x40, _, address, _] => Command::SetAddress(address),
        [0x53, ..] => Command::ChainInactive,
        [0x42, _, address, register] => Command::Read { address: Some(address), register },
        [0x52, _, _, register] => Command::Read { address: None, register },
        [header, _, address, register, a, b, c, d] => {
            Command::Write { address: (header == 0x41).then_some(address), register, value: [a, b, c, d] }
        }
        _ => Command::Bad,
    }
}

/// What a chip's frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reply {
    /// A register's value.
    Register = 0,
    /// A nonce.
    Nonce = 4,
}

/// Writes a chip's frame.
pub(super) fn reply(kind: Reply, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xaa, 0x55];
    frame.extend_from_slice(content);
    frame.push((kind as u8) << 5);
    let crc = crc5(&frame[2..], 8 * content.len() + 3);
    if let Some(last) = frame.last_mut() {
        *last |= crc;
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::vectors::{bytes, of_family};

    fn read(kind: ChipKind, bytes: &[u8]) -> Vec<Command> {
        let mut reader = Reader::new(kind);
        reader.feed(bytes);
        std::iter::from_fn(|| reader.poll()).collect()
    }

    fn commands() -> Vec<Value> {
        let families = ["bm13xx", "bm1370", "bm1368", "bm1366", "bm1397"].map(of_family);
        families.concat().into_iter().filter(|vector| vector["kind"] == "command frame").collect()
    }

    #[test]
    fn every_published_command_is_understood() {
        let mut count = 0;
        for vector in commands() {
            let (frame, expect) = (bytes(&vector["tx"]), &vector["expect"]);
            let commands = read(ChipKind::Bm1370, &frame);
            assert!(commands.len() == 1 && commands[0] != Command::Bad, "{}: {commands:?}", vector["name"]);
            let Some(header) = expect["header"].as_str() else { continue };
            let address = bytes(&expect["address"])[0];
            let register = bytes(&expect["register"])[0];
            let expected = match header {
                "40" => Command::SetAddress(address),
                "53" => Command::ChainInactive,
                "41" | "51" => Command::Write {
                    address: (header == "41").then_some(address),
                    register,
                    value: bytes(&expect["value"]).try_into().unwrap(),
                },
                _ => Command::Read { address: (header == "42").then_some(address), register },
            };
            assert_eq!(commands, [expected], "{}", vector["name"]);
            count += 1;
        }
        assert!(count >= 30, "{count}");
    }

    #[test]
    fn a_frame_with_a_flipped_bit_is_none() {
        for vector in commands() {
            let frame = bytes(&vector["tx"]);
            for bit in 0..8 * frame.len() {
                let mut flipped = frame.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(read(ChipKind::Bm1370, &flipped).iter().all(|command| *command == Command::Bad));
            }
        }
    }

    #[test]
    fn a_job_is_taken_whatever_its_length_byte() {
        let jobs = of_family("bm1370").into_iter().filter(|vector| vector["expect"]["crc16"].is_string());
        for mut frame in jobs.map(|vector| bytes(&vector["tx"])) {
            assert_eq!(read(ChipKind::Bm1370, &frame), [Command::Job(frame[4..86].to_vec())]);
            for length in [0x36, 0xff] {
                frame[3] = length;
                let crc = crc16(&frame[2..86]);
                frame[86..].copy_from_slice(&crc.to_be_bytes());
                assert_eq!(read(ChipKind::Bm1370, &frame).len(), 1);
            }
            frame[50] ^= 1;
            assert_eq!(read(ChipKind::Bm1370, &frame)[0], Command::Bad);
        }
    }

    #[test]
    fn published_answers_are_written_byte_for_byte() {
        let mut count = 0;
        for family in ["bm1370", "bm1366", "bm1362", "bm1397"] {
            for vector in of_family(family).iter().filter(|vector| vector["rx"].is_string()) {
                let frame = bytes(&vector["rx"]);
                let kind = if vector["expect"]["type"] == 4 { Reply::Nonce } else { Reply::Register };
                assert_eq!(reply(kind, &frame[2..frame.len() - 1]), frame, "{}", vector["name"]);
                count += 1;
            }
        }
        assert_eq!(count, 12);
    }

    #[test]
    fn frames_that_no_chip_knows_are_passed_over() {
        let id = [0x55, 0xaa, 0x52, 5, 0, 0, 0x0a];
        let unknown: [&[u8]; 6] = [
            &[0x55, 0xaa, 0x99, 5, 0, 0, 0x0a],
            &[0x55, 0xaa, 0x52, 9, 0, 0, 0, 0, 0, 0, 0],
            &[0x55, 0xaa, 0x41, 5, 0, 0, 0],
            // What cgminer sends to a BM1370: a register's value behind the code of another command.
            &[0x55, 0xaa, 0x53, 5, 0, 0x18, 0xf0, 0, 0xc1, 0, 0x1f],
            &[0x55, 0x55],
            &[0xaa, 0x55, 0x13, 0x70, 0, 0, 0, 0, 6],
        ];
        for bytes in unknown {
            let mut found = read(ChipKind::Bm1370, &[bytes, &id].concat());
            found.retain(|command| *command != Command::Bad);
            assert_eq!(found, [Command::Read { address: None, register: 0 }], "{bytes:x?}");
        }
        let mut midstates = vec![0x55, 0xaa, 0x21, 0x50];
        midstates.extend(id);
        assert_eq!(read(ChipKind::Bm1397, &midstates).len(), 1, "no number of midstates has this length");
    }

    #[test]
    fn a_frame_that_was_swallowed_by_a_broken_one_is_found_in_it() {
        let all = of_family("bm1370");
        let job = bytes(&all.iter().find(|vector| vector["expect"]["crc16"].is_string()).unwrap()["tx"]);
        let mut sent = [&job[..50], &[0x55, 0xaa, 0x52, 5, 0, 0, 0x0a]].concat();
        assert_eq!(read(ChipKind::Bm1370, &sent), []);
        sent.extend(&job);
        let found = read(ChipKind::Bm1370, &sent);
        let expected =
            [Command::Bad, Command::Read { address: None, register: 0 }, Command::Job(job[4..86].to_vec())];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn frames_are_found_in_any_noise(noise in prop::collection::vec(any::<u8>(), 0..60), cut in 0usize..7) {
            let frame = [0x55, 0xaa, 0x52, 5, 0, 0, 0x0a];
            let mut reader = Reader::new(ChipKind::Bm1370);
            reader.feed(&noise);
            reader.feed(&frame[..cut]);
            let mut found: Vec<Command> = std::iter::from_fn(|| reader.poll()).collect();
            reader.feed(&frame[cut..]);
            // What looks like the beginning of a job swallows a job's length of bytes, and gives them back.
            reader.feed(&[0; 200]);
            found.extend(std::iter::from_fn(|| reader.poll()));
            let wanted = Command::Read { address: None, register: 0 };
            prop_assert!(found.contains(&wanted));
            prop_assert!(reader.buffer.len() < 200);
        }
    }
}
