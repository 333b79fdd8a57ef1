//! Each kind of value, from the one text form that flags, environment and file share.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::SignedDuration;
use miner_core::sha256d::{IsaChoice, IsaError};
use miner_core::types::Difficulty;
use stratum::Secret;
use stratum::url::{PoolAddress, ProxyUrl, UrlError, host_and_port};
use stratum::v1::{Login, LoginError};

use crate::settings::{AsicPick, GpuChoice, GpuIntensity, GpuPick, OutputFormat};

/// Most CPU threads: more than any machine has.
pub(super) const MAX_THREADS: u64 = 1024;
/// The highest CPU number that the affinity calls of the platforms take.
pub(super) const MAX_CPU: u64 = 1023;
/// The highest number of a GPU.
const MAX_GPU: u64 = 255;
/// The longest text that names a device.
const MAX_DEVICE: usize = 512;
/// More than any device's core voltage.
const MAX_MILLIVOLTS: u64 = 20_000;
/// Most GPUs in a choice.
const MAX_GPUS: usize = 256;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a text is no value of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No whole number at all, or none that fits.
    #[error("not a whole number from {min} to {max}")]
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// No share of the time that can be used.
    #[error("not a whole percentage from 1% to 100%")]
    Percent,
    /// No finite number above zero.
    #[error("not a difficulty")]
    Difficulty,
    /// No duration.
    #[error("not a duration")]
    Duration,
    /// A duration out of range.
    #[error("outside {} to {}", seconds(.min), seconds(.max))]
    DurationRange {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// None of the words that are known.
    #[error("not one of {}", .known.join(", "))]
    Choice {
        /// What is known.
        known: &'static [&'static str],
    },
    /// No list of CPUs.
    #[error("not a list of CPUs")]
    Cpus,
    /// No choice of GPUs.
    #[error("not a choice of GPUs")]
    Gpus,
    /// No temperature, or none that a device should be kept at.
    #[error("not a temperature from {min} to {max} °C")]
    Celsius {
        /// The least.
        min: u8,
        /// The most.
        max: u8,
    },
    /// No device that a table can be for.
    #[error("not the key of one GPU or ASIC")]
    DeviceKey,
    /// Not for this kind of device.
    #[error("no setting of {0}")]
    OtherKind(&'static str),
    /// Given before.
    #[error("given twice")]
    Twice,
    /// No intensity.
    #[error("not an intensity")]
    Intensity,
    /// No choice of ASICs.
    #[error("not a choice of ASICs")]
    Asics,
    /// No kinds of devices.
    #[error("not a list of devices to emulate")]
    Kinds,
    /// No device.
    #[error("not a device")]
    Device,
    /// No setting of a device.
    #[error("`{}` is no setting of a device", super::shown(.0))]
    DeviceSetting(String),
    /// No clock.
    #[error("not a clock in MHz")]
    Megahertz,
    /// A choice of kernels that this machine cannot make.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// No pool URL.
    #[error("{0}")]
    Url(UrlError),
    /// No proxy.
    #[error("not a SOCKS5 proxy: {0}")]
    Proxy(UrlError),
    /// No `HOST` or `HOST:PORT`.
    #[error("not a host: {0}")]
    Host(UrlError),
    /// No address to listen on.
    #[error("not an address to listen on")]
    Listen,
    /// Empty where something must stand.
    #[error("empty")]
    Empty,
    /// A user or password that no pool can be told.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// No colon between user and password.
    #[error("has no colon between user and password")]
    NoColon,
    /// Bytes that are no text.
    #[error("not UTF-8")]
    NotUtf8,
}

fn seconds(duration: &Duration) -> String {
    let jiff = SignedDuration::try_from(*duration).unwrap_or(SignedDuration::MAX);
    format!("{jiff:#}")
}

/// A whole number within a range.
pub(super) fn whole(text: &str, min: u64, max: u64) -> Result<u64, ValueError> {
    let number = text.trim().parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or(ValueError::Whole { min, max })
}

