//! Which pools to be connected to, and which of them to mine on: a state machine without I/O.
//!
//! The first pool is always wanted. A backup is wanted while all pools before it are *unwell*: not up after three
//! failures or 60 s, or up again but not yet trusted. A pool that was failed over from is offered to the scheduler
//! again after three minutes of being up, or at once when no other pool is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use miner_core::types::SourceId;

/// Failures in a row after which a pool is unwell.
const FAILURES: u32 = 3;
/// Time without a job after which a pool is unwell.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a pool that was failed over from must stay up before it is mined on again.
const PROBATION: Duration = Duration::from_secs(180);
/// How long a backup stays connected after a better pool took over: for late answers.
const LINGER: Duration = Duration::from_secs(30);

/// The state of all pools.
#[derive(Debug)]
pub struct Failover {
    pools: Vec<Pool>,
    /// The pool that is not up yet and still holds back the ones after it.
    patient_with: Option<usize>,
    actions: VecDeque<Action>,
}

#[derive(Debug)]
struct Pool {
    wanted: bool,
    /// Since when it is up with a job.
    up_since: Option<Instant>,
    /// Since when it is not, while wanted.
    down_since: Instant,
    failures: u32,
    /// Why it is not trusted, while it is not.
    probation: Option<Failure>,
    offered: bool,
    unneeded_since: Option<Instant>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect, and keep connected.
    Want(SourceId),
    /// Disconnect.
    Drop(SourceId),
    /// Let the scheduler know that it is up.
    Offer(SourceId),
    /// Let the scheduler know that it is no longer.
    Withdraw(SourceId),
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A connection could not be made, or broke.
    Connection,
    /// The pool works but is of no use to us: credentials refused, shares rejected, no job. Retrying soon is no help.
    Pool,
}

impl Failover {
    /// Wants the first of `count` pools, at least one.
    pub fn new(now: Instant, count: usize) -> Self {
        let pools = (0..count).map(|_| Pool::unwanted(now)).collect();
        let mut failover = Self { pools, patient_with: None, actions: VecDeque::new() };
        failover.decide(now);
        failover
    }

    /// A pool is up and has sent a job.
    pub fn handle_up(&mut self, now: Instant, source: SourceId) {
        if let Some(pool) = self.pool(source) {
            pool.up_since.get_or_insert(now);
        }
        self.decide(now);
    }

    /// An attempt failed, or a pool that was up is no longer.
    pub fn handle_failure(&mut self, now: Instant, source: SourceId, failure: Failure) {
        if let Some(pool) = self.pool(source) {
            pool.go_down(now);
            pool.failures = match failure {
                Failure::Connection => pool.failures.saturating_add(1),
                Failure::Pool => pool.failures.saturating_add(1).max(FAILURES),
            };
            if failure == Failure::Pool {
                pool.probation = Some(Failure::Pool);
            }
        }
        self.decide(now);
    }

    /// A pool is not up, if it ever was: nobody's fault, or one that was told before.
    pub fn handle_down(&mut self, now: Instant, source: SourceId) {
        if let Some(pool) = self.pool(source) {
            pool.go_down(now);
        }
        self.decide(now);
    }

