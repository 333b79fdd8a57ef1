//! configure, subscribe, authorize: from connected to ready.

use std::time::{Duration, Instant};

use miner_core::job::VersionMask;
use serde_json::{Value, json};

use super::config::RememberedSession;
use super::message::Reply;
use super::params::{self, Extranonce};
use super::session::V1Client;
use crate::{PoolEvent, ProtocolError};

/// All of it must be done within this.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Without an answer to `mining.configure` there is no version rolling.
const CONFIGURE: Duration = Duration::from_secs(5);
/// Version bits asked for: the 24 of BIP 323, of which pools grant what they know.
const WANTED_MASK: VersionMask = VersionMask(0x1fff_ffe0);
/// Longest session id that is worth remembering, in bytes.
const MAX_SESSION_ID: usize = 128;
/// Connections in a row that must end without a line before the next one leaves `mining.configure` out.
const MUTE_CONNECTIONS: u8 = 2;

/// A request of ours other than a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Configure,
    Subscribe,
    Authorize,
    /// The answer does not matter.
    Ignored,
}

/// How far the handshake has come.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    connected: Option<Instant>,
    configured: bool,
    subscribed: bool,
    authorized: bool,
    ready: bool,
    resumed: bool,
    /// What to resume later, once this one is ready: until then the last session that was is the one to go on with.
    session: Option<RememberedSession>,
    /// What was asked for and is allowed in all.
    granted: Option<VersionMask>,
    extranonce_granted: bool,
}

impl Handshake {
    /// Whether shares may be submitted.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the sixth parameter of a submit is wanted.
    pub(super) fn rolling_granted(&self) -> bool {
        self.granted.is_some()
    }

    /// When the next step is overdue.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let connected = self.connected.filter(|_| !self.ready)?;
        Some(connected + if self.configured { HANDSHAKE } else { CONFIGURE })
    }
}