/// `auto` or a number of threads.
pub(super) fn threads(text: &str) -> Result<Option<usize>, ValueError> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    Ok(Some(whole(text, 0, MAX_THREADS)? as usize))
}

/// A priority: 0 gives way to everything, 5 is that of other programs.
pub(super) fn priority(text: &str) -> Result<u8, ValueError> {
    Ok(whole(text, 0, 5)? as u8)
}

/// A share in percent, with or without its sign.
pub(super) fn percent(text: &str) -> Result<u8, ValueError> {
    let number = text.trim().trim_end_matches('%').trim_end();
    whole(number, 1, 100).map(|percent| percent as u8).map_err(|_| ValueError::Percent)
}

/// Shares to stop after.
pub(super) fn shares(text: &str) -> Result<u64, ValueError> {
    whole(text, 1, u64::MAX)
}

/// A difficulty.
pub(super) fn difficulty(text: &str) -> Result<f64, ValueError> {
    let number: f64 = text.trim().parse().map_err(|_| ValueError::Difficulty)?;
    Difficulty::new(number).map(Difficulty::get).ok_or(ValueError::Difficulty)
}

/// Seconds without a unit, or a sum like `1h30m`; between `min` and `max`.
pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, ValueError> {
    let text = text.trim();
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| ValueError::Duration)?,
        Err(_) => {
            let friendly: SignedDuration = text.parse().map_err(|_| ValueError::Duration)?;
            friendly.try_into().map_err(|_| ValueError::Duration)?
        }
    };
    if (min..=max).contains(&duration) { Ok(duration) } else { Err(ValueError::DurationRange { min, max }) }
}

/// The longest pause before a new attempt to connect.
pub(super) fn retry_pause(text: &str) -> Result<Duration, ValueError> {
    duration(text, Duration::from_secs(1), Duration::from_secs(60 * 60))
}

/// Time between periodic lines.
pub(super) fn interval(text: &str) -> Result<Duration, ValueError> {
    duration(text, Duration::from_secs(1), DAY)
}

/// How long to mine.
pub(super) fn time_limit(text: &str) -> Result<Duration, ValueError> {
    duration(text, Duration::from_secs(1), 3650 * DAY)
}

/// How long a kernel is measured.
pub(super) fn bench_time(text: &str) -> Result<Duration, ValueError> {
    duration(text, Duration::from_millis(10), Duration::from_secs(60 * 60))
}

/// How long the CPU is stressed.
pub(super) fn stress_time(text: &str) -> Result<Duration, ValueError> {
    duration(text, Duration::from_secs(1), 30 * DAY)
}

/// As [`isa`], or `all`.
pub(super) fn bench_isa(text: &str) -> Result<String, ValueError> {
    if text == "all" { Ok(text.to_owned()) } else { isa(text) }
}

/// `text` or `json`.
pub(super) fn output(text: &str) -> Result<OutputFormat, ValueError> {
    match text {
        "text" => Ok(OutputFormat::Text),
        "json" => Ok(OutputFormat::Json),
        _ => Err(ValueError::Choice { known: &["text", "json"] }),
    }
}

/// When to colour: `None` leaves it to the terminal.
pub(super) fn color(text: &str) -> Result<Option<bool>, ValueError> {
    match text {
        "auto" => Ok(None),
        "always" | "true" => Ok(Some(true)),
        "never" | "false" => Ok(Some(false)),
        _ => Err(ValueError::Choice { known: &["auto", "always", "never"] }),
    }
}

/// CPUs as `0-3,5`, or as the hexadecimal mask that cpuminer and XMRig take.
pub(super) fn cpus(text: &str) -> Result<Vec<usize>, ValueError> {
    let cpus = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(mask) => cpus_of_mask(u128::from_str_radix(mask, 16).map_err(|_| ValueError::Cpus)?),
        None => text.split(',').map(cpu_run).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
    };
    if cpus.is_empty() || cpus.len() > MAX_THREADS as usize { Err(ValueError::Cpus) } else { Ok(cpus) }
}

