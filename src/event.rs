//! The event bus: what reporters read.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use miner_core::event::MinerEvent;
use miner_core::snapshot::MinerSnapshot;
use miner_core::types::{Difficulty, SourceId};

/// One thing that happened, with the wall-clock time that people and records want. Nothing decides by that time.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was put on the bus.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// Mining starts. The first event.
    Started(Arc<StartFacts>),
    /// Something happened in the core.
    Miner(MinerEvent),
    /// Something happened on the way to a pool.
    Pool {
        /// The pool.
        source: SourceId,
        /// What.
        notice: PoolNotice,
    },
    /// The state of the miner; at least one each report interval.
    Snapshot(Arc<MinerSnapshot>),
    /// A signal or a limit asked for the end: hashing has stopped, answers are waited for.
    Draining(EndReason),
    /// Mining has ended. The last event.
    Ended {
        /// Why.
        reason: EndReason,
        /// The final account.
        snapshot: Arc<MinerSnapshot>,
    },
}

/// What a reporter must know before anything happens.
#[derive(Clone, Debug)]
pub struct StartFacts {
    /// lode's version with build facts, one line.
    pub version: String,
    /// Each pool, by [`SourceId`] in order.
    pub pools: Vec<PoolFacts>,
    /// Whether the only pool is the built-in practice pool: nothing is earned.
    pub practice: bool,
    /// Whether some devices are emulated: they find only what is known beforehand.
    pub emulated: bool,
}

/// A pool as it may be shown: never with its password.
#[derive(Clone, Debug)]
pub struct PoolFacts {
    /// Its URL without credentials.
    pub url: String,
    /// The user or worker name.
    pub user: String,
}

/// What happens on the way to a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolNotice {
    /// A connection is being made.
    Connecting {
        /// Attempt number since the last stable connection, from 1.
        attempt: u32,
    },
    /// The transport is up.
    Connected {
        /// The peer's address.
        peer: String,
        /// Whether it is encrypted.
        encrypted: bool,
    },
    /// Subscribed and authorised.
    Ready {
        /// Whether the earlier session goes on.
        resumed: bool,
    },
    /// A connection failed or ended; in words, with what to do about it.
    Failed {
        /// What went wrong.
        error: String,
        /// What the operator can do, where something can be done.
        advice: Option<String>,
        /// The next attempt; `None` when there will be none.
        retry_in: Option<Duration>,
    },
    /// Jobs from now on ask for this difficulty.
    Difficulty(Difficulty),
    /// The pool operator's words: escaped and cut.
    Message(String),
    /// Something odd that did not end the session.
    Warning(String),
    /// The pool asks the miner to reconnect.
    Reconnect {
        /// `host:port` where it asks to go, when that is another place.
        to: Option<String>,
    },
}

/// Why mining ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// `--shares` shares were accepted.
    SharesReached,
    /// `--time-limit` has passed.
    TimeLimit,
    /// No device is left.
    NoDevice,
}
