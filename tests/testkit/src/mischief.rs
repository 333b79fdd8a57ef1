//! Faults by chance, the same ones for the same seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use serde_json::Value;

use crate::wire::{Fate, Way};

/// How many lines met something else than [`Fate::Pass`].
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts the fates that a tamper decides on.
    pub fn count(
        &self,
        mut tamper: impl FnMut(Way, &[u8]) -> Fate + Send + 'static,
    ) -> impl FnMut(Way, &[u8]) -> Fate + Send + 'static {
        let tally = self.clone();
        move |way, line| {
            let fate = tamper(way, line);
            if fate != Fate::Pass {
                tally.0.fetch_add(1, Ordering::Relaxed);
            }
            fate
        }
    }
}

/// Gives about one of `one_in` lines that `picks` is true for one of the fates.
pub fn by_chance(
    seed: u64,
    one_in: u32,
    fates: Vec<Fate>,
    picks: impl Fn(Way, &[u8]) -> bool + Send + 'static,
) -> impl FnMut(Way, &[u8]) -> Fate + Send + 'static {
    let mut chance = Rng::with_seed(seed);
    move |way, line| {
        if picks(way, line) && chance.u32(..one_in) == 0 {
            fates[chance.usize(..fates.len())].clone()
        } else {
            Fate::Pass
        }
    }
}

/// Whether a line is the pool's answer to a share: the handshake's requests have the ids below 5.
pub fn is_verdict(way: Way, line: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice::<Value>(line) else { return false };
    way == Way::ToMiner && message.get("method").is_none() && message["id"].as_u64().is_some_and(|id| id > 4)
}

/// Whether a line is a message with this method.
pub fn is_call(line: &[u8], method: &str) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|message| message["method"] == method)
}

/// Has a function change the parameters of each `mining.notify`.
pub fn change_notify(
    change: impl Fn(&mut Vec<Value>) + Send + 'static,
) -> impl FnMut(Way, &[u8]) -> Fate + Send + 'static {
    move |way, line| {
        let Ok(mut message) = serde_json::from_slice::<Value>(line) else { return Fate::Pass };
        match &mut message["params"] {
            Value::Array(params) if way == Way::ToMiner && is_call(line, "mining.notify") => change(params),
            _ => return Fate::Pass,
        }
        Fate::Replace(format!("{message}\n").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_mischief() {
        let fates = || vec![Fate::Drop, Fate::Twice, Fate::Reset];
        let run = |seed| {
            let mut tamper = by_chance(seed, 4, fates(), |way, _| way == Way::ToMiner);
            (0..100).map(|_| tamper(Way::ToMiner, b"x\n")).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let met = run(3).into_iter().filter(|fate| *fate != Fate::Pass).count();
        assert!((10..50).contains(&met), "{met} of 100 at one in 4");
        let mut tamper = by_chance(1, 1, fates(), |way, _| way == Way::ToMiner);
        assert_eq!(tamper(Way::ToPool, b"x\n"), Fate::Pass, "what is not picked passes");
    }

    #[test]
    fn verdicts_and_calls_are_told_apart() {
        assert!(is_verdict(Way::ToMiner, b"{\"id\":5,\"result\":true,\"error\":null}\n"));
        assert!(!is_verdict(Way::ToPool, b"{\"id\":5,\"result\":true,\"error\":null}\n"));
        assert!(!is_verdict(Way::ToMiner, b"{\"id\":3,\"result\":true,\"error\":null}\n"));
        assert!(!is_verdict(Way::ToMiner, b"{\"id\":null,\"method\":\"mining.notify\",\"params\":[]}\n"));
        assert!(is_call(b"{\"id\":null,\"method\":\"mining.notify\",\"params\":[]}\n", "mining.notify"));
    }

    #[test]
    fn changed_jobs_keep_the_rest_of_the_line() {
        let mut tamper = change_notify(|params| params[0] = Value::from("b"));
        let line = b"{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"a\",1]}\n";
        let Fate::Replace(changed) = tamper(Way::ToMiner, line) else { panic!("it changes") };
        assert_eq!(changed, b"{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"b\",1]}\n");
        assert_eq!(tamper(Way::ToPool, line), Fate::Pass);
    }
}
