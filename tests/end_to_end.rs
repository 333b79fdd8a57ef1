//! `lode mine` as its user meets it: against practice pools on this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use practice_pool::{Authorize, Config, Vardiff};
use serde_json::{Value, json};
use testkit::arena::{Arena, DRAINED, SOON};
use testkit::ledger::Losses;
use testkit::practice::{Practice, quiet};
use testkit::process::{Ended, Lode, Signal};
use testkit::socks::SocksProxy;
use testkit::tls::TlsFront;
use testkit::wire::{Fate, Way, Wire};

const LODE: &str = env!("CARGO_BIN_EXE_lode");
const PASSWORD: &str = "correct-horse-battery";

fn arena() -> Arena {
    Arena::start(LODE, quiet(), &[], |_, _| {})
}

/// A port on which nobody listens.
fn dead_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn url(addr: std::net::SocketAddr) -> String {
    format!("stratum+tcp://{addr}")
}

fn reason(ended: &Ended) -> &Value {
    &ended.lines.last().expect("a run tells something")["reason"]
}

#[test]
fn without_a_pool_it_practises_and_says_that_nothing_is_earned() {
    let mut lode = Lode::mine(LODE, &["-t", "2"]);
    let start = lode.wait_for("start", SOON, |_| true);
    assert_eq!(start["practice"], true);
    let begun = Instant::now();
    lode.wait_for_accepted(Duration::from_secs(10));
    println!("first accepted share after {:.1} s of mining", begun.elapsed().as_secs_f64());
    let ended = lode.signal(Signal::Terminate, DRAINED);
    assert_eq!(ended.code, Some(0));
    assert_eq!(reason(&ended), "terminated");
    let accepted = ended.account()["accepted"].as_u64();
    assert!(accepted >= Some(1));
}

#[test]
fn text_output_names_what_a_person_wants_to_know() {
    let output = Command::new(LODE).args(["mine", "--shares", "2", "-t", "1"]).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    for word in ["practice", "accepted", "H/s", "job"] {
        assert!(stdout.to_lowercase().contains(&word.to_lowercase()), "no '{word}' in:\n{stdout}");
    }
    assert!(stdout.contains("earn"), "that practice earns nothing is not said:\n{stdout}");
    assert!(!stdout.contains('\u{1b}'), "colours on what is no terminal:\n{stdout:?}");
}

#[test]
fn a_number_of_shares_ends_the_run_well() {
    let pool = Practice::start(quiet());
    let lode = Lode::mine(LODE, &["-o", &url(pool.addr()), "-u", "w", "-t", "1", "--shares", "5"]);
    let ended = lode.end(3 * SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(reason(&ended), "shares_reached");
    assert!(ended.account()["accepted"].as_u64() >= Some(5));
}

#[test]
fn sigterm_drains_and_the_account_is_complete() {
    let mut arena = arena();
    arena.settle();
    let outcome = arena.finish(Losses::NONE);
    assert!(outcome.ended.took < Duration::from_secs(6), "{:?}", outcome.ended.took);
    assert_eq!(reason(&outcome.ended), "terminated");
    assert_eq!(outcome.ended.account()["lost"], 0, "answers were waited for");
}

#[test]
fn sigterm_waits_for_no_pool_that_does_not_answer() {
    let mut arena = arena();
    arena.settle();
    arena.wire.end(Fate::HalfOpen);
    std::thread::sleep(Duration::from_secs(1));
    let outcome = arena.finish(Losses::BOTH);
    assert!(outcome.ended.took < Duration::from_secs(6), "{:?}", outcome.ended.took);
    assert!(outcome.account.no_answer > 0, "{:?}", outcome.account);
}

#[test]
fn sigterm_ends_a_run_without_a_session() {
    let silent = Arena::start(LODE, quiet(), &[], |_, wire| wire.greet(Vec::new()));
    let refused = Arena::start(LODE, quiet(), &[], |_, wire| wire.die());
    for (mut arena, event) in [(silent, "connected"), (refused, "failed")] {
        arena.wait_for_pool(event, "");
        let outcome = arena.finish(Losses::NONE);
        assert!(outcome.ended.took < Duration::from_secs(6), "{:?}", outcome.ended.took);
        assert_eq!(outcome.ended.account()["found"], 0);
    }
}

#[test]
fn an_interrupt_drains_and_ends_with_130() {
    let mut arena = arena();
    arena.settle();
    let ended = arena.lode.signal(Signal::Interrupt, DRAINED);
    assert_eq!(ended.code, Some(130));
    assert_eq!(reason(&ended), "interrupted");
    ended.account();
}

#[test]
fn a_second_signal_does_not_wait_for_answers_and_ends_with_130() {
    for first in [Signal::Interrupt, Signal::Terminate] {
        let mut arena = arena();
        arena.settle();
        // A share under way is never answered, so that draining takes its time.
        let (dropped, drops) = std::sync::mpsc::channel();
        arena.wire.tamper(move |way, _| {
            let _ = dropped.send(way);
            Fate::Drop
        });
        while drops.recv_timeout(SOON).unwrap() != Way::ToPool {}
        arena.lode.send(first);
        std::thread::sleep(Duration::from_millis(200));
        let ended = arena.lode.signal(Signal::Terminate, Duration::from_secs(3));
        assert_eq!(ended.code, Some(130), "{first:?} first");
    }
}

#[test]
fn a_bounded_run_without_any_job_fails_with_3() {
    let url = format!("stratum+tcp://127.0.0.1:{}", dead_port());
    let lode = Lode::mine(LODE, &["-o", &url, "-u", "w", "-t", "1", "--time-limit", "2s"]);
    let ended = lode.end(SOON);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.took >= Duration::from_secs(1), "{:?}", ended.took);
    let failed = ended.of_type("pool").find(|line| line["event"] == "failed").unwrap();
    assert!(failed["text"].as_str().unwrap().contains("refused"), "{failed}");
    assert!(failed["advice"].is_string(), "{failed}");
}