fn cpus_of_mask(mask: u128) -> Vec<usize> {
    (0..128).filter(|bit| mask >> bit & 1 == 1).collect()
}

fn cpu_run(text: &str) -> Result<std::ops::RangeInclusive<usize>, ValueError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text| whole(text, 0, MAX_CPU).map(|cpu| cpu as usize).map_err(|_| ValueError::Cpus);
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok(first..=last) } else { Err(ValueError::Cpus) }
}

/// `all`, `none`, or GPUs by number or name: `0,2-3`, `RTX 4090`.
pub(super) fn gpus(text: &str) -> Result<GpuChoice, ValueError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "all" => return Ok(GpuChoice::All),
        "none" => return Ok(GpuChoice::None),
        _ => {}
    }
    let mut picks = Vec::new();
    for part in text.split(',') {
        picks.extend(gpu_picks(part.trim())?);
        if picks.len() > MAX_GPUS {
            return Err(ValueError::Gpus);
        }
    }
    Ok(GpuChoice::Some(picks))
}

/// GPUs by number, run of numbers, device key, or part of a name.
pub(super) fn gpu_picks(text: &str) -> Result<Vec<GpuPick>, ValueError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(first) && digits(last) {
        let number = |text| whole(text, 0, MAX_GPU).map(|gpu| gpu as usize).map_err(|_| ValueError::Gpus);
        let (first, last) = (number(first)?, number(last)?);
        return if first <= last {
            Ok((first..=last).map(GpuPick::Index).collect())
        } else {
            Err(ValueError::Gpus)
        };
    }
    let named = text.chars().any(char::is_alphabetic) && text.len() <= 200;
    if named { Ok(vec![GpuPick::Name(text.to_owned())]) } else { Err(ValueError::Gpus) }
}

/// Where a GPU is kept, in °C.
pub(super) fn temp_target(text: &str) -> Result<u8, ValueError> {
    celsius(text, 40, 95)
}

/// Where a GPU is stopped, in °C. Chips throttle or switch themselves off at 95 to 110.
pub(super) fn temp_cutoff(text: &str) -> Result<u8, ValueError> {
    celsius(text, 50, 105)
}

fn celsius(text: &str, min: u8, max: u8) -> Result<u8, ValueError> {
    let number = text.trim().trim_end_matches(['C', 'c']).trim_end_matches('°').trim_end();
    let celsius = whole(number, min.into(), max.into()).map_err(|_| ValueError::Celsius { min, max })?;
    Ok(celsius as u8)
}

/// `all` or `none`.
pub(super) fn asics(text: &str) -> Result<bool, ValueError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "all" => Ok(true),
        "none" => Ok(false),
        _ => Err(ValueError::Asics),
    }
}

/// Kinds of devices to emulate, with commas between. Which there are depends on the build.
pub(super) fn kinds(text: &str) -> Result<Vec<String>, ValueError> {
    let kinds = text.split(',').map(|kind| kind.trim().to_ascii_lowercase());
    let kinds: Option<Vec<String>> = kinds.map(|kind| (!kind.is_empty()).then_some(kind)).collect();
    kinds.ok_or(ValueError::Kinds)
}

/// `DRIVER:PORT`, `DRIVER:SERIAL`, either with `@freq=MHZ,mv=MILLIVOLTS` behind it.
pub(super) fn device(text: &str) -> Result<AsicPick, ValueError> {
    let text = text.trim();
    let (key, settings) = text.rsplit_once('@').unwrap_or((text, ""));
    let key = key.strip_prefix("asic:").unwrap_or(key);
    let (driver, place) = key.split_once(':').ok_or(ValueError::Device)?;
    if driver.is_empty() || place.is_empty() || text.len() > MAX_DEVICE {
        return Err(ValueError::Device);
    }
    let (driver, place) = (driver.to_ascii_lowercase(), place.to_owned());
    let mut pick = AsicPick { driver, place, mhz: None, millivolts: None, enabled: true };
    for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=') {
            Some(("freq", value)) => pick.mhz = Some(megahertz(value)?),
            Some(("mv", value)) => pick.millivolts = Some(millivolts(value)?),
            _ => return Err(ValueError::DeviceSetting(setting.to_owned())),
        }
    }
    Ok(pick)
}

