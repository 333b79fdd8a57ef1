#![doc = include_str!("QUIRKS.md")]

mod config;
mod handshake;
mod jobs;
mod lines;
mod liveness;
mod message;
mod notices;
mod outbox;
mod params;
#[cfg(any(test, feature = "fuzzing"))]
pub mod script;
mod server;
mod session;
mod submits;

pub use config::{Login, LoginError, V1Config, V1Memory, VersionConvention};
pub use session::{V1Client, V1Counters};

/// Most characters of a pool's words that are kept.
const TEXT_LIMIT: usize = 256;

#[cfg(test)]
mod tests;
