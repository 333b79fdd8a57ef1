//! The final account.

use std::io::Write;

use miner_core::share::Discard;
use miner_core::snapshot::MinerSnapshot;

use super::periodic::reject_kinds;
use super::{Console, Line, Tone, Weight};
use crate::event::EndReason;
use crate::report::{format, words};

/// Width of the account's first column.
const NAME_WIDTH: usize = 18;

impl<W: Write + Send> Console<W> {
    pub(super) fn on_end(&mut self, reason: EndReason, snapshot: &MinerSnapshot) {
        let rest = format!(": {}, after {}", words::end(reason), format::duration(snapshot.uptime));
        self.say(Weight::Important, &Line::new("lode", Tone::Plain, "ended", rest));
        for (name, count, note) in self.account(snapshot) {
            let text = format!("{name:NAME_WIDTH$}{count:>10}  {note}");
            self.say(Weight::Important, &Line::new("account", Tone::Plain, "", text));
        }
    }

    /// Each row: what, how many, and what to know of it.
    fn account(&self, snapshot: &MinerSnapshot) -> Vec<(&'static str, String, String)> {
        let shares = &snapshot.shares;
        let mut rows = vec![
            ("shares found", shares.found.to_string(), String::new()),
            ("  accepted", shares.accepted.to_string(), String::new()),
            ("  rejected", shares.rejected_total().to_string(), reject_kinds(shares)),
            ("  lost", shares.lost().to_string(), lost_note(snapshot)),
        ];
        if shares.pending > 0 {
            rows.push((
                "  without verdict",
                shares.pending.to_string(),
                "still waiting when mining ended".to_owned(),
            ));
        }
        if shares.withheld >= 0.5 {
            let note = "not looked for: the pool's difficulty is too low".to_owned();
            rows.push(("withheld, about", format!("{:.0}", shares.withheld), note));
        }
        let discards = &snapshot.discards;
        rows.push(("hardware errors", discards.of(Discard::HardwareError).to_string(), String::new()));
        rows.push(("best share", format::difficulty_or_unknown(snapshot.best), String::new()));
        rows.push(("blocks found", shares.blocks.to_string(), String::new()));
        let hashes: u128 = snapshot.devices.iter().map(|device| device.hashes).sum();
        rows.push(("hashes", format::amount(hashes as f64), average_note(snapshot)));
        rows.push(self.earnings(snapshot));
        rows
    }

    /// What was earned, as far as a miner can know.
    fn earnings(&self, snapshot: &MinerSnapshot) -> (&'static str, String, String) {
        if self.practice {
            return ("earned", "nothing".to_owned(), "this was practice".to_owned());
        }
        let work = format::amount(snapshot.shares.accepted_difficulty);
        ("accepted work", work, "in difficulty; what the pool pays for it, only the pool can say".to_owned())
    }
}

fn lost_note(snapshot: &MinerSnapshot) -> String {
    let shares = &snapshot.shares;
    let late =
        if shares.late > 0 { format!("; {} answered too late to count", shares.late) } else { String::new() };
    format!("{} never sent, {} never answered{late}", shares.lost_not_sent, shares.lost_no_answer)
}

fn average_note(snapshot: &MinerSnapshot) -> String {
    format!(
        "{} counted, {} proven",
        format::rate_or_unknown(snapshot.rates.counted.average),
        format::proven_or_unknown(snapshot.rates.proven.average)
    )
}
