//! The core of lode: what a miner *is*, without any I/O.
//!
//! A source (a pool, a node) delivers a [`job::JobTemplate`]. The [`sched::Scheduler`] cuts its search space into
//! disjoint [`work::WorkUnit`]s sized by the measured rate of each [`backend::HashBackend`]. A backend answers with
//! untrusted [`share::Candidate`]s; each is hashed again by an independent implementation before it becomes a
//! [`share::Share`] and may leave. The verdict walks back to the device that found it.
//!
//! Nothing here opens a socket or a file, and nothing but [`cpu`] (the CPU backend, a shell of its own) reads a
//! clock or starts a thread: time is a parameter everywhere else.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "tests take one moment to count their virtual time from, and read their data"
    )
)]

pub mod backend;
pub mod cpu;
pub mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod job;
pub mod sched;
pub mod sha256d;
pub mod share;
pub mod snapshot;
pub mod stats;
pub mod types;
pub mod work;
