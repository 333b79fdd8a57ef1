//! The shell without a system: a model and its cables in time that only passes when it is told to.

use std::collections::VecDeque;
use std::time::Instant;

use crate::device::Device;
use crate::outbox::{Noise, earliest};
use crate::speed::Speed;

/// Most bytes that wait for a host to read them; more are lost.
const BUFFER: usize = 1 << 16;

/// A model and its cables, for hosts that live in virtual time.
///
/// Bytes take their time both ways at the speed that the host set, and are garbled where that is not the speed of the
/// device's UART, as on the pseudo-terminals of `Emulator`.
#[derive(Debug)]
pub struct Bench<D> {
    device: D,
    cables: Vec<Cable>,
    plugged: bool,
}

/// Both directions of one port.
#[derive(Debug)]
struct Cable {
    host_baud: u32,
    /// What the host wrote at once: its first byte arrives, its last does, the bytes, the speed that they left at.
    incoming: VecDeque<(Instant, Instant, Vec<u8>, u32)>,
    incoming_free: Option<Instant>,
    outgoing: VecDeque<(Instant, u8)>,
    outgoing_free: Option<Instant>,
    /// When the plug is pulled in the middle of what is being sent.
    pull: Option<Instant>,
    noise: Noise,
}

impl Cable {
    fn new() -> Self {
        Self {
            host_baud: 115_200,
            incoming: VecDeque::new(),
            incoming_free: None,
            outgoing: VecDeque::new(),
            outgoing_free: None,
            pull: None,
            noise: Noise(0x0f1e_2d3c_4b5a_6978),
        }
    }

    fn send(&mut self, now: Instant, device_baud: Option<u32>, bytes: &[u8], unplug: bool) {
        if self.outgoing.len() + bytes.len() > BUFFER {
            return;
        }
        let speed = Speed::new(device_baud, Some(self.host_baud));
        let mut at = self.outgoing_free.map_or(now, |free| free.max(now));
        for (index, &byte) in bytes.iter().enumerate() {
            at += speed.byte_time();
            let byte = if speed.garbled() { self.noise.byte() } else { byte };
            self.outgoing.push_back((at, byte));
            if unplug && index == bytes.len() / 2 {
                self.pull = Some(at);
            }
        }
        self.outgoing_free = Some(at);
    }

    /// Takes what the host wrote, once the last of it has arrived.
    fn arrived(&mut self, now: Instant, device_baud: Option<u32>) -> Option<(Instant, Instant, Vec<u8>)> {
        let (first, last, mut bytes, sent_at) = self.incoming.pop_front_if(|(_, last, ..)| *last <= now)?;
        if Speed::new(device_baud.and(Some(sent_at)), device_baud).garbled() {
            bytes.iter_mut().for_each(|byte| *byte = self.noise.byte());
        }
        Some((first, last, bytes))
    }
}

