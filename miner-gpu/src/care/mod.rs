//! Keeping a GPU cool: a thermostat slows it down, and a cut-off stops it whatever else hangs.
//!
//! A [`Guard`] thread of its own reads the sensor and holds a [`Gate`], which is asked where a dispatch is submitted and
//! nowhere before. What it grants lasts for [`Watch::patience`] only: a guard that hangs in its sensor, or dies, stops
//! the GPU too.

mod gate;
mod guard;
mod thermostat;
mod vitals;

use std::time::Duration;

use crate::error::GpuError;

pub(crate) use gate::Gate;
pub(crate) use guard::Guard;
pub(crate) use vitals::Vitals;

/// Degrees below the cut-off that a GPU must cool down to before it works again.
const HYSTERESIS: f32 = 10.0;

/// The temperatures that a GPU is kept at, in °C.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeatLimits {
    /// It is slowed down so that it stays here.
    pub target: f32,
    /// It is stopped here, until it is 10 °C cooler; above the target.
    pub cutoff: f32,
}

impl Default for HeatLimits {
    /// 80 °C, where fans are loud and makers' own limits still some degrees away; 90 °C, where those begin.
    fn default() -> Self {
        Self { target: 80.0, cutoff: 90.0 }
    }
}

impl HeatLimits {
    /// Where a GPU that was stopped works again.
    pub(crate) fn resume(&self) -> f32 {
        self.cutoff - HYSTERESIS
    }
}

/// How often a step is begun that the gate holds up: each time but the first, a card has cooled down before.
const MAX_TRIES: u32 = 8;

/// Does a step, and once more from its beginning where the gate held it up: how hot a card is says nothing against what it
/// was to do. `wait` waits until dispatches may start; where it says no, `None` is returned.
///
/// # Errors
/// What went wrong in either; [`GpuError::Held`] where the step was held up again and again.
pub(crate) fn once_let<C, T>(
    context: &mut C,
    mut wait: impl FnMut(&mut C) -> Result<bool, GpuError>,
    mut step: impl FnMut(&mut C) -> Result<T, GpuError>,
) -> Result<Option<T>, GpuError> {
    for _ in 0..MAX_TRIES {
        if !wait(context)? {
            return Ok(None);
        }
        match step(context) {
            Err(GpuError::Held) => {}
            done => return done.map(Some),
        }
    }
    Err(GpuError::Held)
}

/// How a temperature is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Time between two looks at the sensor.
    pub interval: Duration,
    /// How long a look counts: without another, no dispatch starts.
    pub patience: Duration,
}

impl Default for Watch {
    /// Twice a second; 2 s.
    fn default() -> Self {
        Self { interval: Duration::from_millis(500), patience: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held up so many times, then done: how often it waited, how often it began, and what came of it.
    fn after(holds: u32, waits: u32) -> (u32, u32, Result<Option<u32>, GpuError>) {
        let mut counts = (0, 0);
        let ended = once_let(
            &mut counts,
            |counts| {
                counts.0 += 1;
                Ok(counts.0 <= waits)
            },
            |counts| {
                counts.1 += 1;
                if counts.1 <= holds { Err(GpuError::Held) } else { Ok(7) }
            },
        );
        (counts.0, counts.1, ended)
    }

    #[test]
    fn what_the_gate_held_up_is_done_again_but_not_for_ever() {
        assert_eq!(after(0, 100), (1, 1, Ok(Some(7))));
        assert_eq!(after(3, 100), (4, 4, Ok(Some(7))));
        assert_eq!(after(3, 2), (3, 2, Ok(None)), "nobody wants it any more");
        assert_eq!(after(100, 100), (MAX_TRIES, MAX_TRIES, Err(GpuError::Held)));
    }

    #[test]
    fn what_fails_otherwise_is_not_done_again() {
        let lost = || GpuError::Lost("by its driver".to_owned());
        let (mut begun, wait) = (0, |_: &mut u32| Ok(true));
        let ended: Result<Option<()>, _> = once_let(&mut begun, wait, |begun| {
            *begun += 1;
            Err(lost())
        });
        assert_eq!((begun, ended), (1, Err(lost())));
        let ended = once_let(&mut begun, |_| Err(lost()), |_| Ok(()));
        assert_eq!(ended, Err(lost()));
    }
}
