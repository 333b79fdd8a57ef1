use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::job::{JobId, Merkle};
use crate::types::{BlockHash, CompactTarget, Epoch, SourceId, Target};

const NTIME: u32 = 1_700_000_000;

fn job(extranonce2_size: u8, version_mask: u32, max_ntime_roll: u32) -> JobTemplate {
    let merkle = match extranonce2_size {
        0 => Merkle::Fixed(MerkleRoot([7; 32])),
        _ => Merkle::Coinbase {
            prefix: vec![1; 42].into(),
            suffix: vec![2; 20].into(),
            branch: [].into(),
            extranonce1: vec![3; 4].into(),
            extranonce2_size,
        },
    };
    JobTemplate {
        source: SourceId(0),
        epoch: Epoch(0),
        id: JobId("1".into()),
        prev: BlockHash([1; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask(version_mask),
        nbits: CompactTarget::new(0x1d00_ffff).unwrap(),
        ntime: NTIME,
        max_ntime_roll,
        received: Instant::now(),
        merkle,
        share_target: Target::DIFFICULTY_1,
        clean: true,
    }
}

fn space(extranonce2_size: u8, version_mask: u32, max_ntime_roll: u32) -> (SearchSpace, Instant) {
    let job = Arc::new(job(extranonce2_size, version_mask, max_ntime_roll));
    (SearchSpace::new(job.clone()), job.received)
}

const CPU: Granularity = Granularity::Nonces { step: 1 << 12, versions: 16 };
const SPACES: Granularity = Granularity::NonceSpaces { max_versions: 4 };
const PLANE: Granularity = Granularity::Plane { roll_mask: 0x1fff_e000 };

#[test]
fn nonces_go_first_then_versions_then_extranonce2_and_ntime_last() {
    let (mut space, now) = space(1, 0x6000, 1);
    let one = Granularity::Nonces { step: 1 << 31, versions: 1 };
    let mut order = Vec::new();
    let later = now + Duration::from_secs(5);
    while let Some(lease) = space.lease(later, 1 << 31, one) {
        order.push((lease.ntime, lease.extranonce2.value, lease.versions.first, lease.nonces.start));
    }
    assert_eq!(order.len(), 2 * 256 * 4 * 2);
    assert!(order.is_sorted(), "each half space once, in the order of the axes");
    assert_eq!(order.last(), Some(&(NTIME + 1, 255, 3, 1 << 31)));
}

#[test]
fn ntime_runs_no_further_than_the_time_since_the_job_came() {
    let (mut space, now) = space(0, 0, 3);
    let mut ntime_at =
        |millis| space.lease(now + Duration::from_millis(millis), 1, PLANE).map(|lease| lease.ntime);
    assert_eq!(ntime_at(0), Some(NTIME));
    assert_eq!(ntime_at(999), None);
    assert_eq!(ntime_at(1000), Some(NTIME + 1));
    assert_eq!(ntime_at(1001), None);
    assert_eq!([ntime_at(60_000), ntime_at(60_000)], [Some(NTIME + 2), Some(NTIME + 3)]);
    assert_eq!(ntime_at(3_600_000), None, "nor further than the source allows");
}

#[test]
fn ntime_stops_at_the_end_of_its_32_bits() {
    let job = Arc::new(JobTemplate { ntime: u32::MAX - 1, ..job(0, 0, 600) });
    let mut space = SearchSpace::new(job.clone());
    let later = job.received + Duration::from_secs(60);
    let ntimes: Vec<_> =
        std::iter::from_fn(|| space.lease(later, 1, PLANE)).map(|lease| lease.ntime).collect();
    assert_eq!(ntimes, [u32::MAX - 1, u32::MAX]);
}

#[test]
fn the_largest_extranonce2_neither_overflows_nor_wraps() {
    let (mut space, now) = space(16, 0x1fff_e000, 0);
    assert_eq!((space.fresh_planes(NTIME), space.remaining()), (u128::MAX, u128::MAX));
    let lease = space.lease(now, 1, PLANE).unwrap();
    assert_eq!((lease.extranonce2, lease.size()), (Extranonce2 { value: 0, size: 16 }, 1 << 48));
    space.next.insert(NTIME, Some(u128::MAX));
    assert_eq!(space.lease(now, 1, PLANE).unwrap().extranonce2.value, u128::MAX);
    assert_eq!((space.lease(now, 1, PLANE), space.remaining()), (None, 0));
}

#[test]
fn the_merkle_root_of_a_lease_is_that_of_its_extranonce2() {
    let (mut space, now) = space(2, 0x6000, 0);
    for granularity in [CPU, PLANE, SPACES, CPU] {
        let lease = space.lease(now, 1 << 20, granularity).unwrap();
        assert_eq!(lease.root, space.job().merkle_root(lease.extranonce2));
    }
}

#[test]
fn runs_are_multiples_of_the_step_and_columns_as_wide_as_the_device_takes() {
    let (mut space, now) = space(4, 0x1fff_e000, 0);
    let lease = space.lease(now, 1_000_000, CPU).unwrap();
    assert_eq!((lease.versions.count, lease.nonces.len), (16, 16 * 4096), "1,000,000 rounded up");
    let next = space.lease(now, 1, CPU).unwrap();
    assert_eq!((next.versions, next.nonces), (lease.versions, NonceRange { start: 16 * 4096, len: 4096 }));
    let lease = space.lease(now, 3 << 32, SPACES).unwrap();
    assert_eq!((lease.extranonce2.value, lease.versions.count, lease.nonces), (1, 3, NonceRange::FULL));
}

#[test]
fn no_sliver_is_left_at_the_end_of_a_run_or_a_plane() {
    let (mut space, now) = space(4, 0xe000, 0);
    let whole = Granularity::Nonces { step: 1, versions: 1 };
    let sizes: Vec<_> = (0..3).map(|_| space.lease(now, 0x9000_0000, whole).unwrap().size()).collect();
    assert_eq!(sizes, [1 << 31, 1 << 31, 1 << 31]);
    let (mut space, now) = self::space(4, 0xe000, 0);
    let seven = Granularity::NonceSpaces { max_versions: 7 };
    let counts: Vec<_> = (0..2).map(|_| space.lease(now, 7 << 32, seven).unwrap().versions.count).collect();
    assert_eq!(counts, [4, 4]);
}

#[test]
fn where_no_plane_is_left_a_fast_device_shares_the_rest_of_a_slow_one() {
    let (mut space, now) = space(0, 0x6000, 0);
    let slow = space.lease(now, 1 << 16, CPU).unwrap();
    assert_eq!(space.lease(now, 1 << 40, PLANE), None, "the only plane is open");
    assert_eq!(space.lease(now, 1 << 40, SPACES), None, "all of its versions have been begun");
    let fast = Granularity::Nonces { step: 1 << 20, versions: 64 };
    let rest: u128 = std::iter::from_fn(|| space.lease(now, 1 << 40, fast)).map(|lease| lease.size()).sum();
    let sliver =
        std::iter::from_fn(|| space.lease(now, 1 << 40, CPU)).map(|lease| lease.size()).sum::<u128>();
    assert_eq!((slow.size() + rest + sliver, space.remaining()), (4 << 32, 0));
    assert!(sliver < 4 << 20, "what is not divisible by the fast device's step is left for the slow one");
}

#[test]
fn versions_that_an_asic_cannot_roll_are_given_up() {
    let (mut space, now) = space(1, 0x1e000, 0);
    let lease = space.lease(now, 1, Granularity::Plane { roll_mask: 0x1_2000 }).unwrap();
    assert_eq!((lease.rollable, lease.versions.count), (VersionMask(0x1_2000), 4));
    assert_eq!(space.given_up(), 12 << 32);
    assert_eq!(space.leased() + space.given_up() + space.remaining(), 256 << 36);
}

#[test]
fn equal_content_goes_on_where_it_was_whatever_the_job_is_called() {
    let (mut space, now) = space(4, 0x6000, 0);
    let before = space.lease(now, 1 << 20, CPU).unwrap();
    let renamed = JobTemplate { id: JobId("2".into()), ..(**space.job()).clone() };
    assert!(space.covers(&renamed));
    space.continue_with(Arc::new(renamed));
    let after = space.lease(now, 1 << 20, CPU).unwrap();
    assert_eq!((space.job().id.0.as_ref(), space.given_up()), ("2", 0));
    assert_eq!(u64::from(after.nonces.start), before.nonces.len);
}

#[test]
fn a_job_that_differs_in_ntime_only_meets_no_header_that_was_reached_by_rolling() {
    let (mut space, now) = space(0, 0x6000, 10);
    let template = (**space.job()).clone();
    let moved = |by: u32| Arc::new(JobTemplate { ntime: NTIME + by, ..template.clone() });
    let mut ntime_at = |seconds, by| {
        space.continue_with(moved(by));
        space.lease(now + Duration::from_secs(seconds), 1, PLANE).map(|lease| lease.ntime - NTIME)
    };
    assert_eq!([ntime_at(2, 0), ntime_at(2, 0), ntime_at(2, 0)], [Some(0), Some(1), Some(2)]);
    assert_eq!(ntime_at(0, 2), None, "that plane was leased");
    assert_eq!(ntime_at(0, 5), Some(5));
    assert_eq!([ntime_at(3, 2), ntime_at(3, 2), ntime_at(3, 2)], [Some(3), Some(4), None]);
    assert_eq!(ntime_at(6, 0), Some(6));
}

#[test]
fn ntimes_without_number_are_forgotten_from_the_oldest_on() {
    let (mut space, now) = space(1, 0, 0);
    let template = (**space.job()).clone();
    let whole = 256u128 << 32;
    for by in 0..=MAX_NTIMES as u32 {
        space.continue_with(Arc::new(JobTemplate { ntime: NTIME + by, ..template.clone() }));
        space.lease(now, 1, PLANE).unwrap();
    }
    assert_eq!(space.next.len(), MAX_NTIMES);
    assert_eq!(space.leased() + space.given_up() + space.remaining(), whole * (MAX_NTIMES as u128 + 1));
    space.continue_with(Arc::new(template));
    assert_eq!(space.lease(now, 1, PLANE), None, "how far it was opened is forgotten: never again");
}

#[derive(Clone, Debug)]
enum Step {
    Lease { device: usize, want: u128 },
    Wait { millis: u64 },
    Continue { mask: u32, ntime: u32 },
}

fn granularity() -> impl Strategy<Value = Granularity> {
    prop_oneof![
        (24u32..=32, 1u32..=64)
            .prop_map(|(step, versions)| Granularity::Nonces { step: 1 << step, versions }),
        (1u32..=4).prop_map(|max_versions| Granularity::NonceSpaces { max_versions }),
        prop_oneof![Just(0x6000), Just(0x2000), Just(0x4000), Just(0)]
            .prop_map(|roll_mask| Granularity::Plane { roll_mask }),
    ]
}

fn step(devices: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..devices, 20u32..45).prop_map(|(device, want)| Step::Lease { device, want: 1 << want }),
        2 => (0u64..2000).prop_map(|millis| Step::Wait { millis }),
        1 => (prop_oneof![Just(0x6000), Just(0x2000), Just(0x4000), Just(0)], 0u32..4)
            .prop_map(|(mask, ntime)| Step::Continue { mask, ntime }),
    ]
}

