use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::backend::contract_tests::{self, Rig, hits};
use crate::backend::{BackendError, HealthState};
use crate::sha256d::{Isa, IsaChoice};
use crate::types::{Generation, WorkId};
use crate::work::NonceRange;

fn config(threads: usize) -> CpuConfig {
    CpuConfig { threads: NonZero::new(threads).unwrap(), ..CpuConfig::default() }
}

fn kernel(isa: Isa) -> Kernel {
    Kernel { isa, rate: HashRate(1e6) }
}

/// The kernels under test: all that this CPU has, or what `LODE_ISA` leaves of them.
fn kernels() -> IsaChoice {
    std::env::var("LODE_ISA").map_or_else(|_| IsaChoice::auto(), |text| text.parse().unwrap())
}

fn any_kernel() -> Kernel {
    kernel(*kernels().candidates().last().unwrap())
}

fn backend(threads: usize) -> CpuBackend {
    CpuBackend::new(config(threads), any_kernel()).unwrap()
}

#[test]
fn the_contract_holds_with_any_number_of_threads() {
    for threads in [1, 2, 3] {
        contract_tests::check(&|| Box::new(backend(threads)));
    }
}

#[test]
fn the_contract_holds_with_every_kernel() {
    for &isa in kernels().candidates() {
        contract_tests::check(&|| Box::new(CpuBackend::new(config(2), kernel(isa)).unwrap()));
    }
}

#[test]
fn units_of_several_versions_are_searched_whole() {
    let mut rig = Rig::new(Box::new(backend(3)));
    for (id, versions) in (0..).zip([2, 7, MAX_VERSIONS]) {
        let unit = rig.unit(id, NonceRange { start: 4_000_000_000, len: 3 * STEP }, versions);
        let (size, mut wanted) = (unit.size(), hits(&unit));
        rig.feed(unit);
        let mut work = rig.finish(WorkId(id));
        assert_eq!(work.hashes, size);
        wanted.sort_by_key(|hit| (hit.version, hit.nonce));
        work.hits.sort_by_key(|hit| (hit.version, hit.nonce));
        assert_eq!(work.hits, wanted);
    }
    rig.close();
}

#[test]
fn a_unit_outside_the_granularity_is_given_up() {
    let mut rig = Rig::new(Box::new(backend(2)));
    let unit = rig.unit(0, NonceRange::FULL, MAX_VERSIONS + 1);
    rig.feed(unit);
    assert_eq!(rig.finish(WorkId(0)).hashes, 0);
    rig.close();
}

#[test]
fn a_long_unit_is_reported_in_between() {
    let mut rig = Rig::new(Box::new(backend(2)));
    let mut unit = rig.unit(0, NonceRange::FULL, 1);
    unit.report_target = crate::types::Target::ZERO;
    rig.feed(unit);
    while rig.works[&WorkId(0)].hashes == 0 {
        rig.next_event();
    }
    assert!(!rig.works[&WorkId(0)].finished);
    rig.close();
}

#[test]
fn a_closed_port_leaves_no_unit_unaccounted_for() {
    let mut rig = Rig::new(Box::new(backend(2)));
    for id in 0..2 {
        let unit = rig.unit(id, NonceRange::FULL, 1);
        rig.feed(unit);
    }
    rig.wait_for_a_hit(WorkId(0));
    let (ended, works) = rig.end();
    assert!(ended.is_ok(), "{ended:?}");
    assert!(works[&WorkId(0)].finished && works[&WorkId(0)].hashes > 0);
    assert!(works[&WorkId(1)].finished && works[&WorkId(1)].hashes == 0);
}

#[test]
fn a_panicking_thread_costs_its_unit_and_is_shown() {
    let panics = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&panics);
    let hook: ChunkHook = Arc::new(move |_, unit| {
        if unit.id == WorkId(1) && count.fetch_add(1, Ordering::Relaxed) == 0 {
            panic!("planted");
        }
    });
    let mut rig = Rig::new(Box::new(backend(2).with_chunk_hook(hook)));
    for id in 0..4 {
        let nonces = NonceRange { start: 0, len: 1 << 22 };
        let unit = rig.unit(id, nonces, 1);
        rig.feed(unit);
        let work = rig.finish(WorkId(id));
        assert_eq!(work.hashes == u128::from(nonces.len), id != 1, "unit {id}: {} hashes", work.hashes);
    }
    assert_eq!(rig.health.len(), 1);
    assert_eq!(rig.health[0].state, HealthState::Degraded);
    let reason = rig.health[0].reason.as_deref().unwrap();
    assert!(reason.starts_with("hashing thread") && reason.ends_with("panicked: planted"), "{reason}");
    rig.close();
}

