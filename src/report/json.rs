//! JSON lines for programs: documented in `docs/json-lines.md`, checked by `docs/json-lines.schema.json`.

mod lines;
mod state;

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use miner_core::event::MinerEvent;
use miner_core::share::Discard;
use miner_core::types::SourceId;
use serde::Serialize;

use self::lines::{
    BlockLine, DeviceLine, DifficultyLine, DiscardLine, EndLine, JobLine, Line, PoolLine, ShareLine,
    StartLine,
};
use self::state::StateLine;
use super::Reporter;
use super::names::Names;
use super::output::Output;
use super::pace::Pace;
use crate::event::{Event, EventKind, PoolNotice};

/// Reports in JSON lines, one for each thing that happened; nothing else is written.
///
/// A snapshot is written once each interval. Hits that the pool did not ask for are only counted, in the snapshots.
pub struct Json<W> {
    output: Output<W>,
    names: Names,
    pace: Pace,
    missed: u64,
}

impl<W: Write + Send> Json<W> {
    /// Writes to `writer`, which the log calls `name`; a snapshot each `interval`.
    pub fn new(writer: W, name: &'static str, interval: Duration) -> Self {
        Self {
            output: Output::new(writer, name),
            names: Names::default(),
            pace: Pace::every(interval),
            missed: 0,
        }
    }

    fn write<T: Serialize>(&mut self, at: Timestamp, kind: &'static str, body: T) {
        self.output.line(&text(at, kind, body));
    }

    fn on_miner(&mut self, at: Timestamp, event: &MinerEvent) {
        match event {
            MinerEvent::JobAdopted { job, generation, restarted } => {
                self.write(at, "job", JobLine::of(job, *generation, *restarted));
            }
            MinerEvent::ShareResolved { share, outcome, latency } => {
                let device = self.names.device(share.backend);
                self.write(at, "share", ShareLine::of(share, &device, outcome, *latency));
            }
            MinerEvent::BlockFound(share) => {
                let device = self.names.device(share.backend);
                self.write(at, "block", BlockLine::of(share, &device));
            }
            MinerEvent::CandidateDiscarded { reason: Discard::BelowShareTarget, .. } => {}
            MinerEvent::CandidateDiscarded { backend, reason } => {
                let device = self.names.device(*backend);
                self.write(at, "discard", DiscardLine::of(&device, *reason));
            }
            _ => self.on_state(at, event),
        }
    }

    fn on_state(&mut self, at: Timestamp, event: &MinerEvent) {
        if let Some(line) = PoolLine::of_event(event) {
            self.write(at, "pool", line);
        } else if let Some(line) = DeviceLine::of_event(event, &self.names) {
            self.write(at, "device", line);
        }
    }

    fn on_pool(&mut self, at: Timestamp, source: SourceId, notice: &PoolNotice) {
        match notice {
            PoolNotice::Difficulty(difficulty) => {
                let line = DifficultyLine { pool: source.0, difficulty: difficulty.get() };
                self.write(at, "difficulty", line);
            }
            _ => self.write(at, "pool", PoolLine::of_notice(source, notice)),
        }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn report(&mut self, event: &Event) {
        self.names.learn(event);
        match &event.kind {
            EventKind::Started(facts) => self.write(event.at, "start", StartLine::of(facts)),
            EventKind::Miner(miner_event) => self.on_miner(event.at, miner_event),
            EventKind::Pool { source, notice } => self.on_pool(event.at, *source, notice),
            EventKind::Snapshot(snapshot) => {
                if self.pace.is_due(snapshot.uptime) {
                    let state = StateLine::of(snapshot, &self.names, self.missed);
                    self.output.line(&text(event.at, "snapshot", state));
                }
            }
            // Nothing is decided yet: the end line tells why, and with what result.
            EventKind::Draining(_) => {}
            EventKind::Ended { reason, snapshot } => {
                let state = StateLine::of(snapshot, &self.names, self.missed);
                self.output.line(&text(event.at, "end", EndLine::of(*reason, state)));
            }
        }
    }

    fn lagged(&mut self, count: u64) {
        self.missed = self.missed.saturating_add(count);
    }
}

fn text<T: Serialize>(at: Timestamp, kind: &'static str, body: T) -> String {
    serde_json::to_string(&Line::new(at, kind, body)).expect("all keys are strings")
}

#[cfg(test)]
pub(crate) mod schema;
#[cfg(test)]
mod tests;
