//! Everything that can go wrong, at every step of every protocol.
//!
//! A run without faults tells which frames a driver sends from its first to the middle of its work. Then each mishap
//! strikes with the first, the middle and the last frame of each kind, on a device of its own, and the run must end as
//! it may: in work that is found again, or in a device that is switched off and put aside with a reason. All of it is
//! in virtual time, with the driver, the scheduler and the emulated device as they are; only threads and ports are not.

mod lab;
mod mishaps;
mod rack;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use asic_emulator::{Armed, Fault, State, Stranger, StrangerKind};
use miner_core::backend::{BackendError, HealthState};

use super::{AsicConfig, drive};
use crate::transport::LinkError;
use lab::{Inner, Lab, Refusal};
use mishaps::{Mishap, Then, at_the_end, mishaps};
use rack::Subject;
use watch::LabWorld;

/// Virtual time after which a run has failed.
const LIMIT: Duration = Duration::from_secs(600);
/// The time that a stick without a switch goes on for with its last work.
const LAST_WORK: Duration = Duration::from_secs(14);
/// Bytes that may wait to leave: three jobs, and something to set up for them.
const AHEAD: usize = 1024;
/// A strike that never comes.
const NEVER: u64 = u64::MAX;
/// Shares after which a device is surely at work.
const AT_WORK: usize = 5;

/// A run and how it ended.
struct Ended {
    result: Result<(), BackendError>,
    shares: usize,
    struck: Option<Instant>,
    state: State,
    health: Vec<(Instant, HealthState, String)>,
    invalid: Vec<String>,
    most_unsent: usize,
    written: usize,
    opened: usize,
    /// What arrived at the device, and how much of it before the driver was told to end.
    arrivals: Vec<(usize, Vec<u8>)>,
    before_end: usize,
    took: Duration,
    ended: Instant,
}

impl Ended {
    fn last(&self) -> (HealthState, &str) {
        self.health.last().map_or((HealthState::Ok, ""), |(_, state, reason)| (*state, reason))
    }

    /// What is wrong with any run: invalid shares, reasons that tell nothing, no end, heaps of bytes.
    fn check(&self) -> Result<(), String> {
        let vague =
            |(_, state, why): &&(_, HealthState, String)| *state != HealthState::Ok && !is_telling(why);
        let stopped = self.last().0 == HealthState::Quarantined;
        if !self.invalid.is_empty() {
            return Err(format!("{:?}", self.invalid));
        }
        if self.took > LIMIT {
            return Err(format!("it ends neither in work nor in a reason within {} s", LIMIT.as_secs()));
        }
        if let Some((.., reason)) = self.health.iter().find(vague) {
            return Err(format!("a reason that tells nothing: {reason:?}"));
        }
        if self.result.is_err() && !stopped {
            return Err("given up without a word".to_owned());
        }
        if self.most_unsent > AHEAD {
            return Err(format!("{} bytes wait to leave", self.most_unsent));
        }
        Ok(())
    }

    /// Whether the device is off, where it has a switch, and stands still.
    fn check_safe(&self, subject: Subject) -> Result<(), String> {
        let off = self.state.in_reset || !self.state.powered;
        if self.state.plugged && !(self.state.is_safe() && (off || !subject.has_switch())) {
            return Err("it is not safe at the end".to_owned());
        }
        Ok(())
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, shares, state, health, took, written, .. } = self;
        writeln!(f, "{result:?} after {took:?}, {shares} shares, {written} bytes written; {state:?}")?;
        let first = health.first().map(|(at, ..)| *at);
        for (at, state, reason) in health {
            let after = first.map_or(0.0, |first| (*at - first).as_secs_f32());
            writeln!(f, "    {after:.1} s later {state:?}: {reason}")?;
        }
        Ok(())
    }
}

/// A reason is one that a person can act on where it names the part, or what was being done with it.
fn is_telling(reason: &str) -> bool {
    const NAMED: [&str; 20] = [
        "USB bridge of its reset line has vanished",
        "unplugged from USB",
        "no answer while ",
        "chips answer where ",
        "a chip says it is a ",
        "it answers in ",
        "/dev/ttyLAB0",
        "no right nonce ",
        "nonces were wrong",
        "hot: ",
        "regulator",
        "sensors can't be read: ",
        "management port: ",
        "controller",
        "reset line: ",
        "that lode knows",
        "in use by another program",
        "no permission",
        "is not a serial port",
        "gave no sign of life",
    ];
    NAMED.iter().any(|named| reason.contains(named))
}

