//! What becomes of lode when nobody reads what it writes.

use std::io::{BufRead, BufReader, Write, pipe};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use testkit::arena::SOON;
use testkit::practice::{Practice, quiet};
use testkit::process::Lode;

const LODE: &str = env!("CARGO_BIN_EXE_lode");

/// What a pipe holds, in bytes.
const PIPE: usize = 64 * 1024;
/// What is left of it for lode.
const ROOM: usize = 1024;

fn terminate(child: &Child) {
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().is_ok_and(|status| status.success()), "{kill}");
}

fn wait(child: &mut Child, within: Duration) -> ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if asked.elapsed() > within {
            child.kill().expect("it still runs");
            panic!("it still runs after {within:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn full_pipes_do_not_hold_up_the_end() {
    let pool = Practice::start(quiet());
    let url = format!("stratum+tcp://{}", pool.addr());
    let ((stdout, mut to_stdout), (stderr, mut to_stderr)) = (pipe().unwrap(), pipe().unwrap());
    for pipe in [&mut to_stdout, &mut to_stderr] {
        pipe.write_all(&[b'\n'; PIPE - ROOM]).unwrap();
    }
    let mut lode = Command::new(LODE)
        .args(["mine", "-o", &url, "-u", "w", "-t", "1", "--output", "json", "-vv"])
        .env("HOME", std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(to_stdout)
        .stderr(to_stderr)
        .spawn()
        .unwrap();
    // What comes before the first share fills them, and mining goes on.
    let deadline = Instant::now() + 2 * SOON;
    while pool.handle().stats().accepted < 10 {
        assert!(Instant::now() < deadline, "too few shares: {:?}", pool.handle().stats());
        thread::sleep(Duration::from_millis(50));
    }
    terminate(&lode);
    // A second for the reports, half a second for the log, the rest for a busy machine.
    assert_eq!(wait(&mut lode, Duration::from_secs(4)).code(), Some(0));
    let [stdout, stderr] = [stdout, stderr].map(|pipe| std::io::read_to_string(pipe).unwrap());
    let unblocked = stdout.contains("\"end\"") || stderr.contains("accepted");
    assert!(!unblocked, "the pipes were not full:\n{}\n{}", stdout.trim(), stderr.trim());
}

#[test]
fn the_practice_pool_serves_on_when_its_reader_has_gone() {
    let mut pool = Command::new(LODE)
        .args(["pool", "--listen", "127.0.0.1:0"])
        .env("HOME", std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = BufReader::new(pool.stdout.take().unwrap()).lines();
    let url = loop {
        let line = greeting.next().unwrap().unwrap();
        if let Some((_, rest)) = line.split_once("lode -o ") {
            break rest.split(' ').next().unwrap().to_owned();
        }
    };
    drop(greeting);
    Lode::mine(LODE, &["-o", &url, "-u", "w", "-t", "1"]).wait_for_accepted(2 * SOON);
    terminate(&pool);
    assert_eq!(wait(&mut pool, SOON).code(), Some(0));
}
