//! The protocol with one client, without any I/O: a line in, lines out.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::chain::Job;
use crate::config::{Config, Vardiff};
use crate::jobs::Jobs;
use crate::ledger::{Record, Verdict};
use crate::message::{self, Incoming};
use crate::registry::{Registry, Suspended};
use crate::stats::Stats;
use crate::target::U256;
use crate::vardiff::Retarget;
use crate::verify::{self, Assignment, Reject, Share, Submission};

/// Longest text of a client that is kept or recorded, in characters.
const MAX_TEXT: usize = 256;
/// Most extensions looked at in one `mining.configure`.
const MAX_EXTENSIONS: usize = 32;

/// A moment, as the shell reads it from its two clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For durations.
    pub(crate) instant: Instant,
    /// For block times and records, unix seconds.
    pub(crate) unix: f64,
}

/// What a session shares with all others while it handles a line.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a Config,
    pub(crate) registry: &'a mut Registry,
    pub(crate) stats: &'a mut Stats,
    pub(crate) submits: &'a mut u64,
    pub(crate) job: &'a Arc<Job>,
}

/// What a line means beyond its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// The client found a block with this hash.
    Block(U256),
    /// The client is to be dropped, for this reason.
    Close(&'static str),
}

/// A line to send, and the record that waits to know whether it could be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) line: Vec<u8>,
    pub(crate) record: Option<Box<Record>>,
}

/// One client's state.
///
/// Feed it with [`handle_line`](Self::handle_line), [`notify`](Self::notify) and
/// [`poll_vardiff`](Self::poll_vardiff), and take what is to be sent from [`poll_output`](Self::poll_output) after each.
#[derive(Debug)]
pub(crate) struct Session {
    connection: u64,
    grant: Option<Grant>,
    workers: BTreeSet<String>,
    /// The mask the client asked for in `mining.configure`.
    asked_mask: Option<u32>,
    /// The part of it that is granted now.
    mask: Option<u32>,
    takes_extranonce: bool,
    min_difficulty: f64,
    difficulty: f64,
    retarget: Option<Retarget>,
    jobs: Jobs,
    bad_lines: u32,
    connected: Instant,
    last_line: Instant,
    output: VecDeque<Outgoing>,
}

/// What `mining.subscribe` gave the client.
#[derive(Debug)]
struct Grant {
    id: String,
    extranonce1: Vec<u8>,
    extranonce2_size: usize,
}

impl Session {
    pub(crate) fn new(connection: u64, difficulty: f64, now: Instant) -> Self {
        Self {
            connection,
            grant: None,
            workers: BTreeSet::new(),
            asked_mask: None,
            mask: None,
            takes_extranonce: false,
            min_difficulty: 0.0,
            difficulty,
            retarget: None,
            jobs: Jobs::default(),
            bad_lines: 0,
            connected: now,
            last_line: now,
            output: VecDeque::new(),
        }
    }

    /// Handles one line, given without its end.
    pub(crate) fn handle_line(&mut self, cx: &mut Context<'_>, line: &[u8]) -> Effect {
        self.last_line = cx.now.instant;
        let (id, method, params) = match message::parse(line) {
            Some(Incoming::Request { id, method, params }) => (id, method, params),
            Some(Incoming::Answer) => return Effect::None,
            None => return self.on_bad_line(cx),
        };
        match method.as_str() {
            "mining.configure" => self.on_configure(cx, &id, &params),
            "mining.subscribe" => self.on_subscribe(cx, &id, &params),
            "mining.authorize" => self.on_authorize(cx, &id, &params),
            "mining.submit" => return self.on_submit(cx, &id, &params),
            "mining.extranonce.subscribe" => {
                self.takes_extranonce = true;
                self.send(message::reply(&id, Value::Bool(true)));
            }
            "mining.suggest_difficulty" => self.on_suggest_difficulty(cx, &id, &params),
            "mining.ping" => self.send(message::reply(&id, json!("pong"))),
            _ if id.is_null() => {}
            _ => self.send(message::refusal(&id, 20, "Unknown method")),
        }
        Effect::None
    }

    /// Takes the next line to send.
    pub(crate) fn poll_output(&mut self) -> Option<Outgoing> {
        self.output.pop_front()
    }

    /// Whether the client gets jobs.
    pub(crate) fn is_mining(&self) -> bool {
        self.grant.is_some() && !self.workers.is_empty()
    }

    /// Whether the client took too long to be authorized or to say anything.
    pub(crate) fn is_overdue(&self, now: Instant, config: &Config) -> bool {
        let limits = &config.limits;
        let late = !self.is_mining() && now.saturating_duration_since(self.connected) > limits.handshake;
        late || now.saturating_duration_since(self.last_line) > limits.idle
    }

