//! Lines for people, such as users of other miners read at once.

mod account;
mod device;
mod flood;
mod gap;
mod line;
mod periodic;
mod pool;
mod share;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use miner_core::backend::HealthState;
use miner_core::event::MinerEvent;
use miner_core::types::{BackendId, Difficulty, SourceId};

use self::flood::{Floods, Topic};
use self::line::{Clock, Line, Tone, Weight};
use super::Reporter;
use super::names::Names;
use super::output::Output;
use super::pace::Pace;
use super::words;
use crate::event::{Event, EventKind, StartFacts};

/// Reports in lines for people.
///
/// Times are local (the zone that the system states, UTC where it states none). Below verbosity 0 only trouble,
/// blocks and the final account are said.
pub struct Console<W> {
    output: Output<W>,
    clock: Clock,
    color: bool,
    least: Weight,
    names: Names,
    practice: bool,
    pace: Pace,
    floods: Floods,
    now: Timestamp,
    tally: Tally,
    hardware_errors: u64,
    difficulties: BTreeMap<SourceId, Difficulty>,
    /// The end is near: that pools are left is no news.
    draining: bool,
    gaps: BTreeMap<BackendId, bool>,
    states: BTreeMap<BackendId, HealthState>,
}

/// Verdicts so far, as the share lines count them.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    accepted: u64,
    rejected: u64,
}

/// How a [`Console`] looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether to colour.
    pub color: bool,
    /// Below 0 less, above 0 more.
    pub verbosity: i8,
    /// Time between two periodic reports.
    pub interval: Duration,
    /// The zone of the times.
    pub zone: TimeZone,
    /// Whether dates stand before the lines, as a file needs them.
    pub dates: bool,
}

impl<W: Write + Send> Console<W> {
    /// Writes to `writer`, which the log calls `name`.
    pub fn new(writer: W, name: &'static str, look: Look) -> Self {
        Self {
            output: Output::new(writer, name),
            clock: if look.dates { Clock::Date(look.zone) } else { Clock::TimeOfDay(look.zone) },
            color: look.color,
            least: Weight::shown_at(look.verbosity),
            names: Names::default(),
            practice: false,
            pace: Pace::every(look.interval),
            floods: Floods::new(),
            now: Timestamp::UNIX_EPOCH,
            tally: Tally::default(),
            hardware_errors: 0,
            difficulties: BTreeMap::new(),
            draining: false,
            gaps: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    fn say(&mut self, weight: Weight, line: &Line) {
        if weight >= self.least {
            self.output.line(&line.layout(self.now, &self.clock, self.color));
        }
    }

    /// Says a line that can come often; counts it where too many do.
    fn say_often(&mut self, topic: Topic, weight: Weight, line: &Line) {
        if weight >= self.least && self.floods.admit(topic, self.now) {
            self.say(weight, line);
        }
    }

    fn say_hidden(&mut self, at: Option<Timestamp>) {
        for (tag, text) in self.floods.settle(at) {
            self.say(self.least, &Line::new(tag, Tone::Plain, "", text));
        }
    }

    fn on_start(&mut self, facts: &StartFacts) {
        self.practice = facts.practice;
        let version = facts.version.strip_prefix("lode ").unwrap_or(&facts.version);
        self.say(Weight::Normal, &Line::new("lode", Tone::Plain, version, ""));
        for (number, pool) in facts.pools.iter().enumerate() {
            let line = Line::new(
                format!("pool {number}"),
                Tone::Plain,
                pool.url.clone(),
                format!(" as {}", pool.user),
            );
            self.say(Weight::Normal, &line);
        }
        if facts.emulated {
            let rest = ": some devices exist in software alone. They find only what somebody found before, in old jobs that \
                        the practice pool serves again; their rates are not real";
            self.say(Weight::Important, &Line::new("lode", Tone::Warning, "EMULATED", rest));
        }
        if self.practice {
            let real = if facts.emulated { "" } else { ". For a real pool: -o URL -u USER" };
            let rest = format!(": mining for the built-in practice pool, which earns nothing{real}");
            self.say(Weight::Important, &Line::new("lode", Tone::Warning, "PRACTICE", rest));
        }
    }

    fn on_miner(&mut self, event: &MinerEvent) {
        match event {
            MinerEvent::JobAdopted { job, restarted, .. } => self.on_job(job, *restarted),
            MinerEvent::ShareFound(share) => self.on_found(share),
            MinerEvent::ShareResolved { share, outcome, latency } => {
                self.on_resolved(share, outcome, *latency)
            }
            MinerEvent::ShareLate { source, booked, accepted } => self.on_late(*source, *booked, *accepted),
            MinerEvent::BlockFound(share) => self.on_block(share),
            MinerEvent::CandidateDiscarded { backend, reason } => self.on_discard(*backend, *reason),
            MinerEvent::BackendUp { .. }
            | MinerEvent::BackendHealth { .. }
            | MinerEvent::BackendDown { .. }
            | MinerEvent::RateLearned { .. } => self.on_device(event),
            _ => self.on_source(event),
        }
    }
}

impl<W: Write + Send> Reporter for Console<W> {
    fn report(&mut self, event: &Event) {
        self.now = event.at;
        self.names.learn(event);
        self.say_hidden(Some(event.at));
        match &event.kind {
            EventKind::Started(facts) => self.on_start(facts),
            EventKind::Miner(event) => self.on_miner(event),
            EventKind::Pool { source, notice } => self.on_pool(*source, notice),
            EventKind::Snapshot(snapshot) => self.on_snapshot(snapshot),
            EventKind::Draining(reason) => {
                self.draining = true;
                let rest = format!(": {}; waiting a moment for the pool's last answers", words::end(*reason));
                self.say(Weight::Normal, &Line::new("lode", Tone::Plain, "stopping", rest));
            }
            EventKind::Ended { reason, snapshot } => {
                self.say_hidden(None);
                self.on_end(*reason, snapshot);
            }
        }
    }

    fn lagged(&mut self, count: u64) {
        let rest =
            format!(": {count} events were not shown, because this output is slow; all counts stay right");
        self.say(Weight::Important, &Line::new("lode", Tone::Warning, "behind", rest));
    }
}

#[cfg(test)]
mod tests;
