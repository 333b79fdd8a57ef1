//! Lines about shares, blocks and candidates.

use std::io::Write;
use std::time::Duration;

use miner_core::share::{Discard, LostReason, Share, ShareOutcome};
use miner_core::types::{BackendId, Difficulty, SourceId};

use super::{Console, Line, Tone, Topic, Weight};
use crate::report::{format, words};

impl<W: Write + Send> Console<W> {
    pub(super) fn on_found(&mut self, share: &Share) {
        let rest = format!(" {}, {}", self.difficulty_of(share), self.names.device(share.backend));
        self.say_often(Topic::Found, Weight::Detail, &Line::new("share", Tone::Plain, "found", rest));
    }

    pub(super) fn on_resolved(&mut self, share: &Share, outcome: &ShareOutcome, latency: Duration) {
        let device = self.names.device(share.backend);
        let facts = format!("{}, {device}, {}", self.difficulty_of(share), format::latency(latency));
        let (topic, weight, tone, head, rest) = match outcome {
            ShareOutcome::Accepted => {
                self.tally.accepted += 1;
                let rest = format!(" {} {facts}", self.tally());
                (Topic::Accepted, Weight::Normal, Tone::Good, "accepted", rest)
            }
            ShareOutcome::Rejected(reject) => {
                self.tally.rejected += 1;
                let rest = format!(" {} {}; {facts}", self.tally(), words::reject(reject));
                (Topic::Rejected, Weight::Important, Tone::Bad, "REJECTED", rest)
            }
            ShareOutcome::Lost(reason) => {
                let rest = format!(": {}; {facts}", words::lost(*reason));
                (Topic::Lost, Weight::Important, Tone::Warning, "lost", rest)
            }
        };
        self.say_often(topic, weight, &Line::new("share", tone, head, rest));
    }

    pub(super) fn on_late(&mut self, source: SourceId, booked: LostReason, accepted: bool) {
        let verdict = if accepted { "accepted" } else { "rejected" };
        let booked = match booked {
            LostReason::NotSent => "never sent",
            LostReason::NoAnswer => "not answered",
        };
        let rest = format!(
            " from pool {source}: {verdict} a share that is booked as lost ({booked}), where it stays"
        );
        self.say_often(Topic::Late, Weight::Normal, &Line::new("share", Tone::Warning, "late answer", rest));
    }

    pub(super) fn on_block(&mut self, share: &Share) {
        let height = share.job.height().map_or_else(String::new, |height| format!(" at height {height}"));
        let device = self.names.device(share.backend);
        let rest = format!("{height} by {device} for pool {}", share.job.source);
        self.say(Weight::Important, &Line::new("BLOCK", Tone::Block, "*** BLOCK FOUND ***", rest));
        let hash = share.hash.to_string();
        self.say(Weight::Important, &Line::new("BLOCK", Tone::Block, hash, ""));
        if self.practice {
            let rest = "on the practice chain: worth nothing, but found as a real one would be";
            self.say(Weight::Important, &Line::new("BLOCK", Tone::Plain, "", rest));
        }
    }

    pub(super) fn on_discard(&mut self, backend: BackendId, reason: Discard) {
        let (weight, tone, head) = match reason {
            Discard::BelowShareTarget => return,
            Discard::Stale => (Weight::Detail, Tone::Plain, "discarded"),
            Discard::HardwareError => (Weight::Important, Tone::Bad, "HARDWARE ERROR"),
            _ => (Weight::Important, Tone::Warning, "discarded"),
        };
        let mut rest = format!(": {}", words::discard(reason));
        if reason == Discard::HardwareError {
            self.hardware_errors += 1;
            rest += &format!(" ({} so far in all)", self.hardware_errors);
        }
        self.say_often(Topic::Discard, weight, &Line::new(self.names.device(backend), tone, head, rest));
    }

    fn tally(&self) -> String {
        format!("({}/{})", self.tally.accepted, self.tally.rejected)
    }

    fn difficulty_of(&self, share: &Share) -> String {
        let asked = Difficulty::of(share.job.share_target);
        let block = if share.is_block { " (block)" } else { "" };
        format!(
            "difficulty {} / {}{block}",
            format::difficulty(share.difficulty()),
            format::difficulty(asked)
        )
    }
}
