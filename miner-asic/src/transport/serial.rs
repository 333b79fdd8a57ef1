//! A serial port, ours alone. Nothing that is done with it waits for the device without a limit.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serial2::{CharSize, FlowControl, Parity, SerialPort, Settings, StopBits};

use super::{Link, LinkError};

/// How long a read waits: a moved gate is noticed within it.
const READ_WAIT: Duration = Duration::from_millis(5);
/// How long a device may take to take what is written: what the system holds for it is sent in less.
pub const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// How long a write waits at a time.
const WRITE_WAIT: Duration = Duration::from_millis(100);
/// How long a port may take to be opened, or to be set to another speed once it is written out.
const SETTING_LIMIT: Duration = Duration::from_secs(3);

/// A serial port: 8 data bits, no parity, 1 stop bit, no flow control.
#[derive(Debug)]
pub struct SerialLink {
    port: SerialPort,
    path: PathBuf,
}

impl SerialLink {
    /// Opens a port for this program alone.
    ///
    /// # Errors
    /// It is not there, in use, not ours to use, or no serial port.
    pub fn open(path: &Path, baud: u32) -> Result<Self, LinkError> {
        let settings = move |mut settings: Settings| {
            settings.set_raw();
            settings.set_char_size(CharSize::Bits8);
            settings.set_parity(Parity::None);
            settings.set_stop_bits(StopBits::One);
            settings.set_flow_control(FlowControl::None);
            settings.set_baud_rate(baud)?;
            Ok(settings)
        };
        let name = path.to_owned();
        // Settings wait for what another program left unsent.
        let open = move || {
            let mut port = SerialPort::open(name, settings)?;
            take(&port)?;
            port.set_read_timeout(READ_WAIT)?;
            port.set_write_timeout(WRITE_WAIT)?;
            Ok(port)
        };
        let port = within(SETTING_LIMIT, open).map_err(|source| opening(path, source))?;
        let link = Self { port, path: path.to_owned() };
        link.discard_input()?;
        Ok(link)
    }

    fn failed(&self, source: io::Error) -> LinkError {
        let path = self.path.clone();
        if is_gone(&source) { LinkError::Vanished { path } } else { LinkError::Io { path, source } }
    }

    fn switch(&self, baud: u32) -> io::Result<()> {
        // The settings are the terminal's, not the descriptor's.
        let mut port = self.port.try_clone()?;
        let switch = move || {
            port.flush()?;
            let mut settings = port.get_configuration()?;
            settings.set_baud_rate(baud)?;
            port.set_configuration(&settings)
        };
        let switched = within(SETTING_LIMIT, switch);
        if switched.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut) {
            // Nobody waits any longer for what nobody takes: not the thread that is left behind either.
            let _ = self.port.discard_output_buffer();
        }
        switched
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let until = Instant::now() + WRITE_LIMIT;
        while !bytes.is_empty() {
            match self.port.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_pause(error.kind()) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() && Instant::now() >= until {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Does what may wait for a device without end, and gives it up after `limit`: then a thread is left behind, until the
/// device has mercy or is unplugged.
fn within<T: Send + 'static>(
    limit: Duration,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = sync_channel(1);
    // Whoever asked may have given up: the result is dropped.
    std::thread::Builder::new().name("serial".to_owned()).spawn(move || drop(done.send(act())))?;
    match result.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the thread that does it has ended")),
    }
}

impl Link for SerialLink {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        match self.port.read(buffer) {
            // Ready to be read, and at its end: hung up.
            Ok(0) if !buffer.is_empty() => Err(LinkError::Vanished { path: self.path.clone() }),
            Ok(count) => Ok(count),
            Err(error) if is_pause(error.kind()) => Ok(0),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), LinkError> {
        self.write_all(bytes).map_err(|error| self.failed(error))
    }

    fn set_baud(&self, baud: u32) -> Result<(), LinkError> {
        self.switch(baud).map_err(|error| match error.kind() {
            _ if is_gone(&error) => self.failed(error),
            ErrorKind::TimedOut => self.failed(error),
            _ => LinkError::Baud { path: self.path.clone(), baud },
        })
    }

    fn discard_input(&self) -> Result<(), LinkError> {
        self.port.discard_input_buffer().map_err(|error| self.failed(error))
    }
}

/// Why a port can't be opened.
fn opening(path: &Path, source: io::Error) -> LinkError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound => LinkError::NotFound { path },
        ErrorKind::PermissionDenied => {
            let group = group_of(&path);
            LinkError::Denied { path, group }
        }
        ErrorKind::ResourceBusy | ErrorKind::WouldBlock => LinkError::Busy { path },
        ErrorKind::IsADirectory => LinkError::NotSerial { path },
        _ if is_gone(&source) => LinkError::NotFound { path },
        _ if is_no_terminal(&source) => LinkError::NotSerial { path },
        _ => LinkError::Io { path, source },
    }
}

