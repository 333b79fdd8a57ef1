//! Where events are put for reporters.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::event::{Event, EventKind};

/// Events that a slow reader may lag behind before it loses some. Bounds memory too: each may hold a job of 16 KiB.
const CAPACITY: usize = 1_024;

/// The writing end of the event bus. Never waits: a reader that lags loses events.
#[derive(Clone, Debug)]
pub struct Bus(broadcast::Sender<Arc<Event>>);

impl Default for Bus {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl Bus {
    /// Tells every reader.
    pub fn emit(&self, kind: EventKind) {
        // Without a reader nobody misses anything.
        let _ = self.0.send(Arc::new(Event { at: Timestamp::now(), kind }));
    }

    /// A new reader; it sees what is emitted from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.subscribe()
    }
}