#[test]
fn a_backend_whose_threads_always_panic_ends() {
    let hook: ChunkHook = Arc::new(|_, _| panic!("planted"));
    let mut rig = Rig::new(Box::new(backend(1).with_chunk_hook(hook)));
    for id in 0..10 {
        let unit = rig.unit(id, NonceRange::FULL, 1);
        rig.feed(unit);
        assert_eq!(rig.finish(WorkId(id)).hashes, 0);
    }
    assert_eq!(rig.health.len(), 9);
    let (ended, _) = rig.end();
    assert!(matches!(&ended, Err(BackendError::Panicked(said)) if said.ends_with("planted")), "{ended:?}");
}

#[test]
fn every_thread_turns_to_the_new_job() {
    let seen: Arc<Mutex<Vec<(usize, Generation)>>> = Arc::default();
    let notes = Arc::clone(&seen);
    let hook: ChunkHook = Arc::new(move |thread, unit| notes.lock().unwrap().push((thread, unit.generation)));
    let mut rig = Rig::new(Box::new(backend(2).with_chunk_hook(hook)));
    for generation in 1..20 {
        rig.gate.advance(Generation(generation));
        let mut unit = rig.unit(generation, NonceRange::FULL, 1);
        unit.generation = Generation(generation);
        unit.report_target = crate::types::Target::ZERO;
        rig.feed(unit);
        let on_it = |thread| seen.lock().unwrap().contains(&(thread, Generation(generation)));
        while !(on_it(0) && on_it(1)) {
            std::thread::yield_now();
        }
    }
    rig.close();
}

#[test]
fn threads_stay_where_they_are_pinned() {
    let Some(allowed) = allowed_cpus() else { return };
    let cpu = *allowed.last().unwrap();
    let places: Arc<Mutex<Vec<Option<Vec<usize>>>>> = Arc::default();
    let notes = Arc::clone(&places);
    let hook: ChunkHook = Arc::new(move |_, _| notes.lock().unwrap().push(allowed_cpus()));
    let pinned = CpuConfig { affinity: Some(vec![cpu]), ..config(2) };
    let backend = CpuBackend::new(pinned, any_kernel()).unwrap().with_chunk_hook(hook);
    let mut rig = Rig::new(Box::new(backend));
    let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 20 }, 1);
    rig.feed(unit);
    rig.finish(WorkId(0));
    rig.close();
    let places = places.lock().unwrap();
    assert!(!places.is_empty() && places.iter().all(|place| *place == Some(vec![cpu])), "{places:?}");
}

#[test]
fn settings_that_cannot_be_had_are_explained() {
    let refused = |config| CpuBackend::new(config, any_kernel()).err().unwrap().to_string();
    assert_eq!(refused(config(5000)), "5000 hashing threads; at most 4096 are possible");
    for limit in [0, 101] {
        let wanted = format!("a CPU limit of {limit} %; 1 to 100 % are possible");
        assert_eq!(refused(CpuConfig { limit, ..config(1) }), wanted);
    }
    if let Some(allowed) = allowed_cpus() {
        assert_eq!(
            refused(CpuConfig { affinity: Some(vec![allowed[0], 1 << 40]), ..config(1) }),
            format!("CPU {} is not among those that this process may use: {allowed:?}", 1u64 << 40)
        );
        assert_eq!(refused(CpuConfig { affinity: Some(vec![]), ..config(1) }), "no CPU to pin threads to");
    }
}

#[test]
fn the_info_tells_what_a_person_wants_to_know() {
    let kernel = Kernel { isa: Isa::by_name("portable").unwrap(), rate: HashRate(2e6) };
    let info = CpuBackend::new(config(3), kernel).unwrap().info();
    assert_eq!((&*info.key, &*info.name), ("cpu", "CPU, 3 threads, portable"));
    assert_eq!(info.expected, HashRate(6e6));
    let info = CpuBackend::new(config(1), kernel).unwrap().info();
    assert_eq!(&*info.name, "CPU, 1 thread, portable");
    let limited = CpuConfig { limit: 25, ..config(2) };
    let info = CpuBackend::new(limited, kernel).unwrap().info();
    assert_eq!(&*info.name, "CPU, 2 threads, portable, at most 25 % of the time");
    assert_eq!(info.expected, HashRate(1e6));
}

#[test]
fn the_kernel_chosen_is_one_of_those_asked_for_and_was_measured() {
    let Kernels { plain, rolled } = choose(&kernels()).unwrap();
    assert!(kernels().candidates().contains(&plain.isa) && plain.rate.0 > 0.0);
    assert!(rolled.is_none_or(|rolled| rolled.isa.versions() > 1 && rolled.rate.0 > plain.rate.0));
    let rates = measure(kernels().candidates());
    assert_eq!(rates.iter().map(|kernel| kernel.isa).collect::<Vec<_>>(), kernels().candidates());
    for KernelRates { isa, plain, rolled } in rates {
        assert!(plain.0 > 0.0);
        assert_eq!(rolled.is_some_and(|rate| rate.0 > 0.0), isa.versions() > 1, "{isa}");
    }
}