/// Keeps other programs out: those that open the port from now on, and other lodes, which root would be let past.
#[cfg(unix)]
fn take(port: &SerialPort) -> io::Result<()> {
    rustix::fs::flock(port, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(rustix::termios::ioctl_tiocexcl(port)?)
}

/// Windows opens serial ports for one program at a time.
#[cfg(not(unix))]
fn take(_: &SerialPort) -> io::Result<()> {
    Ok(())
}

/// The group that may use a port, as /etc/group names it.
fn group_of(path: &Path) -> Option<String> {
    let id = group_id(path)?.to_string();
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(unix)]
fn group_id(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata(path).ok()?.gid())
}

#[cfg(not(unix))]
fn group_id(_: &Path) -> Option<u32> {
    None
}

#[cfg(unix)]
fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let gone = [Errno::IO, Errno::NXIO, Errno::NODEV, Errno::PIPE];
    error.raw_os_error().is_some_and(|code| gone.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(unix)]
fn is_no_terminal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let other = [Errno::NOTTY, Errno::INVAL];
    error.raw_os_error().is_some_and(|code| other.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(not(unix))]
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::BrokenPipe | ErrorKind::PermissionDenied)
}

#[cfg(not(unix))]
fn is_no_terminal(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A pseudo-terminal: the device's end, and the path of ours.
    fn pty() -> (OwnedFd, PathBuf) {
        let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&device).unwrap();
        unlockpt(&device).unwrap();
        let path = ptsname(&device, Vec::new()).unwrap().into_string().unwrap().into();
        (device, path)
    }

    #[test]
    fn bytes_go_both_ways_unchanged() {
        let (device, path) = pty();
        let link = SerialLink::open(&path, 115_200).unwrap();
        let all: Vec<u8> = (0..=255).collect();
        link.write(&all).unwrap();
        let mut there = [0; 256];
        let mut filled = 0;
        while filled < 256 {
            filled += rustix::io::read(&device, &mut there[filled..]).unwrap();
        }
        assert_eq!(there[..], all);
        rustix::io::write(&device, &all).unwrap();
        let mut here = Vec::new();
        while here.len() < 256 {
            let mut buffer = [0; 100];
            let count = link.read(&mut buffer).unwrap();
            here.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(here, all);
        assert_eq!(link.read(&mut [0; 8]).unwrap(), 0, "nothing came");
        link.set_baud(1_000_000).unwrap();
    }

    #[test]
    fn a_device_that_takes_nothing_is_given_up() {
        let (device, path) = pty();
        let link = SerialLink::open(&path, 115_200).unwrap();
        let begun = Instant::now();
        // More than a terminal holds.
        let error = link.write(&[0; 1 << 20]).unwrap_err();
        assert!(
            matches!(&error, LinkError::Io { source, .. } if source.kind() == ErrorKind::TimedOut),
            "{error}"
        );
        assert!(begun.elapsed() < 10 * WRITE_LIMIT);
        drop(device);
        assert!(link.write(&[0]).unwrap_err().is_absence());
        assert!(link.set_baud(9_600).unwrap_err().is_absence());
    }

    #[test]
    fn what_waits_without_end_is_given_up() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let stuck = within(Duration::from_millis(10), move || Ok(held.recv().is_ok()));
        assert_eq!(stuck.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(release);
        assert!(within(WRITE_LIMIT, || Ok(true)).unwrap());
        assert!(within::<()>(WRITE_LIMIT, || panic!("a test asked for it")).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_port_is_told_apart() {
        let (device, path) = pty();
        let link = SerialLink::open(&path, 115_200).unwrap();
        let again = SerialLink::open(&path, 115_200);
        assert!(matches!(again, Err(LinkError::Busy { .. })), "{again:?}");
        drop(device);
        assert!(matches!(link.read(&mut [0; 8]), Err(LinkError::Vanished { .. })));
        let open = |path: &str| SerialLink::open(Path::new(path), 115_200);
        assert!(matches!(open("/dev/ttyNOWHERE"), Err(LinkError::NotFound { .. })));
        assert!(matches!(open("/dev/null"), Err(LinkError::NotSerial { .. })));
        assert!(matches!(open("/tmp"), Err(LinkError::NotSerial { .. })));
    }

    #[test]
    fn a_refusal_names_the_group_that_may() {
        let denied = opening(Path::new("/"), ErrorKind::PermissionDenied.into());
        assert_eq!(denied.to_string(), "no permission to use /, which belongs to group root");
    }
}
