//! One pseudo-terminal, seen from the side of the device.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};

use super::wire::Wire;
use crate::speed::Speed;

/// Most bytes that wait for a host to take them; more are lost, as they are in a UART.
const BUFFER: usize = 1 << 16;

/// A pseudo-terminal whose other end is for the host to open.
#[derive(Debug)]
pub(super) struct Port {
    master: Arc<OwnedFd>,
    path: PathBuf,
    open: bool,
    /// The host's speed when it was last looked at.
    host_baud: Option<u32>,
    incoming: Wire,
    outgoing: Wire,
    /// Pull the plug when this much is left to send.
    unplug_at: Option<usize>,
}

impl Port {
    /// Makes one, raw and without echo, and returns it with the path for the host.
    pub(super) fn open() -> io::Result<(Self, PathBuf)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(ptsname(&master, Vec::new())?.into_bytes()));
        // Opened and closed once, so that from now on the terminal tells whether anybody has it open.
        let host = open_as_host(&path)?;
        let mut settings = tcgetattr(&host)?;
        settings.make_raw();
        settings.set_speed(115_200)?;
        tcsetattr(&host, OptionalActions::Now, &settings)?;
        drop(host);
        rustix::io::ioctl_fionbio(&master, true)?;
        let port = Self {
            master: Arc::new(master),
            path: path.clone(),
            open: false,
            host_baud: None,
            incoming: Wire::new(0x1357_9bdf_0246_8ace),
            outgoing: Wire::new(0x0f1e_2d3c_4b5a_6978),
            unplug_at: None,
        };
        Ok((port, path))
    }

    /// Takes what the host has written by now, at its speed.
    pub(super) fn receive(&mut self, now: Instant, device_baud: Option<u32>) {
        self.notice_host();
        let before = self.host_baud;
        self.host_baud = device_baud.and(self.read_host_baud());
        // A host sets its speed after what it wrote has left, but the terminal tells only of both: where the bytes came with a
        // change of speed, they are taken to have been sent before it if that makes sense of them.
        let was_right =
            before.is_some() && before != self.host_baud && !Speed::new(before, device_baud).garbled();
        let sent_at = if was_right { before } else { self.host_baud };
        let mut buffer = [0; 4096];
        while self.open {
            match rustix::io::read(&*self.master, &mut buffer) {
                Ok(len) if len > 0 => {
                    let speed = Speed::new(sent_at, device_baud);
                    self.incoming.put(now, speed, &buffer[..len]);
                }
                _ => break,
            }
        }
    }

    /// Takes the bytes that have arrived at the device.
    pub(super) fn poll_received(&mut self, now: Instant) -> Option<([Instant; 2], Vec<u8>)> {
        self.incoming.poll(now)
    }

    pub(super) fn next_received(&self) -> Option<Instant> {
        self.incoming.next_due()
    }

    /// Sends bytes; with `unplug`, half of them.
    pub(super) fn send(&mut self, now: Instant, device_baud: Option<u32>, bytes: Vec<u8>, unplug: bool) {
        if self.outgoing.len() + bytes.len() > BUFFER {
            return;
        }
        let speed = Speed::new(device_baud, device_baud.and(self.read_host_baud()));
        self.outgoing.put_together(now, speed, &bytes);
        if unplug {
            self.unplug_at = Some(bytes.len().div_ceil(2));
        }
    }

    /// Hands the host what has come over the line; returns whether the plug is to be pulled now.
    pub(super) fn flush(&mut self, now: Instant) -> bool {
        while let Some((_, mut bytes)) = self.outgoing.poll(now) {
            let left = self.outgoing.len();
            let unplug = self.unplug_at.is_some_and(|at| left <= at);
            if unplug {
                let behind = self.unplug_at.unwrap_or_default() - left;
                bytes.truncate(bytes.len() - behind);
            }
            if self.open {
                // What a host does not take in time is lost.
                let _ = rustix::io::write(&*self.master, &bytes);
            }
            if unplug {
                return true;
            }
        }
        false
    }

    pub(super) fn next_sent(&self) -> Option<Instant> {
        self.outgoing.next_due()
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn master(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.master)
    }

    fn read_host_baud(&self) -> Option<u32> {
        tcgetattr(&*self.master).ok().map(|settings| settings.output_speed())
    }

    /// Finds out whether a host has the port open; when it has closed it, forgets what it didn't read.
    fn notice_host(&mut self) {
        let mut wake = [PollFd::new(&*self.master, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let hung_up = poll(&mut wake, Some(&now)).is_err() || wake[0].revents().contains(PollFlags::HUP);
        // What a host wrote before it closed the port is still on its way.
        let written = wake[0].revents().contains(PollFlags::IN);
        let open = !hung_up || written;
        if self.open && !open {
            // Only from the host's end can its queue be emptied.
            if let Ok(host) = open_as_host(&self.path) {
                let _ = tcflush(&host, QueueSelector::IFlush);
            }
        }
        self.open = open;
    }
}

/// Opens the host's end, without making it this process's controlling terminal.
fn open_as_host(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?)
}
