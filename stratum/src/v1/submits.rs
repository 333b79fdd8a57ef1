//! Shares under way, matched with their answers by id alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use miner_core::share::{LostReason, Reject, RejectKind, Share, ShareOutcome};
use miner_core::types::ShareId;

use super::config::VersionConvention;
use super::message::Reply;
use crate::{PoolEvent, ProtocolError};

/// Most shares under way at once.
pub(super) const MAX_IN_FLIGHT: usize = 256;
/// After this an answer counts as overdue.
const OVERDUE: Duration = Duration::from_secs(30);
/// After this a share is lost.
const LOST: Duration = Duration::from_secs(120);
/// This many overdue in a row, and nothing after them: the pool has stopped answering.
const MAX_OVERDUE: usize = 3;
/// Shares given up that a late answer is still matched with.
const MAX_REMEMBERED: usize = 256;
/// Fruitless second tries in the other version convention, until it counts as settled that this is not the reason.
const MAX_FRUITLESS: u8 = 3;

/// Shares under way.
#[derive(Debug, Default)]
pub(super) struct Submits {
    in_flight: BTreeMap<u64, InFlight>,
    given_up: VecDeque<(u64, ShareId)>,
    last_answered: u64,
    fruitless: u8,
}

/// How a share was put on the wire.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) share: ShareId,
    pub(super) sent: Instant,
    /// The pool may have it from an earlier connection: then "duplicate" means that it counts.
    pub(super) resent: bool,
    pub(super) convention: VersionConvention,
    /// Kept where the conventions differ for this share and the other one is still worth a try.
    pub(super) other: Option<Share>,
    /// This is the other one: the refusal of the first.
    pub(super) refused: Option<Reject>,
    pub(super) overdue: bool,
}

/// What an answer leads to.
#[derive(Debug)]
pub(super) enum Answer {
    /// To no share of ours, or answered before.
    Unknown,
    /// Something to tell.
    Tell(PoolEvent),
    /// The share is to be sent again, with the version bits in the other convention.
    Retry { share: Share, refused: Reject, convention: VersionConvention, resent: bool },
    /// Something to tell, after which the session is of no more use.
    Broken(PoolEvent, ProtocolError),
}

