//! Sessions from a script of bytes: what fuzz targets and property tests run.
//!
//! A script says what an imagined pool and an imagined miner do, step by step. After each step the rules of a session
//! are checked; a violation panics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use miner_core::job::{Extranonce2, JobTemplate};
use miner_core::share::{RejectKind, Share, ShareOutcome};
use miner_core::types::{BackendId, Epoch, ShareId, SourceId};
use serde_json::{Value, json};

use super::{Login, V1Client, V1Config, V1Memory};
use crate::{PoolEvent, PoolProtocol, Secret};

/// Most steps of a script that are run.
const MAX_STEPS: usize = 150;

/// What happens next.
#[derive(Arbitrary, Clone, Debug)]
enum Step {
    /// The pool greets us properly; the flags are rolling and the session of before.
    Greet { rolling: bool, again: bool },
    /// The pool sends a job over a base version.
    Notify { job: u8, signalling: bool, clean: bool, broken: Option<(u8, Oddity)> },
    /// The pool sends a notification with these parameters.
    Notification { method: Method, params: Vec<Oddity> },
    /// The pool answers an open submit, or one of before.
    Answer { which: u8, answer: Verdict, again: bool },
    /// The pool answers what nobody asked.
    Reply { id: Oddity, result: Oddity, error: Oddity },
    /// The pool sends bytes.
    Bytes(Vec<u8>),
    /// The miner finds a share.
    Submit { rolled: u32, nonce: u32, again: bool },
    /// Time passes, in units of 25 ms; each timer is late by so many ms.
    Pass { time: u16, late: u8 },
    /// Two minutes pass while the pool sends empty lines.
    Chat,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Method {
    Difficulty,
    Extranonce,
    Mask,
    Message,
    Reconnect,
    Ping,
    Version,
    Unknown,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Verdict {
    Yes,
    No,
    Code(u8),
    Reason,
}

/// A value that a pool might put anywhere.
#[derive(Arbitrary, Clone, Debug)]
enum Oddity {
    Null,
    Flag(bool),
    Number(i64),
    Float(f64),
    Text(String),
    Hex(u32),
    Long(u16),
    List(Vec<u8>),
}

impl Oddity {
    fn value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Flag(flag) => json!(flag),
            Self::Number(number) => json!(number),
            Self::Float(float) => json!(float),
            Self::Text(text) => json!(text),
            Self::Hex(number) => json!(format!("{number:08x}")),
            Self::Long(length) => json!("ab".repeat(usize::from(*length))),
            Self::List(list) => json!(list),
        }
    }
}

/// A session under watch.
struct Watched {
    client: V1Client,
    now: Instant,
    job: Option<Arc<JobTemplate>>,
    /// Every share handed over, and how it ended.
    shares: BTreeMap<u64, (Share, Option<ShareOutcome>)>,
    /// Requests on the wire that carry a share, by id; answered or not.
    submits: Vec<(u64, u64)>,
    last_id: u64,
    dead: bool,
    ready: bool,
    /// The pool has not ended its last line.
    half_line: bool,
}

/// Runs the script that `bytes` spell. Panics where a session breaks a rule.
pub fn run_script(start: Instant, bytes: &[u8]) {
    let mut script = Unstructured::new(bytes);
    let mut watched = Watched::connect(start);
    for _ in 0..MAX_STEPS {
        let Ok(step) = Step::arbitrary(&mut script) else { break };
        watched.step(step);
        if script.is_empty() || watched.dead {
            break;
        }
    }
    watched.finish();
}

