//! The whole miner on the practice pool against its kernel alone, and all threads against one.
//!
//! `lode mine` runs as its users start it, by turns with windows of the kernel alone. What is reported are ratios of what
//! lies side by side: they hold on a machine that others use as well.

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("threads are nice and processes are sent signals as on Linux alone");
}

#[cfg(target_os = "linux")]
fn main() {
    whole_miner::main();
}

#[cfg(target_os = "linux")]
mod whole_miner {
    use std::io::{BufRead, BufReader, Lines};
    use std::path::Path;
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::sync::Barrier;
    use std::thread;
    use std::time::{Duration, Instant};

    use miner_core::sha256d::{Isa, Prepared};
    use rustix::process::{Pid, Signal, kill_process, setpriority_process};
    use serde_json::Value;

    const ROUNDS: usize = 20;
    /// How long each has its turn.
    const WINDOW: Duration = Duration::from_millis(2000);
    /// Of hashing threads, unless the settings say otherwise.
    const NICENESS: i32 = 10;

    pub(super) fn main() {
        let home = tempfile::tempdir().expect("a folder");
        let isa = chosen(home.path());
        let all = thread::available_parallelism().map_or(1, usize::from);
        let (mut whole, mut threads) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let Round { miner, kernel, single } = Round::run(home.path(), isa, all);
            whole.push(miner / kernel);
            threads.push(kernel / single);
            println!(
                "round {round:2}: miner {:.2} MH/s, kernel {:.2} MH/s on {all} threads, {:.2} MH/s on one",
                miner / 1e6,
                kernel / 1e6,
                single / 1e6
            );
        }
        println!("{isa}: whole miner / kernel: {}", Spread::of(whole));
        println!("{isa}: {all} threads / one: {}", Spread::of(threads));
    }

    /// lode with a cache below `home`, so that all runs choose alike.
    fn lode(home: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lode"));
        command.env("HOME", home).env_remove("XDG_CACHE_HOME").env_remove("LODE_ISA").stderr(Stdio::null());
        command
    }

    /// The kernel that lode takes where versions may be rolled, as the practice pool allows.
    fn chosen(home: &Path) -> Isa {
        let output = lode(home).args(["devices", "--json"]).output().expect("lode starts");
        let devices: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let usage = &devices["devices"][0]["usage"];
        let name = usage["rolled_isa"].as_str().or_else(|| usage["isa"].as_str()).expect("a kernel");
        Isa::by_name(name).expect("this CPU has it")
    }

    /// Hashes a second.
    struct Round {
        miner: f64,
        kernel: f64,
        single: f64,
    }

    impl Round {
        fn run(home: &Path, isa: Isa, threads: usize) -> Self {
            let before = rate(isa, threads);
            let miner = Miner::start(home, threads).rate();
            let after = rate(isa, threads);
            Self { miner, kernel: (before + after) / 2.0, single: rate(isa, 1) }
        }
    }

    struct Miner {
        child: Child,
        lines: Lines<BufReader<ChildStdout>>,
    }

    impl Miner {
        fn start(home: &Path, threads: usize) -> Self {
            let mut command = lode(home);
            command.args(["mine", "--output", "json", "-t", &threads.to_string()]);
            let mut child = command.stdout(Stdio::piped()).spawn().expect("lode starts");
            let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
            Self { child, lines }
        }

        /// Reads on to a line of this type.
        fn next(&mut self, kind: &str) -> Value {
            loop {
                let line = self.lines.next().expect("lode tells more").expect("it is text");
                let line: Value = serde_json::from_str(&line).expect("it is JSON");
                if line["type"] == kind {
                    return line;
                }
            }
        }

        /// Hashes a second from the first job to the signal to end.
        fn rate(mut self) -> f64 {
            self.next("job");
            let start = Instant::now();
            thread::sleep(WINDOW);
            kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the child runs");
            let mined = start.elapsed();
            let end = self.next("end");
            assert!(self.child.wait().expect("it is our child").success());
            let device = &end["devices"][0];
            assert_eq!(device["discards"]["hardware_error"], 0, "{end}");
            device["hashes"].as_f64().expect("a count") / mined.as_secs_f64()
        }
    }

    /// Hashes a second of the kernel alone, on some threads together.
    fn rate(isa: Isa, threads: usize) -> f64 {
        let gate = Barrier::new(threads);
        thread::scope(|scope| {
            let gate = &gate;
            let spawn = |_| {
                scope.spawn(move || {
                    setpriority_process(None, NICENESS).expect("niceness may be raised");
                    gate.wait();
                    window(isa)
                })
            };
            let threads: Vec<_> = (0..threads).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().expect("kernels do not panic")).sum()
        })
    }

    fn window(isa: Isa) -> f64 {
        let versions = isa.versions();
        let header = |index: u32| {
            let mut header = [7; 80];
            header[..4].copy_from_slice(&(0x2000_0000 | index << 13).to_le_bytes());
            Prepared::from_bytes(&header)
        };
        let headers: Vec<Prepared> = (0..versions).map(header).collect();
        // A quarter of a millisecond, as the backend's chunks.
        let nonces = (8192 / u64::from(versions)).next_multiple_of(isa.lanes().into());
        let (mut hits, mut nonce, mut hashes, start) = (Vec::new(), 0u32, 0, Instant::now());
        while start.elapsed() < WINDOW {
            isa.scan_versions(&headers, nonce, nonces, 0x0000_ffff, &mut hits);
            nonce = nonce.wrapping_add(nonces as u32);
            hashes += nonces * u64::from(versions);
        }
        assert!(hits.len() as u64 <= hashes >> 10, "far more hits than hashes allow");
        hashes as f64 / start.elapsed().as_secs_f64()
    }

    /// The middle and the tenths of some ratios.
    struct Spread(Vec<f64>);

    impl Spread {
        fn of(mut ratios: Vec<f64>) -> Self {
            ratios.sort_by(f64::total_cmp);
            Self(ratios)
        }
    }

    impl std::fmt::Display for Spread {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let at = |part: f64| self.0[((self.0.len() - 1) as f64 * part).round() as usize];
            write!(f, "median {:.4} (p10 {:.4}, p90 {:.4})", at(0.5), at(0.1), at(0.9))
        }
    }
}
