//! What may go wrong, and how it may end.

use std::time::Duration;

use asic_emulator::Fault;

use super::rack::Subject;

/// How a run may end in which something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Then {
    /// It is over soon: the device must mine again.
    Mines,
    /// It stays: the device mines on, or is put aside with a reason.
    MinesOrStops,
    /// It stays, and must be noticed.
    Stops,
    /// The device must be waited for.
    Waits,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(super) struct Mishap {
    pub(super) name: &'static str,
    /// What strikes with the chosen frame, or so long after it.
    pub(super) plan: Vec<(Duration, Fault)>,
    /// How long after it was pulled the plug is put back.
    pub(super) replug: Option<Duration>,
    pub(super) then: Then,
    /// How long after its strike the run must have ended so.
    pub(super) within: Duration,
}

fn mishap(
    name: &'static str,
    (then, seconds): (Then, u64),
    plan: impl IntoIterator<Item = (u64, Fault)>,
) -> Mishap {
    let plan = plan.into_iter().map(|(millis, fault)| (Duration::from_millis(millis), fault)).collect();
    Mishap { name, plan, replug: None, then, within: Duration::from_secs(seconds) }
}

impl Mishap {
    /// When all of it is over, counted from its strike.
    pub(super) fn length(&self) -> Duration {
        self.plan.iter().map(|(after, _)| *after).max().unwrap_or_default()
    }

    /// Whether a device's own firmware never does again what it is told.
    pub(super) fn hangs_for_good(&self) -> bool {
        matches!(self.plan.last(), Some((_, Fault::Hang)))
    }

    /// Whether all that is wrong is that its plug is pulled.
    pub(super) fn unplugs(&self) -> bool {
        self.plan.iter().any(|(_, fault)| matches!(fault, Fault::UnplugNext))
    }

    /// How much longer than a healthy device it takes for its last work.
    pub(super) fn slowness(&self) -> u32 {
        let slow = self.plan.iter().any(|(_, fault)| matches!(fault, Fault::Slow { .. }));
        if slow { 10 } else { 1 }
    }
}

/// Everything that may go wrong with a device at work or on the way there.
pub(super) fn mishaps(subject: Subject) -> Vec<Mishap> {
    let sensors = if subject.has_sensors() { hot() } else { Vec::new() };
    [brief(), lasting(), sensors].concat()
}

/// What is over before a device must have noticed: frames that get lost or broken on their way, either way.
fn broken_frames() -> Vec<Mishap> {
    use Then::Mines;
    let mut all = vec![
        mishap("garbage", (Mines, 20), [(0, Fault::Garbage(40))]),
        mishap("much garbage", (Mines, 20), [(0, Fault::Garbage(3000))]),
        mishap("a truncated answer", (Mines, 20), [(0, Fault::TruncateNext)]),
        mishap("a corrupted answer", (Mines, 20), [(0, Fault::CorruptNext)]),
        mishap("three corrupted answers", (Mines, 40), [(0, Fault::CorruptNext); 3]),
        mishap("a lost frame", (Mines, 90), [(0, Fault::Hang), (1, Fault::Recover)]),
        mishap("a garbled frame", (Mines, 90), [(0, Fault::Uart(2.0)), (1, Fault::Uart(1.0))]),
    ];
    // Checksums, ids, registers, values, nonces, job ids: wherever they lie in a frame.
    let bits = [0, 3, 9, 18, 26, 31, 40, 53, 70];
    all.extend(bits.map(|bit| mishap("a flipped bit", (Mines, 20), [(0, Fault::FlipNext(bit))])));
    all
}

/// What may go wrong while a device is told to stop, and is over before it is given up on.
pub(super) fn at_the_end() -> Vec<Mishap> {
    use Then::Mines;
    let mut all = broken_frames();
    all.extend([
        mishap("a hang of 3 s", (Mines, 90), [(0, Fault::Hang), (3000, Fault::Recover)]),
        mishap("a hang of 10 s", (Mines, 90), [(0, Fault::Hang), (10_000, Fault::Recover)]),
    ]);
    all
}

fn brief() -> Vec<Mishap> {
    use Then::Mines;
    let late = |millis| Fault::LateNext(Duration::from_millis(millis));
    let replug = |millis| Some(Duration::from_millis(millis));
    let unplugged = |name| mishap(name, (Mines, 20), [(0, Fault::UnplugNext)]);
    let mut all = broken_frames();
    all.extend([
        mishap("a wrong nonce", (Mines, 15), [(0, Fault::WrongNonceNext)]),
        mishap("a wrong job", (Mines, 15), [(0, Fault::WrongJobNext)]),
        mishap("a duplicate", (Mines, 15), [(0, Fault::DuplicateNext)]),
        mishap("a late nonce", (Mines, 15), [(0, late(300))]),
        mishap("a very late nonce", (Mines, 15), [(0, late(9000))]),
        mishap("a hang of 3 s", (Mines, 90), [(0, Fault::Hang), (3000, Fault::Recover)]),
        mishap("a hang of 40 s", (Mines, 120), [(0, Fault::Hang), (40_000, Fault::Recover)]),
        mishap("a wrong baud for 2 s", (Mines, 90), [(0, Fault::Uart(2.0)), (2000, Fault::Uart(1.0))]),
        Mishap { replug: replug(100), ..unplugged("a loose plug") },
        Mishap { replug: replug(4000), ..unplugged("a replug") },
    ]);
    all
}

fn lasting() -> Vec<Mishap> {
    use Then::{MinesOrStops, Stops, Waits};
    vec![
        mishap("a wrong baud", (MinesOrStops, 300), [(0, Fault::Uart(2.0))]),
        mishap("a slow chip", (MinesOrStops, 60), [(0, Fault::Slow { chip: 0, factor: 0.1 })]),
        mishap("a dead chip", (Stops, 330), [(0, Fault::Dead { chip: 0 })]),
        mishap("a hang", (Stops, 300), [(0, Fault::Hang)]),
        mishap("an unplug in mid-frame", (Waits, 15), [(0, Fault::UnplugNext)]),
        mishap("an unplug at once", (Waits, 15), [(0, Fault::UnplugNext), (0, Fault::Garbage(2))]),
    ]
}

/// What may go wrong with a device that has sensors.
fn hot() -> Vec<Mishap> {
    use Then::{MinesOrStops, Stops};
    vec![
        mishap("heat", (Stops, 20), [(0, Fault::Ambient(130.0)), (0, Fault::Temperature(95.0))]),
        mishap("an open sensor", (Stops, 20), [(0, Fault::SensorOpen(true))]),
        mishap("a stuck fan", (MinesOrStops, 20), [(0, Fault::FanStuck(true))]),
        mishap(
            "a stuck fan in the heat",
            (Stops, 150),
            [(0, Fault::FanStuck(true)), (0, Fault::Ambient(85.0))],
        ),
        mishap("a tripped regulator", (MinesOrStops, 90), [(0, Fault::RegulatorTrip)]),
    ]
}