/// What was leased of each nonce space (ntime, extranonce2, header version), and the sums that must agree.
struct Model {
    space: SearchSpace,
    now: Instant,
    leased: BTreeMap<(u32, u128, u32), Vec<NonceRange>>,
    /// The size of all planes of the ntime values opened.
    whole: u128,
}

impl Model {
    fn new(job: JobTemplate) -> Self {
        let (now, space) = (job.received, SearchSpace::new(Arc::new(job)));
        let whole = space.remaining();
        Self { space, now, leased: BTreeMap::new(), whole }
    }

    fn apply(&mut self, step: &Step, devices: &[Granularity]) {
        match *step {
            Step::Lease { device, want } => {
                self.lease(want, devices[device]);
            }
            Step::Wait { millis } => self.now += Duration::from_millis(millis),
            Step::Continue { mask, ntime } => {
                let job = self.space.job();
                let (version_mask, ntime) = (VersionMask(mask), NTIME + ntime);
                let next = JobTemplate { version_mask, ntime, received: self.now, ..(**job).clone() };
                self.go_on(next);
            }
        }
        self.check();
    }

    fn go_on(&mut self, job: JobTemplate) {
        self.whole -= self.fresh();
        self.space.continue_with(Arc::new(job));
        self.whole += self.fresh();
    }

