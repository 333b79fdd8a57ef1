//! One connection of Stratum V1.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use miner_core::share::{LostReason, Share, ShareOutcome};
use miner_core::types::Difficulty;
use serde_json::Value;

use super::TEXT_LIMIT;
use super::config::{V1Config, V1Memory, VersionConvention};
use super::handshake::{Call, Handshake};
use super::jobs::Jobs;
use super::lines::{Line, Lines};
use super::liveness::Liveness;
use super::message::{Message, Reply};
use super::notices::Notices;
use super::outbox::Outbox;
use super::params::{self, Notify};
use super::submits::{Answer, InFlight, Submits};
use crate::text::printable;
use crate::{PoolEvent, PoolProtocol, ProtocolError};

/// Least time between two requests for another difficulty.
const SUGGEST_INTERVAL: Duration = Duration::from_secs(60);

/// A connection to a pool that speaks Stratum V1.
///
/// It pipelines `mining.configure`, `mining.subscribe` and `mining.authorize`, and is ready when all three are answered
/// (the first of them may stay unanswered for 5 s). Jobs that come earlier wait until then. Every share handed to
/// [`submit`](PoolProtocol::submit) is resolved at most once: those without an answer when the connection ends are the
/// caller's to re-send or to give up.
#[derive(Debug)]
pub struct V1Client {
    pub(super) config: V1Config,
    pub(super) memory: V1Memory,
    pub(super) outbox: Outbox,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) handshake: Handshake,
    pub(super) jobs: Jobs,
    pub(super) notices: Notices,
    pub(super) events: VecDeque<PoolEvent>,
    pub(super) reconnecting: bool,
    lines: Lines,
    submits: Submits,
    liveness: Option<Liveness>,
    suggested_at: Option<Instant>,
    counters: V1Counters,
    ended: Option<ProtocolError>,
}

/// What one connection saw, for diagnosis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V1Counters {
    /// Lines read.
    pub lines: u64,
    /// Lines that were no message, the too long ones included.
    pub unreadable: u64,
    /// Messages with parameters of no use.
    pub unusable: u64,
    /// Answers to no request of ours, or to one answered before.
    pub unsolicited: u64,
    /// Methods that are not known.
    pub unknown_methods: u64,
}

impl V1Client {
    /// A connection to come; `memory` is that of the same pool's last one.
    pub fn new(config: V1Config, memory: V1Memory) -> Self {
        Self {
            lines: Lines::new(config.bounded_line_cap()),
            jobs: Jobs::new(config.source, config.epoch),
            config,
            memory,
            outbox: Outbox::default(),
            calls: BTreeMap::new(),
            handshake: Handshake::default(),
            notices: Notices::default(),
            events: VecDeque::new(),
            reconnecting: false,
            submits: Submits::default(),
            liveness: None,
            suggested_at: None,
            counters: V1Counters::default(),
            ended: None,
        }
    }

    /// What the next connection to this pool should know.
    pub fn into_memory(mut self) -> V1Memory {
        self.remember_muteness(self.counters.lines > 0);
        self.memory.notify_gap = self.liveness.and_then(|l| l.notify_gap()).or(self.memory.notify_gap);
        self.memory
    }

    /// What was seen so far.
    pub fn counters(&self) -> V1Counters {
        self.counters
    }

    /// Shows the operator something odd, unless there was too much of it.
    pub(super) fn warn(&mut self, now: Instant, text: impl Into<String>) {
        if let Some(text) = self.notices.warn_at(now, text.into()) {
            self.events.push_back(PoolEvent::Warning(text));
        }
    }

    /// Parameters were of no use.
    pub(super) fn unusable(&mut self, now: Instant, method: &str, why: impl std::fmt::Display) {
        self.counters.unusable += 1;
        self.warn(now, format!("{method} of no use: {why}"));
    }

    /// A method that is not known.
    pub(super) fn unknown_method(&mut self) {
        self.counters.unknown_methods += 1;
    }

