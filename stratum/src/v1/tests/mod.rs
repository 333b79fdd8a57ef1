//! Sessions played against a scripted pool in virtual time.

mod handshake;
mod hostile;
mod jobs;
mod model;
mod submits;
mod vectors;

use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_core::job::{Extranonce2, JobTemplate};
use miner_core::share::{Reject, RejectKind, Share, ShareOutcome};
use miner_core::types::{BackendId, Epoch, ShareId, SourceId};
use serde_json::{Value, json};

use super::{Login, V1Client, V1Config, V1Memory};
use crate::{PoolEvent, PoolProtocol, ProtocolError, Secret};

pub(super) fn config() -> V1Config {
    let login = Login::new("alice.rig\"1", Secret::new("x")).unwrap();
    V1Config::new(SourceId(3), Epoch(7), login, "pool.example", 3333)
}

/// A session, the time, and everything that came out so far.
pub(super) struct Session {
    pub(super) client: V1Client,
    pub(super) now: Instant,
    pub(super) sent: Vec<Value>,
    pub(super) events: Vec<PoolEvent>,
    pub(super) end: Option<ProtocolError>,
    last_id: u64,
}

impl Session {
    pub(super) fn connect(config: V1Config, memory: V1Memory) -> Self {
        let mut client = V1Client::new(config, memory);
        let now = Instant::now();
        client.handle_connected(now);
        let mut session = Self { client, now, sent: Vec::new(), events: Vec::new(), end: None, last_id: 0 };
        session.drain();
        session
    }

    /// Connected, configured, subscribed (`aabbccdd`, 4) and authorised.
    pub(super) fn ready() -> Self {
        let mut session = Self::connect(config(), V1Memory::default());
        session.say(json!({"id": 1, "result": {"version-rolling": true, "version-rolling.mask": "1fffe000"}, "error": null}));
        session.say(json!({"id": 2, "result": [[["mining.notify", "sid-1"]], "aabbccdd", 4], "error": null}));
        session.say(json!({"id": 3, "result": true, "error": null}));
        assert!(session.client.can_submit());
        session.forget();
        session
    }

    /// Ready, with one job delivered.
    pub(super) fn mining() -> (Self, Arc<JobTemplate>) {
        let mut session = Self::ready();
        session.notify("job-1", "20000000", true);
        let job = session.jobs().pop().unwrap();
        session.forget();
        (session, Arc::new(job))
    }

    pub(super) fn say(&mut self, message: Value) {
        self.say_raw(format!("{message}\n").as_bytes());
    }

    pub(super) fn say_raw(&mut self, bytes: &[u8]) {
        let result = self.client.handle_bytes(self.now, bytes);
        self.end = self.end.take().or(result.err());
        self.drain();
    }

    pub(super) fn notify(&mut self, id: &str, version: &str, clean: bool) {
        self.say(notify(id, version, clean));
    }

    /// Lets time pass, with every deadline on the way met exactly.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut timers = 0;
        while let Some(due) = self.client.next_deadline().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            let result = self.client.handle_timeout(self.now);
            self.end = self.end.take().or(result.err());
            self.drain();
            timers += 1;
            assert!(timers < 10_000, "the deadline does not move");
        }
        self.now = until;
    }

    /// Lets time pass while the pool repeats something harmless.
    pub(super) fn pass_chatting(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.pass(Duration::from_secs(1));
            self.say_raw(b"\n");
        }
    }

    pub(super) fn drain(&mut self) {
        while let Some(bytes) = self.client.poll_transmit() {
            assert!(bytes.len() <= 1024 && bytes.ends_with(b"\n"));
            let message: Value = serde_json::from_slice(&bytes).unwrap();
            if message.get("method").is_some() {
                let id = message["id"].as_u64().unwrap();
                assert!(id > self.last_id, "ids are never used twice");
                self.last_id = id;
            }
            self.sent.push(message);
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push(event);
        }
    }

    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.events.clear();
    }

    pub(super) fn methods(&self) -> Vec<&str> {
        self.sent.iter().filter_map(|message| message["method"].as_str()).collect()
    }

    pub(super) fn jobs(&self) -> Vec<JobTemplate> {
        let job = |event: &PoolEvent| if let PoolEvent::Job(job) = event { Some(job.clone()) } else { None };
        self.events.iter().filter_map(job).collect()
    }

    pub(super) fn outcomes(&self) -> Vec<(u64, ShareOutcome)> {
        let outcome = |event: &PoolEvent| match event {
            PoolEvent::Resolved { share, outcome } => Some((share.0, outcome.clone())),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }

    pub(super) fn warnings<'a>(&'a self) -> Vec<&'a str> {
        let text = |event: &'a PoolEvent| match event {
            PoolEvent::Warning(text) => Some(text.as_str()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    pub(super) fn ready_events(&self) -> Vec<bool> {
        let resumed = |event: &PoolEvent| match event {
            PoolEvent::Ready { resumed } => Some(*resumed),
            _ => None,
        };
        self.events.iter().filter_map(resumed).collect()
    }

    /// Submits and gives the request's id.
    pub(super) fn submit(&mut self, share: &Share) -> u64 {
        self.client.submit(self.now, share);
        self.drain();
        self.last_id
    }
}

pub(super) fn notify(id: &str, version: &str, clean: bool) -> Value {
    let (prefix, suffix) = ("01".repeat(50), "02".repeat(20));
    json!({"id": null, "method": "mining.notify", "params":
        [id, "03".repeat(32), prefix, suffix, ["04".repeat(32)], version, "1d00ffff", "60000000", clean]})
}

pub(super) fn share(id: u64, job: &Arc<JobTemplate>, version: u32) -> Share {
    let extranonce2 = Extranonce2 { value: u128::from(id), size: job.extranonce2_size() };
    let header = job.header(job.merkle_root(extranonce2), version, job.ntime + 1, 0xabc);
    Share {
        id: ShareId(id),
        backend: BackendId(0),
        job: Arc::clone(job),
        extranonce2,
        version,
        ntime: header.ntime,
        nonce: header.nonce,
        hash: header.hash(),
        is_block: false,
    }
}

pub(super) fn reject(kind: RejectKind, code: Option<i64>, text: &str) -> ShareOutcome {
    ShareOutcome::Rejected(Reject { kind, code, text: text.into() })
}
