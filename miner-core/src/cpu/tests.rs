use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::backend::contract_tests::{self, Rig, hits};
use crate::backend::{BackendError, HealthState};
use crate::sha256d::IsaChoice;
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
}

#[test]
fn the_kernel_chosen_is_one_of_those_asked_for_and_was_measured() {
    for &isa in kernels().candidates() {
        let chosen = choose(&IsaChoice::parse(isa.name()).unwrap()).unwrap();
        assert_eq!(chosen.isa, isa);
        assert!(chosen.rate.0 > 0.0);
    }
    let rates = measure(kernels().candidates());
    assert_eq!(rates.iter().map(|kernel| kernel.isa).collect::<Vec<_>>(), kernels().candidates());
    assert!(choose(&kernels()).unwrap().rate.0 > 0.0);
}
