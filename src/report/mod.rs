//! Reporters: each reads the event bus and tells somebody, in its own form.

pub mod console;
mod efficiency;
pub mod format;
pub mod json;
mod names;
mod output;
mod pace;
#[cfg(test)]
mod samples;
mod thread;
mod words;

use efficiency::efficiency;
pub use thread::{ReportThread, spawn};

use std::io;

use jiff::tz::TimeZone;

use crate::bus::Bus;
use crate::event::Event;
use crate::logging::{self, LogError};
use crate::settings::{OutputFormat, ReportSettings};

/// Reads events, one after the other, and tells somebody.
pub trait Reporter: Send {
    /// One event. Must not wait for anything but its own output.
    fn report(&mut self, event: &Event);

    /// The reader was too slow: `count` events were dropped. Counts in snapshots stay right.
    fn lagged(&mut self, count: u64);
}

/// Why reports cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The log file cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system gives no thread.
    #[error("cannot start a thread for reports")]
    Thread(#[source] io::Error),
}

/// Starts the reporters that the settings ask for: one for standard output and, where there is a log file, one that
/// writes the same lines for people there, with dates and without colours.
///
/// Must be called before the first event is sent.
pub fn start(settings: &ReportSettings, bus: &Bus) -> Result<Vec<ReportThread>, ReportError> {
    let look = console::Look {
        color: settings.color,
        verbosity: settings.verbosity,
        interval: settings.interval,
        zone: TimeZone::system(),
        dates: false,
    };
    let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
    if let Some(path) = &settings.log_file {
        let look = console::Look { color: false, dates: true, ..look.clone() };
        reporters.push(Box::new(console::Console::new(logging::open(path)?, "the log file", look)));
    }
    let stdout = io::stdout();
    reporters.push(match settings.output {
        OutputFormat::Text => Box::new(console::Console::new(stdout, "standard output", look)),
        OutputFormat::Json => Box::new(json::Json::new(stdout, "standard output", settings.interval)),
    });
    let threads = reporters.into_iter().map(|reporter| spawn(bus.subscribe(), reporter));
    threads.collect::<Result<_, _>>().map_err(ReportError::Thread)
}
