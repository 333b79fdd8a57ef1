//! A whole miner of one device in virtual time: pool, scheduler, driver, cables, emulated device; all on one thread.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use asic_emulator::{Armed, Bench, Device, Line, State};
use miner_core::backend::{
    BackendEvent, BackendFeed, BackendInfo, BackendPort, EventSink, Health, HealthState,
};
use miner_core::backend::{GenerationGate, wire};
use miner_core::job::{JobId, JobTemplate, VersionMask};
use miner_core::sched::{Input, Output, Scheduler, SchedulerConfig, SourceEvent, credit};
use miner_core::share::{Share, ShareOutcome};
use miner_core::types::{BackendId, SourceId};

use crate::board::{Reopen, Sleep};
use crate::transport::{Link, LinkError};
use crate::usb::{Control, UsbError, VendorRequest};

/// Pools, one after the other: of one pool nothing is searched twice. They serve for longer than any run takes.
const SOURCES: u16 = 256;
const BACKEND: BackendId = BackendId(0);
/// How long a read of a port waits: longer than real ones, for fewer rounds.
const READ_WAIT: Duration = Duration::from_millis(20);
/// Bytes that a system takes ahead of a port, and how long a write waits for room.
const WRITE_AHEAD: usize = 4096;
const WRITE_WAIT: Duration = Duration::from_secs(2);

/// What a port says to whoever opens it, where it can't be opened.
pub(super) type Refusal = fn(PathBuf) -> LinkError;

/// What the pool has, in turn, and how often it replaces it.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) jobs: Arc<[JobTemplate]>,
    pub(super) every: Duration,
}

/// Everything but the driver.
pub(super) struct Lab(Mutex<Inner>, Arc<Events>);

/// What the driver has said and nobody has heard.
#[derive(Default)]
struct Events(Mutex<VecDeque<BackendEvent>>);

pub(super) struct Inner {
    start: Instant,
    pub(super) now: Instant,
    pub(super) bench: Bench<Armed>,
    /// How often the device was plugged in: links from before are dead.
    plugs: u32,
    /// How long after it was pulled the plug is put back.
    pub(super) replug: Option<Duration>,
    replug_at: Option<Instant>,
    /// What ports say to whoever opens them.
    pub(super) refusal: Option<Refusal>,
    /// Ports are gone as soon as they are opened.
    pub(super) closes: bool,
    /// How often ports were opened, or were to be.
    pub(super) opened: usize,
    pool: Pool,
    issued: Vec<Instant>,
    scheduler: Scheduler,
    gate: GenerationGate,
    feed: Option<BackendFeed>,
    /// Numbers of the jobs that shares were found in.
    pub(super) shares: Vec<usize>,
    submitted: BTreeSet<(usize, [u8; 80])>,
    /// What no pool would have taken.
    pub(super) invalid: Vec<String>,
    pub(super) health: Vec<(Instant, HealthState, String)>,
    /// The most bytes that ever waited to leave.
    pub(super) most_unsent: usize,
    /// Bytes that the driver wrote.
    pub(super) written: usize,
    /// When the driver was told to end, and how many frames had come to the device.
    ended: Option<Instant>,
    pub(super) arrivals_before_end: usize,
    /// Whether all has been seen, asked after each step.
    done: Box<dyn FnMut(&mut Inner) -> bool + Send>,
}

impl EventSink for Events {
    fn send(&self, event: BackendEvent) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        true
    }
}