#[test]
fn each_form_is_for_the_kernel_that_is_fastest_in_it() {
    let isas = Isa::available();
    let (first, second) = (isas[0], *isas.last().unwrap());
    let rates = |isa, plain, rolled: Option<f64>| KernelRates {
        isa,
        plain: HashRate(plain),
        rolled: rolled.map(HashRate),
    };
    let fastest = |rates: &[KernelRates]| {
        let Kernels { plain, rolled } = Kernels::fastest(rates)?;
        Some((plain.isa, plain.rate.0, rolled.map(|rolled| (rolled.isa, rolled.rate.0))))
    };
    assert_eq!(fastest(&[]), None);
    let (slow, fast) = (rates(first, 3.0, Some(9.0)), rates(second, 7.0, Some(8.0)));
    assert_eq!(fastest(&[slow, fast]), Some((second, 7.0, Some((first, 9.0)))));
    let fast = rates(second, 10.0, None);
    assert_eq!(fastest(&[slow, fast]), Some((second, 10.0, None)), "what is no faster is not worth rolling");
}

#[test]
fn two_cpus_are_measured_together_and_alone() {
    let Some(allowed) = allowed_cpus() else { return };
    let pair = [allowed[0], *allowed.last().unwrap()];
    let gain = measure_siblings(any_kernel().isa, pair).unwrap();
    assert!(gain > 0.0 && gain.is_finite(), "{gain}");
    assert!(measure_siblings(any_kernel().isa, [allowed[0], 1023]).is_err());
}

/// A backend that takes several versions where it is asked to.
fn rolling(versions: Isa) -> Kernels {
    Kernels { plain: any_kernel(), rolled: Some(kernel(versions)) }
}

#[test]
fn units_are_asked_for_in_the_form_that_is_fastest() {
    let versions = |kernels: Kernels| match CpuBackend::new(config(1), kernels).unwrap().info().granularity {
        Granularity::Nonces { versions, .. } => versions,
        other => panic!("{other:?}"),
    };
    for &isa in kernels().candidates() {
        assert_eq!(versions(kernel(isa).into()), 1);
        assert_eq!(versions(rolling(isa)), isa.versions());
        assert!(isa.versions() <= MAX_VERSIONS, "{isa}");
    }
}

#[test]
fn one_version_runs_plain_and_several_run_in_the_kernel_for_them() {
    let isas = kernels();
    let (plain, rolled) = (isas.candidates()[0], *isas.candidates().last().unwrap());
    let both = Kernels { plain: kernel(plain), rolled: Some(kernel(rolled)) };
    let mut rig = Rig::new(Box::new(CpuBackend::new(config(2), both).unwrap()));
    for (id, versions) in (0..).zip([1, 2, 3, 16, 1, MAX_VERSIONS]) {
        let unit =
            rig.unit(id, NonceRange { start: u32::MAX - 4 * STEP as u32 + 1, len: 4 * STEP }, versions);
        let (size, mut wanted) = (unit.size(), hits(&unit));
        rig.feed(unit);
        let mut work = rig.finish(WorkId(id));
        assert_eq!(work.hashes, size);
        wanted.sort_by_key(|hit| (hit.version, hit.nonce));
        work.hits.sort_by_key(|hit| (hit.version, hit.nonce));
        assert_eq!(work.hits, wanted);
    }
    rig.close();
    assert_eq!([1, 2, 64].map(|versions| both.isa_for(versions)), [plain, rolled, rolled]);
}

#[test]
fn the_contract_holds_under_a_limit() {
    let limited = CpuConfig { limit: 50, ..config(2) };
    contract_tests::check(&|| Box::new(CpuBackend::new(limited.clone(), any_kernel()).unwrap()));
}

#[test]
fn threads_get_the_priority_asked_for() {
    if !cfg!(target_os = "linux") {
        return;
    }
    for (priority, policy, nice) in [(Priority::Idle, 5, None), (Priority::Nice(15), 0, Some(15))] {
        let seen: Arc<Mutex<Vec<(u32, i32)>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let hook: ChunkHook = Arc::new(move |_, _| notes.lock().unwrap().push(policy_and_nice()));
        let config = CpuConfig { priority, ..config(1) };
        let mut rig =
            Rig::new(Box::new(CpuBackend::new(config, any_kernel()).unwrap().with_chunk_hook(hook)));
        let unit = rig.unit(0, NonceRange { start: 0, len: 1 << 12 }, 1);
        rig.feed(unit);
        rig.finish(WorkId(0));
        rig.close();
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        for &(is_policy, is_nice) in &*seen {
            assert_eq!(is_policy, policy, "{priority:?}");
            assert!(nice.is_none_or(|nice| is_nice >= nice), "{priority:?}: nice {is_nice}");
        }
    }
}

/// Policy and niceness of the calling thread: fields 41 and 19 of proc_pid_stat(5), counted from its name on.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "the system tells it in a file")]
fn policy_and_nice() -> (u32, i32) {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[41 - 3].parse().unwrap(), fields[19 - 3].parse().unwrap())
}

#[cfg(not(target_os = "linux"))]
fn policy_and_nice() -> (u32, i32) {
    (0, 0)
}
