//! From the bytes of a clean job to every CPU thread at work on it, all threads hashing all the while.
//!
//! Besides Criterion's mean it prints the median and the 99th percentile over all switches.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use miner_core::backend::{BackendEvent, BackendFeed, EventSink, GenerationGate, HashBackend, wire};
use miner_core::cpu::{CpuBackend, CpuConfig, Priority, choose};
use miner_core::sched::{Input, Output, Scheduler, SchedulerConfig, SourceEvent, credit};
use miner_core::sha256d::IsaChoice;
use miner_core::types::{BackendId, Epoch, SourceId};
use stratum::v1::{Login, V1Client, V1Config, V1Memory};
use stratum::{PoolEvent, PoolProtocol, Secret};

const SOURCE: SourceId = SourceId(0);
const BACKEND: BackendId = BackendId(0);
const GREETING: &str = concat!(
    r#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"}}"#,
    "\n",
    r#"{"id":2,"result":[[["mining.notify","s"]],"aabbccdd",4],"error":null}"#,
    "\n",
    r#"{"id":3,"result":true,"error":null}"#,
    "\n",
);

struct Sink(Mutex<Sender<BackendEvent>>);

impl EventSink for Sink {
    fn send(&self, event: BackendEvent) -> bool {
        self.0.lock().expect("nobody panics holding it").send(event).is_ok()
    }
}

/// The miner without its sockets: a protocol, the scheduler and the CPU backend, driven by hand.
struct Rig {
    client: V1Client,
    scheduler: Scheduler,
    gate: GenerationGate,
    feed: BackendFeed,
    events: Receiver<BackendEvent>,
    /// Which thread took up which job, and when.
    turned: Receiver<(usize, Arc<str>, Instant)>,
    threads: usize,
    jobs: u32,
    thread: JoinHandle<()>,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        let login = Login::new("alice.rig", Secret::new("x")).expect("it is short");
        let config = V1Config::new(SOURCE, Epoch(1), login, "pool.example", 3333);
        let mut client = V1Client::new(config, V1Memory::default());
        client.handle_connected(now);
        client.handle_bytes(now, GREETING.as_bytes()).expect("a good greeting");
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), now, [SOURCE]);
        scheduler.handle(now, Input::Source(SOURCE, SourceEvent::Up));

        let (turn, turned) = channel();
        let turn = Mutex::new(turn);
        let kernel = choose(&IsaChoice::auto()).expect("a kernel that computes rightly");
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let config = CpuConfig { priority: Priority::Nice(niceness()), ..CpuConfig::default() };
        let backend = CpuBackend::new(config, kernel).expect("the defaults are possible");
        let backend = backend.with_chunk_hook(Arc::new(move |thread, unit| {
            // Nobody listens at the end.
            let turned = (thread, Arc::clone(&unit.job.id.0), Instant::now());
            let _ = turn.lock().expect("nobody panics holding it").send(turned);
        }));
        let info = Arc::new(backend.info());
        let (sender, events) = channel();
        let gate = GenerationGate::default();
        let (port, feed) = wire(credit(&info), Arc::new(Sink(Mutex::new(sender))), gate.clone());
        let thread = std::thread::spawn(move || Box::new(backend).run(port).expect("it runs to the end"));
        scheduler.handle(now, Input::BackendUp(BACKEND, info));
        Self { client, scheduler, gate, feed, events, turned, threads, jobs: 0, thread }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Advance(generation) => {
                    self.gate.advance(generation);
                    self.feed.wake();
                }
                Output::Feed(_, unit) => self.feed.feed(unit).expect("credits keep room"),
                Output::Submit(..) | Output::Emit(_) => {}
            }
        }
    }

    /// One clean job, from its bytes to the last thread.
    fn switch(&mut self) -> Duration {
        self.jobs += 1;
        let id = format!("{:x}", self.jobs);
        let line = notify(&id);
        while self.turned.try_recv().is_ok() {}
        let start = Instant::now();
        self.client.handle_bytes(start, line.as_bytes()).expect("a good line");
        while let Some(event) = self.client.poll_event() {
            if let PoolEvent::Job(job) = event {
                self.scheduler.handle(start, Input::Source(SOURCE, SourceEvent::Job(job)));
            }
        }
        self.carry_out();
        let (mut left, mut last): (Vec<usize>, _) = ((0..self.threads).collect(), start);
        while !left.is_empty() {
            let (thread, job, at) =
                self.turned.recv_timeout(Duration::from_secs(10)).expect("every thread turns");
            if *job == *id {
                // When it turned, not when this thread got a CPU to hear of it.
                last = last.max(at);
                left.retain(|&other| other != thread);
            }
        }
        last - start
    }

    /// Lets the backend work until the next job may come: a session delivers at most 20 a second.
    fn rest(&mut self) {
        let until = Instant::now() + Duration::from_millis(60);
        while let Ok(event) = self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.scheduler.handle(Instant::now(), Input::Backend(BACKEND, event));
            self.carry_out();
        }
    }
}

/// Of the hashing threads: lode's default, unless `HASH_NICENESS` says otherwise.
///
/// What others run takes CPUs from these threads. On a machine that is not left alone `HASH_NICENESS=0` and the bench
/// itself at niceness -10 keep the distance between driver and hashing threads, and both ahead of the others.
fn niceness() -> u8 {
    std::env::var("HASH_NICENESS")
        .map_or(10, |text| text.parse().expect("HASH_NICENESS is a number from 0 to 19"))
}

/// A clean job on a new block, as large as those of mainnet.
fn notify(id: &str) -> String {
    let (prev, prefix, suffix) = (format!("{id:0>64}"), "01".repeat(100), "02".repeat(150));
    let branch = vec![format!("\"{}\"", "04".repeat(32)); 12].join(",");
    let job =
        format!(r#""{id}","{prev}","{prefix}","{suffix}",[{branch}],"20000000","17023a04","685468d7",true"#);
    format!("{{\"id\":null,\"method\":\"mining.notify\",\"params\":[{job}]}}\n")
}

fn job_switch(criterion: &mut Criterion) {
    let mut rig = Rig::new();
    rig.switch();
    let mut taken = Vec::new();
    criterion.bench_function("job switch: notify bytes to every CPU thread", |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    rig.rest();
                    let time = rig.switch();
                    taken.push(time);
                    time
                })
                .sum()
        });
    });
    taken.sort_unstable();
    let at = |part: f64| taken[((taken.len() - 1) as f64 * part) as usize];
    println!("{} switches, {} threads: p50 {:?}, p99 {:?}", taken.len(), rig.threads, at(0.5), at(0.99));
    let Rig { feed, thread, .. } = rig;
    drop(feed);
    thread.join().expect("the backend ends with its port");
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(60)).sample_size(20);
    targets = job_switch
}
criterion_main!(benches);