    fn lease(&mut self, want: u128, granularity: Granularity) -> bool {
        let ntimes = self.space.next.len();
        let lease = self.space.lease(self.now, want, granularity);
        let job = Arc::clone(self.space.job());
        let opened = (self.space.next.len() - ntimes) as u128;
        self.whole += opened * plane_size(job.rollable()) * (self.space.last_extranonce2() + 1);
        let Some(lease) = lease else { return false };
        let rolled = (self.now - job.received).as_secs().min(job.max_ntime_roll.into());
        assert!((job.ntime..=job.ntime + rolled as u32).contains(&lease.ntime), "ntime of {lease:?}");
        assert_eq!(lease.rollable.0 & !job.rollable().0, 0, "only bits that the job allows");
        match granularity {
            Granularity::Nonces { step, versions } => {
                assert!(lease.versions.count <= versions && lease.nonces.len.is_multiple_of(step));
            }
            Granularity::NonceSpaces { max_versions } => {
                assert!(lease.versions.count <= max_versions && lease.nonces == NonceRange::FULL);
            }
            Granularity::Plane { roll_mask } => {
                assert_eq!(lease.rollable.0, job.rollable().0 & roll_mask);
                assert_eq!(lease.size(), plane_size(lease.rollable));
            }
        }
        for index in lease.versions.first..lease.versions.first + lease.versions.count {
            let version = lease.rollable.version_at(job.version, index);
            self.take((lease.ntime, lease.extranonce2.value, version), lease.nonces);
        }
        true
    }