    /// Sends a job, with the difficulty now in force, to a client that mines.
    pub(crate) fn notify(&mut self, job: &Arc<Job>, clean: bool, config: &Config) {
        let Some(grant) = self.grant.as_ref().filter(|_| !self.workers.is_empty()) else { return };
        let (coinb1, coinb2) = job.coinbase_parts(grant.extranonce1.len() + grant.extranonce2_size);
        let work = Assignment {
            job: Arc::clone(job),
            coinb1,
            coinb2,
            extranonce1: grant.extranonce1.clone(),
            extranonce2_size: grant.extranonce2_size,
            difficulty: self.difficulty,
            target: U256::from_difficulty(self.difficulty).expect("only valid difficulties are set"),
        };
        let (id, work) = self.jobs.issue(work, config.limits.jobs);
        let line = message::notify(id, work, clean);
        self.send(line);
    }

    /// Changes the difficulty of the jobs to come.
    pub(crate) fn set_difficulty(&mut self, difficulty: f64) {
        self.difficulty = difficulty;
        if self.is_mining() {
            self.announce_difficulty();
        }
    }

    /// Changes the mask clients may roll at once, as BIP 310 has it.
    pub(crate) fn set_version_mask(&mut self, pool_mask: u32) {
        let granted = self.asked_mask.map(|asked| asked & pool_mask);
        if let Some(mask) = granted.filter(|_| granted != self.mask) {
            self.mask = granted;
            self.send(message::notification("mining.set_version_mask", &json!([message::word(mask)])));
        }
    }

    /// Changes the extranonce of the jobs to come, if the client understands that.
    pub(crate) fn set_extranonce(
        &mut self,
        registry: &mut Registry,
        extranonce1_len: usize,
        extranonce2_size: usize,
    ) {
        let Some(grant) = self.grant.as_mut().filter(|_| self.takes_extranonce) else { return };
        let Some(extranonce1) = registry.take_extranonce1(extranonce1_len) else { return };
        registry.release(&grant.extranonce1);
        let params = json!([hex::encode(&extranonce1), extranonce2_size]);
        *grant = Grant { id: std::mem::take(&mut grant.id), extranonce1, extranonce2_size };
        self.send(message::notification("mining.set_extranonce", &params));
    }

    /// Adjusts the difficulty to the shares seen, with a job that carries the new one.
    pub(crate) fn poll_vardiff(&mut self, now: Instant, job: &Arc<Job>, config: &Config) {
        let floor = self.min_difficulty;
        let next = self.retarget.as_mut().and_then(|retarget| retarget.poll(now, self.difficulty));
        if let Some(next) = next.map(|next| next.max(floor)).filter(|&next| next != self.difficulty) {
            self.set_difficulty(next);
            self.notify(job, false, config);
        }
    }

    /// Ends the session and returns what a client that comes back may have again.
    pub(crate) fn suspend(self) -> Option<Suspended> {
        let Grant { id, extranonce1, extranonce2_size } = self.grant?;
        Some(Suspended { id, extranonce1, extranonce2_size, difficulty: self.difficulty, jobs: self.jobs })
    }

    fn on_bad_line(&mut self, cx: &Context<'_>) -> Effect {
        self.bad_lines += 1;
        if self.bad_lines >= cx.config.limits.bad_lines {
            return Effect::Close("it keeps sending what is no JSON request");
        }
        self.send(message::refusal(&Value::Null, 20, "Not a JSON request"));
        Effect::None
    }

    fn on_configure(&mut self, cx: &Context<'_>, id: &Value, params: &[Value]) {
        let Some(Value::Array(extensions)) = params.first() else {
            return self.send(message::refusal(id, 20, "Invalid parameters"));
        };
        let options = params.get(1).unwrap_or(&Value::Null);
        let mut result = serde_json::Map::new();
        for name in extensions.iter().take(MAX_EXTENSIONS).filter_map(Value::as_str) {
            let granted = match name {
                "version-rolling" => self.configure_rolling(cx, options, &mut result),
                "minimum-difficulty" => self.configure_minimum(cx, options),
                "subscribe-extranonce" => {
                    self.takes_extranonce = true;
                    Value::Bool(true)
                }
                "info" => Value::Bool(true),
                _ => Value::Bool(false),
            };
            result.insert(name.to_owned(), granted);
        }
        self.send(message::reply(id, Value::Object(result)));
    }

