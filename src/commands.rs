//! What each command of the binary does once its settings are known.

use std::io::{IsTerminal, Write};
use std::num::NonZero;

use lode::bench::{self, BenchConfig, BenchProgress};
use lode::devices::Devices;
use lode::explain::{Exit, Explain, Explanation};
use lode::settings::{BenchSettings, MineSettings, PoolServerSettings};
use lode::{logging, mine, pool_server};
use miner_core::cpu::CpuConfig;
use miner_core::sha256d::IsaChoice;

use crate::print;

/// `lode mine`.
pub(crate) fn mine(settings: MineSettings) -> Result<Exit, Explanation> {
    let _log = logging::init(&settings.report).map_err(|error| error.explain())?;
    mine::run(settings).map_err(|error| error.explain())
}

/// `lode pool`.
pub(crate) fn pool(settings: PoolServerSettings) -> Result<Exit, Explanation> {
    pool_server::run(settings).map_err(|error| error.explain())?;
    Ok(Exit::Ok)
}

/// `lode devices`.
pub(crate) fn devices(json: bool) -> Result<Exit, Explanation> {
    let devices = Devices::find();
    Ok(if json { print(&to_json(&devices)) } else { print(&devices.to_string()) })
}

/// `lode bench`.
pub(crate) fn bench(settings: BenchSettings) -> Result<Exit, Explanation> {
    let choice = settings.isa.as_deref().map_or_else(|| Ok(IsaChoice::auto()), IsaChoice::parse);
    let choice = choice.map_err(|error| error.explain())?;
    let all = settings.threads.and_then(NonZero::new).unwrap_or(CpuConfig::default().threads);
    let mut threads = vec![NonZero::<usize>::MIN, all];
    threads.dedup();
    let config = BenchConfig { isas: choice.candidates().to_vec(), threads, duration: settings.time };
    let show = std::io::stderr().is_terminal();
    let report = bench::run(&config, |step| {
        if show {
            progress(&step);
        }
    });
    if show {
        // The progress line makes room for the table.
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let report = report.map_err(|error| error.explain())?;
    let text = if settings.json { to_json(&report) } else { format!("{report}\n") };
    let printed = print(&text);
    Ok(if report.mismatch.is_some() { Exit::Mismatch } else { printed })
}

fn progress(step: &BenchProgress) {
    let BenchProgress { done, rows, isa, threads } = step;
    // A terminal that is gone wants no progress.
    let _ = write!(std::io::stderr(), "\r\x1b[Kmeasuring {} of {rows}: {isa}, {threads} threads", done + 1);
}

fn to_json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data can be written as JSON");
    text.push('\n');
    text
}
