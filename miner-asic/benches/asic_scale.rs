//! What chains of ASICs cost the host: 1, 10, 100 and 1,000 of them as `ChipProtocol`s, driven by one loop in virtual
//! time, with chips that answer at once in place of a link.
//!
//! For each family it prints the CPU time that a chain takes for a second of mining (units, timers, a nonce a second),
//! and how long after a new generation a chain has its next job ready to send. Neither may depend on how many there
//! are, but for the last chain in the line waiting for those before it. All units, jobs and nonces are counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miner_asic::chip::bm13xx::{Bm13xx, Bm13xxConfig, Chip};
use miner_asic::chip::bm1384::{Bm1384, Bm1384Config};
use miner_asic::chip::icarus::{Icarus, IcarusKind};
use miner_asic::chip::{ChipEvent, ChipProtocol, Transmit};
use miner_asic::crc::crc5_within;
use miner_core::job::{Extranonce2, JobId, JobTemplate, Merkle, VersionMask};
use miner_core::types::{BlockHash, CompactTarget, Epoch, Generation, MerkleRoot, SourceId, Target, WorkId};
use miner_core::work::{NonceRange, VersionRange, WorkUnit};

const CHAINS: [usize; 4] = [1, 10, 100, 1000];
/// Chains × seconds of mining in one window.
const CHAIN_SECONDS: usize = 2000;
/// Windows, which the numbers of chains take by turns.
const ROUNDS: usize = 11;
/// Chains × new generations.
const SWITCHES: usize = 20_000;
/// Units that a chain holds.
const DEPTH: usize = 3;

/// Families, by what they are given and answer.
#[derive(Clone, Copy)]
enum Family {
    Erupter,
    Bm1384,
    Bm1397,
    Bm1370,
}

impl Family {
    const ALL: [(&str, Self); 4] = [
        ("Block Erupter", Self::Erupter),
        ("BM1384", Self::Bm1384),
        ("BM1397", Self::Bm1397),
        ("BM1370", Self::Bm1370),
    ];

    fn chain(self) -> Box<dyn ChipProtocol> {
        match self {
            Self::Erupter => Box::new(Icarus::new(IcarusKind::Erupter).expect("no clock to set")),
            Self::Bm1384 => {
                Box::new(Bm1384::new(Bm1384Config { chips: None, mhz: 100.0 }).expect("a clock it has"))
            }
            Self::Bm1397 => {
                Box::new(Bm13xx::new(Bm13xxConfig::new(Chip::Bm1397, 100.0)).expect("a clock it has"))
            }
            Self::Bm1370 => {
                Box::new(Bm13xx::new(Bm13xxConfig::new(Chip::Bm1370, 100.0)).expect("a clock it has"))
            }
        }
    }

    /// Versions that a unit has, and hashes in a second.
    fn unit(self) -> (u32, u128) {
        match self {
            Self::Erupter => (1, 336_000_000),
            Self::Bm1384 => (1, 1 << 32),
            Self::Bm1397 => (4, 4 << 32),
            Self::Bm1370 => (1 << 16, 204_000_000_000),
        }
    }

    /// What a chip says to a frame while it is brought up.
    fn introduce(self, frame: &[u8]) -> Vec<u8> {
        match (self, frame) {
            // The golden work, then the one that tells the engines.
            (Self::Erupter, [0x46, ..]) => vec![0x00, 0x01, 0x87, 0xa2],
            (Self::Erupter, [0x2e, ..]) => vec![0x04, 0xc0, 0xfd, 0xb4],
            (Self::Bm1384, [0x84, ..]) => vec![0x13, 0x84, 0x00, 0x00, 0x13],
            (Self::Bm1397, [_, _, 0x52, ..]) => reply(&[0x13, 0x97, 0x18, 0x00, 0, 0], 0),
            (Self::Bm1370, [_, _, 0x52, ..]) => reply(&[0x13, 0x70, 0x00, 0x00, 0, 0, 0, 0], 0),
            _ => Vec::new(),
        }
    }

    /// The id of a job, if the frame is one.
    fn job(self, frame: &[u8]) -> Option<u8> {
        match self {
            Self::Erupter => (frame.len() == 64).then_some(0),
            Self::Bm1384 => (frame.len() == 64).then(|| frame[51]),
            Self::Bm1397 | Self::Bm1370 => (frame[2] == 0x21).then(|| frame[4]),
        }
    }

