//! Whether dispatches may start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// No guard watches.
const FOR_GOOD: u64 = u64::MAX;

/// The guard lets nothing start.
const HELD: u64 = 0;

/// Long ago: the guard has not spoken yet.
const NEVER: u64 = 1;

/// Held by a guard, asked at each submit; nobody waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    origin: Instant,
    /// Until when dispatches may start, in µs since `origin`; or one of the values below.
    until: AtomicU64,
    /// The part of its time that the GPU may work, as the bits of an `f32`.
    duty: AtomicU32,
}

impl Gate {
    /// One that is open for good: nobody watches.
    pub(crate) fn open() -> Self {
        Self::new(FOR_GOOD)
    }

    /// One that stays closed until a guard opens it.
    pub(crate) fn closed() -> Self {
        Self::new(NEVER)
    }

    fn new(until: u64) -> Self {
        let duty = AtomicU32::new(1f32.to_bits());
        Self(Arc::new(State { origin: Instant::now(), until: AtomicU64::new(until), duty }))
    }

    /// Whether a dispatch may start now.
    pub(crate) fn is_open(&self) -> bool {
        let until = self.0.until.load(Ordering::Acquire);
        match until {
            FOR_GOOD => true,
            HELD | NEVER => false,
            until => u128::from(until) > self.0.origin.elapsed().as_micros(),
        }
    }

    /// The part of its time that the GPU may work, above 0 and at most 1.
    pub(crate) fn duty(&self) -> f64 {
        f32::from_bits(self.0.duty.load(Ordering::Relaxed)).into()
    }

    /// Lets dispatches start until then, for this part of the time.
    pub(crate) fn open_until(&self, until: Instant, duty: f32) {
        self.0.duty.store(duty.to_bits(), Ordering::Relaxed);
        let until = until.saturating_duration_since(self.0.origin).as_micros();
        self.0.until.store(u64::try_from(until).unwrap_or(FOR_GOOD - 1).max(NEVER), Ordering::Release);
    }

    /// No dispatch starts any more.
    pub(crate) fn close(&self) {
        self.0.until.store(HELD, Ordering::Release);
    }

    /// Whether it was closed, and did not close by itself.
    pub(crate) fn is_held(&self) -> bool {
        self.0.until.load(Ordering::Acquire) == HELD
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_guard_grants_ends_by_itself() {
        let gate = Gate::closed();
        assert!(!gate.is_open() && !gate.is_held());
        let now = Instant::now();
        gate.open_until(now + Duration::from_secs(3600), 0.5);
        assert!(gate.is_open());
        assert_eq!(gate.duty(), 0.5);
        gate.open_until(now, 1.0);
        assert!(!gate.is_open(), "nobody closed it");
        gate.open_until(now + Duration::from_secs(3600), 1.0);
        gate.close();
        assert!(!gate.is_open() && gate.is_held());
        assert!(Gate::open().is_open());
    }
}
