//! lode's own wiring, in this process, with a GPU that its driver loses: at each step, alone and beside the CPU.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lode::bus::Bus;
use lode::driver::Driver;
use lode::event::{EndReason, EventKind, PoolFacts, StartFacts};
use lode::pools::Pools;
use lode::report::{self, json::Json};
use lode::settings::{PoolSettings, RunLimits};
use miner_core::backend::HashBackend;
use miner_core::cpu::{CpuBackend, CpuConfig, choose};
use miner_core::sha256d::IsaChoice;
use miner_core::types::HashRate;
use miner_gpu::kernel::Form;
use miner_gpu::{Fault, FaultHook, Gpu, GpuBackend, GpuConfig, Gpus, Step, Tuning};
use practice_pool::Config;
use serde_json::Value;
use stratum::url::PoolUrl;
use testkit::ledger::{Books, Losses, expect_agreement};
use testkit::practice::{Practice, quiet};
use testkit::runtime;
use tokio::sync::mpsc;

use crate::PATIENCE;

/// Accepted shares of each device before and after the loss.
const SHARES: usize = 3;

/// The kernel for several headers.
const SEVERAL: Form = Form { midstates: 2, ..Form::DEFAULT };

/// A GPU alone is lost at each step, once each.
pub(crate) fn lost_alone() {
    for (step, nth) in [
        (Step::Open, 0),
        (Step::SelfTest(Form::DEFAULT), 0),
        (Step::SelfTest(SEVERAL), 0),
        (Step::Submit, 0),
        (Step::Submit, 20),
        (Step::Collect, 20),
    ] {
        mine(step, nth, &["gpu:"]);
    }
}

/// The CPU goes on with what is its own, and with nothing of the GPU's.
pub(crate) fn lost_beside_the_cpu() {
    for (step, nth) in [(Step::SelfTest(SEVERAL), 0), (Step::Submit, 20), (Step::Collect, 20)] {
        mine(step, nth, &["gpu:", "cpu"]);
    }
}

/// The n-th time that the step is reached, the driver loses the device.
fn mine(step: Step, nth: u32, devices: &'static [&'static str]) {
    let reached = AtomicU32::new(0);
    let faults: FaultHook = Arc::new(move |at| {
        let now = at == step && reached.fetch_add(1, Relaxed) == nth;
        if now { Fault::Destroy } else { Fault::None }
    });
    let config = Config { difficulty: 1e-3, ..quiet() };
    let version = config.version;
    let pool = Practice::start(config);
    let (stop, stopped) = mpsc::channel(1);
    let told = Told { lines: Arc::default(), part: Vec::new(), stop, devices };
    let lines = Arc::clone(&told.lines);
    let mut backends: Vec<Box<dyn HashBackend>> = vec![Box::new(gpu(faults))];
    if devices.contains(&"cpu") {
        let kernels = choose(&IsaChoice::auto()).expect("a kernel that computes rightly");
        let one = CpuConfig { threads: std::num::NonZero::<usize>::MIN, ..CpuConfig::default() };
        backends.push(Box::new(CpuBackend::new(one, kernels).expect("one thread is possible")));
    }
    let reason = runtime().block_on(run(pool.addr(), backends, told, stopped));
    let lines = std::mem::take(&mut *lines.lock().expect("nobody panics holding it"));
    let case = format!("lost at {step:?} number {nth}");
    assert_eq!(
        reason,
        EndReason::Terminated,
        "{case}: not recovered within {PATIENCE:?}: {:?}",
        lines.last()
    );
    let wrong = lines.iter().find(|line| line["type"] == "discard" && line["reason"] != "stale");
    assert!(wrong.is_none(), "{case}: {wrong:?}");
    let books = Books { lines, pool: 0, records: pool.stop(), version, routes: None, losses: Losses::NONE };
    let account = expect_agreement(&books);
    // A share of searched space that was leased twice would be refused as a duplicate.
    assert!(account.rejected.is_empty(), "{case}: {:?}", account.rejected);
}

fn gpu(faults: FaultHook) -> GpuBackend {
    let gpus = Gpus::find();
    let gpu: Gpu = gpus.list.into_iter().find(|gpu| gpu.facts.unusable.is_none()).expect("asked before");
    let tuning = Tuning { single: Form::DEFAULT, several: Some(SEVERAL), rate: HashRate(2e7) };
    let config = GpuConfig {
        tuning: Some(tuning),
        retry: Duration::from_millis(1),
        faults: Some(faults),
        ..GpuConfig::default()
    };
    GpuBackend::new(gpu, config)
}

/// As `lode mine` puts it together.
async fn run(
    addr: SocketAddr,
    backends: Vec<Box<dyn HashBackend>>,
    told: Told,
    stopped: mpsc::Receiver<EndReason>,
) -> EndReason {
    let bus = Bus::default();
    let json = Json::new(told, "the test", Duration::from_secs(10));
    let reporter = report::spawn(bus.subscribe(), Box::new(json)).expect("a thread");
    let url = PoolUrl { tls: false, host: addr.ip().to_string(), port: addr.port() };
    let pool = PoolSettings::new(url, "w");
    bus.emit(EventKind::Started(Arc::new(StartFacts {
        version: "test".to_owned(),
        pools: vec![PoolFacts { url: pool.url.to_string(), user: pool.user.clone() }],
        practice: false,
        emulated: false,
    })));
    let pools = Pools::start(vec![pool], &bus).expect("it can be tried");
    let (sender, arrivals) = mpsc::channel(2);
    for backend in backends {
        sender.try_send(backend).expect("there is room");
    }
    drop(sender);
    let limits = RunLimits { shares: None, time: Some(PATIENCE) };
    let end = Driver::new(arrivals, pools, bus, limits, Duration::from_secs(10)).run(stopped).await;
    assert!(reporter.finish(Duration::from_secs(10)).await, "everything is told");
    end.reason
}

/// Takes down what lode tells, and ends the run once the GPU was lost, came back and every device found shares since.
struct Told {
    lines: Arc<Mutex<Vec<Value>>>,
    part: Vec<u8>,
    stop: mpsc::Sender<EndReason>,
    devices: &'static [&'static str],
}

impl Told {
    fn is_enough(&self, lines: &[Value]) -> bool {
        let state = |line: &Value| line["health"]["state"].as_str().map(str::to_owned);
        let Some(sick) = lines.iter().position(|line| state(line).as_deref() == Some("sick")) else {
            return false;
        };
        let well = lines[sick..].iter().position(|line| state(line).as_deref() == Some("ok"));
        let Some(since) = well.map(|well| &lines[sick + well..]) else { return false };
        self.devices.iter().all(|device| {
            let is_its = |line: &&Value| {
                line["outcome"] == "accepted"
                    && line["device"].as_str().is_some_and(|found| found.starts_with(device))
            };
            since.iter().filter(is_its).count() >= SHARES
        })
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend(bytes);
        while let Some(end) = self.part.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.part.drain(..=end).collect();
            let line: Value = serde_json::from_slice(&line).map_err(io::Error::other)?;
            let lines = Arc::clone(&self.lines);
            let mut lines = lines.lock().expect("nobody panics holding it");
            lines.push(line);
            if self.is_enough(&lines) {
                // Asked before, perhaps.
                let _ = self.stop.try_send(EndReason::Terminated);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