#[test]
fn a_time_limit_ends_a_run_that_mined_well() {
    let pool = Practice::start(quiet());
    let args = ["-o", &url(pool.addr()), "-u", "w", "-t", "1", "--time-limit", "3s"];
    let ended = Lode::mine(LODE, &args).end(SOON);
    assert_eq!((ended.code, reason(&ended)), (Some(0), &json!("time_limit")));
}

#[test]
fn without_any_device_it_fails_with_4() {
    let ended = Lode::mine(LODE, &["-t", "0"]).end(SOON);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(!ended.stderr.is_empty());
}

#[test]
fn wrong_usage_fails_with_2_and_says_what_is_wrong() {
    for (args, word) in [
        (&["-o", "http://127.0.0.1:1", "-u", "w"][..], "not supported yet"),
        (&["-o", "stratum2+tcp://127.0.0.1:1", "-u", "w"], "not supported yet"),
        (&["-o", "stratum+tcp://127.0.0.1:99999", "-u", "w"], "99999"),
        (&["-o", "stratum+tcp://127.0.0.1:1"], "-u"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let ended = Lode::mine(LODE, args).end(SOON);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{args:?}: {}", ended.stderr);
        assert!(ended.lines.is_empty());
    }
}

#[test]
fn a_bare_command_line_mines() {
    let pool = Practice::start(quiet());
    let args = ["-o", &url(pool.addr()), "-u", "w", "-t", "1", "--shares", "1", "--output", "json"];
    let ended = Lode::start(Command::new(LODE).args(args)).end(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn the_second_pool_takes_over_when_the_first_is_gone() {
    let backup = Practice::start(quiet());
    let mut arena = Arena::start(LODE, quiet(), &["-o", &url(backup.addr())], |_, _| {});
    arena.settle();
    arena.wire.die();
    let refused = arena.wait_for_pool("failed", "refused");
    assert_eq!(refused["pool"], 0);
    let since = Instant::now();
    let share =
        arena.lode.wait_for("share", SOON, |share| share["outcome"] == "accepted" && share["pool"] == 1);
    let took = since.elapsed();
    println!("an accepted share of the backup {took:?} after the first refusal");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(share["epoch"], 1);
    let ended = arena.lode.signal(Signal::Terminate, DRAINED);
    assert_eq!(ended.code, Some(0));
    ended.account();
    let accepted = |pool: u64| {
        let shares = ended.of_type("share");
        shares.filter(|share| share["pool"] == pool && share["outcome"] == "accepted").count()
    };
    let accepted_by = |pool: Practice| pool.stop().iter().filter(|record| record.code.is_none()).count();
    let (first, second) = (accepted(0), accepted(1));
    assert!(first <= accepted_by(arena.pool), "no share of one pool went to the other");
    assert_eq!(second, accepted_by(backup));
}

#[test]
fn the_backup_is_left_alone_while_the_first_pool_is_well() {
    let backup = Practice::start(quiet());
    let mut arena = Arena::start(LODE, quiet(), &["-o", &url(backup.addr())], |_, _| {});
    arena.settle();
    arena.recover();
    assert_eq!(backup.handle().stats().connections, 0);
    arena.finish(Losses::NONE);
}

#[test]
fn tls_pools_are_joined_when_their_certificate_is_trusted() {
    let pool = Practice::start(quiet());
    let front = TlsFront::to(pool.addr(), "localhost");
    let url = format!("stratum+ssl://localhost:{}", front.addr().port());
    let authority = front.authority().to_str().unwrap();
    let mut lode = Lode::mine(LODE, &["-o", &url, "-u", "w", "-t", "1", "--tls-ca", authority]);
    let connected = lode.wait_for("pool", SOON, |line| line["event"] == "connected");
    assert_eq!(connected["encrypted"], true);
    lode.wait_for_accepted(SOON);
    assert_eq!(lode.signal(Signal::Terminate, DRAINED).code, Some(0));
}

#[test]
fn tls_pools_that_cannot_be_trusted_are_not_joined() {
    let pool = Practice::start(quiet());
    let (localhost, other) =
        (TlsFront::to(pool.addr(), "localhost"), TlsFront::to(pool.addr(), "pool.example"));
    let authority = |front: &TlsFront| front.authority().to_str().unwrap().to_owned();
    for (front, trust, word) in [
        (&localhost, None, "certificate"),
        (&localhost, Some(authority(&other)), "certificate"),
        (&other, Some(authority(&other)), "certificate"),
    ] {
        let url = format!("stratum+ssl://localhost:{}", front.addr().port());
        let mut args = vec!["-o", &url, "-u", "w", "-t", "1"];
        if let Some(trust) = &trust {
            args.extend(["--tls-ca", trust]);
        }
        let mut lode = Lode::mine(LODE, &args);
        let failed = lode.wait_for("pool", SOON, |line| line["event"] == "failed");
        assert!(failed["text"].as_str().unwrap().contains(word), "{failed}");
    }
    assert_eq!(pool.handle().stats().accepted, 0);
}

#[test]
fn what_speaks_no_tls_is_told_apart() {
    let pool = Practice::start(quiet());
    let url = format!("stratum+ssl://localhost:{}", pool.addr().port());
    let mut lode = Lode::mine(LODE, &["-o", &url, "-u", "w", "-t", "1"]);
    let failed = lode.wait_for("pool", 2 * SOON, |line| line["event"] == "failed");
    assert!(failed["text"].as_str().unwrap().contains("TLS"), "{failed}");
}

#[test]
fn a_socks_proxy_resolves_the_name_and_carries_the_session() {
    let pool = Practice::start(quiet());
    let proxy = SocksProxy::to(pool.addr(), "me", PASSWORD);
    let flag = format!("socks5://me:{PASSWORD}@{}", proxy.addr());
    let args = ["-o", "stratum+tcp://pool.invalid:3333", "-u", "w", "-t", "1", "--proxy", &flag, "-vv"];
    let mut lode = Lode::mine(LODE, &args);
    lode.wait_for_accepted(SOON);
    let ended = lode.signal(Signal::Terminate, DRAINED);
    assert_eq!(ended.code, Some(0));
    assert_eq!(proxy.asked(), ["pool.invalid:3333"]);
    assert_silent_about(&ended, PASSWORD);
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let pool = Practice::start(quiet());
    let proxy = SocksProxy::to(pool.addr(), "me", "something else");
    let flag = format!("socks5://me:{PASSWORD}@{}", proxy.addr());
    let args = ["-o", "stratum+tcp://pool.invalid:3333", "-u", "w", "-t", "1", "--proxy", &flag, "-vv"];
    let mut lode = Lode::mine(LODE, &args);
    let failed = lode.wait_for("pool", SOON, |line| line["event"] == "failed");
    assert!(failed["text"].as_str().unwrap().contains("proxy"), "{failed}");
    let ended = lode.signal(Signal::Terminate, DRAINED);
    assert_silent_about(&ended, PASSWORD);
    assert_eq!(pool.handle().stats().connections, 0);
}

#[test]
fn a_password_is_sent_and_never_shown() {
    let wants = Authorize::Check(std::sync::Arc::new(|user, password| user == "w" && password == PASSWORD));
    let pool = Practice::start(Config { authorize: wants, ..quiet() });
    let wire = Wire::to(pool.addr());
    let pass_file = testkit::scratch("password");
    std::fs::write(&pass_file, format!("{PASSWORD}\n")).unwrap();
    let joined = format!("w:{PASSWORD}");
    let address = url(wire.addr());
    for secret in [
        &["-u", "w", "-p", PASSWORD][..],
        &["-O", &joined],
        &["-u", "w", "--pass-file", pass_file.to_str().unwrap()],
    ] {
        let args = [&["-o", &address, "-t", "1", "-vv", "--shares", "1"], secret].concat();
        let ended = Lode::mine(LODE, &args).end(SOON);
        assert_eq!(ended.code, Some(0), "{secret:?}: {}", ended.stderr);
        assert_silent_about(&ended, PASSWORD);
    }
    let mut command = Command::new(LODE);
    command.args(["mine", "--output", "json", "-o", &address, "-u", "w", "-t", "1", "--pass-file"]);
    let ended = Lode::start(command.arg("/no/such/file")).end(SOON);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(wire.heard().iter().any(|line| line.contains(PASSWORD)), "it was sent");
    std::fs::remove_file(pass_file).unwrap();
}

#[test]
fn a_wrong_password_is_explained_and_not_shown() {
    let pool = Practice::start(Config { authorize: Authorize::Nobody, ..quiet() });
    let args = ["-o", &url(pool.addr()), "-u", "w", "-p", PASSWORD, "-t", "1", "-vv"];
    let mut lode = Lode::mine(LODE, &args);
    let failed = lode.wait_for("pool", SOON, |line| line["event"] == "failed");
    assert!(failed["text"].as_str().unwrap().contains("does not accept"), "{failed}");
    assert_silent_about(&lode.signal(Signal::Terminate, DRAINED), PASSWORD);
}

#[test]
fn version_bits_are_sent_when_rolling_was_granted_and_not_otherwise() {
    for (mask, granted) in [(0x1fff_e000, true), (0, false)] {
        let mut arena = Arena::start(LODE, Config { version_mask: mask, ..quiet() }, &[], |_, _| {});
        let job = arena.lode.wait_for("job", SOON, |_| true);
        assert_eq!(job["version_mask"], format!("{mask:08x}"));
        arena.settle();
        let outcome = arena.finish(Losses::NONE);
        assert!(outcome.records.iter().all(|record| record.version_bits.is_some() == granted));
    }
}

#[test]
fn base_versions_with_bits_inside_the_mask_are_mined() {
    let config = Config { version: 0x3000_2000, ..quiet() };
    let pool = Practice::start(config);
    let mut lode = Lode::mine(LODE, &["-o", &url(pool.addr()), "-u", "w", "-t", "1"]);
    lode.wait_for_accepted(SOON);
    assert_eq!(lode.signal(Signal::Terminate, DRAINED).code, Some(0));
    assert_eq!(pool.handle().stats().rejected_total(), 0, "no base bit is cleared");
}

#[test]
fn a_suggested_difficulty_is_asked_for() {
    let mut arena = Arena::start(LODE, quiet(), &["--suggest-difficulty", "0.0002"], |_, _| {});
    let share =
        arena.lode.wait_for("share", 2 * SOON, |share| share["target_difficulty"].as_f64() > Some(0.00019));
    assert_eq!(share["outcome"], "accepted");
    arena.finish(Losses::NONE);
}

#[test]
fn a_block_is_told_with_its_hash() {
    // A network as hard as the shares: each share is a block.
    let config = Config { nbits: 0x1f00_ffff, difficulty: 1e-4, retarget: false, ..quiet() };
    let mut arena = Arena::start(LODE, config, &[], |_, _| {});
    let block = arena.lode.wait_for("block", 2 * SOON, |_| true);
    let hash = block["hash"].as_str().unwrap().to_owned();
    arena.lode.wait_for("share", SOON, |share| share["hash"] == hash.as_str());
    let outcome = arena.finish(Losses::NONE);
    let record = outcome.records.iter().find(|record| record.hash.as_deref() == Some(&hash)).unwrap();
    assert!(record.block);
}

#[test]
fn vardiff_is_followed() {
    // Much too hard for ten shares a second: the pool makes it easier each second or, after a lucky share, each other.
    let vardiff = Vardiff {
        share_interval: Duration::from_millis(100),
        window: Duration::from_secs(2),
        ..Vardiff::default()
    };
    let config = Config { difficulty: 0.05, vardiff: Some(vardiff), ..quiet() };
    let mut arena = Arena::start(LODE, config, &[], |_, _| {});
    for _ in 0..2 {
        arena.lode.wait_for("difficulty", SOON, |line| line["difficulty"].as_f64() < Some(0.049));
    }
    arena.lode.wait_for_accepted(SOON);
    arena.finish(Losses::NONE);
}

#[track_caller]
fn assert_silent_about(ended: &Ended, secret: &str) {
    let lines: String = ended.lines.iter().map(ToString::to_string).collect();
    assert!(!lines.contains(secret) && !ended.stderr.contains(secret), "the secret is told");
}
