//! Virtual devices in virtual time: what the scheduler is worth to hardware.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::*;

/// A device of constant rate that works as the contract of `HashBackend` says.
struct Device {
    info: Arc<BackendInfo>,
    rate: f64,
    channel: VecDeque<WorkUnit>,
    running: Option<Running>,
    /// Counts the units started, so that events of a unit that was abandoned are recognised.
    runs: u64,
    busy: Duration,
}

struct Running {
    unit: WorkUnit,
    since: Duration,
    /// Up to when it is booked as busy time.
    booked: Duration,
    reported: u128,
}

enum Event {
    Finish { device: usize, run: u64 },
    Progress { device: usize, run: u64 },
    Deliver { device: usize, event: BackendEvent },
    Job,
}

/// The scheduler, its devices, and a source that sends a clean job now and then.
pub(super) struct Sim {
    pub(super) scheduler: Scheduler,
    start: Instant,
    now: Duration,
    generation: Generation,
    devices: Vec<Device>,
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    latency: Duration,
    clean_every: Duration,
    jobs: u32,
}

impl Sim {
    pub(super) fn new(latency: Duration, clean_every: Duration) -> Self {
        let start = Instant::now();
        let mut sim = Self {
            scheduler: Scheduler::new(SchedulerConfig::default(), start, [SOURCE]),
            start,
            now: Duration::ZERO,
            generation: Generation(0),
            devices: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            latency,
            clean_every,
            jobs: 0,
        };
        sim.input(Input::Source(SOURCE, SourceEvent::Up));
        sim.after(Duration::ZERO, Event::Job);
        sim
    }

    pub(super) fn add(&mut self, info: BackendInfo, rate: f64) {
        let info = Arc::new(info);
        let (channel, busy) = (VecDeque::new(), Duration::ZERO);
        self.devices.push(Device { info: info.clone(), rate, channel, running: None, runs: 0, busy });
        self.input(Input::BackendUp(BackendId(self.devices.len() as u16 - 1), info));
    }

    /// Runs until `end`; returns the part of the time that each device was busy.
    pub(super) fn run(&mut self, end: Duration) -> Vec<f64> {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.on_event(event);
        }
        self.now = end;
        (0..self.devices.len()).for_each(|device| self.book_busy(device));
        self.devices.iter().map(|device| device.busy.as_secs_f64() / end.as_secs_f64()).collect()
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    fn input(&mut self, input: Input) {
        self.scheduler.handle(self.start + self.now, input);
        while let Some(output) = self.scheduler.poll() {
            match output {
                Output::Advance(generation) => {
                    self.generation = generation;
                    (0..self.devices.len()).for_each(|device| self.abandon(device));
                }
                Output::Feed(BackendId(device), unit) => {
                    let device = usize::from(device);
                    let Device { channel, info, .. } = &mut self.devices[device];
                    assert!(channel.len() < credit(info), "the channel has room");
                    channel.push_back(unit);
                    self.take_up(device);
                }
                Output::Submit(..) | Output::Emit(_) => {}
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Job => {
                self.jobs += 1;
                let mut job = job(self.start + self.now);
                job.id = JobId(self.jobs.to_string().into());
                job.prev = BlockHash([self.jobs as u8; 32]);
                job.clean = true;
                self.input(Input::Source(SOURCE, SourceEvent::Job(job)));
                self.after(self.clean_every, Event::Job);
            }
            Event::Deliver { device, event } => self.input(Input::Backend(BackendId(device as u16), event)),
            Event::Finish { device, run } if self.devices[device].runs == run => {
                self.report(device, true);
                self.take_up(device);
            }
            Event::Progress { device, run } if self.devices[device].runs == run => {
                self.report(device, false);
                self.after(Duration::from_secs(1), Event::Progress { device, run });
            }
            Event::Finish { .. } | Event::Progress { .. } => {}
        }
    }

    /// Takes the next unit out of the channel, if the device is free.
    fn take_up(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if device.running.is_some() {
            return;
        }
        device.runs += 1;
        let Some(unit) = device.channel.pop_front() else { return };
        let stale = unit.generation != self.generation;
        let length = Duration::from_secs_f64(unit.budget as f64 / device.rate);
        let (run, counts) = (device.runs, device.info.counts_hashes);
        device.running = Some(Running { unit, since: self.now, booked: self.now, reported: 0 });
        if stale {
            self.abandon(index);
            return;
        }
        self.after(length, Event::Finish { device: index, run });
        if counts {
            self.after(Duration::from_secs(1), Event::Progress { device: index, run });
        }
    }

    /// Gives a stale unit back.
    fn abandon(&mut self, device: usize) {
        let stale = |running: &Running| running.unit.generation != self.generation;
        if self.devices[device].running.as_ref().is_some_and(stale) {
            self.report(device, true);
            self.take_up(device);
        }
    }

    /// Reports what was done since the last report; it arrives late.
    fn report(&mut self, index: usize, finished: bool) {
        self.book_busy(index);
        let device = &mut self.devices[index];
        let Some(running) = &mut device.running else { return };
        let done = ((self.now - running.since).as_secs_f64() * device.rate).round() as u128;
        let total = done.min(running.unit.budget);
        let hashes = if device.info.counts_hashes { total - running.reported } else { 0 };
        let event = BackendEvent::Progress { work: running.unit.id, hashes, finished };
        running.reported = total;
        if finished {
            device.running = None;
        }
        self.after(self.latency, Event::Deliver { device: index, event });
    }

    /// Books the time of the running unit up to now.
    fn book_busy(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if let Some(running) = &mut device.running {
            device.busy += self.now - std::mem::replace(&mut running.booked, self.now);
        }
    }
}