/// Runs a driver on a device until it is `done`, and lets go of it.
fn run(
    subject: Subject,
    device: Armed,
    last_work: Duration,
    set_up: impl FnOnce(&mut Inner),
    mut done: impl FnMut(&mut Inner) -> bool + Send + 'static,
) -> Ended {
    let done = move |lab: &mut Inner| done(lab) || lab.elapsed() > LIMIT;
    let (lab, port) = Lab::new(device, subject.info(), subject.pool(), done);
    set_up(&mut lab.lock());
    let board = subject.board(&lab);
    let result = drive(board, AsicConfig::default(), &port, &LabWorld(Arc::clone(&lab)));
    let took = lab.lock().elapsed();
    let ended = lab.lock().ended();
    lab.pass(last_work);
    let mut lab = lab.lock();
    let state = lab.state();
    Ended {
        result,
        shares: lab.shares.len(),
        struck: lab.bench.device().struck(),
        state,
        health: std::mem::take(&mut lab.health),
        invalid: std::mem::take(&mut lab.invalid),
        most_unsent: lab.most_unsent,
        written: lab.written,
        opened: lab.opened,
        arrivals: lab.bench.device().arrivals().to_vec(),
        before_end: lab.arrivals_before_end,
        took,
        ended,
    }
}

/// How long the device may go on by itself once nobody drives it.
fn last_work(subject: Subject, mishap: &Mishap) -> Duration {
    if subject.has_switch() { Duration::from_millis(10) } else { LAST_WORK * mishap.slowness() }
}

/// A run in which nothing goes wrong.
fn clean_run(subject: Subject) -> Ended {
    let device = Armed::new(subject.device(), NEVER, Vec::new());
    let ended = run(subject, device, LAST_WORK, |_| {}, |lab| lab.shares.len() >= AT_WORK);
    ended.check().and(ended.check_safe(subject)).unwrap_or_else(|problem| panic!("{problem}: {ended:?}"));
    assert!(
        ended.result.is_ok() && ended.shares == AT_WORK && ended.last().0 == HealthState::Ok,
        "{ended:?}"
    );
    ended
}

/// The frames that are worth a strike: of each kind the first, the middle and the last.
fn steps(subject: Subject, clean: &Ended) -> BTreeSet<usize> {
    let mut kinds: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, (port, frame)) in clean.arrivals[..clean.before_end].iter().enumerate() {
        let kind = (*port, frame.len(), kind_of(subject, *port, frame));
        kinds.entry(kind).or_default().push(index);
    }
    // All Bitaxes are managed alike: one of them is struck at each request.
    let managed = |port| port == 0 && matches!(subject, Subject::Supra | Subject::Ultra);
    let chosen = kinds.iter().filter(|((port, ..), _)| !managed(*port));
    chosen.flat_map(|(_, places)| [places[0], places[places.len() / 2], places[places.len() - 1]]).collect()
}

/// What frames of one kind have in common.
fn kind_of(subject: Subject, port: usize, frame: &[u8]) -> Vec<u8> {
    match (subject, frame) {
        // The golden work, that by which engines are counted, that which opens cores; all other work is work.
        (_, [0x46 | 0x2e | 0x00, ..]) if frame.len() == 64 => vec![frame[0]],
        (_, frame) if frame.len() == 64 => Vec::new(),
        // Page, command, address, register.
        _ if subject.has_firmware() && port == 0 => frame.iter().skip(4).take(4).copied().collect(),
        (_, [0x55, 0xaa, 0x21, ..]) => vec![0x21],
        // Kind, length, address, register.
        (_, [0x55, 0xaa, command @ ..]) => command.iter().take(4).copied().collect(),
        (_, frame) => frame.iter().take(1).copied().collect(),
    }
}