impl<D: Device> Bench<D> {
    /// A device that is plugged in.
    pub fn new(device: D) -> Self {
        let cables = (0..device.ports()).map(|_| Cable::new()).collect();
        Self { device, cables, plugged: true }
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether it is plugged in. While it is not, nothing goes either way.
    pub fn is_plugged(&self) -> bool {
        self.plugged
    }

    /// Plugs it in again, or pulls the plug.
    pub fn set_plugged(&mut self, now: Instant, plugged: bool) {
        if self.plugged != plugged {
            self.plugged = plugged;
            self.device.set_plugged(now, plugged);
            self.cables.iter_mut().for_each(|cable| *cable = Cable::new());
        }
    }

    /// The host sets the speed of a port. What it wrote before leaves at the speed of then.
    pub fn set_baud(&mut self, port: usize, baud: u32) {
        if let Some(cable) = self.cables.get_mut(port) {
            cable.host_baud = baud;
        }
    }

    /// The host writes.
    pub fn write(&mut self, now: Instant, port: usize, bytes: &[u8]) {
        let uart = self.device.baud(port).is_some();
        if let Some(cable) = self.cables.get_mut(port).filter(|_| self.plugged && !bytes.is_empty()) {
            let baud = Some(cable.host_baud).filter(|_| uart);
            let byte = Speed::new(baud, baud).byte_time();
            let start = cable.incoming_free.map_or(now, |free| free.max(now));
            let end = start + byte * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            cable.incoming.push_back((start + byte, end, bytes.to_vec(), cable.host_baud));
            cable.incoming_free = Some(end);
        }
    }

    /// The host reads what has come by now, at most `most` bytes.
    pub fn read(&mut self, now: Instant, port: usize, most: usize) -> Vec<u8> {
        let Some(cable) = self.cables.get_mut(port) else { return Vec::new() };
        let come = cable.outgoing.partition_point(|(at, _)| *at <= now).min(most);
        cable.outgoing.drain(..come).map(|(_, byte)| byte).collect()
    }

    /// When the host has something to read, if that is known yet.
    pub fn readable_at(&self, port: usize) -> Option<Instant> {
        self.cables.get(port)?.outgoing.front().map(|(at, _)| *at)
    }

    /// Bytes that the host wrote and that have not arrived.
    pub fn unsent(&self, port: usize) -> usize {
        self.cables
            .get(port)
            .map_or(0, |cable| cable.incoming.iter().map(|(_, _, bytes, _)| bytes.len()).sum())
    }

    /// When all of them have arrived.
    pub fn sent_at(&self, port: usize) -> Option<Instant> {
        self.cables.get(port)?.incoming.back().map(|(_, last, ..)| *last)
    }

    /// When something happens next by itself.
    pub fn next_event(&self) -> Option<Instant> {
        let arrivals = self.cables.iter().map(|cable| cable.incoming.front().map(|(_, last, ..)| *last));
        let pulls = self.cables.iter().map(|cable| cable.pull);
        earliest(arrivals.chain(pulls).chain([self.device.next_deadline()]))
    }

    /// Lets everything happen that happens at `now`; whoever leaves out a [`next_event`](Self::next_event) has it happen late.
    pub fn step(&mut self, now: Instant) {
        for port in 0..self.cables.len() {
            let baud = self.device.baud(port);
            while let Some((first, last, bytes)) = self.cables[port].arrived(now, baud) {
                self.device.handle_timeout(first);
                self.device.handle_bytes(last, port, &bytes);
            }
        }
        self.device.handle_timeout(now);
        while let Some(frame) = self.device.poll_transmit(now) {
            let baud = self.device.baud(frame.port);
            if let Some(cable) = self.cables.get_mut(frame.port).filter(|_| self.plugged) {
                cable.send(now, baud, &frame.bytes, frame.unplug);
            }
        }
        if self.cables.iter().any(|cable| cable.pull.is_some_and(|at| at <= now)) {
            self.set_plugged(now, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::device::Fault;
    use crate::{Device, preset};

    const ID: [u8; 4] = [0x84, 0, 0, 0x11];

    fn bench() -> (Bench<Box<dyn Device>>, Instant) {
        (Bench::new(preset("compac", Arc::default()).unwrap()), Instant::now())
    }

    /// What the host has read half a second after it wrote.
    fn ask(bench: &mut Bench<Box<dyn Device>>, now: Instant) -> Vec<u8> {
        bench.write(now, 0, &ID);
        let until = now + Duration::from_millis(500);
        while let Some(at) = bench.next_event().filter(|at| *at <= until) {
            bench.step(at);
        }
        bench.read(until, 0, 100)
    }

    #[test]
    fn bytes_take_their_time_both_ways() {
        let (mut bench, now) = bench();
        bench.write(now, 0, &ID);
        assert_eq!((bench.unsent(0), bench.readable_at(0)), (4, None));
        let arrival = bench.next_event().unwrap();
        assert_eq!(arrival, bench.sent_at(0).unwrap());
        assert!((346..348).contains(&(arrival - now).as_micros()));
        while bench.readable_at(0).is_none() {
            bench.step(bench.next_event().unwrap());
        }
        let first = bench.readable_at(0).unwrap();
        assert_eq!(bench.read(first, 0, 100), [0x13]);
        assert_eq!(bench.read(first + Duration::from_millis(1), 0, 100).len(), 4);
    }

    #[test]
    fn a_wrong_speed_garbles_and_a_pulled_plug_silences() {
        let (mut bench, now) = bench();
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(ask(&mut bench, at(0)), [0x13, 0x84, 0, 0, 0x13]);
        bench.set_baud(0, 9600);
        assert_eq!(ask(&mut bench, at(1)), b"");
        bench.set_baud(0, 115_200);
        bench.device().inject(at(2), Fault::Uart(2.0));
        assert_eq!(ask(&mut bench, at(2)), b"");
        bench.device().inject(at(3), Fault::Uart(1.0));
        bench.device().inject(at(3), Fault::UnplugNext);
        assert_eq!(ask(&mut bench, at(3)), b"", "what was not read goes with the port");
        assert!(!bench.is_plugged());
        assert_eq!(ask(&mut bench, at(4)), b"");
        bench.set_plugged(at(5), true);
        assert_eq!(ask(&mut bench, at(5)).len(), 5);
    }
}
