//! What asks lode to end.

use std::io;

use crate::event::EndReason;

/// Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes: devices have to be switched off then too.
#[cfg(unix)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Starts to listen, in place of what the system would do. Must be called within a runtime.
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> EndReason {
        tokio::select! {
            _ = self.interrupt.recv() => EndReason::Interrupted,
            _ = self.terminate.recv() => EndReason::Terminated,
            _ = self.hang_up.recv() => EndReason::Terminated,
        }
    }
}

/// Ctrl-C and Ctrl-Break; and a console that closes, a user who logs off, a system that shuts down: devices have to be
/// switched off then too, in the seconds that Windows grants.
#[cfg(windows)]
pub struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    logoff: tokio::signal::windows::CtrlLogoff,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    /// Starts to listen, in place of what the system would do. Must be called within a runtime.
    pub fn new() -> io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            ctrl_c: windows::ctrl_c()?,
            ctrl_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            logoff: windows::ctrl_logoff()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> EndReason {
        tokio::select! {
            _ = self.ctrl_c.recv() => EndReason::Interrupted,
            _ = self.ctrl_break.recv() => EndReason::Interrupted,
            _ = self.close.recv() => EndReason::Terminated,
            _ = self.logoff.recv() => EndReason::Terminated,
            _ = self.shutdown.recv() => EndReason::Terminated,
        }
    }
}
