//! Settings of a pool; the defaults suit a miner that practises on its own machine.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::TAG;
use crate::replay::Replay;
use crate::target::{TargetError, U256};

/// Most merkle branches a job may have: 2^16 transactions.
pub(crate) const MAX_BRANCHES: usize = 16;
/// Longest time between jobs, blocks or shares, so that no clock overflows.
const MAX_INTERVAL: Duration = Duration::from_secs(366 * 86_400);

/// Everything that can be set about a pool.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one. Default 127.0.0.1:0.
    pub listen: SocketAddr,
    /// Difficulty at the start of a session. Default 0.001, which is 4.3 million hashes a share.
    pub difficulty: f64,
    /// Adjusts the difficulty to each client's speed; `None` leaves it as it is.
    pub vardiff: Option<Vardiff>,
    /// Time between blocks of the synthetic chain, each a clean job. Default 60 s.
    pub block_interval: Duration,
    /// Time between jobs on one block, with new transactions and time, not clean. Default 30 s.
    pub job_interval: Duration,
    /// Network target in compact form. Default 0x1c03fffc, which is difficulty 64.
    pub nbits: u32,
    /// Makes the network four times harder whenever two blocks are found within one block interval. Default true.
    pub retarget: bool,
    /// Height of the first block. Default 1,000,000.
    pub start_height: u32,
    /// Header version of the jobs. Default 0x20000000.
    pub version: u32,
    /// Version bits clients may roll, 0 for none. Default 0x1fffe000 (BIP 320).
    pub version_mask: u32,
    /// Bytes of extranonce1, 0 to 16. With 0 all clients search the same space. Default 4.
    pub extranonce1_len: usize,
    /// Bytes of extranonce2, 1 to 16. Default 4.
    pub extranonce2_size: usize,
    /// Merkle branches of each job, 0 to 16. Default 4.
    pub branches: usize,
    /// Who may mine. Default anyone.
    pub authorize: Authorize,
    /// Jobs to serve in turn instead of made-up ones, a new one with each block. They bring their own extranonces, version,
    /// network target and times with them, and `height` only counts the turns. Default none.
    pub replay: Option<Arc<Replay>>,
    /// File to which every submit and its verdict is appended, one JSON object a line.
    pub ledger: Option<PathBuf>,
    /// What a client may use up.
    pub limits: Limits,
    /// Where all that is made up comes from: chain, transactions, extranonce1, session ids. Default different each time.
    pub seed: u64,
}

/// How the difficulty follows a client's speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vardiff {
    /// Time between shares to aim at. Default 5 s.
    pub share_interval: Duration,
    /// Longest time to watch before judging; 18 shares end it sooner. Default 90 s.
    pub window: Duration,
    /// Largest factor of one change, above 1. Default 8.
    pub max_step: f64,
    /// Lowest difficulty. Default 1e-6.
    pub min: f64,
    /// Highest difficulty. Default 1e12.
    pub max: f64,
}

/// Bounds on what clients can make the pool hold or wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time; more are closed at once. Default 256.
    pub connections: usize,
    /// Bytes of a line. Default 16 KiB.
    pub line_bytes: usize,
    /// Lines that are not JSON requests before the client is dropped. Default 3.
    pub bad_lines: u32,
    /// Workers of a connection. Default 64.
    pub workers: usize,
    /// Jobs of a client that are remembered. Default 16.
    pub jobs: usize,
    /// Accepted shares of a client that are remembered until the next block. Default 131,072.
    pub shares_per_block: usize,
    /// Lines that may wait for a client to read them before it is dropped. Default 1,024.
    pub queued_lines: usize,
    /// Ended sessions that may still be resumed. Default 64.
    pub resumable: usize,
    /// How long an ended session may be resumed. Default 10 minutes.
    pub resume_for: Duration,
    /// Time a client has to be authorized. Default 60 s.
    pub handshake: Duration,
    /// Time a client may be silent. Default one hour.
    pub idle: Duration,
    /// Time a client may take to read one line. Default 10 s.
    pub write: Duration,
}

/// A function of user name and password that says whether they are good.
pub type Credentials = dyn Fn(&str, &str) -> bool + Send + Sync;

/// Decides on `mining.authorize`.
#[derive(Clone, Default)]
pub enum Authorize {
    /// Lets everybody in.
    #[default]
    Anyone,
    /// Lets nobody in.
    Nobody,
    /// Asks a function.
    Check(Arc<Credentials>),
}