/// One mishap at one step.
fn cell(subject: Subject, nth: usize, mishap: &Mishap) -> Result<(), String> {
    let (then, length) = (mishap.then, mishap.length());
    let done = move |lab: &mut Inner| {
        let Some(struck) = lab.bench.device().struck() else { return false };
        let Some((at, state, reason)) = lab.health.last().filter(|(at, ..)| *at >= struck || lab.has_mined())
        else {
            return false;
        };
        let mines = || *state == HealthState::Ok && lab.mined_since(struck + length);
        // Of a chip that fell silent before it was heard of, nothing more is known.
        let told_of = || *state == HealthState::Degraded && reason.contains("from chip");
        let stopped = || *at >= struck && (*state == HealthState::Quarantined || told_of());
        match then {
            Then::Mines => mines(),
            Then::MinesOrStops => mines() || stopped(),
            Then::Stops => stopped(),
            Then::Waits => reason.ends_with("waiting for it"),
        }
    };
    let device = Armed::new(subject.device(), nth as u64, mishap.plan.clone());
    let ended = run(subject, device, last_work(subject, mishap), |lab| lab.replug = mishap.replug, done);
    let judge = || -> Result<(), String> {
        ended.check()?;
        let struck = ended.struck.ok_or("it never struck")?;
        if ended.ended - struck > mishap.within {
            return Err(format!("only after {} s", (ended.ended - struck).as_secs()));
        }
        let blamed = |(at, state, reason): &(Instant, HealthState, String)| {
            *at >= struck && *state != HealthState::Ok && !reason.ends_with("waiting for it")
        };
        if mishap.unplugs() && ended.health.iter().any(blamed) {
            return Err("being unplugged is held against it".to_owned());
        }
        // What hangs for good can't be switched off where the switch is its own firmware's.
        if mishap.hangs_for_good() && subject.has_firmware() { Ok(()) } else { ended.check_safe(subject) }
    };
    judge().map_err(|problem| format!("{problem}: {ended:?}"))
}

/// One mishap at one frame of those that end the work.
fn last_cell(subject: Subject, nth: usize, mishap: &Mishap) -> Result<(), String> {
    let device = Armed::new(subject.device(), nth as u64, mishap.plan.clone());
    let ended = run(subject, device, last_work(subject, mishap), |_| {}, |lab| lab.shares.len() >= AT_WORK);
    let judge = || {
        ended.check()?;
        if ended.struck.is_none() || ended.result.is_err() {
            return Err("it does not end".to_owned());
        }
        ended.check_safe(subject)
    };
    judge().map_err(|problem| format!("{problem}: {ended:?}"))
}

/// Tries cells; panics with what ended badly.
fn try_all(subject: Subject, cells: &[(usize, Mishap)], cell: impl Fn(usize, &Mishap) -> Result<(), String>) {
    let mut problems = Vec::new();
    for (nth, mishap) in cells {
        let result = catch_unwind(AssertUnwindSafe(|| cell(*nth, mishap)));
        let Err(problem) = result.unwrap_or_else(|_| Err("a panic".to_owned())) else { continue };
        problems.push(format!("{} {:?} at frame {nth}: {problem}", mishap.name, mishap.plan));
    }
    let (bad, all) = (problems.len(), cells.len());
    println!("{subject:?}: {all} cells");
    problems.truncate(8);
    assert!(bad == 0, "{subject:?}: {bad} of {all} cells end badly:\n{}", problems.join("\n"));
}

/// Every mishap at every step.
fn survives(subject: Subject) {
    let clean = clean_run(subject);
    let steps = steps(subject, &clean);
    let mishaps = mishaps(subject);
    let cells: Vec<_> =
        mishaps.iter().flat_map(|mishap| steps.iter().map(|nth| (*nth, mishap.clone()))).collect();
    try_all(subject, &cells, |nth, mishap| cell(subject, nth, mishap));
    let frames = clean.before_end..clean.arrivals.len();
    let cells: Vec<_> =
        at_the_end().iter().flat_map(|mishap| frames.clone().map(|nth| (nth, mishap.clone()))).collect();
    try_all(subject, &cells, |nth, mishap| last_cell(subject, nth, mishap));
}

macro_rules! survives {
    ($($name:ident: $subject:ident,)*) => {
        $(#[test]
        fn $name() {
            survives(Subject::$subject);
        })*
    };
}