    /// A deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.decide(now);
    }

    /// What is to be done, in order.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_deadline(&self) -> Option<Instant> {
        let unwell = self.patient_with.map(|pool| self.pools[pool].down_since + PATIENCE);
        let of = |pool: &Pool| {
            let doubted = pool.probation.is_some() || pool.failures > 0;
            let trusted = pool.up_since.filter(|_| doubted).map(|since| since + PROBATION);
            let dropped = pool.unneeded_since.map(|since| since + LINGER);
            [trusted, dropped].into_iter().flatten().min()
        };
        self.pools.iter().filter_map(of).chain(unwell).min()
    }

    /// A pool that is wanted: what others still tell comes from a connection that is being ended.
    fn pool(&mut self, source: SourceId) -> Option<&mut Pool> {
        self.pools.get_mut(usize::from(source.0)).filter(|pool| pool.wanted)
    }

    fn decide(&mut self, now: Instant) {
        self.trust(now);
        self.want(now);
        self.offer();
        self.drop_unneeded(now);
    }

    /// Ends the probation of pools that stayed up.
    fn trust(&mut self, now: Instant) {
        for pool in &mut self.pools {
            if pool.up_since.is_some_and(|since| now >= since + PROBATION) {
                pool.probation = None;
                pool.failures = 0;
            }
        }
    }

    /// Wants each pool whose betters are all unwell; a backup that is wanted puts its betters on probation.
    fn want(&mut self, now: Instant) {
        self.patient_with = None;
        for i in 0..self.pools.len() {
            let pool = &mut self.pools[i];
            if !pool.wanted {
                pool.wanted = true;
                pool.down_since = now;
                self.actions.push_back(Action::Want(source(i)));
            }
            if pool.is_well(now) {
                self.patient_with = (pool.up_since.is_none() && i + 1 < self.pools.len()).then_some(i);
                return;
            }
            if i + 1 < self.pools.len() {
                self.pools[i].probation.get_or_insert(Failure::Connection);
            }
        }
    }

    /// Offers the trusted pools that are up; where there is none, the first of the others that is up.
    fn offer(&mut self) {
        let trusted = self.pools.iter().any(|pool| pool.up_since.is_some() && pool.probation.is_none());
        let in_use = self.pools.iter().position(|pool| pool.offered && pool.up_since.is_some());
        let first_up = self.pools.iter().position(|pool| pool.up_since.is_some());
        let stand_in = if trusted { None } else { in_use.or(first_up) };
        for (i, pool) in self.pools.iter_mut().enumerate() {
            let stands_in = stand_in == Some(i);
            if stands_in && pool.probation == Some(Failure::Connection) {
                // It is the only one there is: to leave it again for a backup would be a needless switch.
                pool.probation = None;
            }
            let offered = pool.up_since.is_some() && (pool.probation.is_none() || stands_in);
            if offered != pool.offered {
                pool.offered = offered;
                self.actions.push_back(if offered {
                    Action::Offer(source(i))
                } else {
                    Action::Withdraw(source(i))
                });
            }
        }
    }

    /// Drops backups that have not been needed for a while.
    fn drop_unneeded(&mut self, now: Instant) {
        let needed =
            self.pools.iter().position(|pool| pool.offered && pool.probation.is_none()).unwrap_or(usize::MAX);
        for (i, pool) in self.pools.iter_mut().enumerate() {
            if i <= needed || !pool.wanted {
                pool.unneeded_since = None;
                continue;
            }
            let since = *pool.unneeded_since.get_or_insert(now);
            if now >= since + LINGER {
                if pool.offered {
                    self.actions.push_back(Action::Withdraw(source(i)));
                }
                self.actions.push_back(Action::Drop(source(i)));
                *pool = Pool::unwanted(now);
            }
        }
    }
}

impl Pool {
    fn unwanted(now: Instant) -> Self {
        Self {
            wanted: false,
            up_since: None,
            down_since: now,
            failures: 0,
            probation: None,
            offered: false,
            unneeded_since: None,
        }
    }

    fn go_down(&mut self, now: Instant) {
        if self.up_since.take().is_some() {
            self.down_since = now;
        }
    }

    /// Whether the next pool is not needed because of this one.
    fn is_well(&self, now: Instant) -> bool {
        let patient = self.failures < FAILURES && now < self.down_since + PATIENCE;
        self.probation.is_none() && (self.up_since.is_some() || patient)
    }
}

fn source(index: usize) -> SourceId {
    SourceId(u16::try_from(index).expect("the number of pools is checked with the settings"))
}

#[cfg(test)]
mod tests;
