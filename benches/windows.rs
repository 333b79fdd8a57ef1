//! How fast each kernel is against the `sha2` crate, on a machine that does other things too.
//!
//! One thread, pinned to a CPU, gives each kernel, plain and with a shared schedule, a window of 3 ms by turns and notes its
//! rate over that of the baseline in the same round. Rates drift with the clock and the neighbours; these ratios hardly
//! do, and their medians and tenths are printed. On Linux the thread's CPU time is what counts, so that being preempted costs
//! nothing; a busy neighbour on the same core still costs, and kernels that fill it more than the baseline. So "best" sets
//! the best windows of both against each other. The baseline is release 0.10 of `sha2` over whole headers, which uses the
//! SHA extensions where the CPU has them.
//!
//! ```sh
//! cargo bench --bench windows                  # everything, 101 rounds
//! cargo bench --bench windows -- 301 avx512    # more rounds, only what has "avx512" in its name
//! PEER_SO=./peer.so cargo bench --bench windows
//! ```
//!
//! `PEER_SO` names a shared object that is measured beside them. It exports one C function,
//!
//! ```c
//! int32_t shim_scan(const uint32_t words[20], const uint32_t target[8], uint32_t start, uint32_t count,
//!                   uint32_t *out, int32_t max);
//! ```
//!
//! which tries `count` (a multiple of 64) values of `words[19]` from `start` (a multiple of 64, no wrap-around). `words` is the
//! header read as big-endian words; `target[7]` is the most significant word of the target and the others are all ones. It
//! stores at most `max` values whose hash meets the target, in any order, into `out`, and returns how many it found.
//!
//! Every answer is checked. Before the windows each contender has to find the same hits as the baseline, and every hit of a
//! window is hashed again: a wrong one ends the bench.

use std::hint::black_box;
use std::time::Duration;

use miner_core::sha256d::{Isa, Prepared, known_blocks};
use sha2_baseline::{Digest, Sha256};

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(3);

/// Hits are expected once in 2^12 hashes.
const LIMIT: u32 = 0x000f_ffff;

/// Hashes between two looks at the clock, until it is known how many are a tenth of a window.
const FEW: u32 = 3 << 10;

/// Nonces that the answers are compared over before the windows.
const COMPARED: u32 = 1 << 14;

/// Tries `count` nonces from a first one and pushes (header, nonce) of its hits; returns the number of hashes.
type Scan = Box<dyn FnMut(&[[u8; 80]], u32, u32, &mut Vec<(u32, u32)>) -> u64>;

struct Contender {
    name: String,
    /// Headers that it searches at once.
    versions: usize,
    /// Hashes between two looks at the clock. The CPU backend looks up about as often.
    few: u32,
    scan: Scan,
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(101).max(1);
    let names: Vec<&String> =
        arguments.iter().filter(|argument| argument.parse::<usize>().is_err()).collect();

    machine::pin();
    let mut contenders = vec![baseline()];
    contenders.extend(
        kernels()
            .into_iter()
            .chain(peer())
            .filter(|contender| names.is_empty() || names.iter().any(|&name| contender.name.contains(name))),
    );
    let headers = headers(contenders.iter().map(|contender| contender.versions).max().unwrap_or(1));
    for contender in &mut contenders {
        check(contender, &headers);
    }
    let rates = measure(&mut contenders, &headers, rounds);
    print(&contenders, &rates);
}

/// Headers that differ in their version, as rolled ones do.
fn headers(count: usize) -> Vec<[u8; 80]> {
    let header = known_blocks()[5].header;
    let rolled = (0..count as u32).map(|i| {
        let mut header = header;
        header[..4].copy_from_slice(&(0x2000_0000 | i << 13).to_le_bytes());
        header
    });
    rolled.collect()
}