/// Feeds `bytes` to a session in pieces and at once: both must tell and send the same. Panics otherwise.
pub fn run_bytes(start: Instant, bytes: &[u8]) {
    let (cuts, bytes) = bytes.split_at(bytes.len().min(8));
    let play = |chunks: &[&[u8]]| {
        let mut client = V1Client::new(config(), V1Memory::default());
        client.handle_connected(start);
        let mut result = Ok(());
        for chunk in chunks {
            result = result.and(client.handle_bytes(start, chunk));
        }
        let sent: Vec<_> = std::iter::from_fn(|| client.poll_transmit()).collect();
        let told: Vec<_> =
            std::iter::from_fn(|| client.poll_event()).map(|event| format!("{event:?}")).collect();
        assert!(sent.iter().all(|line| line.len() <= 1_024 && serde_json::from_slice::<Value>(line).is_ok()));
        (sent, told, result, client.counters())
    };
    let mut chunks = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (chunk, after) = rest.split_at(usize::from(*cut).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    assert!(play(&chunks) == play(&[bytes]), "fragments tell something else than the whole");
}

fn config() -> V1Config {
    let login = Login::new("fuzz\"er", Secret::new("x")).expect("it is short");
    V1Config { line_cap: 4_096, ..V1Config::new(SourceId(1), Epoch(2), login, "pool.example", 3333) }
}

impl Watched {
    fn connect(now: Instant) -> Self {
        let mut client = V1Client::new(config(), V1Memory::default());
        client.handle_connected(now);
        let mut watched = Self {
            client,
            now,
            job: None,
            shares: BTreeMap::new(),
            submits: Vec::new(),
            last_id: 0,
            dead: false,
            ready: false,
            half_line: false,
        };
        watched.drain();
        watched
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Greet { rolling, again } => self.greet(rolling, again),
            Step::Notify { job, signalling, clean, broken } => {
                let version = if signalling { "30000000" } else { "20000000" };
                let mut params = json!([
                    format!("job\"{job}"),
                    "03".repeat(32),
                    "01".repeat(50),
                    "02".repeat(20),
                    ["04".repeat(32)],
                    version,
                    "1d00ffff",
                    "60000000",
                    clean
                ]);
                if let Some((at, oddity)) = broken {
                    params[usize::from(at) % 9] = oddity.value();
                }
                self.say(json!({"id": null, "method": "mining.notify", "params": params}));
            }
            Step::Notification { method, params } => {
                let (name, id) = match method {
                    Method::Difficulty => ("mining.set_difficulty", Value::Null),
                    Method::Extranonce => ("mining.set_extranonce", Value::Null),
                    Method::Mask => ("mining.set_version_mask", Value::Null),
                    Method::Message => ("client.show_message", Value::Null),
                    Method::Reconnect => ("client.reconnect", Value::Null),
                    Method::Ping => ("mining.ping", params.first().map_or(json!(1), Oddity::value)),
                    Method::Version => ("client.get_version", json!("v")),
                    Method::Unknown => ("mining.unknown", params.first().map_or(Value::Null, Oddity::value)),
                };
                let params: Vec<Value> = params.iter().map(Oddity::value).collect();
                self.say(json!({"id": id, "method": name, "params": params}));
            }
            Step::Answer { which, answer, again } => self.answer(which, answer, again),
            Step::Reply { id, result, error } => {
                self.say(json!({"id": id.value(), "result": result.value(), "error": error.value()}));
            }
            Step::Bytes(bytes) => self.hear(&bytes),
            Step::Submit { rolled, nonce, again } => self.submit(rolled, nonce, again),
            Step::Pass { time, late } => self.pass(time, late),
            Step::Chat => {
                for _ in 0..12 {
                    self.pass(400, 0);
                    self.hear(b"\n");
                }
            }
        }
    }

    fn greet(&mut self, rolling: bool, again: bool) {
        let extranonce1 = if again { "aabbccdd" } else { "" };
        self.say(
            json!({"id": 1, "result": {"version-rolling": rolling, "version-rolling.mask": "1fffe000"}}),
        );
        self.say(json!({"id": 2, "result": [[["mining.notify", "sid"]], extranonce1, 4], "error": null}));
        self.say(json!({"id": 3, "result": true, "error": null}));
    }

    fn answer(&mut self, which: u8, answer: Verdict, again: bool) {
        let Some(&(id, _)) = self.submits.get(usize::from(which) % self.submits.len().max(1)) else { return };
        let message = match answer {
            Verdict::Yes => json!({"id": id, "result": true, "error": null}),
            Verdict::No => json!({"id": id, "result": false, "error": null}),
            Verdict::Code(code) => json!({"id": id, "result": null, "error": [20 + code % 4, "no", null]}),
            Verdict::Reason => json!({"id": id, "result": false, "error": null, "reject-reason": "Stale"}),
        };
        let before = self.outcome_of(id);
        self.say(message.clone());
        if again {
            self.say(message);
        }
        // R7: the first verdict stands, and it is the one that came under this id.
        if let Some(before) = before {
            assert_eq!(self.outcome_of(id), Some(before), "a verdict changed");
        } else if let Some(outcome) = self.outcome_of(id) {
            assert_eq!(
                outcome == ShareOutcome::Accepted,
                self.means_yes(id, answer),
                "a verdict went astray"
            );
        } else {
            assert!(self.dead || self.retried(id), "an answer was lost");
        }
    }

    fn means_yes(&self, id: u64, answer: Verdict) -> bool {
        let resent = self.share_of(id).is_some_and(|share| share % 2 == 1);
        matches!(answer, Verdict::Yes) || resent && matches!(answer, Verdict::Code(code) if code % 4 == 2)
    }

    fn share_of(&self, id: u64) -> Option<u64> {
        self.submits.iter().find(|(request, _)| *request == id).map(|&(_, share)| share)
    }

    /// Whether the share of this request is on the wire a second time, in the other version convention.
    fn retried(&self, id: u64) -> bool {
        let share = self.share_of(id);
        self.submits.iter().any(|&(request, other)| request > id && Some(other) == share)
    }

    fn outcome_of(&self, id: u64) -> Option<ShareOutcome> {
        self.shares.get(&self.share_of(id)?).and_then(|(_, outcome)| outcome.clone())
    }

    /// Shares that were sent before have odd numbers.
    fn submit(&mut self, rolled: u32, nonce: u32, again: bool) {
        let Some(job) = self.job.clone().filter(|_| self.client.can_submit()) else { return };
        assert!(self.ready, "a share may go out before the session is ready");
        let id = 2 * self.shares.len() as u64 + u64::from(again);
        let extranonce2 = Extranonce2 { value: u128::from(id), size: job.extranonce2_size() };
        let version = job.version | rolled & job.rollable().0;
        let ntime = job.ntime.saturating_add(1);
        let header = job.header(job.merkle_root(extranonce2), version, ntime, nonce);
        let (backend, hash) = (BackendId(0), header.hash());
        let share = Share {
            id: ShareId(id),
            backend,
            job,
            extranonce2,
            version,
            ntime,
            nonce,
            hash,
            is_block: false,
        };
        self.shares.insert(id, (share.clone(), None));
        let before = self.submits.len();
        if again {
            self.client.resubmit(self.now, &share)
        } else {
            self.client.submit(self.now, &share)
        }
        self.drain();
        assert_eq!(self.submits.len(), before + 1, "a share was not sent, or twice");
    }

    fn pass(&mut self, time: u16, late: u8) {
        let until = self.now + Duration::from_millis(25) * u32::from(time);
        let mut timers = 0;
        while let Some(due) = self.client.next_deadline().filter(|&due| due <= until) {
            self.now = self.now.max(due) + Duration::from_millis(late.into());
            self.dead |= self.client.handle_timeout(self.now).is_err();
            self.drain();
            timers += 1;
            assert!(timers < 2_000, "the deadline does not move");
        }
        self.now = self.now.max(until);
    }

    fn say(&mut self, message: Value) {
        let start = if self.half_line { "\n" } else { "" };
        self.hear(format!("{start}{message}\n").as_bytes());
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.dead |= self.client.handle_bytes(self.now, bytes).is_err();
        self.half_line = bytes.last().map_or(self.half_line, |&last| last != b'\n');
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(line) = self.client.poll_transmit() {
            self.check_sent(&line);
        }
        let mut told = 0;
        while let Some(event) = self.client.poll_event() {
            self.check_told(event);
            told += 1;
            assert!(told < 1_000, "too much is told at once");
        }
    }

    /// R5: what goes out is what was handed over, once, under an id of its own.
    fn check_sent(&mut self, line: &[u8]) {
        assert!(line.len() <= 1_024 && line.ends_with(b"\n"), "a line of {} bytes", line.len());
        let message: Value = serde_json::from_slice(line).expect("what we send is JSON");
        let Some(method) = message["method"].as_str() else { return };
        let id = message["id"].as_u64().expect("our ids are numbers");
        assert!(id > self.last_id, "an id was used twice");
        self.last_id = id;
        if method != "mining.submit" {
            return;
        }
        let params = message["params"].as_array().expect("an array");
        let found = self.shares.values().find(|(share, _)| {
            params[1] == *share.job.id.0
                && params[2] == hex::encode(share.extranonce2.to_bytes())
                && params[3] == format!("{:08x}", share.ntime)
                && params[4] == format!("{:08x}", share.nonce)
        });
        let (share, outcome) = found.expect("nobody handed this share over");
        assert_eq!(*outcome, None, "a share was sent after its end");
        if let Some(bits) = params.get(5).and_then(Value::as_str) {
            let bits = u32::from_str_radix(bits, 16).expect("hex");
            let (rolled, base) = (share.version ^ share.job.version, share.job.version);
            assert!(bits & !base == rolled & !base, "rolled bits differ");
        }
        self.submits.push((id, share.id.0));
    }

    /// R7: every share ends at most once, and no stranger does.
    fn check_told(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Ready { .. } => {
                assert!(!self.ready, "ready twice");
                self.ready = true;
            }
            PoolEvent::Job(job) => {
                assert!(self.ready, "a job before the session is ready");
                assert!((1..=16).contains(&job.extranonce2_size()));
                self.job = Some(Arc::new(job));
            }
            PoolEvent::Resolved { share, outcome } => {
                if let ShareOutcome::Rejected(reject) = &outcome {
                    assert!(reject.text.chars().count() <= super::TEXT_LIMIT);
                    assert!(RejectKind::ALL.contains(&reject.kind));
                }
                let (_, end) = self.shares.get_mut(&share.0).expect("nobody handed this share over");
                assert_eq!(*end, None, "a share ended twice");
                *end = Some(outcome);
            }
            PoolEvent::Late { share, .. } => {
                let (_, end) = self.shares.get(&share.0).expect("nobody handed this share over");
                assert!(matches!(end, Some(ShareOutcome::Lost(_))), "late, but never lost");
            }
            PoolEvent::Message(text) | PoolEvent::Warning(text) => {
                assert!(text.chars().count() <= 2 * super::TEXT_LIMIT && !text.chars().any(char::is_control));
            }
            PoolEvent::Difficulty(_) | PoolEvent::Reconnect { .. } => {}
        }
    }

    /// Every share that did not end is still under way: its answer, or two minutes, end it.
    fn finish(mut self) {
        for (id, share) in self.submits.clone() {
            let open = self.shares[&share].1.is_none();
            if open && !self.dead {
                self.say(json!({"id": id, "result": true, "error": null}));
            }
        }
        if !self.dead {
            assert!(self.shares.values().all(|(_, outcome)| outcome.is_some()), "a share was forgotten");
        }
    }
}
