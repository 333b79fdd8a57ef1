//! The snapshot line, and what it is made of.

use miner_core::backend::{BackendKind, Health, HealthState};
use miner_core::share::{Discard, RejectKind};
use miner_core::snapshot::{
    DeviceSnapshot, DiscardCounts, MinerSnapshot, ProvenRate, Rates, ShareCounts, SourceSnapshot,
    SourceState, Windows,
};
use miner_core::types::{Difficulty, HashCount, HashRate};
use serde::Serialize;

use crate::report::efficiency;
use crate::report::names::Names;

/// The state of the miner.
#[derive(Serialize)]
pub(super) struct StateLine<'a> {
    uptime_s: f64,
    active_pool: Option<u16>,
    job_id: Option<&'a str>,
    generation: u64,
    paused: bool,
    rate_hs: RateFields,
    shares: ShareFields,
    discards: DiscardFields,
    best_difficulty: Option<f64>,
    devices: Vec<DeviceFields<'a>>,
    pools: Vec<PoolFields<'a>>,
    events_missed: u64,
}

impl<'a> StateLine<'a> {
    pub(super) fn of(snapshot: &'a MinerSnapshot, names: &'a Names, missed: u64) -> Self {
        Self {
            uptime_s: snapshot.uptime.as_millis() as f64 / 1000.0,
            active_pool: snapshot.active.map(|source| source.0),
            job_id: snapshot.job.as_ref().map(|job| job.id.0.as_ref()),
            generation: snapshot.generation.0,
            paused: snapshot.paused,
            rate_hs: RateFields::of(&snapshot.rates),
            shares: ShareFields::of(&snapshot.shares),
            discards: DiscardFields::of(&snapshot.discards),
            best_difficulty: snapshot.best.map(Difficulty::get),
            devices: snapshot.devices.iter().map(DeviceFields::of).collect(),
            pools: snapshot.sources.iter().map(|source| PoolFields::of(source, names)).collect(),
            events_missed: missed,
        }
    }
}

#[derive(Serialize)]
struct RateFields {
    counted: WindowFields<f64>,
    proven: WindowFields<ProvenFields>,
}

#[derive(Serialize)]
struct WindowFields<T> {
    #[serde(rename = "5s")]
    s5: Option<T>,
    #[serde(rename = "1m")]
    m1: Option<T>,
    #[serde(rename = "15m")]
    m15: Option<T>,
    avg: Option<T>,
}

#[derive(Serialize)]
struct ProvenFields {
    rate: f64,
    low: f64,
    high: f64,
}

impl RateFields {
    fn of(rates: &Rates) -> Self {
        let proven = |proven: ProvenRate| {
            let [rate, low, high] = [proven.rate, proven.low, proven.high].map(|rate| finite(rate.0));
            Some(ProvenFields { rate: rate?, low: low?, high: high? })
        };
        Self {
            counted: WindowFields::of(&rates.counted, |rate: HashRate| finite(rate.0)),
            proven: WindowFields::of(&rates.proven, proven),
        }
    }
}

impl<T> WindowFields<T> {
    fn of<S: Copy>(windows: &Windows<S>, field: impl Fn(S) -> Option<T>) -> Self {
        let [s5, m1, m15, avg] =
            [windows.s5, windows.m1, windows.m15, windows.average].map(|value| value.and_then(&field));
        Self { s5, m1, m15, avg }
    }
}

#[derive(Serialize)]
struct ShareFields {
    found: u64,
    accepted: u64,
    rejected: u64,
    lost: u64,
    pending: u64,
    late: u64,
    withheld: Option<f64>,
    blocks: u64,
    accepted_difficulty: Option<f64>,
    rejected_as: RejectFields,
    lost_as: LostFields,
}

#[derive(Serialize)]
struct RejectFields {
    stale: u64,
    duplicate: u64,
    low_difficulty: u64,
    unauthorized: u64,
    not_subscribed: u64,
    other: u64,
}

#[derive(Serialize)]
struct LostFields {
    not_sent: u64,
    no_answer: u64,
}

impl ShareFields {
    fn of(shares: &ShareCounts) -> Self {
        Self {
            found: shares.found,
            accepted: shares.accepted,
            rejected: shares.rejected_total(),
            lost: shares.lost(),
            pending: shares.pending,
            late: shares.late,
            withheld: finite(shares.withheld),
            blocks: shares.blocks,
            accepted_difficulty: finite(shares.accepted_difficulty),
            rejected_as: RejectFields {
                stale: shares.rejected_as(RejectKind::Stale),
                duplicate: shares.rejected_as(RejectKind::Duplicate),
                low_difficulty: shares.rejected_as(RejectKind::LowDifficulty),
                unauthorized: shares.rejected_as(RejectKind::Unauthorized),
                not_subscribed: shares.rejected_as(RejectKind::NotSubscribed),
                other: shares.rejected_as(RejectKind::Other),
            },
            lost_as: LostFields { not_sent: shares.lost_not_sent, no_answer: shares.lost_no_answer },
        }
    }
}