    fn configure_rolling(
        &mut self,
        cx: &Context<'_>,
        options: &Value,
        result: &mut serde_json::Map<String, Value>,
    ) -> Value {
        let asked = match options.get("version-rolling.mask") {
            None => Some(u32::MAX),
            Some(mask) => mask.as_str().and_then(message::parse_mask),
        };
        let Some(asked) = asked else { return json!("invalid version-rolling.mask") };
        if cx.config.version_mask == 0 {
            return Value::Bool(false);
        }
        let mask = asked & cx.config.version_mask;
        (self.asked_mask, self.mask) = (Some(asked), Some(mask));
        result.insert("version-rolling.mask".to_owned(), json!(message::word(mask)));
        Value::Bool(true)
    }

    fn configure_minimum(&mut self, cx: &Context<'_>, options: &Value) -> Value {
        match options.get("minimum-difficulty.value").and_then(Value::as_f64) {
            Some(least) if least >= 0.0 => {
                let Vardiff { max, .. } = cx.config.vardiff.unwrap_or_default();
                self.min_difficulty = least.min(max);
                self.difficulty = self.difficulty.max(self.min_difficulty);
                Value::Bool(true)
            }
            _ => json!("invalid minimum-difficulty.value"),
        }
    }

    fn on_subscribe(&mut self, cx: &mut Context<'_>, id: &Value, params: &[Value]) {
        if self.grant.is_some() {
            return self.send(message::refusal(id, 20, "Already subscribed"));
        }
        let session_id = cx.registry.session_id(self.connection);
        let resumed = params.get(1).and_then(Value::as_str).and_then(|old| cx.registry.resume(old));
        let grant = match resumed {
            Some(old) => {
                cx.stats.resumed += 1;
                self.jobs = old.jobs;
                self.difficulty = old.difficulty.max(self.min_difficulty);
                Grant { id: session_id, extranonce1: old.extranonce1, extranonce2_size: old.extranonce2_size }
            }
            None => match cx.registry.take_extranonce1(cx.config.extranonce1_len) {
                Some(extranonce1) => {
                    Grant { id: session_id, extranonce1, extranonce2_size: cx.config.extranonce2_size }
                }
                None => return self.send(message::refusal(id, 20, "No extranonce1 left")),
            },
        };
        let subscriptions = json!([["mining.set_difficulty", &grant.id], ["mining.notify", &grant.id]]);
        let result = json!([subscriptions, hex::encode(&grant.extranonce1), grant.extranonce2_size]);
        let first = !self.is_mining();
        self.grant = Some(grant);
        self.send(message::reply(id, result));
        self.start_mining(cx, first);
    }

    fn on_authorize(&mut self, cx: &mut Context<'_>, id: &Value, params: &[Value]) {
        let user = params.first().and_then(Value::as_str);
        let Some(user) = user.filter(|user| user.chars().count() <= MAX_TEXT) else {
            return self.send(message::refusal(id, 20, "Invalid parameters"));
        };
        let password = params.get(1).and_then(Value::as_str).unwrap_or_default();
        let room = self.workers.len() < cx.config.limits.workers || self.workers.contains(user);
        if !room || !cx.config.authorize.allows(user, password) {
            let refused = Reject::Unauthorized;
            return self.send(message::refusal(id, refused.code(), &refused.to_string()));
        }
        let first = !self.is_mining();
        self.workers.insert(user.to_owned());
        self.send(message::reply(id, Value::Bool(true)));
        self.start_mining(cx, first);
    }

    /// Sends the first difficulty and job as soon as the client is both subscribed and authorized.
    fn start_mining(&mut self, cx: &Context<'_>, first: bool) {
        if first && self.is_mining() {
            self.retarget = cx.config.vardiff.map(|settings| Retarget::new(settings, cx.now.instant));
            self.announce_difficulty();
            self.notify(cx.job, true, cx.config);
        }
    }

    fn on_suggest_difficulty(&mut self, cx: &Context<'_>, id: &Value, params: &[Value]) {
        let suggested = params.first().and_then(Value::as_f64);
        let Some(suggested) = suggested.filter(|&difficulty| difficulty > 0.0) else {
            return self.send(message::refusal(id, 20, "Invalid parameters"));
        };
        if !id.is_null() {
            self.send(message::reply(id, Value::Bool(true)));
        }
        let Vardiff { min, max, .. } = cx.config.vardiff.unwrap_or_default();
        let difficulty = suggested.clamp(min, max).max(self.min_difficulty);
        if difficulty != self.difficulty {
            self.set_difficulty(difficulty);
            self.notify(cx.job, false, cx.config);
        }
    }