impl Lab {
    /// A lab, and the driver's end of its wiring; it ends when it is `done`.
    pub(super) fn new(
        device: Armed,
        info: BackendInfo,
        pool: Pool,
        done: impl FnMut(&mut Inner) -> bool + Send + 'static,
    ) -> (Arc<Self>, BackendPort) {
        let (now, events) = (Instant::now(), Arc::new(Events::default()));
        let gate = GenerationGate::default();
        let (port, feed) = wire(credit(&info), Arc::clone(&events) as _, gate.clone());
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), now, (0..SOURCES).map(SourceId));
        scheduler.handle(now, Input::BackendUp(BACKEND, Arc::new(info)));
        let inner = Inner {
            start: now,
            now,
            bench: Bench::new(device),
            plugs: 0,
            replug: None,
            replug_at: None,
            refusal: None,
            closes: false,
            opened: 0,
            pool,
            issued: Vec::new(),
            scheduler,
            gate,
            feed: Some(feed),
            shares: Vec::new(),
            submitted: BTreeSet::new(),
            invalid: Vec::new(),
            health: Vec::new(),
            most_unsent: 0,
            written: 0,
            ended: None,
            arrivals_before_end: 0,
            done: Box::new(done),
        };
        let lab = Arc::new(Self(Mutex::new(inner), events));
        lab.pass(Duration::ZERO);
        (lab, port)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        let until = self.lock().now + time;
        self.pass_until(until, |_| false);
    }

    /// Lets time pass until something is so.
    fn pass_until(&self, until: Instant, enough: impl Fn(&Inner) -> bool) {
        let mut lab = self.lock();
        for _ in 0..1_000_000 {
            lab.step(&self.1);
            if lab.now >= until || enough(&lab) {
                return;
            }
            lab.now = lab.next_event().map_or(until, |at| at.max(lab.now)).min(until);
        }
        panic!("time stands still");
    }

    /// Waits by this lab's clock.
    pub(super) fn sleep(self: &Arc<Self>) -> Sleep {
        let lab = Arc::clone(self);
        Arc::new(move |time| lab.pass(time))
    }

    /// Opens the ports of the device.
    pub(super) fn open<const N: usize>(self: &Arc<Self>) -> Result<[Arc<dyn Link>; N], LinkError> {
        let mut lab = self.lock();
        let path = PathBuf::from("/dev/ttyLAB0");
        lab.opened += 1;
        if !lab.bench.is_plugged() {
            return Err(LinkError::NotFound { path });
        }
        if let Some(refusal) = lab.refusal {
            return Err(refusal(path));
        }
        let (now, plugs) = (lab.now, lab.plugs);
        Ok(std::array::from_fn(|port| {
            lab.bench.read(now, port, usize::MAX);
            lab.bench.set_baud(port, 115_200);
            Arc::new(Port { lab: Arc::clone(self), port, plugs }) as Arc<dyn Link>
        }))
    }

    /// Opens the first of the device's ports anew.
    pub(super) fn reopen<const N: usize>(self: &Arc<Self>) -> Reopen {
        let lab = Arc::clone(self);
        Box::new(move || {
            let ports: [Arc<dyn Link>; N] = lab.open()?;
            Ok(Arc::clone(&ports[0]))
        })
    }

    /// The bridge's lines.
    pub(super) fn bridge(self: &Arc<Self>) -> Box<dyn Control> {
        Box::new(Bridge(Arc::clone(self)))
    }
}

impl Inner {
    /// Whether a share was found in a job that came after a moment.
    pub(super) fn mined_since(&self, moment: Instant) -> bool {
        self.shares.iter().any(|job| self.issued[*job] > moment)
    }

    /// Whether a share was found.
    pub(super) fn has_mined(&self) -> bool {
        !self.shares.is_empty()
    }

    /// What the device does now.
    pub(super) fn state(&mut self) -> State {
        let now = self.now;
        self.bench.device().state(now)
    }

