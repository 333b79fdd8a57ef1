//! The log: what the program says of its own working, on standard error and, if asked, in a file.
//!
//! Reports of mining are not the log: see [`crate::report`].

mod sink;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use self::sink::Sink;
use crate::settings::ReportSettings;

/// Our crates: `-v` asks for more of them, and of nobody else.
const OURS: [&str; 3] = ["lode", "miner_core", "stratum"];
/// Ours as well, but not the miner: it is listened to one step later.
const PRACTICE_POOL: &str = "practice_pool";
/// How long the end waits for what is still to be written.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory of the log file is not there.
    #[error("cannot write the log file {}: there is no directory {}", path.display(), directory.display())]
    NoDirectory {
        /// The file asked for.
        path: PathBuf,
        /// What should hold it.
        directory: PathBuf,
    },
    /// The path names a directory.
    #[error("cannot write the log file {}: it is a directory", .0.display())]
    IsDirectory(PathBuf),
    /// The system refuses the file.
    #[error("cannot write the log file {}", path.display())]
    Open {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start a thread for the log")]
    Thread(#[source] io::Error),
    /// Somebody set up a log before.
    #[error("the log is set up already")]
    Twice,
}

/// Keeps the log going; dropped at the end, it waits a moment until all is written.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct LogGuard(Vec<Sink>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        wait_for(&self.0);
    }
}

/// Where the log of the process goes.
static SINKS: OnceLock<Vec<Sink>> = OnceLock::new();

/// Waits a moment until all is written, for whoever ends the process.
pub fn flush() {
    wait_for(SINKS.get().map_or(&[], Vec::as_slice));
}

fn wait_for(sinks: &[Sink]) {
    let deadline = Instant::now() + PATIENCE;
    for sink in sinks {
        sink.flush(deadline);
    }
}

/// Sets up the log of the process: standard error, and the settings' file.
///
/// Nobody who logs waits for either: each has a bounded queue and a thread, and what finds the queue full is counted
/// and dropped. A full disk or a closed pipe never stops mining.
pub fn init(settings: &ReportSettings) -> Result<LogGuard, LogError> {
    let color = settings.color && io::stderr().is_terminal();
    let stderr = Sink::start("standard error", io::stderr()).map_err(LogError::Thread)?;
    let file = match &settings.log_file {
        Some(path) => Some(Sink::start("the log file", open(path)?).map_err(LogError::Thread)?),
        None => None,
    };
    let subscriber = subscriber(settings.verbosity, color, stderr.clone(), file.clone());
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    let sinks: Vec<Sink> = [Some(stderr), file].into_iter().flatten().collect();
    Ok(LogGuard(SINKS.get_or_init(|| sinks).clone()))
}

/// Opens a log file: what is there stays, what comes is appended.
pub fn open(path: &Path) -> Result<File, LogError> {
    if path.is_dir() {
        return Err(LogError::IsDirectory(path.to_owned()));
    }
    OpenOptions::new().append(true).create(true).open(path).map_err(|source| {
        // A bare name has the empty parent: the working directory.
        match path.parent() {
            Some(directory) if directory != Path::new("") && !directory.is_dir() => {
                LogError::NoDirectory { path: path.to_owned(), directory: directory.to_owned() }
            }
            _ => LogError::Open { path: path.to_owned(), source },
        }
    })
}

fn subscriber(verbosity: i8, color: bool, stderr: Sink, file: Option<Sink>) -> impl Subscriber + Send + Sync {
    let file = file.map(|file| layer(false, file));
    Registry::default().with(filter(verbosity)).with(layer(color, stderr)).with(file)
}

fn layer<S>(color: bool, sink: Sink) -> impl Layer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    // A failed write is the sink's own business; the default answer, a line on standard error, may fail as well.
    fmt::layer().with_ansi(color).log_internal_errors(false).with_writer(move || sink.clone())
}

/// Warnings of everybody; of our own crates what the verbosity asks for.
fn filter(verbosity: i8) -> Targets {
    let at = |verbosity| match verbosity {
        ..0 => LevelFilter::WARN,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(OURS.map(|target| (target, at(verbosity))))
        .with_target(PRACTICE_POOL, at(verbosity.saturating_sub(1)))
}

#[cfg(test)]
mod tests;
