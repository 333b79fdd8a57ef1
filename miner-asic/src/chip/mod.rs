//! What every chip family does, without I/O: bytes and time go in, bytes and events come out.

pub mod bm1384;
pub mod bm13xx;
pub mod icarus;
mod outbox;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod rig;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod script;
mod ticket;
#[cfg(test)]
mod vectors;
mod wire;
mod workload;

use std::time::Instant;

use miner_core::share::Candidate;
use miner_core::types::{HashCount, WorkId};
use miner_core::work::WorkUnit;

pub use self::ticket::TicketMask;

/// A chain of chips of one family on one serial link. Sans-IO: a board's thread carries bytes, time and baud rates.
///
/// Nothing is sent before the first `handle_timeout`; a protocol is polled until it has nothing to say after every call.
/// After a fatal fault or [`make_safe`](Self::make_safe) it holds no unit: it has ended them all, and ends at once
/// whatever is loaded still.
pub trait ChipProtocol: Send {
    /// Takes a unit. The protocol holds as many as the backend's depth says, works through them in order and ends
    /// each with [`ChipEvent::Progress`] with `finished`, exactly once.
    fn load(&mut self, now: Instant, unit: WorkUnit);

    /// The generation moved: ends all units that `is_stale` names, and replaces what the chips work on with the next frame.
    fn flush(&mut self, now: Instant, is_stale: &dyn Fn(&WorkUnit) -> bool);

    /// Bytes from the chips, in any pieces. Hostile until checked.
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]);

    /// Time passed.
    fn handle_timeout(&mut self, now: Instant);

    /// When `handle_timeout` is wanted next.
    fn next_deadline(&self) -> Option<Instant>;

    /// Asks all chips for a register; [`ChipEvent::Register`] has the answers. Nothing where there are no registers to
    /// read, or while chips are not ready.
    fn read(&mut self, _register: u8) {}

    /// What to do on the link next; in order.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// What happened next; in order.
    fn poll_event(&mut self) -> Option<ChipEvent>;

    /// Stops hashing as far as the family can by frames alone; `poll_transmit` has the bytes.
    fn make_safe(&mut self);
}

/// Something to do on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Write these bytes.
    Bytes(Vec<u8>),
    /// Once everything before is written out, switch the host's side to this baud rate.
    Baud(u32),
}

/// What a chain of chips says.
#[derive(Clone, Debug, PartialEq)]
pub enum ChipEvent {
    /// Initialised; works from here on.
    Ready {
        /// Chips that answered.
        chips: u16,
    },
    /// A nonce of a known job, not judged: chips filter by powers of two, so it may miss the unit's report target, and
    /// it may be wrong.
    Nonce {
        /// The claim.
        candidate: Candidate,
        /// The chip that found it, where the layout tells.
        chip: Option<u16>,
    },
    /// Work done on a unit since the last report of it; inferred from time and nonces.
    Progress {
        /// The unit.
        work: WorkId,
        /// Hashes since the last report.
        hashes: HashCount,
        /// The unit is done with. Exactly once a unit.
        finished: bool,
    },
    /// A register's value.
    Register {
        /// The chip.
        chip: u16,
        /// The register.
        register: u8,
        /// Its value, as the bytes read most significant first.
        value: u32,
    },
    /// Something is wrong.
    Fault(ChipFault),
}

/// What can be wrong with a chain of chips.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChipFault {
    /// No answer, or another one than this family gives. Fatal: initialise again.
    #[error("no answer while {doing}")]
    NoAnswer {
        /// The step.
        doing: &'static str,
    },
    /// Other chips, or another number of them, than expected. Fatal.
    #[error("{0}")]
    WrongChips(String),
    /// Bytes that make no frame. Counted, not fatal.
    #[error("{bytes} bytes that make no frame")]
    Garbage {
        /// How many bytes were dropped.
        bytes: u32,
    },
    /// A nonce for a job that is retired or was never sent. Counted, not fatal.
    #[error("a nonce of a job that is no longer known")]
    LateNonce,
    /// The same nonce again. Counted, not fatal.
    #[error("the same nonce again")]
    DuplicateNonce,
}
