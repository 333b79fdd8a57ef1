//! The shares of one source that are not answered yet: each leaves the outbox exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::share::{LostReason, Share};
use miner_core::types::ShareId;
use stratum::io::Command;

/// The most shares that wait to be sent.
pub const CAPACITY: usize = 1_000;
/// How long after it was found a share may wait for a session to send it or to answer it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The unanswered shares of one source, over any number of its connections.
///
/// A share is `queued` until it is sent, then `sent` until it is answered. Whatever leaves by [`expire`](Self::expire)
/// or [`abandon`](Self::abandon) is lost, with the reason.
#[derive(Debug, Default)]
pub struct Outbox {
    queued: VecDeque<Waiting>,
    sent: BTreeMap<ShareId, Waiting>,
    /// Sent over a session that has gone, to be sent again if it is resumed; in the order of finding.
    again: BTreeMap<ShareId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    share: Arc<Share>,
    since: Instant,
}

impl Outbox {
    /// Takes a share in; gives it back where there is no room: it is lost, not sent.
    pub fn push(&mut self, now: Instant, share: Arc<Share>) -> Result<(), Arc<Share>> {
        if self.queued.len() >= CAPACITY {
            return Err(share);
        }
        self.queued.push_back(Waiting { share, since: now });
        Ok(())
    }

    /// The next share to send, booked as sent: the caller must send it.
    pub fn next_command(&mut self) -> Option<Command> {
        // Its patience is not renewed: a pool that resumes and never answers does not keep it for ever.
        let (next, waiting) = match self.again.pop_first() {
            Some((_, waiting)) => (Command::Resubmit(Arc::clone(&waiting.share)), waiting),
            None => {
                let waiting = self.queued.pop_front()?;
                (Command::Submit(Arc::clone(&waiting.share)), waiting)
            }
        };
        self.sent.insert(waiting.share.id, waiting);
        Some(next)
    }

    /// Whether [`next_command`](Self::next_command) has one.
    pub fn has_next(&self) -> bool {
        !self.again.is_empty() || !self.queued.is_empty()
    }

    /// Takes back what was booked as sent and was not, in front of what waits.
    pub fn put_back(&mut self, command: Command) {
        match command {
            Command::Submit(share) => {
                if let Some(waiting) = self.sent.remove(&share.id) {
                    self.queued.push_front(waiting);
                }
            }
            Command::Resubmit(share) => self.again.extend(self.sent.remove_entry(&share.id)),
            Command::SuggestDifficulty(_) => {}
        }
    }

    /// Books an answer; whether the share was waiting for one.
    pub fn answered(&mut self, share: ShareId) -> bool {
        self.sent.remove(&share).is_some()
    }

    /// The session has gone: what it left unanswered waits for a resumption.
    pub fn disconnected(&mut self) {
        self.again.append(&mut self.sent);
    }

    /// Takes out what has waited too long while there was no session.
    pub fn expire(&mut self, now: Instant) -> Vec<(ShareId, LostReason)> {
        let late = |waiting: &Waiting| now >= waiting.since + PATIENCE;
        let mut lost = Vec::new();
        while let Some(oldest) = self.again.first_entry().filter(|oldest| late(oldest.get())) {
            lost.push((oldest.remove().share.id, LostReason::NoAnswer));
        }
        while let Some(waiting) = self.queued.pop_front_if(|waiting| late(waiting)) {
            lost.push((waiting.share.id, LostReason::NotSent));
        }
        lost
    }

    /// When [`expire`](Self::expire) has something to take out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let oldest = self.again.values().next();
        oldest.into_iter().chain(self.queued.front()).map(|waiting| waiting.since + PATIENCE).min()
    }

    /// Takes out everything: there will be no session to send or answer it.
    pub fn abandon(&mut self) -> Vec<(ShareId, LostReason)> {
        self.disconnected();
        let unanswered =
            std::mem::take(&mut self.again).into_keys().map(|share| (share, LostReason::NoAnswer));
        unanswered
            .chain(self.queued.drain(..).map(|waiting| (waiting.share.id, LostReason::NotSent)))
            .collect()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.sent.is_empty() && self.again.is_empty()
    }
}

#[cfg(test)]
mod tests;
