//! What a pool asks of its miners besides mining.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::TEXT_LIMIT;
use super::session::V1Client;
use crate::PoolEvent;
use crate::text::printable;

/// Longest wait that a pool may ask for before a reconnect.
const MAX_WAIT: u64 = 60;
/// Code of the answer to a method that is not known, as pools use it.
const UNKNOWN_METHOD: i64 = -3;

impl V1Client {
    /// Answers, shows or ignores a message that is not about jobs.
    pub(super) fn on_server_call(&mut self, now: Instant, id: Value, method: &str, params: &[Value]) {
        match method {
            "client.show_message" => self.on_show_message(now, params),
            "client.reconnect" => self.on_reconnect(now, params),
            "mining.ping" => self.outbox.answer(json!({"id": id, "result": "pong", "error": null})),
            "client.get_version" => {
                let agent = self.config.bounded_agent();
                self.outbox.answer(json!({"id": id, "result": agent, "error": null}));
            }
            // Other coins' messages: nothing here to act on.
            "mining.set_goal" | "mining.set_target" => {}
            _ => {
                self.unknown_method();
                if !id.is_null() {
                    let error = json!([UNKNOWN_METHOD, "unknown method", null]);
                    self.outbox.answer(json!({"id": id, "result": null, "error": error}));
                }
            }
        }
    }

    fn on_show_message(&mut self, now: Instant, params: &[Value]) {
        let Some(text) = params.first().and_then(Value::as_str) else { return };
        if self.notices.admits_message_at(now) {
            self.events.push_back(PoolEvent::Message(printable(text, TEXT_LIMIT)));
        }
    }

    /// Follows only back to where the operator led, or where the operator allows it. Once.
    fn on_reconnect(&mut self, now: Instant, params: &[Value]) {
        if self.reconnecting {
            return;
        }
        let host = params.first().and_then(Value::as_str).map_or("", |host| host.trim_end_matches('.'));
        let port = match params.get(1) {
            None | Some(Value::Null) => Some(self.config.port),
            Some(port) => whole_number(port).and_then(|port| u16::try_from(port).ok()).filter(|&p| p > 0),
        };
        let host = if host.is_empty() { self.config.host.as_str() } else { host };
        let Some(port) = port else {
            return self.unusable(now, "client.reconnect", "no port that could be");
        };
        let same_host = host.eq_ignore_ascii_case(self.config.host.trim_end_matches('.'));
        let allowed = self
            .config
            .allow_reconnect
            .iter()
            .any(|(allowed, on)| allowed.eq_ignore_ascii_case(host) && on.is_none_or(|on| on == port));
        let wait = params.get(2).and_then(whole_number).unwrap_or(0).min(MAX_WAIT);
        let to = match (same_host && port == self.config.port, allowed) {
            (true, _) => None,
            (false, true) => Some((host.to_owned(), port)),
            (false, false) => {
                let place = printable(&format!("{host}:{port}"), TEXT_LIMIT);
                return self.warn(now, format!("the pool wants us to move to {place}: not allowed"));
            }
        };
        self.reconnecting = true;
        self.events.push_back(PoolEvent::Reconnect { to, wait: Duration::from_secs(wait) });
    }
}

/// A number, or a string of one: whole, and zero where it is negative or none at all.
fn whole_number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        // A cast from a float saturates.
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|float| float as u64)),
        _ => None,
    }
}
