//! What each command of the binary does once its settings are known.

mod bench;

use lode::asic::emulate;
use lode::cli::ProbeArgs;
use lode::cpu::probe;
use lode::devices::Devices;
use lode::explain::{Exit, Explain, Explanation};
use lode::settings::{MineSettings, PoolServerSettings};
use lode::{logging, mine, pool_server};

pub(crate) use bench::bench;

use crate::print;

/// `lode mine`.
pub(crate) fn mine(settings: MineSettings) -> Result<Exit, Explanation> {
    if settings.asic.emulate == ["list"] {
        let kinds = emulate::kinds().map_err(|error| error.explain())?;
        let lines = kinds.iter().map(|(name, what)| format!("{name:<10} {what}\n"));
        return Ok(print(&lines.collect::<String>()));
    }
    let _log = logging::init(&settings.report).map_err(|error| error.explain())?;
    mine::run(settings).map_err(|error| error.explain())
}

/// `lode pool`.
pub(crate) fn pool(settings: PoolServerSettings) -> Result<Exit, Explanation> {
    pool_server::run(settings).map_err(|error| error.explain())?;
    Ok(Exit::Ok)
}

/// `lode probe-kernel`: the answer for whoever started it.
pub(crate) fn probe_kernel(args: &ProbeArgs) -> String {
    to_json(&probe::answer(&args.isa, args.siblings[..].try_into().ok()))
}

/// `lode devices`.
pub(crate) fn devices(json: bool) -> Result<Exit, Explanation> {
    let devices = Devices::find();
    Ok(if json { print(&to_json(&devices)) } else { print(&devices.to_string()) })
}

fn to_json(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data can be written as JSON");
    text.push('\n');
    text
}
