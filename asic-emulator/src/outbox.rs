//! What a device is about to send, and the faults that strike on the way out.

use std::collections::VecDeque;
use std::time::Instant;

use crate::device::{Fault, Frame};

/// Most frames that wait: a device's buffer is small.
const CAPACITY: usize = 256;

/// Frames in the order of their time, and the faults that wait for one.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The port that nonces and garbage leave by.
    chips: usize,
    frames: VecDeque<(Instant, Frame)>,
    on_nonce: VecDeque<Fault>,
    on_frame: VecDeque<Fault>,
    hung: bool,
    /// The speed of the UARTs, as a multiple of what it should be.
    uart: f64,
    noise: Noise,
}

impl Outbox {
    pub(crate) fn new(chips: usize) -> Self {
        Self {
            chips,
            frames: VecDeque::new(),
            on_nonce: VecDeque::new(),
            on_frame: VecDeque::new(),
            hung: false,
            uart: 1.0,
            noise: Noise(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// The port that the chips' frames leave by.
    pub(crate) fn chips(&self) -> usize {
        self.chips
    }

    /// Whether the device heeds nothing.
    pub(crate) fn is_hung(&self) -> bool {
        self.hung
    }

    /// Takes a fault that strikes on the way out; returns whether it was one.
    pub(crate) fn inject(&mut self, now: Instant, fault: Fault) -> bool {
        match fault {
            Fault::Garbage(len) => {
                let bytes = (0..len).map(|_| self.noise.byte()).collect();
                self.push(now, self.chips, bytes);
            }
            Fault::WrongNonceNext | Fault::WrongJobNext | Fault::DuplicateNext | Fault::LateNext(_) => {
                self.on_nonce.push_back(fault);
            }
            Fault::TruncateNext | Fault::CorruptNext | Fault::FlipNext(_) | Fault::UnplugNext => {
                self.on_frame.push_back(fault)
            }
            Fault::Hang => self.hung = true,
            Fault::Recover => self.hung = false,
            Fault::Uart(factor) => self.uart = factor,
            _ => return false,
        }
        true
    }

    /// The speed of a UART that should run at this one.
    pub(crate) fn baud(&self, right: u32) -> u32 {
        (f64::from(right) * self.uart) as u32
    }

    /// Forgets what was to be sent.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Forgets what was to be sent, and a hang.
    pub(crate) fn power_cycle(&mut self) {
        self.clear();
        self.hung = false;
    }

    /// Queues a frame.
    pub(crate) fn push(&mut self, due: Instant, port: usize, bytes: Vec<u8>) {
        if self.frames.len() < CAPACITY && !self.hung {
            let place = self.frames.partition_point(|(other, _)| *other <= due);
            self.frames.insert(place, (due, Frame { port, bytes, unplug: false }));
        }
    }

    /// Queues a nonce, which `encode` makes a frame of; its second argument says whether to name a wrong job.
    pub(crate) fn push_nonce(
        &mut self,
        now: Instant,
        mut nonce: [u8; 4],
        encode: impl Fn([u8; 4], bool) -> Vec<u8>,
    ) {
        let (mut due, mut copies, mut wrong_job) = (now, 1, false);
        match self.on_nonce.pop_front() {
            Some(Fault::WrongNonceNext) => nonce[2] ^= 0x10,
            Some(Fault::WrongJobNext) => wrong_job = true,
            Some(Fault::DuplicateNext) => copies = 2,
            Some(Fault::LateNext(delay)) => due += delay,
            _ => {}
        }
        for _ in 0..copies {
            self.push(due, self.chips, encode(nonce, wrong_job));
        }
    }

    /// Takes the next frame that is due.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Frame> {
        if self.hung || self.frames.front().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        let (_, mut frame) = self.frames.pop_front()?;
        match self.on_frame.pop_front() {
            Some(Fault::TruncateNext) => frame.bytes.truncate(frame.bytes.len() / 2),
            Some(Fault::CorruptNext) => flip(&mut frame.bytes, self.noise.byte().into()),
            Some(Fault::FlipNext(bit)) => flip(&mut frame.bytes, bit),
            Some(Fault::UnplugNext) => frame.unplug = true,
            _ => {}
        }
        Some(frame)
    }

    /// When the next frame is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.frames.front().filter(|_| !self.hung).map(|(due, _)| *due)
    }
}

/// Flips a bit, counted round.
fn flip(bytes: &mut [u8], bit: usize) {
    let bit = bit % (8 * bytes.len()).max(1);
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

/// Bytes without a pattern: xorshift64.
#[derive(Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}

/// The earlier of two moments, where there are any.
pub(crate) fn earliest(moments: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    moments.into_iter().flatten().min()
}