/// The whole header hashed twice for every nonce.
fn baseline() -> Contender {
    let scan = |headers: &[[u8; 80]], start: u32, count: u32, hits: &mut Vec<(u32, u32)>| {
        for nonce in (0..count).map(|i| start.wrapping_add(i)) {
            if top_word(headers[0], nonce) <= LIMIT {
                hits.push((0, nonce));
            }
        }
        u64::from(count)
    };
    Contender { name: "sha2 0.10".into(), versions: 1, few: FEW, scan: Box::new(scan) }
}

/// The most significant word of a header's hash.
fn top_word(mut header: [u8; 80], nonce: u32) -> u32 {
    header[76..].copy_from_slice(&nonce.to_le_bytes());
    let hash = Sha256::digest(Sha256::digest(header));
    u32::from_le_bytes([hash[28], hash[29], hash[30], hash[31]])
}

/// Every kernel of this CPU, plain and shared.
fn kernels() -> Vec<Contender> {
    let mut kernels = Vec::new();
    for isa in Isa::available() {
        let mut nonces = Vec::new();
        let plain = move |headers: &[[u8; 80]], start, count, hits: &mut Vec<(u32, u32)>| {
            let header = Prepared::from_bytes(&headers[0]);
            isa.scan(&header, start, u64::from(count), LIMIT, &mut nonces);
            hits.extend(nonces.drain(..).map(|nonce| (0, nonce)));
            u64::from(count)
        };
        kernels.push(Contender { name: isa.name().into(), versions: 1, few: FEW, scan: Box::new(plain) });
        let versions = isa.versions() as usize;
        if versions > 1 {
            let mut prepared: Vec<Prepared> = Vec::new();
            let shared = move |headers: &[[u8; 80]], start, count: u32, hits: &mut Vec<(u32, u32)>| {
                if prepared.is_empty() {
                    prepared.extend(headers[..versions].iter().map(Prepared::from_bytes));
                }
                isa.scan_versions(&prepared, start, u64::from(count), LIMIT, hits);
                u64::from(count) * versions as u64
            };
            kernels.push(Contender {
                name: format!("{isa}, {versions} versions"),
                versions,
                few: FEW,
                scan: Box::new(shared),
            });
        }
    }
    kernels
}

/// What `PEER_SO` names.
fn peer() -> Option<Contender> {
    let path = std::env::var_os("PEER_SO")?;
    type ShimScan = unsafe extern "C" fn(*const u32, *const u32, u32, u32, *mut u32, i32) -> i32;
    #[expect(unsafe_code, reason = "a library is loaded")]
    // SAFETY: whoever sets PEER_SO vouches for the library's initialisation.
    let library = unsafe { libloading::Library::new(&path) };
    let library = library.unwrap_or_else(|error| panic!("PEER_SO: {error}"));
    #[expect(unsafe_code, reason = "a function is looked up by its name")]
    // SAFETY: as the head of this file says, the function has this type.
    let shim_scan = unsafe { library.get::<ShimScan>(b"shim_scan") };
    let shim_scan = *shim_scan.unwrap_or_else(|error| panic!("PEER_SO: {error}"));

    let mut out = vec![0; 1 << 12];
    let scan = move |headers: &[[u8; 80]], start: u32, count: u32, hits: &mut Vec<(u32, u32)>| {
        let _loaded = &library;
        let words: [u32; 20] =
            std::array::from_fn(|i| u32::from_be_bytes([0, 1, 2, 3].map(|byte| headers[0][4 * i + byte])));
        let mut target = [u32::MAX; 8];
        target[7] = LIMIT;
        #[expect(unsafe_code, reason = "a foreign function is called")]
        // SAFETY: the arrays are as long as the function was promised.
        let found = unsafe {
            shim_scan(words.as_ptr(), target.as_ptr(), start, count, out.as_mut_ptr(), out.len() as i32)
        };
        let found = usize::try_from(found).expect("PEER_SO: shim_scan returns no negative number");
        assert!(found <= out.len(), "PEER_SO: shim_scan found {found} hits in {count} hashes");
        hits.extend(out[..found].iter().map(|word| (0, word.swap_bytes())));
        u64::from(count)
    };
    Some(Contender { name: "peer".into(), versions: 1, few: FEW, scan: Box::new(scan) })
}

