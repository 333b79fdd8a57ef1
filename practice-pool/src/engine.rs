//! The whole pool without any I/O: the chain, the sessions, and what passes between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::chain::{Chain, Job};
use crate::config::{Config, ConfigError, check_extranonce};
use crate::registry::Registry;
use crate::session::{Context, Effect, Now, Outgoing, Session};
use crate::stats::Stats;
use crate::target::{TargetError, U256};

/// A pool whose shell does the talking.
///
/// After each call that takes a [`Now`] or changes a setting, the shell takes all of [`poll_output`](Self::poll_output).
#[derive(Debug)]
pub(crate) struct Engine {
    config: Config,
    chain: Chain,
    job: Arc<Job>,
    sessions: BTreeMap<u64, Session>,
    registry: Registry,
    stats: Stats,
    submits: u64,
    next_block: Instant,
    next_job: Instant,
}

impl Engine {
    /// Starts a chain; the configuration must be valid.
    pub(crate) fn new(mut config: Config, now: Now) -> Self {
        if let Some(replay) = &config.replay {
            config.extranonce1_len = replay.extranonce1.len();
            config.extranonce2_size = replay.extranonce2_size;
        }
        let shared = config.replay.as_ref().map(|replay| replay.extranonce1.clone());
        let mut chain = Chain::new(&config);
        let job = Arc::new(chain.job(seconds(now), true));
        Self {
            registry: Registry::new(config.seed, shared),
            stats: Stats { height: job.height, ..Stats::default() },
            next_block: now.instant + config.block_interval,
            next_job: now.instant + config.job_interval,
            chain,
            job,
            sessions: BTreeMap::new(),
            submits: 0,
            config,
        }
    }

    /// Takes a client in and returns its number, `None` when there are too many.
    pub(crate) fn connect(&mut self, now: Now) -> Option<u64> {
        if self.sessions.len() >= self.config.limits.connections {
            self.stats.turned_away += 1;
            return None;
        }
        self.stats.connections += 1;
        let connection = self.stats.connections;
        self.sessions.insert(connection, Session::new(connection, self.config.difficulty, now.instant));
        self.stats.open = self.sessions.len();
        Some(connection)
    }

    /// Ends a client's session, which may be resumed.
    pub(crate) fn disconnect(&mut self, connection: u64, now: Now) {
        if let Some(ended) = self.sessions.remove(&connection).and_then(Session::suspend) {
            self.registry.suspend(ended, now.instant, &self.config.limits);
        }
        self.stats.open = self.sessions.len();
    }

    /// Handles a line of a client.
    ///
    /// # Errors
    /// Why the client is to be dropped.
    pub(crate) fn handle_line(&mut self, connection: u64, now: Now, line: &[u8]) -> Result<(), &'static str> {
        let Some(session) = self.sessions.get_mut(&connection) else { return Err("its session has ended") };
        let mut context = Context {
            now,
            config: &self.config,
            registry: &mut self.registry,
            stats: &mut self.stats,
            submits: &mut self.submits,
            job: &self.job,
        };
        match session.handle_line(&mut context, line) {
            Effect::None => Ok(()),
            Effect::Close(reason) => Err(reason),
            Effect::Block(hash) => {
                self.stats.blocks += 1;
                self.chain.extend_with(hash, now.instant);
                self.issue(now, true);
                Ok(())
            }
        }
    }

    /// Does what is due, and returns the clients that are to be dropped for their silence.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Vec<u64> {
        if now.instant >= self.next_block {
            self.new_block(now);
        } else if now.instant >= self.next_job {
            self.new_job(now);
        }
        self.registry.expire(now.instant, &self.config.limits);
        for session in self.sessions.values_mut() {
            session.poll_vardiff(now.instant, &self.job, &self.config);
        }
        let overdue =
            self.sessions.iter().filter(|(_, session)| session.is_overdue(now.instant, &self.config));
        overdue.map(|(&connection, _)| connection).collect()
    }

    /// Lets somebody else find a block.
    pub(crate) fn new_block(&mut self, now: Now) {
        self.chain.extend();
        self.issue(now, true);
    }

    /// Renews the job on the same block.
    pub(crate) fn new_job(&mut self, now: Now) {
        self.issue(now, false);
    }

    /// Sets the difficulty of all jobs to come.
    pub(crate) fn set_difficulty(&mut self, difficulty: f64) -> Result<(), TargetError> {
        U256::from_difficulty(difficulty)?;
        self.config.difficulty = difficulty;
        self.sessions.values_mut().for_each(|session| session.set_difficulty(difficulty));
        Ok(())
    }

    /// Sets the mask that clients may roll.
    pub(crate) fn set_version_mask(&mut self, mask: u32) {
        self.config.version_mask = mask;
        self.sessions.values_mut().for_each(|session| session.set_version_mask(mask));
    }

    /// Sets the extranonce sizes, with a new extranonce1 for each client that understands it.
    pub(crate) fn set_extranonce(
        &mut self,
        extranonce1_len: usize,
        extranonce2_size: usize,
    ) -> Result<(), ConfigError> {
        check_extranonce(extranonce1_len, extranonce2_size)?;
        self.config.extranonce1_len = extranonce1_len;
        self.config.extranonce2_size = extranonce2_size;
        for session in self.sessions.values_mut() {
            session.set_extranonce(&mut self.registry, extranonce1_len, extranonce2_size);
        }
        Ok(())
    }

    /// Takes the next line to send and the client it is for.
    pub(crate) fn poll_output(&mut self) -> Option<(u64, Outgoing)> {
        self.sessions.iter_mut().find_map(|(&connection, session)| Some((connection, session.poll_output()?)))
    }

    /// Returns what was counted.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counts a client that was dropped for not reading.
    pub(crate) fn count_slow_reader(&mut self) {
        self.stats.slow_readers += 1;
    }

    fn issue(&mut self, now: Now, clean: bool) {
        self.job = Arc::new(self.chain.job(seconds(now), clean));
        self.stats.height = self.job.height;
        if clean {
            self.next_block = now.instant + self.config.block_interval;
            self.registry.retire(self.job.height);
        }
        self.next_job = now.instant + self.config.job_interval;
        for session in self.sessions.values_mut() {
            session.notify(&self.job, clean, &self.config);
        }
    }
}

/// Whole unix seconds as a header has them; a clock before 1970 reads 0.
fn seconds(now: Now) -> u32 {
    now.unix as u32
}

#[cfg(test)]
mod tests;
