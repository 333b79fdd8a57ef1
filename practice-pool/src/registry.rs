//! What outlives a connection: which extranonce1 values are taken, and sessions that may be resumed.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::config::Limits;
use crate::jobs::Jobs;
use crate::target::sha256d;

/// What a session keeps for a client that comes back.
#[derive(Debug)]
pub(crate) struct Suspended {
    pub(crate) id: String,
    pub(crate) extranonce1: Vec<u8>,
    pub(crate) extranonce2_size: usize,
    pub(crate) difficulty: f64,
    pub(crate) jobs: Jobs,
}

/// Hands out extranonce1 values, none twice at a time, and keeps ended sessions for a while.
#[derive(Debug)]
pub(crate) struct Registry {
    seed: u64,
    /// The one that everybody gets.
    shared: Option<Vec<u8>>,
    handed_out: u64,
    taken: HashSet<Vec<u8>>,
    ended: VecDeque<(Instant, Suspended)>,
}

impl Registry {
    pub(crate) fn new(seed: u64, shared: Option<Vec<u8>>) -> Self {
        Self { seed, shared, handed_out: 0, taken: HashSet::new(), ended: VecDeque::new() }
    }

    /// Returns an extranonce1 nobody else holds, or `None` when all of that length are taken.
    ///
    /// The empty one is shared by everybody, and so is that of replayed jobs.
    pub(crate) fn take_extranonce1(&mut self, len: usize) -> Option<Vec<u8>> {
        if self.shared.is_some() {
            return self.shared.clone();
        }
        let pad = sha256d(&[b"extranonce1", &self.seed.to_le_bytes()]);
        let tries = 1u64 << (8 * len.min(2));
        for _ in 0..tries {
            self.handed_out += 1;
            let counter = u128::from(self.handed_out).to_le_bytes();
            let candidate: Vec<u8> = counter.iter().zip(pad).map(|(a, b)| a ^ b).take(len).collect();
            if len == 0 || self.taken.insert(candidate.clone()) {
                return Some(candidate);
            }
        }
        None
    }

    /// Gives an extranonce1 back.
    pub(crate) fn release(&mut self, extranonce1: &[u8]) {
        self.taken.remove(extranonce1);
    }

    /// Invents the id under which a connection's session can be resumed.
    pub(crate) fn session_id(&self, connection: u64) -> String {
        let digest = sha256d(&[b"session", &self.seed.to_le_bytes(), &connection.to_le_bytes()]);
        hex::encode(&digest[..8])
    }

    /// Keeps an ended session, the oldest of too many giving way.
    pub(crate) fn suspend(&mut self, session: Suspended, now: Instant, limits: &Limits) {
        self.ended.push_back((now, session));
        while self.ended.len() > limits.resumable {
            self.forget_oldest();
        }
    }

    /// Gives an ended session back, once.
    pub(crate) fn resume(&mut self, id: &str) -> Option<Suspended> {
        let place = self.ended.iter().position(|(_, session)| session.id == id)?;
        self.ended.remove(place).map(|(_, session)| session)
    }

    /// Forgets sessions that ended too long ago.
    pub(crate) fn expire(&mut self, now: Instant, limits: &Limits) {
        while self
            .ended
            .front()
            .is_some_and(|(end, _)| now.saturating_duration_since(*end) > limits.resume_for)
        {
            self.forget_oldest();
        }
    }

    /// Makes the jobs of ended sessions below a height stale.
    pub(crate) fn retire(&mut self, height: u32) {
        for (_, session) in &mut self.ended {
            session.jobs.retire(height);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, session)) = self.ended.pop_front() {
            self.release(&session.extranonce1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ended(registry: &mut Registry, connection: u64) -> Suspended {
        Suspended {
            id: registry.session_id(connection),
            extranonce1: registry.take_extranonce1(2).unwrap(),
            extranonce2_size: 4,
            difficulty: 1.0,
            jobs: Jobs::default(),
        }
    }

    #[test]
    fn no_extranonce1_is_held_twice_and_a_released_one_is_found_again() {
        let mut registry = Registry::new(9, None);
        let all: HashSet<_> = (0..256).map(|_| registry.take_extranonce1(1).unwrap()).collect();
        assert_eq!(all.len(), 256);
        assert_eq!(registry.take_extranonce1(1), None);
        registry.release(&[77]);
        assert_eq!(registry.take_extranonce1(1), Some(vec![77]));
        for len in [3, 4, 8, 16] {
            let taken: HashSet<_> = (0..1000).map(|_| registry.take_extranonce1(len).unwrap()).collect();
            assert!(taken.len() == 1000 && taken.iter().all(|extranonce1| extranonce1.len() == len));
        }
        assert_eq!(registry.take_extranonce1(0), Some(vec![]));
        assert_eq!(registry.take_extranonce1(0), Some(vec![]));
    }

    #[test]
    fn an_ended_session_is_given_back_once() {
        let (mut registry, now) = (Registry::new(9, None), Instant::now());
        let session = ended(&mut registry, 1);
        let (id, extranonce1) = (session.id.clone(), session.extranonce1.clone());
        registry.suspend(session, now, &Limits::default());
        assert_eq!(registry.resume(&id).unwrap().extranonce1, extranonce1);
        assert!(registry.resume(&id).is_none());
    }

    #[test]
    fn ended_sessions_are_few_and_grow_old() {
        let (mut registry, now) = (Registry::new(9, None), Instant::now());
        let limits = Limits { resumable: 3, ..Limits::default() };
        let ids: Vec<_> = (0..5u64)
            .map(|n| {
                let session = ended(&mut registry, n);
                let id = session.id.clone();
                registry.suspend(session, now + Duration::from_secs(n), &limits);
                id
            })
            .collect();
        assert_eq!((registry.ended.len(), registry.taken.len()), (3, 3));
        assert!(registry.resume(&ids[1]).is_none());
        registry.expire(now + limits.resume_for + Duration::from_secs(3), &limits);
        assert_eq!((registry.ended.len(), registry.taken.len()), (2, 2));
        assert!(registry.resume(&ids[2]).is_none());
        assert!(registry.resume(&ids[3]).is_some());
    }
}
