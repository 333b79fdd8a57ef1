//! The captured and computed frames of `tests/data/asic-vectors.json`.

use serde_json::Value;

/// All vectors of which family and kind fit.
pub(super) fn vectors(fits: impl Fn(&str, &str) -> bool) -> Vec<Value> {
    let text = include_str!("../../../tests/data/asic-vectors.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let fits = |vector: &&Value| fits(vector["family"].as_str().unwrap(), vector["kind"].as_str().unwrap());
    let found: Vec<_> = all["vectors"].as_array().unwrap().iter().filter(fits).cloned().collect();
    assert!(!found.is_empty(), "there are such vectors");
    found
}

/// The vector whose name contains `name`.
pub(super) fn vector(name: &str) -> Value {
    let text = include_str!("../../../tests/data/asic-vectors.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let found =
        all["vectors"].as_array().unwrap().iter().find(|v| v["name"].as_str().unwrap().contains(name));
    found.unwrap().clone()
}

/// A field's bytes.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// A field that spells a big-endian number of up to 32 bits.
pub(super) fn number(value: &Value) -> u32 {
    u32::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;
    use crate::board::bitaxe_raw::{Answer, Format, Request};
    use crate::peripheral::gekko::Controller;
    use crate::transport::mock::{Done, MockLink};

    /// Vectors of each family and kind, and where they are read and built, or why not. Those who do so count them too.
    const SEATS: [(&str, &str, usize, &str); 35] = [
        ("icarus", "job->nonce", 6, "chip::icarus"),
        ("u1u2", "command frame (4 bytes, CRC5 over first 27 bits)", 2, "chip::icarus"),
        ("u1u2", "command frame", 1, "not driven: the voltage of a U3"),
        ("bm1384", "command frame (4 bytes, CRC5 over first 27 bits)", 13, "chip::bm1384"),
        ("bm1384", "response frame (5 bytes)", 2, "chip::bm1384"),
        ("bm13xx", "command frame", 28, "chip::bm13xx"),
        ("bm1366", "command frame", 1, "chip::bm13xx"),
        ("bm1368", "command frame", 5, "chip::bm13xx"),
        ("bm1370", "command frame", 2, "chip::bm13xx"),
        ("bm1397", "command frame", 11, "chip::bm13xx"),
        ("bm1362", "response frame", 1, "chip::bm13xx"),
        ("bm1366", "response frame", 1, "chip::bm13xx"),
        ("bm1370", "response frame", 3, "chip::bm13xx"),
        ("bm1397", "response frame (9 bytes)", 1, "chip::bm13xx"),
        ("bm1362", "nonce response", 1, "chip::bm13xx"),
        ("bm1370", "nonce response", 5, "chip::bm13xx"),
        ("bm1370", "job frame (full header, 88 bytes)", 2, "chip::bm13xx"),
        ("bm1397", "job frame (midstate, 152 bytes)", 1, "chip::bm13xx"),
        ("bm1397", "job payload -> nonce", 1, "chip::bm13xx"),
        ("bm1362", "register encoding", 2, "chip::bm13xx"),
        ("bm1370", "register encoding", 2, "chip::bm13xx"),
        ("bm13xx", "register encoding", 9, "chip::bm13xx"),
        ("bm1397", "solver", 1, "chip::bm13xx"),
        ("bm13xx", "formula", 8, "chip::bm13xx: the version epochs; jobs are not timed by the others"),
        ("bitaxe-raw", "control request", 8, "here"),
        ("bitaxe-raw", "control response", 5, "here"),
        ("bitaxe-raw", "request/response V0", 3, "here"),
        ("gekko-telemetry", "command/answer on USB interface 1", 6, "here"),
        ("gekko-telemetry", "telemetry decode", 1, "here"),
        ("header", "header -> difficulty", 1, "here"),
        ("stratum", "mining.notify fixture", 3, "no device's"),
        ("bm1387", "command frame (no preamble, CRC5 last byte)", 8, "not driven"),
        ("bm1387", "register encoding", 16, "not driven"),
        ("bm1387", "nonce field decode", 6, "not driven"),
        ("bm1387", "job->nonce", 2, "not driven"),
    ];

    fn of(family: &str, kind: &str) -> Vec<Value> {
        let (.., count, _) = SEATS.iter().find(|seat| (seat.0, seat.1) == (family, kind)).unwrap();
        let found = vectors(|f, k| (f, k) == (family, kind));
        assert_eq!(found.len(), *count, "{family}: {kind}");
        found
    }

    #[test]
    fn every_vector_has_its_seat() {
        let seated: usize = SEATS.iter().map(|(family, kind, ..)| of(family, kind).len()).sum();
        assert_eq!(seated, vectors(|_, _| true).len());
    }

    #[test]
    fn every_captured_request_is_built_byte_for_byte() {
        let mut sent = 0;
        for vector in of("bitaxe-raw", "control request") {
            let expect = &vector["expect"];
            let (page, command, data) =
                (number(&expect["page"]), number(&expect["command"]) as u8, bytes(&expect["data"]));
            let request = match (page, command, &data[..]) {
                (5, 0x10, data) => Request::I2cFrequency(u32::from_le_bytes(data.try_into().unwrap())),
                (5, 0x20, [address, rest @ ..]) => Request::I2cWrite(*address, rest.to_vec()),
                (5, 0x40, [address, rest @ .., count]) => {
                    Request::I2cWriteRead(*address, rest.to_vec(), *count)
                }
                (6, pin, [level]) => Request::Pin(pin, *level != 0),
                (6, pin, []) => Request::ReadPin(pin),
                // Reads without a register, voltages, lights: lode asks for none of them.
                (5, 0x30, _) | (7 | 8, _, _) => continue,
                other => panic!("{}: {other:x?}", vector["name"]),
            };
            let id = expect["id"].as_u64().unwrap() as u8;
            assert_eq!(request.encode(id), bytes(&vector["tx"]), "{}", vector["name"]);
            sent += 1;
        }
        assert_eq!(sent, 5);
    }

    #[test]
    fn every_captured_answer_of_the_firmware_says_what_it_is_said_to_say() {
        for vector in of("bitaxe-raw", "control response") {
            let expect = &vector["expect"];
            let format = match vector["format"].as_str().unwrap() {
                "V0" => Format::V0,
                "V1" => Format::V1,
                _ => Format::Bonanza,
            };
            let mut answer =
                Answer::new(format, &Request::Pin(0, true), expect["id"].as_u64().unwrap() as u8);
            let said = answer.push(&bytes(&vector["rx"])).unwrap().map_err(|error| error.to_string());
            let stated = match (&expect["data"], &expect["error_or_data"]) {
                (Value::String(_), _) => Ok(bytes(&expect["data"])),
                // Error or data: where a byte is asked for, it is one.
                (_, Value::String(_)) => Ok(bytes(&expect["error_or_data"])),
                _ => Err(format!("refused with code {:#04x}", number(&expect["status"]))),
            };
            assert_eq!(said, stated, "{vector}");
        }
        let requests = [
            Request::I2cFrequency(100_000),
            Request::I2cWriteRead(0x4c, vec![0xfe], 1),
            Request::I2cWriteRead(0x24, vec![0xad], 7),
        ];
        for (vector, request) in of("bitaxe-raw", "request/response V0").iter().zip(requests) {
            let (tx, rx) = (bytes(&vector["tx"]), bytes(&vector["rx"]));
            assert_eq!(request.encode(tx[2]), tx);
            let data = Answer::new(Format::V0, &request, tx[2]).push(&rx).unwrap().unwrap();
            assert_eq!(data, rx[3..]);
        }
    }

    #[test]
    fn every_captured_command_of_the_controller_is_built_and_its_answer_understood() {
        let exchanges = of("gekko-telemetry", "command/answer on USB interface 1");
        let known: Vec<_> = exchanges.iter().map(|v| (bytes(&v["tx"]), bytes(&v["rx"]))).collect();
        let answers = known.clone();
        let link = Arc::new(MockLink::new(move |command| {
            answers.iter().find(|(tx, _)| tx == command).map_or(Vec::new(), |(_, rx)| rx.clone())
        }));
        let mut controller = Controller::new(Arc::clone(&link) as _, Arc::new(|_| {}));
        assert_eq!(controller.version().unwrap(), 1);
        controller.set_millivolts(300).unwrap();
        controller.switch(true).unwrap();
        let readings = controller.readings().unwrap();
        controller.set_fan(100).unwrap();
        // The LED is left alone.
        let sent: Vec<_> =
            known.into_iter().filter(|(tx, _)| tx != b"LN").map(|(tx, _)| Done::Wrote(tx)).collect();
        assert_eq!(link.done(), sent);
        for vector in of("gekko-telemetry", "telemetry decode") {
            let expect = |field: &str| vector["expect"][field].as_f64().unwrap() as f32;
            assert!((readings.volts - expect("vout_per_chip")).abs() < 1e-4);
            assert!((readings.celsius.unwrap() - expect("temp_c")).abs() < 1e-2);
        }
    }

    #[test]
    fn a_published_header_has_the_difficulty_that_is_told() {
        for vector in of("header", "header -> difficulty") {
            let hash = crate::chip::rig::header(&bytes(&vector["header80"])).hash();
            assert_eq!(hash.to_string(), vector["expect"]["hash_display"]);
            let difficulty = miner_core::types::Difficulty::of(hash.to_target()).get();
            assert!((difficulty / vector["expect"]["difficulty"].as_f64().unwrap() - 1.0).abs() < 1e-9);
        }
    }

    /// Reads a request back, as the firmware does.
    fn read(packet: &[u8]) -> Option<(u8, Request)> {
        let &[low, high, id, 0, page, command, ref data @ ..] = packet else { return None };
        assert_eq!(usize::from(u16::from_le_bytes([low, high])), packet.len());
        Some((
            id,
            match (page, command, data) {
                (5, 0x10, data) => Request::I2cFrequency(u32::from_le_bytes(data.try_into().ok()?)),
                (5, 0x20, [address, rest @ ..]) => Request::I2cWrite(*address, rest.to_vec()),
                (5, 0x40, [address, rest @ .., count]) => {
                    Request::I2cWriteRead(*address, rest.to_vec(), *count)
                }
                (6, pin, [level]) => Request::Pin(pin, *level != 0),
                (6, pin, []) => Request::ReadPin(pin),
                _ => return None,
            },
        ))
    }

    fn any_request() -> impl Strategy<Value = Request> {
        let data = || prop::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            any::<u32>().prop_map(Request::I2cFrequency),
            (any::<u8>(), data()).prop_map(|(address, data)| Request::I2cWrite(address, data)),
            (any::<u8>(), data(), any::<u8>())
                .prop_map(|(address, data, n)| Request::I2cWriteRead(address, data, n)),
            any::<(u8, bool)>().prop_map(|(pin, level)| Request::Pin(pin, level)),
            any::<u8>().prop_map(Request::ReadPin),
        ]
    }

    proptest! {
        #[test]
        fn requests_are_read_back_as_they_were_built(request in any_request(), id in any::<u8>()) {
            prop_assert_eq!(read(&request.encode(id)), Some((id, request)));
        }

        #[test]
        fn every_setting_of_the_controller_is_two_bytes_and_is_believed_by_its_echo(
            millivolts in 0u32..2000, percent in any::<u8>(), on in any::<bool>(),
        ) {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let told = Arc::clone(&seen);
            let link = MockLink::new(move |command| {
                told.lock().unwrap().push(command.to_vec());
                vec![command[0]]
            });
            let mut controller = Controller::new(Arc::new(link), Arc::new(|_| {}));
            controller.set_millivolts(millivolts).unwrap();
            controller.set_fan(percent).unwrap();
            controller.switch(on).unwrap();
            let steps = (millivolts / 5).min(100) as u8;
            let wanted = [[b'V', steps], [b'F', percent.min(100)], [b'B', if on { b'O' } else { b'-' }]];
            prop_assert_eq!(&*seen.lock().unwrap(), &wanted.map(|pair| pair.to_vec()));
        }
    }
}
