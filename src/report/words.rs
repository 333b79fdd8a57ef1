//! Why things happened, in words.

use miner_core::share::{Discard, LostReason, Reject, RejectKind};

use super::format::printable;
use crate::event::EndReason;

/// A refusal: its kind, what that means, and what the pool said.
pub(super) fn reject(reject: &Reject) -> String {
    let meaning = match reject.kind {
        RejectKind::Stale => "the pool had moved on to another job when the share arrived",
        RejectKind::Duplicate => "the pool had this share already",
        RejectKind::LowDifficulty => "the hash misses the target that the pool applied",
        RejectKind::Unauthorized => "the pool does not accept this user or worker: check the user name",
        RejectKind::NotSubscribed => "the pool no longer knows this session",
        RejectKind::Other => "the pool gave a reason of its own",
    };
    let said = match (reject.text.is_empty(), reject.code) {
        (true, None) => String::new(),
        (true, Some(code)) => format!(" (code {code})"),
        (false, None) => format!(" (\"{}\")", printable(&reject.text)),
        (false, Some(code)) => format!(" (\"{}\", code {code})", printable(&reject.text)),
    };
    format!("{}: {meaning}{said}", reject_kind(reject.kind))
}

/// A kind of refusal, in short.
pub(super) fn reject_kind(kind: RejectKind) -> &'static str {
    match kind {
        RejectKind::Stale => "stale",
        RejectKind::Duplicate => "duplicate",
        RejectKind::LowDifficulty => "low difficulty",
        RejectKind::Unauthorized => "unauthorised",
        RejectKind::NotSubscribed => "not subscribed",
        RejectKind::Other => "other",
    }
}

/// Why no verdict is known.
pub(super) fn lost(reason: LostReason) -> &'static str {
    match reason {
        LostReason::NotSent => "never sent: the connection was gone",
        LostReason::NoAnswer => "sent, but never answered: the pool may have counted it",
    }
}

/// Why a candidate was thrown away.
pub(super) fn discard(reason: Discard) -> &'static str {
    match reason {
        Discard::Stale => "its job is worthless by now",
        Discard::UnknownWork => "it belongs to no work that the device had",
        Discard::OutOfLease => "it lies outside the work that the device had",
        Discard::HardwareError => "the hash does not hold when computed again",
        Discard::Duplicate => "the device reported it before",
        Discard::BelowShareTarget => "too easy for the pool",
    }
}

/// Why mining ended.
pub(super) fn end(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Interrupted => "interrupted (Ctrl-C)",
        EndReason::Terminated => "terminated (SIGTERM)",
        EndReason::SharesReached => "the asked number of shares is accepted",
        EndReason::TimeLimit => "the time limit is reached",
        EndReason::NoDevice => "no device is left",
    }
}
