//! Pools without sockets, in virtual time: scripted peers at the other ends of pipes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use miner_core::job::{Extranonce2, JobTemplate};
use miner_core::sched::SourceEvent;
use miner_core::share::{Share, ShareOutcome};
use miner_core::types::{BackendId, BlockHash, ShareId, SourceId};
use serde_json::{Value, json};
use stratum::io::{ConnectError, Endpoint, Stream};
use stratum::url::PoolUrl;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::super::Pools;
use super::super::network::Network;
use crate::bus::Bus;
use crate::settings::PoolSettings;

/// A network in which every attempt to connect is put before the test.
#[derive(Clone)]
pub(super) struct Wire(mpsc::UnboundedSender<Dial>);

/// Somebody wants to connect.
pub(super) struct Dial {
    pub(super) host: String,
    answer: oneshot::Sender<Answer>,
}

/// What becomes of an attempt to connect.
enum Answer {
    Connected(DuplexStream),
    Panic,
}

impl Network for Wire {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, ConnectError> {
        let (answer, stream) = oneshot::channel();
        let host = endpoint.url.host.clone();
        let _ = self.0.send(Dial { host: host.clone(), answer });
        match stream.await {
            Ok(Answer::Connected(stream)) => Ok(Box::new(stream)),
            Ok(Answer::Panic) => panic!("on purpose"),
            Err(_) => Err(ConnectError::NoAddress { host }),
        }
    }
}

impl Dial {
    /// Takes the call. To drop it is to refuse.
    pub(super) fn take(self) -> Peer {
        let (reader, writer) = tokio::io::split(self.stream());
        Peer { reader: BufReader::new(reader), writer }
    }

    /// Takes the call: the bare stream.
    pub(super) fn stream(self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let _ = self.answer.send(Answer::Connected(theirs));
        ours
    }

    /// Makes the caller panic.
    pub(super) fn blow_up(self) {
        let _ = self.answer.send(Answer::Panic);
    }
}

/// The pool's end of a connection. To drop it is to hang up.
pub(super) struct Peer {
    reader: BufReader<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
}

impl Peer {
    pub(super) async fn say(&mut self, message: Value) {
        // Whoever hung up hears nothing.
        let _ = self.writer.write_all(format!("{message}\n").as_bytes()).await;
    }

    /// The next message; `None` when the miner hung up.
    pub(super) async fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).await.unwrap_or(0);
        (length > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The next share: the request's id and the share's.
    pub(super) async fn share(&mut self) -> Option<(Value, u64)> {
        loop {
            let message = self.hear().await?;
            if message["method"] == "mining.submit" {
                let nonce = message["params"][4].as_str().unwrap();
                return Some((message["id"].clone(), u64::from_str_radix(nonce, 16).unwrap()));
            }
        }
    }

    /// Answers configure and subscribe; the session asked for, if any.
    pub(super) async fn subscribe(&mut self, extranonce1: &str) -> Option<String> {
        let mut session = None;
        for _ in 0..3 {
            let message = self.hear().await?;
            match message["method"].as_str().unwrap() {
                "mining.configure" => self.say(json!({"id": message["id"], "result": {}})).await,
                "mining.subscribe" => {
                    session = message["params"][1].as_str().map(str::to_owned);
                    let name = format!("session-{extranonce1}");
                    let result = json!([[["mining.notify", name]], extranonce1, 4]);
                    self.say(json!({"id": message["id"], "result": result, "error": null})).await;
                }
                _ => {}
            }
        }
        session
    }

    /// Lets the miner in, with the first job.
    pub(super) async fn greet(&mut self, extranonce1: &str, job: &str) -> Option<String> {
        let session = self.subscribe(extranonce1).await;
        self.say(json!({"id": 3, "result": true, "error": null})).await;
        self.notify(job, true).await;
        session
    }

    pub(super) async fn notify(&mut self, job: &str, clean: bool) {
        let (prefix, suffix) = ("01".repeat(50), "02".repeat(20));
        let params = json!([
            job,
            "03".repeat(32),
            prefix,
            suffix,
            ["04".repeat(32)],
            "20000000",
            "1d00ffff",
            "60000000",
            clean
        ]);
        self.say(json!({"id": null, "method": "mining.notify", "params": params})).await;
    }

    pub(super) async fn accept(&mut self, request: Value) {
        self.say(json!({"id": request, "result": true, "error": null})).await;
    }
}