impl Submits {
    /// Whether one more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT
    }

    /// A share was sent with this request id.
    pub(super) fn sent(&mut self, id: u64, entry: InFlight) {
        self.in_flight.insert(id, entry);
    }

    /// Whether a second try in the other convention may still tell something.
    pub(super) fn tries_conventions(&self) -> bool {
        self.fruitless < MAX_FRUITLESS
    }

    /// An answer came. `convention` is what is known of the pool, and learned here.
    pub(super) fn on_reply(
        &mut self,
        id: u64,
        reply: &Reply,
        convention: &mut Option<VersionConvention>,
    ) -> Answer {
        let Some(entry) = self.in_flight.remove(&id) else {
            return self.on_late_reply(id, reply);
        };
        self.last_answered = self.last_answered.max(id);
        if reply.is_yes() {
            if entry.other.is_some() || entry.refused.is_some() {
                *convention = Some(entry.convention);
            }
            return Answer::Tell(resolved(entry.share, ShareOutcome::Accepted));
        }
        let reject = classify(reply);
        match reject.kind {
            RejectKind::Duplicate if entry.resent => {
                return Answer::Tell(resolved(entry.share, ShareOutcome::Accepted));
            }
            RejectKind::LowDifficulty if *convention != Some(entry.convention) => {
                if let Some(share) = entry.other {
                    let convention = entry.convention.other();
                    return Answer::Retry { share, refused: reject, convention, resent: entry.resent };
                }
            }
            _ => {}
        }
        if entry.refused.is_some() {
            self.fruitless = self.fruitless.saturating_add(1);
        }
        let (kind, text) = (reject.kind, reject.text.to_string());
        // After a second try the first refusal is the true one.
        let event = resolved(entry.share, ShareOutcome::Rejected(entry.refused.unwrap_or(reject)));
        match kind {
            RejectKind::Unauthorized => Answer::Broken(event, ProtocolError::Unauthorized(text)),
            RejectKind::NotSubscribed => {
                Answer::Broken(event, ProtocolError::Refused { step: "mining.submit", why: text })
            }
            _ => Answer::Tell(event),
        }
    }

    fn on_late_reply(&mut self, id: u64, reply: &Reply) -> Answer {
        let Some(at) = self.given_up.iter().position(|&(lost, _)| lost == id) else { return Answer::Unknown };
        let share = self.given_up.remove(at).map(|(_, share)| share);
        share.map_or(Answer::Unknown, |share| {
            Answer::Tell(PoolEvent::Late { share, accepted: reply.is_yes() })
        })
    }

    /// Gives up what waited too long, and tells how many became overdue. Fails when the pool has stopped answering.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        mut tell: impl FnMut(PoolEvent),
    ) -> Result<usize, ProtocolError> {
        let mut newly = 0;
        for entry in self.in_flight.values_mut().filter(|entry| !entry.overdue) {
            entry.overdue = entry.sent + OVERDUE <= now;
            newly += usize::from(entry.overdue);
        }
        while let Some(first) = self.in_flight.first_entry().filter(|first| first.get().sent + LOST <= now) {
            let (id, share) = (*first.key(), first.remove().share);
            if self.given_up.len() == MAX_REMEMBERED {
                self.given_up.pop_front();
            }
            self.given_up.push_back((id, share));
            tell(resolved(share, ShareOutcome::Lost(LostReason::NoAnswer)));
        }
        let after_last = self.in_flight.range(self.last_answered + 1..);
        if after_last.filter(|(_, entry)| entry.overdue).count() >= MAX_OVERDUE {
            return Err(ProtocolError::Timeout { what: "answer to the last shares", after: OVERDUE });
        }
        Ok(newly)
    }

    /// When something becomes overdue or lost.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let lost = self.in_flight.first_key_value().map(|(_, first)| first.sent + LOST);
        let overdue = self.in_flight.values().find(|entry| !entry.overdue).map(|entry| entry.sent + OVERDUE);
        lost.into_iter().chain(overdue).min()
    }
}

impl VersionConvention {
    fn other(self) -> Self {
        match self {
            Self::Bip310 => Self::Xor,
            Self::Xor => Self::Bip310,
        }
    }
}

fn resolved(share: ShareId, outcome: ShareOutcome) -> PoolEvent {
    PoolEvent::Resolved { share, outcome }
}

/// What kind of refusal this is, by the code and, failing that, by the words.
pub(super) fn classify(reply: &Reply) -> Reject {
    let code = reply.failure().and_then(|(code, _)| code);
    let text = reply.reason();
    let kind = match code {
        Some(21) => RejectKind::Stale,
        Some(22) => RejectKind::Duplicate,
        Some(23) => RejectKind::LowDifficulty,
        Some(24) => RejectKind::Unauthorized,
        Some(25) => RejectKind::NotSubscribed,
        _ => kind_of(&text.to_lowercase()),
    };
    Reject { kind, code, text: text.into() }
}

fn kind_of(text: &str) -> RejectKind {
    const WORDS: [(&str, RejectKind); 13] = [
        ("duplicate", RejectKind::Duplicate),
        ("stale", RejectKind::Stale),
        ("job not found", RejectKind::Stale),
        ("invalid job", RejectKind::Stale),
        ("unknown job", RejectKind::Stale),
        ("low diff", RejectKind::LowDifficulty),
        ("low-diff", RejectKind::LowDifficulty),
        ("difficulty too low", RejectKind::LowDifficulty),
        ("above target", RejectKind::LowDifficulty),
        ("below minimum diff", RejectKind::LowDifficulty),
        ("unauthori", RejectKind::Unauthorized),
        ("not authori", RejectKind::Unauthorized),
        ("not subscribed", RejectKind::NotSubscribed),
    ];
    WORDS.iter().find(|(word, _)| text.contains(word)).map_or(RejectKind::Other, |&(_, kind)| kind)
}
