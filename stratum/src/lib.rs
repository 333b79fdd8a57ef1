//! Pool protocols as deterministic state machines, and (feature `io`) the transports that carry them.
//!
//! A [`PoolProtocol`] is one connection's worth of protocol. It never touches a socket or a clock: the shell hands it
//! bytes and the time, and drains what it wants sent and told.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests take one moment to count their virtual time from, and read their data"
    )
)]

pub mod backoff;
#[cfg(feature = "io")]
pub mod io;
mod secret;
mod text;
pub mod url;
pub mod v1;

pub use secret::Secret;

use std::time::{Duration, Instant};

use bytes::Bytes;
use miner_core::job::JobTemplate;
use miner_core::share::{Share, ShareOutcome};
use miner_core::types::{Difficulty, ShareId};

/// One connection to one source; a new value for each connection.
///
/// Order of calls: [`handle_connected`](Self::handle_connected) once; then, in any order, `handle_bytes`,
/// `handle_timeout` (when [`next_deadline`](Self::next_deadline) has passed), `submit` and its like. After each of them
/// drain `poll_transmit` and then `poll_event`. After an error the connection is dead: drain once more, then close.
pub trait PoolProtocol: Send {
    /// The transport is connected.
    fn handle_connected(&mut self, now: Instant);

    /// Bytes came, cut anywhere.
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ProtocolError>;

    /// A deadline has passed.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError>;

    /// Whether there is room for one more share in flight.
    fn can_submit(&self) -> bool;

    /// Sends a share. Pipelined: never waits for earlier answers. Call only while [`can_submit`](Self::can_submit).
    fn submit(&mut self, now: Instant, share: &Share);

    /// Sends a share once more that an earlier connection left unanswered. Only after `Ready { resumed: true }`.
    ///
    /// The pool may have counted it already: where it says so ("duplicate"), the share counts as accepted.
    fn resubmit(&mut self, now: Instant, share: &Share) {
        self.submit(now, share);
    }

    /// Asks for another share difficulty; a wish that the pool need not fulfil, and nothing where it cannot be put.
    fn suggest_difficulty(&mut self, _now: Instant, _difficulty: Difficulty) {}

    /// Bytes to send.
    fn poll_transmit(&mut self) -> Option<Bytes>;

    /// Something to tell.
    fn poll_event(&mut self) -> Option<PoolEvent>;

    /// When to call `handle_timeout`.
    fn next_deadline(&self) -> Option<Instant>;
}

/// What a pool connection tells.
#[derive(Debug)]
pub enum PoolEvent {
    /// Subscribed and authorised: shares may be submitted.
    Ready {
        /// Whether the pool took up the earlier session again (same extranonce1): unanswered shares may be re-sent.
        resumed: bool,
    },
    /// A new job, or the newest one again with a narrower version mask.
    Job(JobTemplate),
    /// Jobs from now on ask for this difficulty.
    Difficulty(Difficulty),
    /// A share was answered.
    Resolved {
        /// The share.
        share: ShareId,
        /// The verdict: accepted or rejected; lost (no answer) when the limit of waiting has passed.
        outcome: ShareOutcome,
    },
    /// An answer came for a share that had been resolved as lost.
    Late {
        /// The share.
        share: ShareId,
        /// Whether it was a yes.
        accepted: bool,
    },
    /// The pool wants its operator's words shown: escaped and cut.
    Message(String),
    /// The pool asks to reconnect; already checked against what the operator allows.
    Reconnect {
        /// Another host and port, or the same again.
        to: Option<(String, u16)>,
        /// Not before this has passed.
        wait: Duration,
    },
    /// Something odd that the session survived, in words: at most a few a minute.
    Warning(String),
}

/// Why a connection has to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The peer sends lines beyond any use.
    #[error("a line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// Too many lines could not be understood.
    #[error("{count} unreadable lines within a minute, the last one: {last}")]
    Garbage {
        /// How many.
        count: u32,
        /// What was wrong with the last.
        last: String,
    },
    /// A step of the handshake was refused or answered nonsensically.
    #[error("{step} was refused: {why}")]
    Refused {
        /// The method.
        step: &'static str,
        /// The pool's words, escaped and cut.
        why: String,
    },
    /// The pool does not accept these credentials.
    #[error("the pool does not accept the user or password: {0}")]
    Unauthorized(String),
    /// Nothing usable came in time.
    #[error("no {what} within {} s", after.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
}