survives! {
    an_icarus_survives_everything: Icarus,
    an_erupter_survives_everything: Erupter,
    an_antminer_survives_everything: AntMiner,
    a_compac_survives_everything: Compac,
    a_2pac_survives_everything: TwoPac,
    a_compac_f_survives_everything: CompacF,
    an_r909_survives_everything: R909,
    a_compac_a1_survives_everything: CompacA1,
    a_compac_a2_survives_everything: CompacA2,
    a_gamma_survives_everything: Gamma,
    a_supra_survives_everything: Supra,
    an_ultra_survives_everything: Ultra,
}

#[test]
fn what_is_no_asic_is_put_aside_and_sent_little() {
    for subject in Subject::ALL {
        for kind in [StrangerKind::Modem, StrangerKind::Echo, StrangerKind::Babbler, StrangerKind::Mute] {
            let stranger = Stranger::new(kind, subject.ports());
            let device = Armed::new(Box::new(stranger), NEVER, Vec::new());
            let quarantined = |lab: &mut Inner| {
                lab.health.last().is_some_and(|(_, state, _)| *state == HealthState::Quarantined)
            };
            let ended = run(subject, device, Duration::ZERO, |_| {}, quarantined);
            ended.check().unwrap_or_else(|problem| panic!("{subject:?}, {kind:?}: {problem}: {ended:?}"));
            assert_eq!(ended.shares, 0);
            assert!(ended.written < 1000, "{subject:?}, {kind:?}: {ended:?}");
            assert!(ended.took < Duration::from_secs(30), "{subject:?}, {kind:?}: {ended:?}");
        }
    }
}

#[test]
fn ports_that_cannot_be_used_are_told_apart_and_tried_again_in_peace() {
    let refusals: [(Refusal, &str); 4] = [
        (|path| LinkError::Busy { path }, "in use by another program"),
        (|path| LinkError::Denied { path, group: Some("dialout".to_owned()) }, "belongs to group dialout"),
        (|path| LinkError::NotSerial { path }, "is not a serial port"),
        (|path| LinkError::NotFound { path }, "is not there: waiting for it"),
    ];
    for (refusal, reason) in refusals {
        let device = Armed::new(Subject::Icarus.device(), NEVER, Vec::new());
        let set_up = |lab: &mut Inner| lab.refusal = Some(refusal);
        let ended = run(Subject::Icarus, device, Duration::ZERO, set_up, |lab| lab.elapsed() > LIMIT / 2);
        ended.check().unwrap_or_else(|problem| panic!("{problem}: {ended:?}"));
        assert!(ended.last().1.contains(reason), "{ended:?}");
        assert!(ended.opened as u64 <= 2 * ended.took.as_secs() + 2, "{} times: {ended:?}", ended.opened);
    }
}

#[test]
fn a_port_that_closes_at_once_is_waited_for() {
    for subject in Subject::ALL {
        let device = Armed::new(subject.device(), NEVER, Vec::new());
        let ended = run(subject, device, LAST_WORK, |lab| lab.closes = true, |lab| lab.elapsed() > LIMIT / 4);
        ended.check().unwrap_or_else(|problem| panic!("{subject:?}: {problem}: {ended:?}"));
        assert!(ended.opened as u64 <= 2 * ended.took.as_secs() + 2, "{subject:?}: {} times", ended.opened);
        assert!(
            ended.health.iter().all(|(.., reason)| reason.contains("/dev/ttyLAB0")),
            "{subject:?}: {ended:?}"
        );
    }
}

/// Wrong nonces in plenty: the device is ailing, and nothing of it reaches the pool.
#[test]
fn a_device_that_only_lies_is_put_aside() {
    for subject in [Subject::Erupter, Subject::Compac, Subject::CompacF, Subject::Gamma] {
        let plan = vec![(Duration::ZERO, Fault::WrongNonceNext); 4000];
        let device = Armed::new(subject.device(), 0, plan);
        let told = |lab: &mut Inner| lab.health.iter().any(|(.., reason)| !reason.is_empty());
        let ended = run(subject, device, LAST_WORK, |_| {}, told);
        ended.check().unwrap_or_else(|problem| panic!("{subject:?}: {problem}: {ended:?}"));
        assert_eq!(ended.shares, 0, "{subject:?}: {ended:?}");
    }
}
