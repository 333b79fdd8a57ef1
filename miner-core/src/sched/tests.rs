//! The scheduler in scenarios, one behaviour each, and in a simulation of devices.

mod accounts;
mod scenarios;
mod sim;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::backend::BackendKind;
use crate::job::{JobId, Merkle, VersionMask};
use crate::types::{BlockHash, CompactTarget, Epoch, HashRate, Target};
use crate::work::{Granularity, WorkUnit};
use sim::Sim;

const SOURCE: SourceId = SourceId(0);

/// A job of the usual shape: 4 bytes of extranonce2, 16 version bits.
fn job(received: Instant) -> JobTemplate {
    JobTemplate {
        source: SOURCE,
        epoch: Epoch(0),
        id: JobId("1".into()),
        prev: BlockHash([1; 32]),
        version: 0x2000_0000,
        version_mask: VersionMask(0x1fff_e000),
        nbits: CompactTarget::new(0x1703_4219).unwrap(),
        ntime: 1_700_000_000,
        max_ntime_roll: 600,
        received,
        merkle: Merkle::Coinbase {
            prefix: vec![1; 50].into(),
            suffix: vec![2; 50].into(),
            branch: vec![[3; 32]; 2].into(),
            extranonce1: vec![4; 4].into(),
            extranonce2_size: 4,
        },
        share_target: Target::DIFFICULTY_1,
        clean: false,
    }
}

fn info(granularity: Granularity, expected: f64) -> BackendInfo {
    BackendInfo {
        key: "cpu".into(),
        name: "a device".into(),
        kind: BackendKind::Cpu,
        granularity,
        depth: 1,
        expected: HashRate(expected),
        counts_hashes: true,
        report_floor: None,
    }
}

/// Ten minutes with 200 ms from a report to its arrival; devices that differ in everything that a device may.
#[test]
fn every_device_is_busy_whatever_its_first_guess() {
    for clean_every in [30, 3600] {
        let (mut sim, names) = crowd(Duration::from_secs(clean_every));
        for (busy, name) in sim.run(Duration::from_secs(600)).into_iter().zip(names) {
            assert!(busy >= 0.995, "{name}, clean jobs each {clean_every} s: busy {busy:.4}");
        }
    }
}

fn crowd(clean_every: Duration) -> (Sim, Vec<String>) {
    let mut sim = Sim::new(Duration::from_millis(200), clean_every);
    let mut names = Vec::new();
    for exponent in 6..=14 {
        let rate = 10f64.powi(exponent);
        let spaces = ((rate / 2f64.powi(32)) as u32).max(1);
        for granularity in [
            Granularity::Nonces { step: 1 << 12, versions: spaces.max(16) },
            Granularity::Nonces { step: 1 << 16, versions: spaces.max(64) },
            Granularity::NonceSpaces { max_versions: spaces.max(4) },
            Granularity::Plane { roll_mask: 0x1fff_e000 },
        ] {
            for (guess, counts_hashes, depth) in [
                (1.0, true, 1),
                (18.0, true, 1),
                (1.0 / 18.0, true, 1),
                (18.0, false, 1),
                (1.0 / 18.0, false, 1),
                (1.0 / 18.0, true, 3),
            ] {
                let info = BackendInfo { counts_hashes, depth, ..info(granularity, rate * guess) };
                names.push(format!(
                    "{granularity:?} at {rate:e}, guess × {guess:.2}, counts {counts_hashes}, depth {depth}"
                ));
                sim.add(info, rate);
            }
        }
    }
    (sim, names)
}
