//! The periodic report: rates, accounts, each device.

use std::io::Write;

use miner_core::share::{Discard, RejectKind};
use miner_core::snapshot::{MinerSnapshot, Rates, ShareCounts};

use super::{Console, Line, Tally, Tone, Weight};
use crate::report::{format, words};

impl<W: Write + Send> Console<W> {
    pub(super) fn on_snapshot(&mut self, snapshot: &MinerSnapshot) {
        let shares = &snapshot.shares;
        self.tally = Tally { accepted: shares.accepted, rejected: shares.rejected_total() };
        self.hardware_errors = snapshot.discards.of(Discard::HardwareError);
        if !self.pace.is_due(snapshot.uptime) {
            return;
        }
        self.say_rates(&snapshot.rates);
        self.say_accounts(snapshot);
        for device in &snapshot.devices {
            self.say_device(device);
            self.say_gap(device);
        }
    }

    fn say_rates(&mut self, rates: &Rates) {
        let (counted, proven) = (&rates.counted, &rates.proven);
        let [c5, c1, c15] = [counted.s5, counted.m1, counted.m15].map(format::rate_or_unknown);
        let [p5, p1, p15] = [proven.s5, proven.m1, proven.m15].map(format::proven_or_unknown);
        let counted = format!("  5s {c5}  1m {c1}  15m {c15}");
        let proven = format!("   5s {p5}  1m {p1}  15m {p15}");
        self.say(Weight::Normal, &Line::new("rate", Tone::Plain, "counted", counted));
        self.say(Weight::Normal, &Line::new("rate", Tone::Plain, "proven", proven));
    }

    fn say_accounts(&mut self, snapshot: &MinerSnapshot) {
        let rest = format!(
            " {}, hardware errors {}; best share {}; up {}",
            accounts(&snapshot.shares),
            snapshot.discards.of(Discard::HardwareError),
            format::difficulty_or_unknown(snapshot.best),
            format::duration(snapshot.uptime),
        );
        self.say(Weight::Normal, &Line::new("shares", Tone::Plain, "accepted", rest));
    }
}

/// `12, rejected 2 (1 stale, 1 duplicate), lost 0`, and what is rarer only where it happened.
pub(super) fn accounts(shares: &ShareCounts) -> String {
    let mut text = format!("{}, rejected {}", shares.accepted, shares.rejected_total());
    text += &format!(" ({}), lost {}", reject_kinds(shares), shares.lost());
    for (count, what) in
        [(shares.pending, "waiting"), (shares.late, "answered late"), (shares.blocks, "BLOCKS")]
    {
        if count > 0 {
            text += &format!(", {what} {count}");
        }
    }
    if shares.withheld > 0.0 {
        text += &format!(", withheld about {}", format::amount(shares.withheld.round()));
    }
    text
}

/// The kinds of refusal; stale ones always, since people look for them.
pub(super) fn reject_kinds(shares: &ShareCounts) -> String {
    let told = |kind: &RejectKind| *kind == RejectKind::Stale || shares.rejected_as(*kind) > 0;
    let text = |kind: RejectKind| format!("{} {}", shares.rejected_as(kind), words::reject_kind(kind));
    RejectKind::ALL.into_iter().filter(told).map(text).collect::<Vec<_>>().join(", ")
}