/// A setting the pool cannot work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A number lies outside its range.
    #[error("{name} is {value}, outside {range}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be.
        range: &'static str,
    },
    /// The difficulty or the network target is no target.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            difficulty: 0.001,
            vardiff: Some(Vardiff::default()),
            block_interval: Duration::from_secs(60),
            job_interval: Duration::from_secs(30),
            nbits: 0x1c03_fffc,
            retarget: true,
            start_height: 1_000_000,
            version: 0x2000_0000,
            version_mask: 0x1fff_e000,
            extranonce1_len: 4,
            extranonce2_size: 4,
            branches: 4,
            authorize: Authorize::Anyone,
            replay: None,
            ledger: None,
            limits: Limits::default(),
            seed: RandomState::new().hash_one(TAG),
        }
    }
}

impl Default for Vardiff {
    fn default() -> Self {
        Self {
            share_interval: Duration::from_secs(5),
            window: Duration::from_secs(90),
            max_step: 8.0,
            min: 1e-6,
            max: 1e12,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            line_bytes: 16 * 1024,
            bad_lines: 3,
            workers: 64,
            jobs: 16,
            shares_per_block: 1 << 17,
            queued_lines: 1024,
            resumable: 64,
            resume_for: Duration::from_secs(600),
            handshake: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            write: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Serves jobs in turn, a clean one every five seconds, at difficulty 1.
    pub fn replaying(replay: Replay) -> Self {
        Self {
            difficulty: 1.0,
            vardiff: None,
            block_interval: Duration::from_secs(5),
            job_interval: MAX_INTERVAL,
            retarget: false,
            replay: Some(Arc::new(replay)),
            ..Self::default()
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first setting the pool cannot work with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        U256::from_difficulty(self.difficulty)?;
        U256::from_nbits(self.nbits)?;
        check_extranonce(self.extranonce1_len, self.extranonce2_size)?;
        let limits = &self.limits;
        within("branches", self.branches, self.branches <= MAX_BRANCHES, "0 to 16")?;
        check_interval("block_interval", self.block_interval)?;
        check_interval("job_interval", self.job_interval)?;
        within("connections", limits.connections, limits.connections > 0, "1 and more")?;
        within("line_bytes", limits.line_bytes, limits.line_bytes >= 1024, "1,024 and more")?;
        within("jobs", limits.jobs, limits.jobs > 0, "1 and more")?;
        within("queued_lines", limits.queued_lines, limits.queued_lines >= 16, "16 and more")?;
        self.vardiff.as_ref().map_or(Ok(()), Vardiff::validate)
    }
}

impl Vardiff {
    fn validate(&self) -> Result<(), ConfigError> {
        U256::from_difficulty(self.min)?;
        U256::from_difficulty(self.max)?;
        within("vardiff min", self.min, self.min <= self.max, "0 to max")?;
        within("vardiff max_step", self.max_step, self.max_step > 1.0, "above 1")?;
        check_interval("share_interval", self.share_interval)
    }
}

/// Checks the sizes of a coinbase's two extranonces.
pub(crate) fn check_extranonce(extranonce1_len: usize, extranonce2_size: usize) -> Result<(), ConfigError> {
    within("extranonce1_len", extranonce1_len, extranonce1_len <= 16, "0 to 16")?;
    within("extranonce2_size", extranonce2_size, (1..=16).contains(&extranonce2_size), "1 to 16")
}

/// Checks a time that is added to clocks.
fn check_interval(name: &'static str, interval: Duration) -> Result<(), ConfigError> {
    let ok = !interval.is_zero() && interval <= MAX_INTERVAL;
    within(name, format!("{interval:?}"), ok, "above 0 s to 366 days")
}

fn within(
    name: &'static str,
    value: impl ToString,
    ok: bool,
    range: &'static str,
) -> Result<(), ConfigError> {
    if ok { Ok(()) } else { Err(ConfigError::Range { name, value: value.to_string(), range }) }
}

impl Authorize {
    pub(crate) fn allows(&self, user: &str, password: &str) -> bool {
        match self {
            Self::Anyone => true,
            Self::Nobody => false,
            Self::Check(check) => check(user, password),
        }
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "Anyone",
            Self::Nobody => "Nobody",
            Self::Check(_) => "Check(..)",
        })
    }
}
