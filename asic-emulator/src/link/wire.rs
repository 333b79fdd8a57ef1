//! A serial line: bytes take their time, and come out as others where the two ends disagree about it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::outbox::Noise;
use crate::speed::Speed;

/// Bytes on their way, in one direction.
#[derive(Debug)]
pub(super) struct Wire {
    bytes: VecDeque<(Instant, u8)>,
    /// When the line is free again.
    free: Option<Instant>,
    noise: Noise,
}

impl Wire {
    pub(super) fn new(seed: u64) -> Self {
        Self { bytes: VecDeque::new(), free: None, noise: Noise(seed) }
    }

    /// Puts bytes on the line.
    pub(super) fn put(&mut self, now: Instant, speed: Speed, bytes: &[u8]) {
        let mut at = self.free.map_or(now, |free| free.max(now));
        for &byte in bytes {
            at += speed.byte_time();
            let byte = if speed.garbled() { self.noise.byte() } else { byte };
            self.bytes.push_back((at, byte));
        }
        self.free = Some(at);
    }

    /// Puts bytes on the line that arrive together, with the last of them: a USB bridge hands on what came in one go. A host
    /// may tell the end of an answer by silence, so an emulator that is late must not make any.
    pub(super) fn put_together(&mut self, now: Instant, speed: Speed, bytes: &[u8]) {
        let before = self.bytes.len();
        self.put(now, speed, bytes);
        let last = self.free.unwrap_or(now);
        self.bytes.iter_mut().skip(before).for_each(|(at, _)| *at = last);
    }

    /// Takes what has arrived, and when the first and the last of it did.
    pub(super) fn poll(&mut self, now: Instant) -> Option<([Instant; 2], Vec<u8>)> {
        let arrived = self.bytes.partition_point(|(at, _)| *at <= now);
        let times = [0, arrived.checked_sub(1)?].map(|index| self.bytes[index].0);
        Some((times, self.bytes.drain(..arrived).map(|(_, byte)| byte).collect()))
    }

    /// When all that is under way has arrived.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.bytes.back().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bytes_take_their_time_one_after_another() {
        let (mut wire, now) = (Wire::new(1), Instant::now());
        let speed = Speed::new(Some(115_200), Some(115_741));
        wire.put(now, speed, &[1, 2, 3, 4]);
        wire.put(now, speed, &[5]);
        let at = |bytes: f64| now + Duration::from_secs_f64(bytes * 86.806e-6);
        assert_eq!(wire.poll(at(0.9)), None);
        assert_eq!(wire.poll(at(2.1)).unwrap().1, [1, 2]);
        assert_eq!(wire.poll(at(5.1)).unwrap().1, [3, 4, 5]);
        assert_eq!(wire.next_due(), None);
        wire.put(at(20.0), speed, &[6]);
        assert!(wire.next_due().unwrap() > at(20.9));
    }

    #[test]
    fn bytes_of_one_answer_come_together_and_no_sooner() {
        let (mut wire, now) = (Wire::new(1), Instant::now());
        let speed = Speed::new(Some(115_200), Some(115_200));
        wire.put_together(now, speed, &[1, 2, 3, 4]);
        wire.put_together(now, speed, &[5]);
        let at = |bytes: f64| now + Duration::from_secs_f64(bytes * 86.806e-6);
        assert_eq!(wire.poll(at(3.9)), None);
        assert_eq!(wire.poll(at(4.1)).unwrap().1, [1, 2, 3, 4]);
        assert_eq!(wire.poll(at(5.1)).unwrap().1, [5]);
    }

    #[test]
    fn speeds_that_differ_garble() {
        let now = Instant::now();
        for (sender, receiver, garbled) in [
            (115_200, 115_741, false),
            (1_000_000, 1_041_667, false),
            (3_000_000, 3_125_000, false),
            (115_200, 1_041_667, true),
            (3_125_000, 115_200, true),
        ] {
            let mut wire = Wire::new(1);
            wire.put(now, Speed::new(Some(sender), Some(receiver)), &[7; 16]);
            let (_, bytes) = wire.poll(now + Duration::from_secs(1)).unwrap();
            assert_eq!(bytes != [7; 16], garbled, "{sender} to {receiver}");
        }
        let mut wire = Wire::new(1);
        wire.put(now, Speed::new(None, Some(9600)), &[7; 3]);
        assert_eq!(wire.poll(now).unwrap().1, [7; 3], "a USB endpoint knows no speed");
    }
}
