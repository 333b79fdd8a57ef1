//! Errors in the words of whoever runs lode: what happened, where, what to do, and the exit code.

mod config;
mod pool;
mod run;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use crate::config::Spot;

/// How lode ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well; SIGTERM after draining too.
    Ok = 0,
    /// Something failed while running.
    Failed = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// A run with `--shares` or `--time-limit` never got a job.
    NoJob = 3,
    /// No device could be used, or all are gone for good.
    NoDevice = 4,
    /// A benchmark computed something wrong.
    Mismatch = 5,
    /// Ctrl-C, or a second signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error, explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What happened.
    pub what: String,
    /// Where: a file's line with carets below the place. Flags and variables are named in `what`.
    pub place: Option<String>,
    /// What to do, where something can be done.
    pub advice: Option<String>,
    /// How lode ends if it cannot go on.
    pub exit: Exit,
}

impl Explanation {
    fn new(what: impl fmt::Display, exit: Exit, advice: impl Into<String>) -> Self {
        Self { what: what.to_string(), place: None, advice: Some(advice.into()), exit }
    }

    fn without_advice(what: impl fmt::Display, exit: Exit) -> Self {
        Self { what: what.to_string(), place: None, advice: None, exit }
    }

    fn at(mut self, spot: Option<&Spot>) -> Self {
        self.place = spot.map(|spot| format!("--> {spot}\n{}", spot.snippet()));
        self
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for line in self.place.iter().flat_map(|place| place.lines()) {
            write!(f, "\n  {line}")?;
        }
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, "\n  help: {advice}"))
    }
}

/// An error that can be explained.
pub trait Explain {
    /// Explains it.
    fn explain(&self) -> Explanation;
}

fn file_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => {
            "check the path; a path in the configuration file starts at that file's folder"
        }
        ErrorKind::PermissionDenied => "let the user who runs lode read it",
        ErrorKind::IsADirectory => "give a file, not a folder",
        _ => "check that it is a file which can be read",
    }
}