    fn on_submit(&mut self, cx: &mut Context<'_>, id: &Value, params: &[Value]) -> Effect {
        let mut record = self.blank_record(cx, params);
        let verdict = self.judge(cx, params, &mut record);
        let mut effect = Effect::None;
        let line = match verdict {
            Ok(Accepted { share, difficulty }) => {
                record.verdict = Verdict::Accepted;
                cx.stats.accepted += 1;
                cx.stats.work += difficulty;
                cx.stats.best = cx.stats.best.max(share.hash.difficulty());
                if share.is_block {
                    effect = Effect::Block(share.hash);
                }
                if let Some(retarget) = &mut self.retarget {
                    retarget.on_share(difficulty);
                }
                message::reply(id, Value::Bool(true))
            }
            Err(reject) => {
                record.code = Some(reject.code());
                record.reason = Some(reject.to_string());
                *cx.stats.rejected.entry(reject).or_default() += 1;
                message::refusal(id, reject.code(), &reject.to_string())
            }
        };
        self.output.push_back(Outgoing { line, record: Some(record) });
        if effect == Effect::None {
            self.poll_vardiff(cx.now.instant, cx.job, cx.config);
        }
        effect
    }

    /// Decides on a share, in the order of the pools this one imitates, and notes in the record what it finds on the way.
    fn judge(&mut self, cx: &Context<'_>, params: &[Value], record: &mut Record) -> Result<Accepted, Reject> {
        if self.grant.is_none() {
            return Err(Reject::NotSubscribed);
        }
        let [user, job_id, rest @ ..] = params else { return Err(Reject::Malformed) };
        if !self.workers.contains(text(user)?) {
            return Err(Reject::Unauthorized);
        }
        let submission = parse_submission(rest)?;
        let work = self.jobs.find(text(job_id)?).ok_or(Reject::JobNotFound)?;
        record.extranonce1 = Some(hex::encode(&work.extranonce1));
        record.target_difficulty = Some(work.difficulty);
        if self.jobs.is_stale(work) {
            return Err(Reject::Stale);
        }
        let share = verify::rebuild(work, self.mask, &submission)?;
        record.version = Some(message::word(share.version));
        record.hash = Some(share.hash.to_string());
        record.difficulty = Some(share.hash.difficulty());
        record.block = share.is_block;
        let difficulty = work.difficulty;
        if self.jobs.has_seen(share.hash) {
            return Err(Reject::Duplicate);
        }
        if !share.is_good(work) {
            return Err(Reject::LowDifficulty);
        }
        self.jobs.remember(share.hash, cx.config.limits.shares_per_block)?;
        Ok(Accepted { share, difficulty })
    }

    fn blank_record(&self, cx: &mut Context<'_>, params: &[Value]) -> Box<Record> {
        *cx.submits += 1;
        let field = |place: usize| {
            params
                .get(place)
                .and_then(Value::as_str)
                .map(|text| text.chars().take(MAX_TEXT).collect::<String>())
        };
        Box::new(Record {
            seq: *cx.submits,
            ts: cx.now.unix,
            connection: self.connection,
            session: self.grant.as_ref().map(|grant| grant.id.clone()),
            user: field(0),
            job_id: field(1),
            extranonce1: None,
            extranonce2: field(2),
            ntime: field(3),
            nonce: field(4),
            version_bits: field(5),
            version: None,
            hash: None,
            difficulty: None,
            target_difficulty: None,
            verdict: Verdict::Rejected,
            code: None,
            reason: None,
            block: false,
            delivered: false,
        })
    }

    fn announce_difficulty(&mut self) {
        self.send(message::notification("mining.set_difficulty", &json!([self.difficulty])));
    }

    fn send(&mut self, line: Vec<u8>) {
        self.output.push_back(Outgoing { line, record: None });
    }
}

/// A share that counts, and the difficulty it counts for.
#[derive(Debug)]
struct Accepted {
    share: Share,
    difficulty: f64,
}

/// Reads what follows the job id in a submit: extranonce2, ntime, nonce and perhaps version bits.
fn parse_submission(fields: &[Value]) -> Result<Submission, Reject> {
    let (fields, bits) = match fields {
        [fields @ .., bits] if fields.len() == 3 => (fields, Some(text(bits)?)),
        _ => (fields, None),
    };
    let [extranonce2, ntime, nonce] = fields else { return Err(Reject::Malformed) };
    let version_bits = bits.map(|bits| message::parse_word(bits).ok_or(Reject::Malformed)).transpose()?;
    Ok(Submission {
        extranonce2: hex::decode(text(extranonce2)?).map_err(|_| Reject::Malformed)?,
        ntime: message::parse_word(text(ntime)?).ok_or(Reject::Malformed)?,
        nonce: message::parse_word(text(nonce)?).ok_or(Reject::Malformed)?,
        version_bits,
    })
}

fn text(value: &Value) -> Result<&str, Reject> {
    value.as_str().ok_or(Reject::Malformed)
}
