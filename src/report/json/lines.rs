//! One struct for each type of line but the snapshot.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use miner_core::event::MinerEvent;
use miner_core::job::JobTemplate;
use miner_core::share::{Discard, LostReason, Share, ShareOutcome};
use miner_core::types::{BackendId, Difficulty, Generation, SourceId};
use serde::Serialize;

use super::state::{HealthFields, StateLine, discard_name, finite, health_fields, kind_name, reject_name};
use crate::event::{EndReason, PoolNotice, StartFacts};
use crate::report::names::Names;

/// What every line begins with.
#[derive(Serialize)]
pub(super) struct Line<T> {
    v: u8,
    ts: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: T,
}

impl<T> Line<T> {
    pub(super) fn new(at: Timestamp, kind: &'static str, body: T) -> Self {
        Self { v: 1, ts: format!("{at:.3}"), kind, body }
    }
}

#[derive(Serialize)]
pub(super) struct StartLine<'a> {
    version: &'a str,
    practice: bool,
    emulated: bool,
    pools: Vec<StartPool<'a>>,
}

#[derive(Serialize)]
struct StartPool<'a> {
    pool: usize,
    url: &'a str,
    user: &'a str,
}

impl<'a> StartLine<'a> {
    pub(super) fn of(facts: &'a StartFacts) -> Self {
        let pools = facts.pools.iter().enumerate();
        let pools = pools.map(|(pool, facts)| StartPool { pool, url: &facts.url, user: &facts.user });
        Self {
            version: &facts.version,
            practice: facts.practice,
            emulated: facts.emulated,
            pools: pools.collect(),
        }
    }
}

#[derive(Default, Serialize)]
pub(super) struct PoolLine<'a> {
    pool: Option<u16>,
    event: &'static str,
    attempt: Option<u32>,
    peer: Option<&'a str>,
    encrypted: Option<bool>,
    resumed: Option<bool>,
    text: Option<&'a str>,
    advice: Option<&'a str>,
    retry_in_s: Option<f64>,
    to: Option<&'a str>,
    accepted: Option<bool>,
    shares_per_s: Option<f64>,
}

impl<'a> PoolLine<'a> {
    pub(super) fn of_notice(source: SourceId, notice: &'a PoolNotice) -> Self {
        let line = match notice {
            PoolNotice::Connecting { attempt } => {
                Self { event: "connecting", attempt: Some(*attempt), ..Self::default() }
            }
            PoolNotice::Connected { peer, encrypted } => {
                Self { event: "connected", peer: Some(peer), encrypted: Some(*encrypted), ..Self::default() }
            }
            PoolNotice::Ready { resumed } => {
                Self { event: "ready", resumed: Some(*resumed), ..Self::default() }
            }
            PoolNotice::Failed { error, advice, retry_in } => Self {
                event: "failed",
                text: Some(error),
                advice: advice.as_deref(),
                retry_in_s: retry_in.map(|pause| pause.as_secs_f64()),
                ..Self::default()
            },
            PoolNotice::Difficulty(_) => Self { event: "difficulty", ..Self::default() },
            PoolNotice::Message(text) => Self { event: "message", text: Some(text), ..Self::default() },
            PoolNotice::Warning(text) => Self { event: "warning", text: Some(text), ..Self::default() },
            PoolNotice::Reconnect { to } => Self { event: "reconnect", to: to.as_deref(), ..Self::default() },
        };
        Self { pool: Some(source.0), ..line }
    }

    /// What the core says of a source; `None` where it speaks of something else.
    pub(super) fn of_event(event: &MinerEvent) -> Option<Self> {
        let at =
            |source: Option<SourceId>, event| Self { pool: source.map(|id| id.0), event, ..Self::default() };
        Some(match event {
            MinerEvent::SourceUp(source) => at(Some(*source), "up"),
            MinerEvent::SourceSuspended(source) => at(Some(*source), "suspended"),
            MinerEvent::SourceDown(source) => at(Some(*source), "down"),
            MinerEvent::SourceActive(source) => at(*source, "active"),
            MinerEvent::WorkExhausted(source) => at(Some(*source), "work_exhausted"),
            MinerEvent::Withholding { source, per_second } => {
                Self { shares_per_s: finite(*per_second), ..at(Some(*source), "withholding") }
            }
            MinerEvent::ShareLate { source, booked, accepted } => {
                let text = lost_name(*booked);
                Self { accepted: Some(*accepted), text: Some(text), ..at(Some(*source), "late_answer") }
            }
            _ => return None,
        })
    }
}

#[derive(Serialize)]
pub(super) struct JobLine<'a> {
    pool: u16,
    epoch: u64,
    job_id: &'a str,
    height: Option<u32>,
    difficulty: f64,
    network_difficulty: f64,
    clean: bool,
    restarted: bool,
    generation: u64,
    prev_hash: String,
    version: String,
    version_mask: String,
    nbits: String,
    ntime: String,
}

impl<'a> JobLine<'a> {
    pub(super) fn of(job: &'a JobTemplate, generation: Generation, restarted: bool) -> Self {
        Self {
            pool: job.source.0,
            epoch: job.epoch.0,
            job_id: &job.id.0,
            height: job.height(),
            difficulty: Difficulty::of(job.share_target).get(),
            network_difficulty: Difficulty::of(job.nbits.target()).get(),
            clean: job.clean,
            restarted,
            generation: generation.0,
            prev_hash: job.prev.to_string(),
            version: hex_u32(job.version),
            version_mask: job.version_mask.to_string(),
            nbits: job.nbits.to_string(),
            ntime: hex_u32(job.ntime),
        }
    }
}

