//! Faults of pools and networks, each on the real binary: it neither ends nor panics nor sends a share that is not good,
//! says what happened, and mines on when it is over.

use testkit::arena::{Arena, Outcome};
use testkit::practice::{Practice, quiet};
use testkit::wire::Wire;

#[path = "faults/handshakes.rs"]
mod handshakes;
#[path = "faults/jobs.rs"]
mod jobs;
#[path = "faults/wires.rs"]
mod wires;
#[path = "faults/words.rs"]
mod words;

const LODE: &str = env!("CARGO_BIN_EXE_lode");
/// Miners at work at the same time in one test.
const AT_ONCE: usize = 3;

/// A quiet pool, an honest wire, and a miner.
fn arena() -> Arena {
    Arena::start(LODE, quiet(), &[], |_, _| {})
}

/// The same, with something broken before the miner starts.
fn prepared(prepare: impl FnOnce(&Practice, &Wire)) -> Arena {
    Arena::start(LODE, quiet(), &[], prepare)
}

fn count_events(outcome: &Outcome, event: &str) -> usize {
    outcome.ended.of_type("pool").filter(|line| line["event"] == event).count()
}

/// A name, what is done, and what lode says of it: the event and a part of its text.
type Attack<'a, T> = (&'a str, T, Option<(&'a str, &'a str)>);

/// Waits for what lode is to say.
#[track_caller]
fn expect(arena: &mut Arena, said: Option<(&str, &str)>) {
    if let Some((event, text)) = said {
        arena.wait_for_pool(event, text);
    }
}

fn name<T>((name, ..): &Attack<T>) -> String {
    (*name).to_owned()
}
