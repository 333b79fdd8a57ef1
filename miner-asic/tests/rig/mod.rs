//! A scheduler with one backend over one emulated device.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use asic_emulator::{Device, Emulator, KnownAnswers, Line, State, preset};
use miner_asic::backend::{AsicBackend, AsicConfig};
use miner_asic::board::compac::{Compac, CompacKind};
use miner_asic::board::place::Place;
use miner_asic::board::{Board, BoardSettings};
use miner_asic::drivers::Driver;
use miner_asic::guard::Guards;
use miner_asic::usb::{Control, Enumerate, UsbDevice, UsbError, VendorRequest};
use miner_core::backend::{
    BackendError, BackendEvent, BackendFeed, EventSink, GenerationGate, HashBackend, Health, HealthState,
    wire,
};
use miner_core::job::{JobId, JobTemplate, Merkle, VersionMask};
use miner_core::sched::{Input, Output, Scheduler, SchedulerConfig, SourceEvent, credit};
use miner_core::share::Share;
use miner_core::types::{
    BackendId, BlockHash, CompactTarget, Difficulty, Epoch, MerkleRoot, SourceId, Target,
};

/// A test that takes longer has failed.
const HANG: Duration = Duration::from_secs(60);
const SOURCE: SourceId = SourceId(0);
const BACKEND: BackendId = BackendId(0);
/// The header of block 1.
const BLOCK_1: &str = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299";
/// A share of difficulty 29,588 that was recorded from a Bitaxe Gamma.
///
/// Block 1 is too easy for fast devices: their hits are thinned out to 64 a second.
const RECORDED: &str = "0040b420fd55646bc162b96dfcd4f201a3f4670d1d3996bc96520100000000000000000006ddf5f08c36414b95ea54db71a0c28761a98bcf6355919e044f88725519a7cbd7685468043a02174c035275";
/// Version bits that chips roll.
const ROLLED: u32 = 0x1fff_e000;

/// Emulated devices tell some frames apart by milliseconds of silence: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) struct Rig {
    _alone: MutexGuard<'static, ()>,
    pub(crate) emulator: Arc<Emulator>,
    /// The only nonce that there is to find.
    pub(crate) nonce: u32,
    pub(crate) shares: Vec<Arc<Share>>,
    guards: Guards,
    scheduler: Scheduler,
    gate: GenerationGate,
    feed: Option<BackendFeed>,
    events: Receiver<BackendEvent>,
    thread: Option<JoinHandle<Result<(), BackendError>>>,
    health: Option<Health>,
    usb: Arc<FakeUsb>,
}

struct Sink(SyncSender<BackendEvent>);

impl EventSink for Sink {
    fn send(&self, event: BackendEvent) -> bool {
        self.0.send(event).is_ok()
    }
}

/// USB on which one device is, wherever its ports are now.
struct FakeUsb(Mutex<UsbDevice>);

impl Enumerate for FakeUsb {
    fn devices(&self) -> Result<Vec<UsbDevice>, UsbError> {
        Ok(vec![self.0.lock().unwrap().clone()])
    }
}

/// The bridge's lines, by the requests that move them on hardware.
struct Lines(Arc<Emulator>);

impl Control for Lines {
    fn send(&mut self, request: &VendorRequest) -> Result<(), UsbError> {
        let line = match (request.request, request.value, &request.data[..]) {
            (0x0b, 0x20f2, []) => Line::Cbus1 { high: true },
            (0x0b, 0x20f0, []) => Line::Cbus1 { high: false },
            (0xff, 0x37e1, &[mask, state]) => Line::Latch { mask, state },
            _ => return Err(UsbError::Request(format!("{request:?} is none that is known"))),
        };
        self.0.set_line(line);
        Ok(())
    }
}

impl Rig {
    pub(crate) fn start(name: &str, driver: &str, settings: BoardSettings) -> Self {
        let fast = ["gamma", "r909", "compac-a2"].contains(&name);
        Self::on(device(name), if fast { RECORDED } else { BLOCK_1 }, driver, settings)
    }

    /// On a device that is not a preset's; it finds block 1 if anything.
    pub(crate) fn start_on(device: Box<dyn Device>, driver: &str) -> Self {
        Self::on(device, BLOCK_1, driver, BoardSettings::default())
    }