    /// Asks for another share difficulty; at most once a minute, and only when ready.
    pub(super) fn suggest(&mut self, now: Instant, difficulty: Difficulty) {
        let early = self.suggested_at.is_some_and(|last| now < last + SUGGEST_INTERVAL);
        if !self.handshake.is_ready() || early {
            return;
        }
        self.suggested_at = Some(now);
        let value = difficulty.get();
        // ckpool takes whole numbers only; below 1 only a fraction makes sense, and only pools that know fractions ask.
        let value = if (1.0..9e15).contains(&value) { Value::from(value as u64) } else { Value::from(value) };
        if let Some(id) = self.outbox.request("mining.suggest_difficulty", [value]) {
            self.calls.insert(id, Call::Ignored);
        }
    }

    fn read(&mut self, now: Instant, mut input: &[u8]) -> Result<(), ProtocolError> {
        let before = self.counters.lines;
        while !input.is_empty() {
            let Some(line) = self.lines.next(&mut input)? else { break };
            self.counters.lines += 1;
            if let Some(liveness) = &mut self.liveness {
                liveness.on_line(now);
            }
            match line {
                Line::Whole(line) if line.trim_ascii().is_empty() => {}
                Line::Whole(line) => match Message::parse(&line) {
                    Ok(message) => {
                        self.on_message(now, message)?;
                        self.become_ready(now);
                    }
                    Err(error) => self.on_garbage(now, &error.to_string())?,
                },
                Line::TooLong => self.on_garbage(now, "a line is too long")?,
            }
        }
        let (partial, lines) = (self.lines.is_partial(), self.counters.lines > before);
        if let Some(liveness) = &mut self.liveness {
            liveness.on_read(now, partial, lines);
        }
        Ok(())
    }

    fn on_garbage(&mut self, now: Instant, why: &str) -> Result<(), ProtocolError> {
        self.counters.unreadable += 1;
        let last = printable(why, TEXT_LIMIT);
        if let Some(count) = self.notices.garbage_at(now) {
            return Err(ProtocolError::Garbage { count, last });
        }
        self.warn(now, format!("unreadable line: {last}"));
        Ok(())
    }

    fn on_message(&mut self, now: Instant, message: Message) -> Result<(), ProtocolError> {
        match message {
            Message::Reply(reply) => self.on_reply(now, &reply),
            Message::Call { id, method, params } => {
                match method.as_str() {
                    "mining.notify" => self.on_notify(now, &params),
                    "mining.set_difficulty" => match params::difficulty(&params) {
                        Ok(difficulty) => self.jobs.set_difficulty(difficulty),
                        Err(error) => self.unusable(now, &method, error),
                    },
                    "mining.set_extranonce" => match params::Extranonce::parse(&params, 0) {
                        Ok(extranonce) => self.on_set_extranonce(extranonce),
                        Err(error) => self.unusable(now, &method, error),
                    },
                    "mining.set_version_mask" => self.on_set_version_mask(now, &params),
                    _ => self.on_server_call(now, id, &method, &params),
                }
                Ok(())
            }
        }
    }

    fn on_notify(&mut self, now: Instant, params: &[Value]) {
        if let Some(liveness) = &mut self.liveness {
            liveness.on_notify(now);
        }
        if let Err(error) = Notify::parse(params).and_then(|notify| self.jobs.on_notify(now, notify)) {
            self.unusable(now, "mining.notify", error);
        }
    }

    fn on_reply(&mut self, now: Instant, reply: &Reply) -> Result<(), ProtocolError> {
        let Some(id) = reply.id else {
            self.counters.unsolicited += 1;
            self.warn(now, format!("an answer that names no request of ours: {}", reply.reason()));
            return Ok(());
        };
        if let Some(call) = self.calls.remove(&id) {
            return self.on_call_reply(now, call, reply);
        }
        match self.submits.on_reply(id, reply, &mut self.memory.convention) {
            Answer::Tell(event) => self.events.push_back(event),
            Answer::Retry { share, refused, convention, resent } => {
                self.send_share(now, &share, convention, Some(refused), resent);
            }
            Answer::Broken(event, error) => {
                self.events.push_back(event);
                return Err(error);
            }
            Answer::Unknown => {
                self.counters.unsolicited += 1;
                self.warn(now, format!("an answer to request {id}, which is not open"));
            }
        }
        Ok(())
    }

