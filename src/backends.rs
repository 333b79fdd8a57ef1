//! The devices at work: one OS thread and one bounded channel each.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miner_core::backend::{
    BackendError, BackendEvent, BackendFeed, BackendInfo, Busy, EventSink, FeedError, GenerationGate,
    HashBackend, wire,
};
use miner_core::sched::credit;
use miner_core::types::BackendId;
use miner_core::work::WorkUnit;
use tokio::sync::mpsc;

/// Events that a backend may be ahead of the driver before it has to wait.
const EVENTS: usize = 256;
/// How long devices may take to stop; they notice within milliseconds, unless something is wrong with them.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether they have.
const STOP_LOOK: Duration = Duration::from_millis(2);

/// All devices at work.
#[derive(Default)]
pub struct Backends {
    devices: Vec<Device>,
    /// Whose events are looked at first: each in turn, so that none drowns out the others.
    turn: usize,
}

struct Device {
    key: Arc<str>,
    /// `None` once it has gone.
    feed: Option<BackendFeed>,
    events: mpsc::Receiver<BackendEvent>,
    /// What it cannot be interrupted in.
    busy: Busy,
    thread: JoinHandle<()>,
}

struct Sink(mpsc::Sender<BackendEvent>);

impl EventSink for Sink {
    fn send(&self, event: BackendEvent) -> bool {
        self.0.blocking_send(event).is_ok()
    }
}

impl Backends {
    /// Starts a backend on a thread of its own. One whose device was here and has gone gets that one's number again, so that
    /// one account goes on.
    pub fn start(
        &mut self,
        backend: Box<dyn HashBackend>,
        gate: GenerationGate,
    ) -> Result<(BackendId, Arc<BackendInfo>), std::io::Error> {
        let info = Arc::new(backend.info());
        let (sender, events) = mpsc::channel(EVENTS);
        let sink = Arc::new(Sink(sender));
        let (port, feed) = wire(credit(&info), Arc::clone(&sink) as Arc<dyn EventSink>, gate);
        let thread = std::thread::Builder::new().name(info.key.to_string()).spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| backend.run(port)))
                .unwrap_or_else(|panic| Err(BackendError::Panicked(panic_text(&*panic))));
            sink.send(BackendEvent::Gone(ended));
        })?;
        let (key, busy) = (Arc::clone(&info.key), feed.busy().clone());
        let device = Device { key, feed: Some(feed), events, busy, thread };
        let gone = |other: &Device| other.feed.is_none() && other.key == device.key;
        let place = self.devices.iter().position(gone).unwrap_or(self.devices.len());
        match self.devices.get_mut(place) {
            Some(gone) => *gone = device,
            None => self.devices.push(device),
        }
        Ok((BackendId(u16::try_from(place).expect("fewer devices than 65,536")), info))
    }

    /// Hands a unit to a backend. Never waits.
    pub fn feed(&self, backend: BackendId, unit: WorkUnit) {
        let Some(feed) = self.devices.get(usize::from(backend.0)).and_then(|device| device.feed.as_ref())
        else {
            return;
        };
        match feed.feed(unit) {
            // A backend that has just ended says so itself.
            Ok(()) | Err(FeedError::Closed) => {}
            Err(FeedError::Full) => tracing::error!(%backend, "more units than credit: a unit was dropped"),
        }
    }

    /// Wakes every backend: the gate has moved.
    pub fn wake(&self) {
        self.devices.iter().filter_map(|device| device.feed.as_ref()).for_each(BackendFeed::wake);
    }

    /// The next event of any backend; pending for ever once all have gone. Cancel-safe.
    pub async fn recv(&mut self) -> (BackendId, BackendEvent) {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<(BackendId, BackendEvent)> {
        let count = self.devices.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if let Poll::Ready(Some(event)) = self.devices[index].events.poll_recv(context) {
                self.turn = index + 1;
                if let BackendEvent::Gone(_) = event {
                    self.devices[index].feed = None;
                }
                return Poll::Ready((BackendId(u16::try_from(index).expect("checked at the start")), event));
            }
        }
        Poll::Pending
    }

    /// Whether any backend is still there.
    pub fn any_left(&self) -> bool {
        self.devices.iter().any(|device| device.feed.is_some())
    }

    /// Closes every port and waits a moment for the threads. Blocks: events are no longer taken.
    pub fn stop(self) {
        let devices = self.devices.into_iter();
        // Closed ports and closed event channels free whoever waits for work or for us.
        let mut running: Vec<_> = devices.map(|Device { busy, thread, .. }| (busy, thread)).collect();
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            running.retain(|(_, thread)| !thread.is_finished());
            if running.is_empty() || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(STOP_LOOK);
        }
        for (busy, thread) in running {
            let key = thread.thread().name().unwrap_or("a device").to_owned();
            match busy.get() {
                Some(what) => tracing::info!("{key} {what}, which nobody can interrupt: left to the system"),
                None => tracing::error!("{key} does not stop: it is left to the system"),
            }
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use miner_core::backend::BackendKind;
    use miner_core::types::HashRate;
    use miner_core::work::Granularity;

    use super::*;

    /// A device that goes as soon as it has come.
    struct Visitor(&'static str);

    impl HashBackend for Visitor {
        fn info(&self) -> BackendInfo {
            BackendInfo {
                key: self.0.into(),
                name: "visitor".into(),
                kind: BackendKind::Asic,
                granularity: Granularity::Nonces { step: 1, versions: 1 },
                depth: 1,
                expected: HashRate(1.0),
                counts_hashes: true,
                report_floor: None,
            }
        }

        fn run(self: Box<Self>, _: miner_core::backend::BackendPort) -> Result<(), BackendError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_device_that_comes_again_has_its_number_again() {
        let mut backends = Backends::default();
        let start = |backends: &mut Backends, key| {
            backends.start(Box::new(Visitor(key)), GenerationGate::default()).expect("a thread").0
        };
        for _ in 0..1_000 {
            assert_eq!(start(&mut backends, "asic:a:1"), BackendId(0));
            let (id, event) = backends.recv().await;
            assert!(id == BackendId(0) && matches!(event, BackendEvent::Gone(Ok(()))));
        }
        assert_eq!(start(&mut backends, "asic:a:2"), BackendId(1));
        assert_eq!(start(&mut backends, "asic:a:2"), BackendId(2), "its number is not free");
        assert_eq!(backends.devices.len(), 3);
    }
}
