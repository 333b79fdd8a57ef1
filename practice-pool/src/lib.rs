//! A small honest Stratum V1 pool with a synthetic chain.
//!
//! It serves a miner that has no pool configured, other miners on the local network, and tests as an independent judge:
//! it depends on no other crate of this project, and rebuilds coinbase, merkle root and header of every share from bytes
//! by itself. What it pays is nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), practice_pool::PoolError> {
//! let pool = practice_pool::Pool::bind(practice_pool::Config::default()).await?;
//! println!("stratum+tcp://{}", pool.local_addr());
//! let handle = pool.handle();
//! pool.run(async { /* wait for a signal */ }).await;
//! println!("{} shares", handle.stats().accepted);
//! # Ok(())
//! # }
//! ```

pub mod chain;
mod config;
mod engine;
mod jobs;
mod ledger;
mod message;
mod registry;
mod replay;
mod server;
mod session;
mod stats;
pub mod target;
mod vardiff;
pub mod verify;

pub use config::{Authorize, Config, ConfigError, Credentials, Limits, Vardiff};
pub use ledger::{Record, Verdict};
pub use replay::{Replay, ReplayError};
pub use server::{Handle, Pool, PoolError};
pub use stats::Stats;
pub use verify::Reject;