impl V1Client {
    /// Sends all three requests at once.
    pub(super) fn open(&mut self, now: Instant) {
        self.handshake.connected = Some(now);
        self.handshake.configured = self.memory.skip_configure;
        if !self.memory.skip_configure {
            let extensions = ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "info"];
            let options = json!({
                "version-rolling.mask": WANTED_MASK.to_string(),
                "version-rolling.min-bit-count": 2,
                "minimum-difficulty.value": 0,
                "info.sw-version": self.config.bounded_agent(),
            });
            self.call(Call::Configure, "mining.configure", json!([extensions, options]));
        }
        let agent = self.config.bounded_agent();
        let params = match &self.memory.session {
            Some(session) => json!([agent, session.id]),
            None => json!([agent]),
        };
        self.call(Call::Subscribe, "mining.subscribe", params);
        let login = &self.config.login;
        let params = json!([login.user(), login.pass().reveal()]);
        self.call(Call::Authorize, "mining.authorize", params);
    }

    /// An answer to one of our requests came.
    pub(super) fn on_call_reply(
        &mut self,
        now: Instant,
        call: Call,
        reply: &Reply,
    ) -> Result<(), ProtocolError> {
        match call {
            Call::Configure => self.on_configured(reply),
            Call::Subscribe => return self.on_subscribed(now, reply),
            Call::Authorize if reply.is_yes() => self.handshake.authorized = true,
            Call::Authorize => return Err(ProtocolError::Unauthorized(reply.reason())),
            Call::Ignored => {}
        }
        Ok(())
    }

    /// The mask moves: only where rolling was granted, and never beyond what was asked for.
    pub(super) fn on_set_version_mask(&mut self, now: Instant, params: &[Value]) {
        let mask = params::text(params, 0, "the mask").and_then(|text| params::number(text, "the mask"));
        match mask {
            Ok(mask) if self.handshake.granted.is_some() => {
                self.jobs.set_mask(VersionMask(mask & WANTED_MASK.0));
            }
            Ok(_) => self.unusable(now, "mining.set_version_mask", "version rolling was not agreed on"),
            Err(error) => self.unusable(now, "mining.set_version_mask", error),
        }
    }

    /// Jobs to come have another extranonce. What a resumed session would have is then anyone's guess.
    pub(super) fn on_set_extranonce(&mut self, extranonce: Extranonce) {
        self.memory.session = None;
        self.handshake.session = None;
        self.handshake.resumed = false;
        self.jobs.set_extranonce(extranonce);
    }

    /// Gives up what is overdue.
    pub(super) fn check_handshake(&mut self, now: Instant) -> Result<(), ProtocolError> {
        let Some(connected) = self.handshake.connected.filter(|_| !self.handshake.ready) else {
            return Ok(());
        };
        if connected + CONFIGURE <= now {
            self.handshake.configured = true;
            self.become_ready(now);
        }
        if connected + HANDSHAKE <= now {
            let what = match (self.handshake.subscribed, self.handshake.authorized) {
                (false, _) => "answer to mining.subscribe",
                (true, false) => "answer to mining.authorize",
                (true, true) => return Ok(()),
            };
            return Err(ProtocolError::Timeout { what, after: HANDSHAKE });
        }
        Ok(())
    }

    /// Becomes ready when nothing is missing any more.
    pub(super) fn become_ready(&mut self, now: Instant) {
        let done = self.handshake.configured && self.handshake.subscribed && self.handshake.authorized;
        if self.handshake.ready || !done {
            return;
        }
        self.handshake.ready = true;
        self.memory.session = self.handshake.session.take();
        self.events.push_back(PoolEvent::Ready { resumed: self.handshake.resumed });
        if !self.handshake.extranonce_granted {
            self.call(Call::Ignored, "mining.extranonce.subscribe", json!([]));
        }
        if let Some(difficulty) = self.config.suggest_difficulty {
            self.suggest(now, difficulty);
        }
    }

    /// Learns whether this pool hangs up on `mining.configure`.
    pub(super) fn remember_muteness(&mut self, spoke: bool) {
        if spoke {
            self.memory.mute_connections = 0;
        } else if self.handshake.connected.is_some() {
            self.memory.mute_connections += 1;
            if self.memory.mute_connections >= MUTE_CONNECTIONS || self.memory.skip_configure {
                // Left out in vain, or not yet left out: the other way is worth a try.
                self.memory.skip_configure = !self.memory.skip_configure;
                self.memory.mute_connections = 0;
            }
        }
    }

    fn call(&mut self, call: Call, method: &'static str, params: Value) {
        if let Some(id) = self.outbox.request(method, params) {
            self.calls.insert(id, call);
        }
    }

    fn on_configured(&mut self, reply: &Reply) {
        self.handshake.configured = true;
        let Some(result) = reply.result.as_object().filter(|_| reply.failure().is_none()) else { return };
        let granted = |name: &str| result.get(name) == Some(&Value::Bool(true));
        self.handshake.extranonce_granted = granted("subscribe-extranonce");
        let mask = result.get("version-rolling.mask").and_then(Value::as_str);
        let mask = mask.and_then(|text| params::number(text, "the mask").ok());
        if let (true, Some(mask)) = (granted("version-rolling"), mask) {
            let mask = VersionMask(mask & WANTED_MASK.0);
            self.handshake.granted = Some(mask);
            self.jobs.set_mask(mask);
        }
    }

    fn on_subscribed(&mut self, now: Instant, reply: &Reply) -> Result<(), ProtocolError> {
        let earlier = self.memory.session.take();
        let refused = |why| ProtocolError::Refused { step: "mining.subscribe", why };
        let result = match &reply.result {
            Value::Array(result) if reply.failure().is_none() => result,
            _ => return Err(refused(reply.reason())),
        };
        let extranonce = Extranonce::parse(result, 1).map_err(|error| refused(error.to_string()))?;
        self.handshake.subscribed = true;
        self.handshake.resumed = !extranonce.first.is_empty()
            && earlier.as_ref().is_some_and(|earlier| earlier.extranonce == extranonce);
        self.memory.session = earlier;
        self.handshake.session = session_id(result)
            .filter(|id| id.len() <= MAX_SESSION_ID && !id.chars().any(char::is_control))
            .map(|id| RememberedSession { id: id.to_owned(), extranonce: extranonce.clone() });
        if let Err(error) = self.jobs.on_subscribed(extranonce) {
            self.unusable(now, "mining.notify", error);
        }
        Ok(())
    }
}

/// The session id: what stands beside "mining.notify", in a list of pairs or in the only pair.
fn session_id(result: &[Value]) -> Option<&str> {
    let subscriptions = result.first()?.as_array()?;
    let mut pairs = subscriptions.iter().filter_map(Value::as_array).chain([subscriptions]);
    let pair = pairs.find(|pair| pair.first().and_then(Value::as_str) == Some("mining.notify"))?;
    pair.get(1)?.as_str()
}
