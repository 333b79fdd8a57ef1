//! Recorded and published frames for tests: `tests/data/asic-vectors.json`.

use std::time::Instant;

use serde_json::Value;

use crate::device::Device;

/// All entries of a family.
pub(crate) fn of_family(family: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../tests/data/asic-vectors.json")).unwrap();
    let all = file["vectors"].as_array().unwrap().iter();
    let found: Vec<Value> = all.filter(|vector| vector["family"] == family).cloned().collect();
    assert!(!found.is_empty(), "{family}");
    found
}

/// The bytes in a hex field.
pub(crate) fn bytes(field: &Value) -> Vec<u8> {
    hex::decode(field.as_str().unwrap_or_else(|| panic!("{field} is no text"))).unwrap()
}

/// Everything that a device has to send by `until`, with its times.
pub(crate) fn run(device: &mut dyn Device, now: Instant, until: Instant) -> Vec<(Instant, usize, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut now = now;
    for _ in 0..10_000 {
        device.handle_timeout(now);
        while let Some(frame) = device.poll_transmit(now) {
            sent.push((now, frame.port, frame.bytes));
        }
        match device.next_deadline() {
            Some(due) if due <= until => now = now.max(due),
            _ => return sent,
        }
    }
    panic!("it never rests");
}
