//! The shell: a model on pseudo-terminals, driven by a thread in real time.

mod port;
mod wire;

use std::io::{self, PipeWriter, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::device::{Device, Fault, Line, State};
use port::Port;

/// Longest sleep: how late a host that opens a port or changes its speed may be noticed.
const TICK: Duration = Duration::from_millis(2);
/// Sleep while nobody has a port open and nothing is due.
const IDLE_TICK: Duration = Duration::from_millis(10);

/// A model on pseudo-terminals, and the handle to it; dropping it pulls the plug and ends its thread.
///
/// Bytes take their time both ways at the speed that the host set on the terminal, and are garbled where that is not the
/// speed of the chip's UART. A port that nobody has open loses what is sent to it, as a real one does.
pub struct Emulator {
    shared: Arc<Mutex<Shared>>,
    waker: PipeWriter,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    device: Box<dyn Device>,
    /// Empty while it is unplugged.
    ports: Vec<Port>,
    paths: Vec<PathBuf>,
    ended: bool,
}

impl Emulator {
    /// Plugs a model in.
    ///
    /// # Errors
    /// What the system says where it has no pseudo-terminal or thread left.
    pub fn start(device: Box<dyn Device>) -> io::Result<Self> {
        let mut shared = Shared { device, ports: Vec::new(), paths: Vec::new(), ended: false };
        shared.plug()?;
        let (sleeper, waker) = io::pipe()?;
        rustix::io::ioctl_fionbio(&sleeper, true)?;
        let shared = Arc::new(Mutex::new(shared));
        let thread = std::thread::Builder::new().name("emulated device".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || serve(&shared, sleeper)
        })?;
        Ok(Self { shared, waker, thread: Some(thread) })
    }

    /// The paths of its ports, in order; they change when it is plugged in again, and are none while it is unplugged.
    pub fn ports(&self) -> Vec<PathBuf> {
        let shared = self.lock();
        if shared.ports.is_empty() { Vec::new() } else { shared.paths.clone() }
    }

    /// What the device physically does at this moment.
    pub fn state(&self) -> State {
        self.lock().device.state(Instant::now())
    }

    /// Makes something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.with(|shared| shared.device.inject(Instant::now(), fault));
    }

    /// Moves a line of its USB bridge.
    pub fn set_line(&self, line: Line) {
        self.with(|shared| shared.device.set_line(Instant::now(), line));
    }

    /// Pulls the plug: the ports hang up, and what USB powers is off.
    pub fn unplug(&self) {
        self.with(Shared::unplug);
    }

    /// Plugs it in again, on new ports.
    ///
    /// # Errors
    /// What the system says where it has no pseudo-terminal left.
    pub fn replug(&self) -> io::Result<()> {
        self.with(|shared| {
            shared.unplug();
            shared.plug()
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Shared) -> R) -> R {
        let result = act(&mut self.lock());
        // A full pipe wakes the thread as well.
        let _ = (&self.waker).write(&[0]);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.with(|shared| {
            shared.unplug();
            shared.ended = true;
        });
        if let Some(thread) = self.thread.take() {
            // It cannot be told anything more; a panic in it was reported by itself.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emulator").field("ports", &self.ports()).finish_non_exhaustive()
    }
}

impl Shared {
    fn plug(&mut self) -> io::Result<()> {
        let opened: io::Result<Vec<(Port, PathBuf)>> =
            (0..self.device.ports()).map(|_| Port::open()).collect();
        (self.ports, self.paths) = opened?.into_iter().unzip();
        self.device.set_plugged(Instant::now(), true);
        Ok(())
    }

    fn unplug(&mut self) {
        self.ports.clear();
        self.device.set_plugged(Instant::now(), false);
    }

    /// Moves bytes both ways; returns when there is something to do next.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        let Self { device, ports, .. } = self;
        let mut next: Option<Instant> = None;
        for (number, port) in ports.iter_mut().enumerate() {
            let baud = device.baud(number);
            port.receive(now, baud);
            while let Some(([first, last], bytes)) = port.poll_received(now) {
                device.handle_timeout(first);
                device.handle_bytes(last, number, &bytes);
            }
            next = [next, port.next_received()].into_iter().flatten().min();
        }
        device.handle_timeout(now);
        while let Some(frame) = device.poll_transmit(now) {
            let baud = device.baud(frame.port);
            if let Some(port) = ports.get_mut(frame.port) {
                port.send(now, baud, frame.bytes, frame.unplug);
            }
        }
        let unplugged = ports.iter_mut().fold(false, |unplugged, port| port.flush(now) | unplugged);
        if unplugged {
            self.unplug();
            return None;
        }
        let sent = self.ports.iter().filter_map(Port::next_sent);
        sent.chain(next).chain(self.device.next_deadline()).min()
    }

    fn nobody_listens(&self) -> bool {
        self.ports.iter().all(|port| !port.is_open())
    }
}

/// Runs the device until the handle is dropped.
fn serve(shared: &Mutex<Shared>, mut sleeper: io::PipeReader) {
    loop {
        let now = Instant::now();
        let mut locked = lock(shared);
        if locked.ended {
            return;
        }
        let next = locked.step(now);
        let longest = if locked.nobody_listens() { IDLE_TICK } else { TICK };
        let masters: Vec<_> = locked.ports.iter().filter(|port| port.is_open()).map(Port::master).collect();
        drop(locked);
        let wait = next.map_or(longest, |next| next.saturating_duration_since(Instant::now()).min(longest));
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as i64 };
        let mut wake: Vec<PollFd<'_>> =
            masters.iter().map(|master| PollFd::new(&**master, PollFlags::IN)).collect();
        wake.push(PollFd::new(&sleeper, PollFlags::IN));
        // Interrupted or refused: the next round looks again.
        let _ = poll(&mut wake, Some(&wait));
        let _ = sleeper.read(&mut [0; 64]);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A model that panicked under it is still to be unplugged.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