    /// A nonce for a job.
    fn nonce(self, job: u8, count: u32) -> Vec<u8> {
        let [a, b, c, d] = count.to_be_bytes();
        match self {
            Self::Erupter => vec![a, b, c, d],
            Self::Bm1384 => vec![a, b, c, d, 0x80 | job],
            Self::Bm1397 => reply(&[a, b, c, d, 0, job], 0x80),
            Self::Bm1370 => reply(&[a, b, c, d, 0, job << 1, 0, 7], 0x80),
        }
    }
}

/// A framed answer of these bytes and this kind.
fn reply(body: &[u8], kind: u8) -> Vec<u8> {
    [&[0xaa, 0x55], body, &[kind | crc5_within(body, kind)]].concat()
}

struct Device {
    chain: Box<dyn ChipProtocol>,
    /// The id of its last job, and how many it got.
    job: u8,
    jobs: usize,
    nonces: usize,
    ready: bool,
    open: usize,
}

/// Chains behind one loop.
struct Farm {
    family: Family,
    devices: Vec<Device>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    now: Instant,
    template: WorkUnit,
    units: u64,
    finished: u64,
    heard: u32,
}

impl Farm {
    fn new(family: Family, chains: usize) -> Self {
        let now = Instant::now();
        let device = || Device { chain: family.chain(), job: 0, jobs: 0, nonces: 0, ready: false, open: 0 };
        let mut farm = Self {
            family,
            devices: (0..chains).map(|_| device()).collect(),
            timers: (0..chains).map(|index| Reverse((now, index))).collect(),
            now,
            template: unit(family),
            units: 0,
            finished: 0,
            heard: 0,
        };
        farm.run(Duration::from_secs(60), false);
        assert!(farm.devices.iter().all(|device| device.ready), "all chains are up");
        assert!(farm.devices.iter().all(|device| device.jobs >= 1 && device.open == DEPTH));
        farm
    }

    /// Lets time pass, timer by timer; each second every chain finds a nonce.
    fn run(&mut self, time: Duration, mining: bool) {
        let end = self.now + time;
        let mut second = self.now + Duration::from_secs(1);
        loop {
            let timer = self.timers.peek().map(|Reverse((at, _))| *at).filter(|at| *at <= end);
            if mining && second <= end && timer.is_none_or(|at| second <= at) {
                self.now = second;
                second += Duration::from_secs(1);
                (0..self.devices.len()).for_each(|index| self.find(index));
            } else if timer.is_some() {
                let Some(Reverse((at, index))) = self.timers.pop() else { return };
                self.now = at.max(self.now);
                // A timer may have been set anew since.
                if self.devices[index].chain.next_deadline().is_none_or(|deadline| deadline <= self.now) {
                    self.devices[index].chain.handle_timeout(self.now);
                    self.carry(index);
                }
            } else {
                self.now = end;
                return;
            }
        }
    }

    fn find(&mut self, index: usize) {
        self.heard += 1;
        let bytes = self.family.nonce(self.devices[index].job, self.heard);
        self.devices[index].chain.handle_bytes(self.now, &bytes);
        self.carry(index);
    }

    /// Carries out what a chain asks for, until it asks for nothing more.
    fn carry(&mut self, index: usize) {
        let (family, now) = (self.family, self.now);
        let device = &mut self.devices[index];
        loop {
            let mut quiet = true;
            while let Some(transmit) = device.chain.poll_transmit() {
                let Transmit::Bytes(frame) = transmit else { continue };
                match family.job(&frame).filter(|_| device.ready) {
                    Some(job) => (device.job, device.jobs) = (job, device.jobs + 1),
                    None => device.chain.handle_bytes(now, &family.introduce(&frame)),
                }
                quiet = false;
            }
            while let Some(event) = device.chain.poll_event() {
                match event {
                    ChipEvent::Ready { chips } => device.ready = chips == 1,
                    ChipEvent::Nonce { .. } => device.nonces += 1,
                    ChipEvent::Progress { finished: true, .. } => {
                        self.finished += 1;
                        device.open -= 1;
                    }
                    ChipEvent::Progress { .. } => {}
                    other => panic!("nothing else is said: {other:?}"),
                }
                quiet = false;
            }
            if device.ready && device.open < DEPTH {
                self.units += 1;
                device.open += 1;
                let (id, ntime) = (WorkId(self.units), self.template.ntime + self.units as u32);
                device.chain.load(now, WorkUnit { id, ntime, ..self.template.clone() });
            } else if quiet {
                break;
            }
        }
        self.timers.extend(device.chain.next_deadline().map(|deadline| Reverse((deadline, index))));
    }