    fn send_share(
        &mut self,
        now: Instant,
        share: &Share,
        convention: VersionConvention,
        refused: Option<miner_core::share::Reject>,
        resent: bool,
    ) {
        let mut params = vec![
            self.config.login.user().to_owned(),
            share.job.id.to_string(),
            hex::encode(share.extranonce2.to_bytes()),
            format!("{:08x}", share.ntime),
            format!("{:08x}", share.nonce),
        ];
        let (bits, differs) = self.version_bits(share, convention);
        if self.handshake.rolling_granted() {
            params.push(format!("{bits:08x}"));
        }
        let Some(id) = self.outbox.request("mining.submit", params) else {
            self.warn(now, format!("share {} does not fit into a request", share.id));
            let outcome = refused.map_or(ShareOutcome::Lost(LostReason::NotSent), ShareOutcome::Rejected);
            self.events.push_back(PoolEvent::Resolved { share: share.id, outcome });
            return;
        };
        let open = self.memory.convention.is_none() && refused.is_none() && self.submits.tries_conventions();
        let other = (differs && open && self.handshake.rolling_granted()).then(|| share.clone());
        let entry =
            InFlight { share: share.id, sent: now, resent, convention, other, refused, overdue: false };
        self.submits.sent(id, entry);
    }

    /// The sixth parameter, and whether the conventions differ in it.
    fn version_bits(&self, share: &Share, convention: VersionConvention) -> (u32, bool) {
        let rolled = share.version ^ share.job.version;
        // Bits that were rolled under a mask which has since been narrowed stay: the pool will say so.
        let bip310 = share.version & (self.jobs.mask().0 | rolled);
        let bits = match convention {
            VersionConvention::Bip310 => bip310,
            VersionConvention::Xor => rolled,
        };
        (bits, bip310 != rolled)
    }

    fn check_deadlines(&mut self, now: Instant) -> Result<(), ProtocolError> {
        self.check_handshake(now)?;
        if let Some(liveness) = &self.liveness {
            liveness.check(now)?;
        }
        let events = &mut self.events;
        if self.submits.handle_timeout(now, |event| events.push_back(event))? > 0 {
            self.warn(now, "a share has not been answered for 30 s");
        }
        Ok(())
    }

    /// Runs one step of a living connection; the first error is the last thing that happens.
    fn step(
        &mut self,
        now: Instant,
        step: impl FnOnce(&mut Self) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let result = step(self);
        if self.handshake.is_ready() {
            self.jobs.release(now);
        }
        self.ended = result.clone().err();
        result
    }
}

impl PoolProtocol for V1Client {
    fn handle_connected(&mut self, now: Instant) {
        self.liveness = Some(Liveness::new(now, self.memory.notify_gap));
        self.open(now);
    }

    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.step(now, |client| client.read(now, bytes))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        self.step(now, |client| client.check_deadlines(now))
    }

    fn can_submit(&self) -> bool {
        self.ended.is_none() && self.handshake.is_ready() && self.submits.has_room()
    }

    fn submit(&mut self, now: Instant, share: &Share) {
        self.submit_as(now, share, false);
    }

    fn resubmit(&mut self, now: Instant, share: &Share) {
        self.submit_as(now, share, true);
    }

    fn suggest_difficulty(&mut self, now: Instant, difficulty: Difficulty) {
        self.suggest(now, difficulty);
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outbox.poll()
    }

    fn poll_event(&mut self) -> Option<PoolEvent> {
        self.events.pop_front().or_else(|| self.jobs.poll())
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        let release = self.jobs.next_release().filter(|_| self.handshake.is_ready());
        let silence = self.liveness.as_ref().map(Liveness::next_deadline);
        let deadlines = [release, silence, self.handshake.next_deadline(), self.submits.next_deadline()];
        deadlines.into_iter().flatten().min()
    }
}

impl V1Client {
    fn submit_as(&mut self, now: Instant, share: &Share, resent: bool) {
        // A session without version rolling, resumed from one with it, cannot say which version was hashed.
        let sayable = self.handshake.rolling_granted() || share.version == share.job.version;
        if self.can_submit() && sayable {
            let convention = self.memory.convention.unwrap_or(VersionConvention::Bip310);
            self.send_share(now, share, convention, None, resent);
        } else {
            let reason = if resent { LostReason::NoAnswer } else { LostReason::NotSent };
            let outcome = ShareOutcome::Lost(reason);
            self.events.push_back(PoolEvent::Resolved { share: share.id, outcome });
        }
    }
}
