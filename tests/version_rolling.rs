//! Version rolling from the kernel to the pool's verdict, with and without the pool's consent.

use std::collections::BTreeSet;
use std::time::Duration;

use lode::bus::Bus;
use lode::driver::Driver;
use lode::pools::Pools;
use lode::settings::{PoolSettings, RunLimits};
use miner_core::backend::{BackendError, BackendInfo, BackendPort, HashBackend};
use miner_core::cpu::{CpuBackend, CpuConfig, choose};
use miner_core::sha256d::IsaChoice;
use miner_core::work::Granularity;
use practice_pool::{Config, Record, Verdict};
use stratum::url::PoolUrl;
use testkit::practice::{Practice, quiet};
use tokio::sync::mpsc;

/// Base version of the practice pool's jobs.
const BASE: u32 = 0x2000_0000;
/// Shares to wait for: one of four versions is missed by all of them once in eight million runs.
const SHARES: u64 = 60;
/// 2 million hashes: some shares a second, and below the 64 from which on lode would ask for another difficulty.
const DIFFICULTY: f64 = 5e-4;

/// The CPU backend, asking for this many versions at once whatever its kernel likes best.
struct Rolling(CpuBackend, u32);

impl HashBackend for Rolling {
    fn info(&self) -> BackendInfo {
        let info = self.0.info();
        let Granularity::Nonces { step, .. } = info.granularity else { panic!("{:?}", info.granularity) };
        BackendInfo { granularity: Granularity::Nonces { step, versions: self.1 }, ..info }
    }

    fn run(self: Box<Self>, port: BackendPort) -> Result<(), BackendError> {
        Box::new(self.0).run(port)
    }
}

fn cpu() -> CpuBackend {
    let one = CpuConfig { threads: std::num::NonZero::<usize>::MIN, ..CpuConfig::default() };
    CpuBackend::new(one, choose(&IsaChoice::auto()).expect("a kernel that computes rightly"))
        .expect("one thread is possible")
}

/// Mines until enough shares are accepted; the pool's file of them.
fn mine(device: impl HashBackend, version_mask: u32) -> Vec<Record> {
    let pool = Practice::start(Config { version_mask, difficulty: DIFFICULTY, ..quiet() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bus = Bus::default();
        let (host, port) = (pool.addr().ip().to_string(), pool.addr().port());
        let settings = PoolSettings::new(PoolUrl { tls: false, host, port }, "w");
        let pools = Pools::start(vec![settings], &bus).expect("the pool can be tried");
        let (sender, arrivals) = mpsc::channel::<Box<dyn HashBackend>>(1);
        assert!(sender.try_send(Box::new(device)).is_ok());
        drop(sender);
        let limits = RunLimits { shares: Some(SHARES), time: Some(Duration::from_secs(300)) };
        let driver = Driver::new(arrivals, pools, bus, limits, Duration::from_secs(60));
        let (_stop, stopped) = mpsc::channel(1);
        driver.run(stopped).await
    });
    let records = pool.stop();
    assert!(records.len() as u64 >= SHARES, "{} shares in five minutes", records.len());
    for record in &records {
        assert_eq!(record.verdict, Verdict::Accepted, "{record:?}");
    }
    records
}

/// The header versions of the shares, which must not leave the mask; and that no share was sent twice.
fn versions(records: &[Record], mask: u32) -> BTreeSet<u32> {
    let headers: BTreeSet<_> = records
        .iter()
        .map(|record| (&record.job_id, &record.extranonce2, &record.ntime, &record.nonce, &record.version))
        .collect();
    assert_eq!(headers.len(), records.len());
    let hex = |text: &Option<String>| {
        u32::from_str_radix(text.as_deref().expect("it is in every accepted share"), 16).expect("hex")
    };
    let versions: BTreeSet<u32> = records.iter().map(|record| hex(&record.version)).collect();
    assert!(versions.iter().all(|version| version & !mask == BASE), "{versions:x?} leave {mask:x}");
    for record in records {
        let bits = record.version_bits.as_ref().map(|_| hex(&record.version_bits));
        assert_eq!(bits, (mask != 0).then(|| hex(&record.version) & mask), "{record:?}");
    }
    versions
}

#[test]
fn shares_with_rolled_versions_are_accepted() {
    let mask = 0x1fff_e000;
    let versions = versions(&mine(Rolling(cpu(), 16), mask), mask);
    assert!(versions.len() > 8 && versions.len() <= 16, "{versions:x?}: one unit has 16 versions");
}

#[test]
fn a_pool_that_allows_two_bits_gets_four_versions() {
    let mask = 0x0004_4000;
    let versions = versions(&mine(Rolling(cpu(), 64), mask), mask);
    assert_eq!(versions, BTreeSet::from([0, 0x4000, 0x4_0000, 0x4_4000].map(|bits| BASE | bits)));
}

#[test]
fn without_consent_no_version_is_rolled() {
    let versions = versions(&mine(Rolling(cpu(), 64), 0), 0);
    assert_eq!(versions, BTreeSet::from([BASE]));
}

#[test]
fn the_cpu_rolls_what_its_kernels_gain_by() {
    let mask = 0x1fff_e000;
    let cpu = cpu();
    let Granularity::Nonces { versions: wanted, .. } = cpu.info().granularity else { panic!("of the CPU") };
    let versions = versions(&mine(cpu, mask), mask);
    assert!(versions.len() <= wanted as usize, "{versions:x?} are more than {wanted}");
    assert!(wanted == 1 || versions.len() > 1, "{versions:x?}, but {wanted} were asked for");
}