#[derive(Serialize)]
struct DiscardFields {
    stale: u64,
    unknown_work: u64,
    out_of_lease: u64,
    hardware_error: u64,
    duplicate: u64,
    below_share_target: u64,
}

impl DiscardFields {
    fn of(discards: &DiscardCounts) -> Self {
        Self {
            stale: discards.of(Discard::Stale),
            unknown_work: discards.of(Discard::UnknownWork),
            out_of_lease: discards.of(Discard::OutOfLease),
            hardware_error: discards.of(Discard::HardwareError),
            duplicate: discards.of(Discard::Duplicate),
            below_share_target: discards.of(Discard::BelowShareTarget),
        }
    }
}

#[derive(Serialize)]
struct DeviceFields<'a> {
    device: &'a str,
    name: &'a str,
    kind: &'static str,
    present: bool,
    health: HealthFields,
    rate_hs: RateFields,
    efficiency_jth: Option<f64>,
    shares: ShareFields,
    discards: DiscardFields,
    hits: u64,
    idle_s: f64,
    hashes: HashCount,
    given_up_hashes: HashCount,
    best_difficulty: Option<f64>,
}

impl<'a> DeviceFields<'a> {
    fn of(device: &'a DeviceSnapshot) -> Self {
        Self {
            device: &device.info.key,
            name: &device.info.name,
            kind: kind_name(device.info.kind),
            present: device.present,
            health: health_fields(&device.health),
            rate_hs: RateFields::of(&device.rates),
            efficiency_jth: efficiency(device),
            shares: ShareFields::of(&device.shares),
            discards: DiscardFields::of(&device.discards),
            hits: device.hits,
            idle_s: device.idle.as_millis() as f64 / 1000.0,
            hashes: device.hashes,
            given_up_hashes: device.given_up,
            best_difficulty: device.best.map(Difficulty::get),
        }
    }
}

#[derive(Serialize)]
struct PoolFields<'a> {
    pool: u16,
    url: Option<&'a str>,
    state: &'static str,
    difficulty: Option<f64>,
    shares: ShareFields,
}

impl<'a> PoolFields<'a> {
    fn of(source: &SourceSnapshot, names: &'a Names) -> Self {
        Self {
            pool: source.source.0,
            url: names.url(source.source),
            state: match source.state {
                SourceState::Up => "up",
                SourceState::Suspended => "suspended",
                SourceState::Down => "down",
            },
            difficulty: source.difficulty.map(Difficulty::get),
            shares: ShareFields::of(&source.shares),
        }
    }
}

/// What a device says of itself; unknown is null.
#[derive(Serialize)]
pub(super) struct HealthFields {
    state: &'static str,
    reason: Option<String>,
    celsius: Option<f32>,
    watts: Option<f32>,
    millivolts: Option<f32>,
    fan_rpm: Option<f32>,
    fan_percent: Option<f32>,
    clock_mhz: Option<f32>,
    utilisation_percent: Option<f32>,
    throttle: Option<String>,
    chips: Option<u16>,
}

pub(super) fn health_fields(health: &Health) -> HealthFields {
    let figure = |value: Option<f32>| value.filter(|value| value.is_finite());
    HealthFields {
        state: match health.state {
            HealthState::Ok => "ok",
            HealthState::Degraded => "degraded",
            HealthState::Sick => "sick",
            HealthState::Quarantined => "quarantined",
        },
        reason: health.reason.as_ref().map(ToString::to_string),
        celsius: figure(health.celsius),
        watts: figure(health.watts),
        millivolts: figure(health.millivolts),
        fan_rpm: figure(health.fan_rpm),
        fan_percent: figure(health.fan_percent),
        clock_mhz: figure(health.clock_mhz),
        utilisation_percent: figure(health.utilisation),
        throttle: health.throttle.as_ref().map(ToString::to_string),
        chips: health.chips,
    }
}

pub(super) fn kind_name(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Cpu => "cpu",
        BackendKind::Gpu => "gpu",
        BackendKind::Asic => "asic",
    }
}

pub(super) fn reject_name(kind: RejectKind) -> &'static str {
    match kind {
        RejectKind::Stale => "stale",
        RejectKind::Duplicate => "duplicate",
        RejectKind::LowDifficulty => "low_difficulty",
        RejectKind::Unauthorized => "unauthorized",
        RejectKind::NotSubscribed => "not_subscribed",
        RejectKind::Other => "other",
    }
}

pub(super) fn discard_name(reason: Discard) -> &'static str {
    match reason {
        Discard::Stale => "stale",
        Discard::UnknownWork => "unknown_work",
        Discard::OutOfLease => "out_of_lease",
        Discard::HardwareError => "hardware_error",
        Discard::Duplicate => "duplicate",
        Discard::BelowShareTarget => "below_share_target",
    }
}

/// The number, where JSON has one for it.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
