//! Lines about devices.

use std::io::Write;

use miner_core::backend::{Health, HealthState};
use miner_core::event::MinerEvent;
use miner_core::share::Discard;
use miner_core::snapshot::DeviceSnapshot;
use miner_core::types::BackendId;

use super::gap::Gap;
use super::periodic::accounts;
use super::{Console, Line, Tone, Topic, Weight};
use crate::report::{efficiency, format};

impl<W: Write + Send> Console<W> {
    pub(super) fn on_device(&mut self, event: &MinerEvent) {
        let (backend, weight, tone, head, rest) = match event {
            MinerEvent::BackendHealth { backend, health } => return self.on_health(*backend, health),
            MinerEvent::BackendUp { backend, info } => {
                let rest = format!(": {}, about {}", info.name, format::rate(info.expected));
                (backend, Weight::Normal, Tone::Good, "ready", rest)
            }
            MinerEvent::BackendDown { backend, error: Some(error) } => {
                (backend, Weight::Important, Tone::Bad, "FAILED", format!(": {error}"))
            }
            MinerEvent::BackendDown { backend, error: None } => {
                (backend, Weight::Normal, Tone::Plain, "stopped", String::new())
            }
            MinerEvent::RateLearned { backend, rate } => {
                (backend, Weight::Detail, Tone::Plain, "measured", format!(" {}", format::rate(*rate)))
            }
            _ => return,
        };
        let line = Line::new(self.names.device(*backend), tone, head, rest);
        self.say_often(Topic::Device, weight, &line);
    }

    /// Devices may speak of their health often: only a change of state is news.
    fn on_health(&mut self, backend: BackendId, health: &Health) {
        let before = self.states.insert(backend, health.state).unwrap_or_default();
        let (tone, head) = state_words(health.state);
        let weight = match health.state {
            state if state == before => Weight::Detail,
            HealthState::Ok => Weight::Normal,
            _ => Weight::Important,
        };
        let facts = health_facts(health).join(", ");
        let rest = if facts.is_empty() { facts } else { format!(": {facts}") };
        self.say_often(Topic::Device, weight, &Line::new(self.names.device(backend), tone, head, rest));
    }

    pub(super) fn say_device(&mut self, device: &DeviceSnapshot) {
        let gone = if device.present { "" } else { " (gone)" };
        let state = Some(device.health.state).filter(|&state| state != HealthState::Ok);
        let state = state.map(|state| state_words(state).1.to_owned());
        let cost = efficiency(device).map(format::efficiency);
        let facts = state.into_iter().chain(health_facts(&device.health)).chain(cost);
        let health: String = facts.map(|fact| format!("; {fact}")).collect();
        let rest = format!(
            "{gone} counted {}, proven {}; accepted {}, hardware errors {}; best share {}{health}",
            format::rate_or_unknown(device.rates.counted.m1),
            format::proven_or_unknown(device.rates.proven.m1),
            accounts(&device.shares),
            device.discards.of(Discard::HardwareError),
            format::difficulty_or_unknown(device.best),
        );
        self.say(Weight::Normal, &Line::new(device.info.key.as_ref(), Tone::Plain, "1m", rest));
    }

    /// Says when a gap between both rates opens or closes.
    pub(super) fn say_gap(&mut self, device: &DeviceSnapshot) {
        let gap = Gap::of(&device.rates).filter(|_| device.info.counts_hashes && device.present);
        let had = self.gaps.insert(device.backend, gap.is_some()).unwrap_or(false);
        let (weight, tone, head, rest) = match gap {
            Some(gap) if !had => {
                let meaning = if gap.counts_too_much() {
                    "hashes find too little: the device computes wrongly or loses hits"
                } else {
                    "hashes find too much: the device counts too few"
                };
                let (counted, proven) = (format::rate(gap.counted), format::proven_rate(gap.proven));
                let rest = format!(": counted {counted}, but proven {proven}; {meaning}");
                (Weight::Important, Tone::Warning, "gap", rest)
            }
            None if had => {
                (Weight::Normal, Tone::Good, "gap closed", ": counted and proven agree".to_owned())
            }
            _ => return,
        };
        self.say_often(Topic::Device, weight, &Line::new(device.info.key.as_ref(), tone, head, rest));
    }
}

/// What a device says of itself, in parts; nothing where it says nothing.
fn health_facts(health: &Health) -> Vec<String> {
    let mut parts: Vec<String> = health.reason.iter().map(ToString::to_string).collect();
    let mut figure = |value: Option<f32>, unit: &str| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            parts.push(format!("{value:.0} {unit}"));
        }
    };
    figure(health.celsius, "°C");
    figure(health.watts, "W");
    figure(health.fan_rpm, "rpm");
    figure(health.fan_percent, "% fan");
    figure(health.clock_mhz, "MHz");
    figure(health.utilisation, "% busy");
    parts.extend(health.throttle.as_ref().map(|throttle| format!("slowed down: {throttle}")));
    parts
}

/// How a state is told.
fn state_words(state: HealthState) -> (Tone, &'static str) {
    match state {
        HealthState::Ok => (Tone::Good, "healthy"),
        HealthState::Degraded => (Tone::Warning, "degraded"),
        HealthState::Sick => (Tone::Bad, "SICK"),
        HealthState::Quarantined => (Tone::Bad, "QUARANTINED"),
    }
}
