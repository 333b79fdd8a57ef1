//! What numbers stand for: devices by key, pools by what the operator configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use miner_core::backend::BackendInfo;
use miner_core::event::MinerEvent;
use miner_core::snapshot::MinerSnapshot;
use miner_core::types::{BackendId, SourceId};

use crate::event::{Event, EventKind, PoolFacts};

/// Names learnt from events, so that each line can be read alone.
#[derive(Debug, Default)]
pub(super) struct Names {
    pools: Vec<PoolFacts>,
    devices: BTreeMap<BackendId, Arc<BackendInfo>>,
}

impl Names {
    /// Learns from every event, before it is reported.
    pub(super) fn learn(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Started(facts) => self.pools.clone_from(&facts.pools),
            EventKind::Miner(MinerEvent::BackendUp { backend, info }) => {
                self.devices.insert(*backend, Arc::clone(info));
            }
            EventKind::Snapshot(snapshot) | EventKind::Ended { snapshot, .. } => self.learn_devices(snapshot),
            _ => {}
        }
    }

    fn learn_devices(&mut self, snapshot: &MinerSnapshot) {
        for device in &snapshot.devices {
            self.devices.entry(device.backend).or_insert_with(|| Arc::clone(&device.info));
        }
    }

    /// The device's key; its number where the event that named it was missed.
    pub(super) fn device(&self, backend: BackendId) -> String {
        self.devices.get(&backend).map_or_else(|| format!("backend-{backend}"), |info| info.key.to_string())
    }

    /// The pool's URL, without credentials.
    pub(super) fn url(&self, source: SourceId) -> Option<&str> {
        self.pools.get(usize::from(source.0)).map(|pool| pool.url.as_str())
    }
}
