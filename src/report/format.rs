//! Numbers as people read them.

use std::time::Duration;

use miner_core::snapshot::ProvenRate;
use miner_core::types::{Difficulty, HashRate};

/// Prefixes of the SI from 10^0 to 10^30.
const PREFIXES: [&str; 11] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];

/// What stands where nothing is known.
pub const UNKNOWN: &str = "-";

/// A hash rate with four digits: `12.34 MH/s`.
pub fn rate(rate: HashRate) -> String {
    match Scale::of(rate.0) {
        Some(scale) => format!("{} {}H/s", scale.number(rate.0), scale.prefix),
        None => format!("{} H/s", unscaled(rate.0)),
    }
}

/// A hash rate, or [`UNKNOWN`].
pub fn rate_or_unknown(value: Option<HashRate>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), rate)
}

/// A proven rate with its range, in one unit: `12.10 MH/s (10.20-14.90)`.
pub fn proven_rate(proven: ProvenRate) -> String {
    let bound = |bound: HashRate| match Scale::of(proven.rate.0) {
        Some(scale) => scale.number(bound.0),
        None => unscaled(bound.0),
    };
    format!("{} ({}-{})", rate(proven.rate), bound(proven.low), bound(proven.high))
}

/// A proven rate with its range, or [`UNKNOWN`].
pub fn proven_or_unknown(value: Option<ProvenRate>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), proven_rate)
}

/// A difficulty with four digits at most: `16`, `4.3 G`, `126.4 T`.
pub fn difficulty(difficulty: Difficulty) -> String {
    amount(difficulty.get())
}

/// A difficulty, or [`UNKNOWN`].
pub fn difficulty_or_unknown(value: Option<Difficulty>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), difficulty)
}

/// An amount with four digits at most: `16`, `4.3 G`.
pub fn amount(value: f64) -> String {
    let Some(scale) = Scale::of(value) else { return unscaled(value) };
    let number = scale.number(value);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    if scale.prefix.is_empty() { number.to_owned() } else { format!("{number} {}", scale.prefix) }
}

/// Energy for each 10^12 hashes, given in J, with four digits: `24.50 J/TH`, `50.00 kJ/TH`.
pub fn efficiency(joules: f64) -> String {
    match Scale::of(joules) {
        Some(scale) => format!("{} {}J/TH", scale.number(joules), scale.prefix),
        None => format!("{} J/TH", unscaled(joules)),
    }
}

/// A duration: `00:01:05`, `1d 02:03:04`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { time } else { format!("{days}d {time}") }
}

/// A short time, such as an answer took: `31 ms`, `12.3 s`.
pub fn latency(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "<1 ms".to_owned(),
        ms @ 1..10_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// Text from elsewhere, made safe for a terminal: control characters and those that reorder or hide text are escaped.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => {
                safe.extend(c.escape_unicode());
            }
            '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => {
                safe.extend(c.escape_unicode());
            }
            _ if c.is_control() => safe.extend(c.escape_default()),
            _ => safe.push(c),
        }
    }
    safe
}

/// The first `length` characters, and a mark where some were cut.
pub fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How a number is shown: divided by `unit`, with so many `decimals`, before the unit's `prefix`.
#[derive(Clone, Copy)]
struct Scale {
    unit: f64,
    prefix: &'static str,
    decimals: usize,
}

impl Scale {
    /// Four digits, below 1,000; `None` where no prefix fits.
    fn of(value: f64) -> Option<Self> {
        // Limits of 10, 100 and 1,000, less what would round up to them.
        const LIMITS: [(f64, usize); 3] = [(9.9995, 3), (99.995, 2), (999.95, 1)];
        let value = value.abs();
        if !value.is_finite() || (value < 0.001 && value != 0.0) {
            return None;
        }
        let mut unit = 1.0;
        PREFIXES.iter().find_map(|prefix| {
            let scaled = value / unit;
            let fit = LIMITS.iter().find(|(limit, _)| scaled < *limit);
            let scale = fit.map(|&(_, decimals)| Self { unit, prefix, decimals });
            unit *= 1000.0;
            scale
        })
    }

    fn number(self, value: f64) -> String {
        format!("{:.*}", self.decimals, value / self.unit)
    }
}

/// A number that no prefix fits.
fn unscaled(value: f64) -> String {
    if value.is_finite() { format!("{value:.3e}") } else { "?".to_owned() }
}

#[cfg(test)]
mod tests;