#[derive(Serialize)]
pub(super) struct DifficultyLine {
    pub(super) pool: u16,
    pub(super) difficulty: f64,
}

#[derive(Serialize)]
pub(super) struct ShareLine<'a> {
    id: u64,
    pool: u16,
    device: &'a str,
    epoch: u64,
    job_id: &'a str,
    extranonce2: String,
    version: String,
    ntime: String,
    nonce: String,
    hash: String,
    difficulty: f64,
    target_difficulty: f64,
    outcome: &'static str,
    reason: Option<&'static str>,
    code: Option<i64>,
    text: Option<&'a str>,
    latency_ms: f64,
}

impl<'a> ShareLine<'a> {
    pub(super) fn of(
        share: &'a Share,
        device: &'a str,
        outcome: &'a ShareOutcome,
        latency: Duration,
    ) -> Self {
        let (outcome, reason, code, text) = match outcome {
            ShareOutcome::Accepted => ("accepted", None, None, None),
            ShareOutcome::Rejected(reject) => {
                ("rejected", Some(reject_name(reject.kind)), reject.code, Some(reject.text.as_ref()))
            }
            ShareOutcome::Lost(reason) => ("lost", Some(lost_name(*reason)), None, None),
        };
        Self {
            id: share.id.0,
            pool: share.job.source.0,
            device,
            epoch: share.job.epoch.0,
            job_id: &share.job.id.0,
            extranonce2: hex(&share.extranonce2.to_bytes()),
            version: hex_u32(share.version),
            ntime: hex_u32(share.ntime),
            nonce: hex_u32(share.nonce),
            hash: share.hash.to_string(),
            difficulty: share.difficulty().get(),
            target_difficulty: Difficulty::of(share.job.share_target).get(),
            outcome,
            reason,
            code,
            text,
            latency_ms: latency.as_micros() as f64 / 1000.0,
        }
    }
}

#[derive(Serialize)]
pub(super) struct DiscardLine<'a> {
    device: &'a str,
    reason: &'static str,
}

impl<'a> DiscardLine<'a> {
    pub(super) fn of(device: &'a str, reason: Discard) -> Self {
        Self { device, reason: discard_name(reason) }
    }
}

#[derive(Serialize)]
pub(super) struct BlockLine<'a> {
    id: u64,
    pool: u16,
    device: &'a str,
    job_id: &'a str,
    height: Option<u32>,
    hash: String,
    difficulty: f64,
    extranonce2: String,
    header: String,
}

impl<'a> BlockLine<'a> {
    pub(super) fn of(share: &'a Share, device: &'a str) -> Self {
        Self {
            id: share.id.0,
            pool: share.job.source.0,
            device,
            job_id: &share.job.id.0,
            height: share.job.height(),
            hash: share.hash.to_string(),
            difficulty: share.difficulty().get(),
            extranonce2: hex(&share.extranonce2.to_bytes()),
            header: hex(&share.header().to_bytes()),
        }
    }
}

#[derive(Default, Serialize)]
pub(super) struct DeviceLine {
    device: String,
    event: &'static str,
    name: Option<String>,
    kind: Option<&'static str>,
    rate_hs: Option<f64>,
    health: Option<HealthFields>,
    error: Option<String>,
}

impl DeviceLine {
    /// What the core says of a device; `None` where it speaks of something else.
    pub(super) fn of_event(event: &MinerEvent, names: &Names) -> Option<Self> {
        let of =
            |backend: &BackendId, event| Self { device: names.device(*backend), event, ..Self::default() };
        Some(match event {
            MinerEvent::BackendUp { backend, info } => Self {
                name: Some(info.name.to_string()),
                kind: Some(kind_name(info.kind)),
                rate_hs: finite(info.expected.0),
                ..of(backend, "up")
            },
            MinerEvent::BackendHealth { backend, health } => {
                Self { health: Some(health_fields(health)), ..of(backend, "health") }
            }
            MinerEvent::BackendDown { backend, error } => {
                Self { error: error.as_ref().map(ToString::to_string), ..of(backend, "down") }
            }
            MinerEvent::RateLearned { backend, rate } => {
                Self { rate_hs: finite(rate.0), ..of(backend, "rate") }
            }
            _ => return None,
        })
    }
}

#[derive(Serialize)]
pub(super) struct EndLine<'a> {
    reason: &'static str,
    #[serde(flatten)]
    state: StateLine<'a>,
}

impl<'a> EndLine<'a> {
    pub(super) fn of(reason: EndReason, state: StateLine<'a>) -> Self {
        let reason = match reason {
            EndReason::Interrupted => "interrupted",
            EndReason::Terminated => "terminated",
            EndReason::SharesReached => "shares_reached",
            EndReason::TimeLimit => "time_limit",
            EndReason::NoDevice => "no_device",
        };
        Self { reason, state }
    }
}

fn lost_name(reason: LostReason) -> &'static str {
    match reason {
        LostReason::NotSent => "not_sent",
        LostReason::NoAnswer => "no_answer",
    }
}

fn hex_u32(value: u32) -> String {
    format!("{value:08x}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}