    /// The size of the planes that were not opened, at the ntime values that were.
    fn fresh(&self) -> u128 {
        let planes: u128 = self.space.next.keys().map(|&ntime| self.space.fresh_planes(ntime)).sum();
        planes * plane_size(self.space.job().rollable())
    }

    fn take(&mut self, nonce_space: (u32, u128, u32), run: NonceRange) {
        let end = |run: NonceRange| u64::from(run.start) + run.len;
        assert!(run.len >= 1 && end(run) <= 1 << 32);
        let runs = self.leased.entry(nonce_space).or_default();
        let free = runs.iter().all(|&old| end(run) <= old.start.into() || end(old) <= run.start.into());
        assert!(free, "{run:?} of {nonce_space:?} was leased before: {runs:?}");
        runs.push(run);
    }

    fn check(&self) {
        let leased = self.leased.values().flatten().map(|run| u128::from(run.len)).sum::<u128>();
        assert_eq!(self.space.leased(), leased);
        assert_eq!(leased + self.space.given_up() + self.space.remaining(), self.whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spaces_that_run_dry_are_leased_once_and_accounted_for_to_the_last_nonce(
        extranonce2_size in 0u8..=1,
        mask in prop_oneof![Just(0x6000u32), Just(0x2000), Just(0)],
        roll in 0u32..3,
        (steps, devices) in proptest::collection::vec(granularity(), 1..6)
            .prop_flat_map(|devices| (proptest::collection::vec(step(devices.len()), 0..60), Just(devices))),
    ) {
        let mut model = Model::new(job(extranonce2_size, mask, roll));
        for step in &steps {
            model.apply(step, &devices);
        }
        // Whatever ntime was opened may be used again under the first job's; and then all of it is.
        let received = model.now;
        model.go_on(JobTemplate { received, ..job(extranonce2_size, mask, 10) });
        model.now += Duration::from_secs(20);
        while devices.iter().any(|&device| model.lease(1 << 38, device)) {}
        model.check();
        prop_assert_eq!(model.space.remaining(), 0, "all of it is leased or given up");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn units_are_as_wide_as_kernel_and_mask_allow_and_never_overlap(
        mask in 0u32..1 << 16,
        versions in 0u32..=6,
        kernels in proptest::collection::vec((0usize..3, 1u64..1 << 36), 1..60),
    ) {
        let mask = mask << 13;
        let mut model = Model::new(job(4, mask, 0));
        let all = 1 << mask.count_ones();
        let wide = 1 << versions;
        // The same kernel before and after a restart, and another beside it that takes one version at a time.
        let devices = [wide, wide, 1].map(|versions| Granularity::Nonces { step: 64, versions });
        for (device, want) in kernels {
            let Granularity::Nonces { versions, .. } = devices[device] else { unreachable!() };
            let lease = model.space.lease(model.now, want.into(), devices[device]).expect("there is plenty");
            for index in lease.versions.first..lease.versions.first + lease.versions.count {
                let version = lease.rollable.version_at(0x2000_0000, index);
                prop_assert_eq!(version & !mask, 0x2000_0000);
                model.take((lease.ntime, lease.extranonce2.value, version), lease.nonces);
            }
            prop_assert_eq!(lease.versions.count, versions.min(all));
            // About what was wanted: rounded up to whole steps, or half of what is left of a run.
            let step = 64 * u128::from(lease.versions.count);
            let rest = u128::from(lease.nonces.start) + u128::from(lease.nonces.len) == 1 << 32;
            prop_assert!(lease.size() < u128::from(want) + step, "{:?} for {}", lease, want);
            let cut = lease.size() < u128::from(want);
            prop_assert!(!cut || rest || 2 * lease.size() + step > u128::from(want), "{:?} for {}", lease, want);
        }
    }
}