/// Panics unless the contender finds what the baseline finds.
fn check(contender: &mut Contender, headers: &[[u8; 80]]) {
    // The peer counts through the word, the others through the nonce: each is asked for its own run.
    let (start, peer) = (0x1234_5600, contender.name == "peer");
    let mut found = Vec::new();
    (contender.scan)(headers, start, COMPARED, &mut found);
    let nonces = (start..start + COMPARED).map(|i| if peer { i.swap_bytes() } else { i });
    let mut expected: Vec<(u32, u32)> = nonces
        .flat_map(|nonce| (0..contender.versions).map(move |version| (version, nonce)))
        .filter(|&(version, nonce)| top_word(headers[version], nonce) <= LIMIT)
        .map(|(version, nonce)| (version as u32, nonce))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert!(!expected.is_empty());
    assert_eq!(found, expected, "{}", contender.name);
}

/// Rates of each contender, in hashes a second, by round.
fn measure(contenders: &mut [Contender], headers: &[[u8; 80]], rounds: usize) -> Vec<Vec<f64>> {
    let mut rates = vec![Vec::with_capacity(rounds); contenders.len()];
    let mut nonce = 0;
    for contender in &mut *contenders {
        let rate = window(contender, headers, &mut nonce);
        contender.few = (rate * WINDOW.as_secs_f64() / 10.0) as u32;
    }
    for _ in 0..rounds {
        for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
            rates.push(window(contender, headers, &mut nonce));
        }
    }
    rates
}

/// Hashes a second in one window.
fn window(contender: &mut Contender, headers: &[[u8; 80]], nonce: &mut u32) -> f64 {
    let count = (contender.few / contender.versions as u32).max(1).next_multiple_of(64);
    let (mut hits, mut hashes) = (Vec::new(), 0);
    let start = machine::time();
    let elapsed = loop {
        hashes += black_box((contender.scan)(headers, *nonce, count, &mut hits));
        // Never across the end of the nonces: a peer need not bear that.
        *nonce = nonce.checked_add(2 * count).map_or(0, |end| end - count);
        let elapsed = machine::time() - start;
        if elapsed >= WINDOW {
            break elapsed;
        }
    };
    for (version, nonce) in hits {
        let top = top_word(headers[version as usize], nonce);
        assert!(top <= LIMIT, "{}: {nonce:#010x} is no hit of version {version}", contender.name);
    }
    hashes as f64 / elapsed.as_secs_f64()
}

fn print(contenders: &[Contender], rates: &[Vec<f64>]) {
    println!("{:30} {:>8} {:>8} {:>8} {:>8} {:>8}", "one thread", "MH/s", "x sha2", "p10", "p90", "best");
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    for (contender, own) in contenders.iter().zip(rates) {
        let ratios = own.iter().zip(&rates[0]).map(|(own, baseline)| own / baseline).collect();
        let [_, rate, _] = tenths(own.clone());
        let [low, ratio, high] = tenths(ratios);
        let best = best(own) / best(&rates[0]);
        println!("{:30} {:8.2} {ratio:8.3} {low:8.3} {high:8.3} {best:8.3}", contender.name, rate / 1e6);
    }
}

/// A tenth lies below, half, nine tenths.
fn tenths(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    [0.1, 0.5, 0.9].map(|part| values[((values.len() - 1) as f64 * part).round() as usize])
}

#[cfg(target_os = "linux")]
mod machine {
    use std::time::Duration;

    use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
    use rustix::time::{ClockId, clock_gettime};

    /// Keeps this thread on the CPU that it is on.
    pub(crate) fn pin() {
        let mut cpus = CpuSet::new();
        cpus.set(sched_getcpu());
        sched_setaffinity(None, &cpus).expect("the CPU that a thread runs on is allowed");
    }

    /// CPU time of this thread.
    pub(crate) fn time() -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().expect("CPU time is not negative")
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant};

    /// Not possible everywhere.
    pub(crate) fn pin() {}

    /// Time since the first call.
    pub(crate) fn time() -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}
