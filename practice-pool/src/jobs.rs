//! The jobs one client holds, and the shares it was credited for on the present block.

use std::collections::{HashSet, VecDeque};

use crate::target::U256;
use crate::verify::{Assignment, Reject};

/// The jobs sent to one client, oldest first, and its accepted shares.
///
/// They outlive the connection when the session is resumed.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    sent: VecDeque<(String, Assignment)>,
    /// The low half of each accepted hash: the high half is mostly zeros.
    seen: HashSet<[u8; 16]>,
    height: u32,
    reissues: u32,
}

impl Jobs {
    /// Takes a job into the table, the oldest of more than `capacity` giving way, and returns it with the id it is sent
    /// under.
    ///
    /// The same job sent twice, after a change of difficulty, gets a new id.
    pub(crate) fn issue(&mut self, work: Assignment, capacity: usize) -> (&str, &Assignment) {
        self.retire(work.job.height);
        let mut id = format!("{:x}", work.job.number);
        if self.sent.iter().any(|(_, sent)| sent.job.number == work.job.number) {
            self.reissues += 1;
            id = format!("{id}r{:x}", self.reissues);
        }
        if self.sent.len() >= capacity {
            self.sent.pop_front();
        }
        let (id, work) = self.sent.push_back_mut((id, work));
        (id, work)
    }

    /// Makes the jobs below a height stale and forgets their shares.
    pub(crate) fn retire(&mut self, height: u32) {
        if height > self.height {
            self.height = height;
            self.seen.clear();
        }
    }

    /// Finds the job a share names, even when it is stale.
    pub(crate) fn find(&self, id: &str) -> Option<&Assignment> {
        self.sent.iter().find(|(sent, _)| sent == id).map(|(_, work)| work)
    }

    /// Whether a new block has made a job worthless.
    pub(crate) fn is_stale(&self, work: &Assignment) -> bool {
        work.job.height < self.height
    }

    /// Whether a share of this hash was accepted on the present block.
    pub(crate) fn has_seen(&self, hash: U256) -> bool {
        self.seen.contains(&low_half(hash))
    }

    /// Remembers an accepted share.
    ///
    /// # Errors
    /// [`Reject::TooMany`] when `capacity` shares are remembered: what could be a duplicate unnoticed isn't accepted.
    pub(crate) fn remember(&mut self, hash: U256, capacity: usize) -> Result<(), Reject> {
        if self.seen.len() >= capacity {
            return Err(Reject::TooMany);
        }
        self.seen.insert(low_half(hash));
        Ok(())
    }
}

fn low_half(hash: U256) -> [u8; 16] {
    *hash.to_le_bytes().first_chunk().expect("32 bytes begin with 16")
}