/// A clock in MHz; whether a device runs at it is for its driver to say.
pub(super) fn megahertz(text: &str) -> Result<f32, ValueError> {
    let number: f32 = text.trim().parse().map_err(|_| ValueError::Megahertz)?;
    if (1.0..=10_000.0).contains(&number) { Ok(number) } else { Err(ValueError::Megahertz) }
}

/// A voltage in mV; whether a device stands it is for its driver to say.
pub(super) fn millivolts(text: &str) -> Result<u32, ValueError> {
    Ok(whole(text, 1, MAX_MILLIVOLTS)? as u32)
}

/// A word, or milliseconds.
pub(super) fn intensity(text: &str) -> Result<GpuIntensity, ValueError> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "desktop" => return Ok(GpuIntensity::Desktop),
        "normal" => return Ok(GpuIntensity::Normal),
        "max" => return Ok(GpuIntensity::Max),
        _ => {}
    }
    let number = text.strip_suffix("ms").unwrap_or(&text);
    let millis = whole(number, 1, 100).map_err(|_| ValueError::Intensity)?;
    Ok(GpuIntensity::Target(Duration::from_millis(millis)))
}

/// What `-I` of older miners means for `--gpu-intensity`: `d`, or the power of two of the hashes at once less 15.
pub(super) fn older_intensity(text: &str) -> Result<String, ValueError> {
    /// Hashes a millisecond of a good card of their time.
    const RATE: f64 = 400e3;
    if text.trim().eq_ignore_ascii_case("d") {
        return Ok("desktop".to_owned());
    }
    let power: i32 = text.trim().parse().map_err(|_| ValueError::Intensity)?;
    if !(-10..=31).contains(&power) {
        return Err(ValueError::Intensity);
    }
    Ok(format!("{}ms", (f64::from(power + 15).exp2() / RATE).round().clamp(1.0, 100.0)))
}

/// `true` or `false`.
pub(super) fn yes_or_no(text: &str) -> Result<bool, ValueError> {
    match text {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(ValueError::Choice { known: &["true", "false"] }),
    }
}

/// `auto`, names of kernels to choose among (`avx2`), or to leave out (`-avx512,-avx2`).
pub(super) fn isa(text: &str) -> Result<String, ValueError> {
    IsaChoice::parse(text)?;
    Ok(text.to_owned())
}

/// A pool, with the user and password that may stand in its URL.
pub(super) fn pool_url(text: &str) -> Result<PoolAddress, ValueError> {
    PoolAddress::parse(text).map_err(ValueError::Url)
}

/// A SOCKS5 proxy.
pub(super) fn proxy(text: &str) -> Result<ProxyUrl, ValueError> {
    ProxyUrl::parse(text).map_err(ValueError::Proxy)
}

/// `HOST` or `HOST:PORT`, several with commas between.
pub(super) fn hosts(text: &str) -> Result<Vec<(String, Option<u16>)>, ValueError> {
    text.split(',').map(|host| host_and_port(host.trim())).collect::<Result<_, _>>().map_err(ValueError::Host)
}

/// A user name.
pub(super) fn user(text: &str) -> Result<String, ValueError> {
    Login::new(text.trim(), Secret::new(""))?;
    Ok(text.trim().to_owned())
}

/// A password.
pub(super) fn password(text: &str) -> Result<Secret, ValueError> {
    Login::new("any", Secret::new(text))?;
    Ok(Secret::new(text))
}

/// A path.
pub(super) fn path(text: &str) -> Result<std::path::PathBuf, ValueError> {
    if text.is_empty() { Err(ValueError::Empty) } else { Ok(text.into()) }
}

/// An IP address and port.
pub(super) fn listen(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| ValueError::Listen)
}