    /// Some seconds of mining; the CPU time that a chain took for one of them.
    fn mine(&mut self) -> Duration {
        let seconds = CHAIN_SECONDS / self.devices.len();
        let nonces: usize = self.devices.iter().map(|device| device.nonces).sum();
        let before = cpu_time();
        self.run(Duration::from_secs(seconds as u64), true);
        let took = cpu_time() - before;
        let found = self.devices.iter().map(|device| device.nonces).sum::<usize>() - nonces;
        assert_eq!(found, CHAIN_SECONDS, "every nonce is told");
        assert_eq!(self.units - self.finished, (DEPTH * self.devices.len()) as u64, "no unit is lost");
        took / CHAIN_SECONDS as u32
    }

    /// A new generation: when each chain had its next job ready.
    fn switch(&mut self) -> Vec<Duration> {
        // Between two new generations time passes, so that the jobs are not those of a moment ago.
        self.run(Duration::from_millis(300), false);
        let jobs: Vec<_> = self.devices.iter().map(|device| device.jobs).collect();
        self.template.generation = Generation(self.template.generation.0 + 1);
        let (generation, start) = (self.template.generation, Instant::now());
        let times = (0..self.devices.len()).map(|index| {
            self.devices[index].chain.flush(self.now, &|unit| unit.generation != generation);
            self.carry(index);
            start.elapsed()
        });
        let times = times.collect();
        assert!(self.devices.iter().zip(jobs).all(|(device, before)| device.jobs == before + 1));
        times
    }
}

fn unit(family: Family) -> WorkUnit {
    let (count, budget) = family.unit();
    let job = JobTemplate {
        source: SourceId(0),
        epoch: Epoch(0),
        id: JobId("1".into()),
        prev: BlockHash([7; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask(0x1fff_e000),
        nbits: CompactTarget::new(0x1702_3a04).expect("valid"),
        ntime: 1_700_000_000,
        max_ntime_roll: 0,
        received: Instant::now(),
        merkle: Merkle::Fixed(MerkleRoot([9; 32])),
        share_target: Target::DIFFICULTY_1,
        clean: false,
    };
    WorkUnit {
        id: WorkId(0),
        generation: Generation(0),
        root: MerkleRoot([9; 32]),
        extranonce2: Extranonce2::default(),
        rollable: job.rollable(),
        versions: VersionRange { first: 0, count },
        nonces: NonceRange::FULL,
        ntime: job.ntime,
        report_target: Target::DIFFICULTY_1,
        budget,
        job: Arc::new(job),
    }
}

/// What this thread has used of a CPU; where that is not known, the time.
fn cpu_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// The value that so many per cent of the others do not exceed.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn main() {
    println!("CPU time of the host for a second of one chain, and from a new generation to its next job");
    println!("{:<14} {:>6} {:>12} {:>12} {:>12}", "family", "chains", "CPU µs/s", "p50 µs", "p99 µs");
    for (name, family) in Family::ALL {
        let mut farms = CHAINS.map(|chains| (Farm::new(family, chains), Vec::new()));
        for _ in 0..ROUNDS {
            for (farm, times) in &mut farms {
                times.push(farm.mine());
            }
        }
        for (mut farm, mut times) in farms {
            let chains = farm.devices.len();
            let mut switches: Vec<_> = (0..SWITCHES / chains).flat_map(|_| farm.switch()).collect();
            assert_eq!(switches.len(), SWITCHES);
            let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
            let (cpu, half) = (micros(percentile(&mut times, 50)), micros(percentile(&mut switches, 50)));
            let most = micros(percentile(&mut switches, 99));
            println!("{name:<14} {chains:>6} {cpu:>12.2} {half:>12.2} {most:>12.2}");
        }
    }
}