    /// When the driver was told to end, or ended by itself.
    pub(super) fn ended(&self) -> Instant {
        self.ended.unwrap_or(self.now)
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn next_event(&self) -> Option<Instant> {
        let job = self.issued.last().map(|at| *at + self.pool.every);
        [self.bench.next_event(), self.scheduler.next_deadline(), job, self.replug_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything that happens now.
    fn step(&mut self, events: &Events) {
        let now = self.now;
        let plugged = self.bench.is_plugged();
        self.bench.step(now);
        if plugged && !self.bench.is_plugged() {
            self.replug_at = self.replug.map(|after| now + after);
        }
        if self.replug_at.is_some_and(|at| at <= now) {
            self.replug_at = None;
            self.bench.set_plugged(now, true);
            self.plugs += 1;
        }
        if self.issued.last().is_none_or(|at| now >= *at + self.pool.every) {
            self.issue_job();
        }
        loop {
            let event = events.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(event) = event else { break };
            if let BackendEvent::Health(Health { state, reason, .. }) = &event {
                let reason = reason.as_deref().unwrap_or_default().to_owned();
                self.health.push((now, *state, reason));
            }
            self.scheduler.handle(now, Input::Backend(BACKEND, event));
        }
        self.scheduler.handle_timeout(now);
        self.carry_out();
        let mut done = std::mem::replace(&mut self.done, Box::new(|_| true));
        if self.feed.is_some() && done(self) {
            self.feed = None;
            self.ended = Some(now);
            self.arrivals_before_end = self.bench.device().arrivals().len();
        }
        self.done = done;
    }

    fn issue_job(&mut self) {
        let number = self.issued.len();
        let (round, place) = (number / self.pool.jobs.len(), number % self.pool.jobs.len());
        let (id, received) = (JobId(number.to_string().into()), self.now);
        let source =
            SourceId(u16::try_from(round).ok().filter(|round| *round < SOURCES).expect("pools enough"));
        let job = JobTemplate { id, received, source, ..self.pool.jobs[place].clone() };
        self.issued.push(self.now);
        let mut say = |source, event| self.scheduler.handle(received, Input::Source(source, event));
        if place > 0 {
            return say(source, SourceEvent::Job(job));
        }
        say(source, SourceEvent::Up);
        say(source, SourceEvent::Job(job));
        if let Some(before) = source.0.checked_sub(1) {
            say(SourceId(before), SourceEvent::Down);
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Advance(generation) => self.gate.advance(generation),
                Output::Feed(_, unit) => {
                    if let Some(feed) = &self.feed {
                        // A driver that has given up takes no more.
                        let _ = feed.feed(unit);
                    }
                }
                Output::Submit(source, share) => self.on_share(source, &share),
                Output::Emit(_) => {}
            }
        }
    }

    /// The pool's judgement: the only nonces that there are to find are known, each is taken once for each job.
    fn on_share(&mut self, source: SourceId, share: &Share) {
        let number: usize = share.job.id.0.parse().expect("a number");
        let solved = share.header();
        let template = &self.pool.jobs[number % self.pool.jobs.len()];
        let rolled = VersionMask(solved.version & !template.version_mask.0) == VersionMask(template.version);
        let same = solved.prev == template.prev && solved.nbits == template.nbits && rolled;
        if !same || !template.share_target.is_met_by(&solved.hash()) {
            self.invalid.push(format!("share of job {number} with nonce {:08x}", share.nonce));
        }
        if !self.submitted.insert((number, solved.to_bytes())) {
            self.invalid.push(format!("share of job {number} with nonce {:08x} again", share.nonce));
        }
        self.shares.push(number);
        let accepted = SourceEvent::Resolved { share: share.id, outcome: ShareOutcome::Accepted };
        self.scheduler.handle(self.now, Input::Source(source, accepted));
    }
}

/// A port, as long as it is plugged in.
struct Port {
    lab: Arc<Lab>,
    port: usize,
    plugs: u32,
}

impl Port {
    fn here(&self) -> Result<MutexGuard<'_, Inner>, LinkError> {
        let lab = self.lab.lock();
        if lab.bench.is_plugged() && lab.plugs == self.plugs && !lab.closes {
            Ok(lab)
        } else {
            Err(LinkError::Vanished { path: "/dev/ttyLAB0".into() })
        }
    }

    fn take(&self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        let mut lab = self.here()?;
        let now = lab.now;
        let bytes = lab.bench.read(now, self.port, buffer.len());
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Waits until so much is left to send at most; `false`: it takes too long.
    fn drain(&self, left: usize) -> Result<bool, LinkError> {
        let until = self.here()?.now + WRITE_WAIT;
        let port = self.port;
        self.lab.pass_until(until, |lab| lab.bench.unsent(port) <= left);
        Ok(self.here()?.bench.unsent(port) <= left)
    }
}

impl Link for Port {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, LinkError> {
        let count = self.take(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        let (until, port) = (self.here()?.now + READ_WAIT, self.port);
        self.lab.pass_until(until, |lab| lab.bench.readable_at(port).is_some_and(|at| at <= lab.now));
        self.take(buffer)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), LinkError> {
        if !self.drain(WRITE_AHEAD.saturating_sub(bytes.len()))? {
            let source = std::io::ErrorKind::TimedOut.into();
            return Err(LinkError::Io { path: "/dev/ttyLAB0".into(), source });
        }
        let mut lab = self.here()?;
        let now = lab.now;
        lab.bench.write(now, self.port, bytes);
        lab.most_unsent = lab.most_unsent.max(lab.bench.unsent(self.port));
        lab.written += bytes.len();
        Ok(())
    }

    fn set_baud(&self, baud: u32) -> Result<(), LinkError> {
        self.drain(0)?;
        self.here()?.bench.set_baud(self.port, baud);
        Ok(())
    }

    fn discard_input(&self) -> Result<(), LinkError> {
        let mut lab = self.here()?;
        let now = lab.now;
        lab.bench.read(now, self.port, usize::MAX);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.lab.lock().now
    }
}

/// The bridge's lines, by the requests that move them on hardware.
struct Bridge(Arc<Lab>);

impl Control for Bridge {
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
        let mut lab = self.0.lock();
        if !lab.bench.is_plugged() {
            return Err(UsbError::Gone);
        }
        let line = match (request.request, request.value, &request.data[..]) {
            (0x0b, 0x20f2, []) => Line::Cbus1 { high: true },
            (0x0b, 0x20f0, []) => Line::Cbus1 { high: false },
            (0xff, 0x37e1, &[mask, state]) => Line::Latch { mask, state },
            _ => return Err(UsbError::Request(format!("{request:?} is none that is known"))),
        };
        let now = lab.now;
        lab.bench.device().set_line(now, line);
        Ok(())
    }
}