/// Pools, and what a driver would do with them.
pub(super) struct Driver {
    pub(super) pools: Pools,
    /// What the scheduler would have heard.
    pub(super) told: Vec<String>,
    pub(super) events: Vec<(SourceId, SourceEvent)>,
    /// The newest job of each source that was told.
    pub(super) jobs: BTreeMap<u16, Arc<JobTemplate>>,
    pub(super) outcomes: BTreeMap<u64, ShareOutcome>,
    pub(super) given: u64,
}

/// A network, and those who want to connect.
pub(super) fn network() -> (Wire, mpsc::UnboundedReceiver<Dial>) {
    let (sender, dials) = mpsc::unbounded_channel();
    (Wire(sender), dials)
}

/// Pools called `a`, `b`, `c` and so on, and those who want to connect to them.
pub(super) fn start(count: u8) -> (Driver, mpsc::UnboundedReceiver<Dial>) {
    let (network, dials) = network();
    let settings = |i: u8| {
        let url = PoolUrl { tls: false, host: char::from(b'a' + i).to_string(), port: 3333 };
        PoolSettings::new(url, "me")
    };
    let pools = Pools::start_over(&network, (0..count).map(settings).collect(), &Bus::default()).unwrap();
    let driver = Driver {
        pools,
        told: Vec::new(),
        events: Vec::new(),
        jobs: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        given: 0,
    };
    (driver, dials)
}

impl Driver {
    /// Drives the pools until `done` is.
    pub(super) async fn until<T>(&mut self, done: impl Future<Output = T>) -> T {
        tokio::pin!(done);
        loop {
            let deadline = self.pools.next_deadline().map(tokio::time::Instant::from_std);
            let due = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                (source, event) = self.pools.recv() => self.hear(source, event),
                done = &mut done => return done,
                () = due => self.pools.handle_timeout(tokio::time::Instant::now().into_std()),
            }
        }
    }

    pub(super) async fn pass(&mut self, seconds: u64) {
        self.until(tokio::time::sleep(Duration::from_secs(seconds))).await;
    }

    /// Time for everybody to do what can be done at once.
    pub(super) async fn settle(&mut self) {
        self.until(tokio::time::sleep(Duration::from_millis(100))).await;
    }

    /// Takes the next call for `host`, whoever else has to wait.
    pub(super) async fn dial(&mut self, dials: &mut mpsc::UnboundedReceiver<Dial>, host: &str) -> Dial {
        self.until(async {
            loop {
                let dial = dials.recv().await.unwrap();
                if dial.host == host {
                    return dial;
                }
            }
        })
        .await
    }

    /// Finds a share for the newest job of a source, and hands it over.
    pub(super) fn find(&mut self, source: u16) -> u64 {
        let job = Arc::clone(&self.jobs[&source]);
        self.find_for(source, job)
    }

    pub(super) fn find_for(&mut self, source: u16, job: Arc<JobTemplate>) -> u64 {
        self.given += 1;
        let share = Share {
            id: ShareId(self.given),
            backend: BackendId(0),
            extranonce2: Extranonce2 { value: u128::from(self.given), size: job.extranonce2_size() },
            version: job.version,
            ntime: job.ntime,
            nonce: u32::try_from(self.given).unwrap(),
            hash: BlockHash([0; 32]),
            is_block: false,
            job,
        };
        if let Err(share) = self.pools.submit(SourceId(source), Arc::new(share)) {
            panic!("no room for share {}", share.id);
        }
        self.given
    }

    /// Ends all pools.
    pub(super) async fn shutdown(&mut self) {
        for (source, event) in self.pools.shutdown().await {
            self.hear(source, event);
        }
    }

    /// What was told since the last call.
    pub(super) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    pub(super) fn hear(&mut self, source: SourceId, event: SourceEvent) {
        let what = match &event {
            SourceEvent::Up => "up".to_owned(),
            SourceEvent::Suspended => "suspended".to_owned(),
            SourceEvent::Down => "down".to_owned(),
            SourceEvent::Job(job) => {
                self.jobs.insert(source.0, Arc::new(job.clone()));
                format!("job {}", job.id)
            }
            SourceEvent::Resolved { share, outcome } => {
                let before = self.outcomes.insert(share.0, outcome.clone());
                assert_eq!(before, None, "share {share} ended twice");
                format!("share {share} {outcome:?}")
            }
            SourceEvent::Late { share, .. } => format!("late {share}"),
        };
        self.told.push(format!("{} {what}", char::from(b'a' + u8::try_from(source.0).unwrap())));
        self.events.push((source, event));
    }
}