    fn on(device: Box<dyn Device>, header: &str, driver: &str, settings: BoardSettings) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let emulator = Arc::new(Emulator::start(device).expect("pseudo-terminals"));
        let usb = Arc::new(FakeUsb(Mutex::new(UsbDevice {
            serial: Some("E1".to_owned()),
            ports: emulator.ports(),
            ..UsbDevice::default()
        })));
        let known = usb.0.lock().unwrap().clone();
        let place = Place::Usb(Arc::clone(&usb) as _, known);
        let board = board(driver, place, settings, &emulator);
        let guards = Guards::default();
        let backend = AsicBackend::new(board, AsicConfig::default(), guards.list());
        let info = Arc::new(backend.info());
        let (sender, events) = sync_channel(64);
        let gate = GenerationGate::default();
        let (port, feed) = wire(credit(&info), Arc::new(Sink(sender)), gate.clone());
        let thread = std::thread::spawn(move || Box::new(backend).run(port));
        let now = Instant::now();
        let mut scheduler = Scheduler::new(SchedulerConfig::default(), now, [SOURCE]);
        scheduler.handle(now, Input::BackendUp(BACKEND, info));
        scheduler.handle(now, Input::Source(SOURCE, SourceEvent::Up));
        let header: [u8; 80] = hex::decode(header).unwrap().try_into().unwrap();
        let nonce = u32::from_le_bytes(header[76..].try_into().unwrap());
        scheduler.handle(now, Input::Source(SOURCE, SourceEvent::Job(job(now, &header))));
        let mut rig = Self {
            _alone: alone,
            emulator,
            nonce,
            shares: Vec::new(),
            guards,
            scheduler,
            gate,
            feed: Some(feed),
            events,
            thread: Some(thread),
            health: None,
            usb,
        };
        rig.drain();
        rig
    }

    /// The first share.
    pub(crate) fn share(&mut self) -> Arc<Share> {
        self.until(|rig| !rig.shares.is_empty());
        Arc::clone(&self.shares[0])
    }

    /// Waits for a state, and returns why it is so.
    pub(crate) fn until_health(&mut self, state: HealthState) -> String {
        self.health = None;
        self.until(|rig| rig.health.as_ref().is_some_and(|health| health.state == state));
        let reason = self.health.as_ref().and_then(|health| health.reason.clone());
        reason.map_or(String::new(), |reason| reason.to_string())
    }

    pub(crate) fn until_safe(&mut self) {
        self.until(|rig| rig.emulator.state().is_safe());
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.pass_until(time, |_| false);
    }

    /// Lets time pass until something is so; whether it became so.
    pub(crate) fn pass_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + time;
        while !done(self) && Instant::now() < end {
            self.step();
        }
        done(self)
    }

    /// USB has found the device on other ports.
    pub(crate) fn follow_ports(&self) {
        self.usb.0.lock().unwrap().ports = self.emulator.ports();
    }

    /// Ends the backend, and returns what the device does then.
    pub(crate) fn end(mut self) -> State {
        self.feed = None;
        let thread = self.thread.take().expect("it runs");
        let end = Instant::now() + HANG;
        while !thread.is_finished() {
            assert!(Instant::now() < end, "the backend does not end");
            // It may have something to say before it notices.
            let _ = self.events.recv_timeout(Duration::from_millis(5));
        }
        thread.join().expect("no panic").expect("a clean end");
        drop(self.guards);
        // The last frames are still on their way.
        let mut state = self.emulator.state();
        for _ in 0..400 {
            if state.is_safe() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            state = self.emulator.state();
        }
        state
    }

    fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let is_so = self.pass_until(HANG, done);
        assert!(is_so, "{:?}, {:?}", self.health, self.emulator.state());
    }

    fn step(&mut self) {
        match self.events.recv_timeout(Duration::from_millis(5)) {
            Ok(event) => {
                if let BackendEvent::Health(health) = &event {
                    self.health = Some(health.clone());
                }
                self.scheduler.handle(Instant::now(), Input::Backend(BACKEND, event));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.thread.take().map(JoinHandle::join);
                panic!("the backend has ended: {ended:?}, {:?}", self.health);
            }
        }
        self.scheduler.handle_timeout(Instant::now());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Advance(generation) => {
                    self.gate.advance(generation);
                    self.feed.iter().for_each(BackendFeed::wake);
                }
                Output::Feed(_, unit) => {
                    let feed = self.feed.as_ref().expect("it runs");
                    feed.feed(unit).expect("there is room");
                }
                Output::Submit(_, share) => self.shares.push(share),
                Output::Emit(_) => {}
            }
        }
    }
}

/// The device of a preset.
pub(crate) fn device(name: &str) -> Box<dyn Device> {
    preset(name, Arc::new(KnownAnswers::published())).expect("a preset")
}

fn board(driver: &str, place: Place, settings: BoardSettings, emulator: &Arc<Emulator>) -> Box<dyn Board> {
    let driver = Driver::by_name(driver).expect("a driver");
    let kind = match driver {
        Driver::CompacF => CompacKind::F,
        Driver::R909 => CompacKind::R909,
        Driver::CompacA1 => CompacKind::A1,
        Driver::CompacA2 => CompacKind::A2,
        _ => return driver.board(place, settings).expect("good settings"),
    };
    let emulator = Arc::clone(emulator);
    let compac = Compac::new(kind, &driver.key(&place), place, settings).expect("good settings");
    Box::new(compac.reached_by(Arc::new(move || Box::new(Lines(Arc::clone(&emulator))))))
}

/// The job whose only header is this one, but for its nonce, and for its version where that is rolled.
///
/// A device without version rolling so gets a single unit, which no other replaces: a pseudo-terminal of a busy system holds
/// back what is written for longer than some devices need for a unit.
fn job(now: Instant, header: &[u8; 80]) -> JobTemplate {
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    JobTemplate {
        source: SOURCE,
        epoch: Epoch(0),
        id: JobId("1".into()),
        prev: BlockHash(header[4..36].try_into().unwrap()),
        version: word(0) & !ROLLED,
        version_mask: VersionMask(if word(0) & ROLLED == 0 { 0 } else { ROLLED }),
        nbits: CompactTarget::new(word(72)).expect("a valid target"),
        ntime: word(68),
        max_ntime_roll: 0,
        received: now,
        merkle: Merkle::Fixed(MerkleRoot(header[36..68].try_into().unwrap())),
        share_target: Target::from(Difficulty::new(1.0).expect("positive")),
        clean: true,
    }
}
