//! When a connection counts as dead although nobody closed it.

use std::time::{Duration, Instant};

use crate::ProtocolError;

/// A line that has begun must end within this.
const HALF_LINE: Duration = Duration::from_secs(60);
/// Silence that ends a connection whose pace is not known.
const SILENCE: Duration = Duration::from_secs(90);
/// Bounds of the silence that is allowed where the pace is known.
const SILENCES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(180));

/// Watches the time since the pool last said something.
#[derive(Debug)]
pub(super) struct Liveness {
    last_line: Instant,
    half_line_since: Option<Instant>,
    last_notify: Option<Instant>,
    /// The longest usual time between two jobs: follows longer gaps at once and shorter ones slowly.
    notify_gap: Option<Duration>,
}

impl Liveness {
    pub(super) fn new(now: Instant, notify_gap: Option<Duration>) -> Self {
        Self { last_line: now, half_line_since: None, last_notify: None, notify_gap }
    }

    /// A whole line came.
    pub(super) fn on_line(&mut self, now: Instant) {
        self.last_line = now;
    }

    /// All bytes at hand were read; `partial`: a line has begun.
    pub(super) fn on_read(&mut self, now: Instant, partial: bool, lines: bool) {
        let since = self.half_line_since.filter(|_| !lines).unwrap_or(now);
        self.half_line_since = partial.then_some(since);
    }

    /// A job came.
    pub(super) fn on_notify(&mut self, now: Instant) {
        if let Some(last) = self.last_notify.replace(now) {
            let gap = now.saturating_duration_since(last);
            self.notify_gap = Some(self.notify_gap.map_or(gap, |usual| gap.max(usual - usual / 8)));
        }
    }

    /// What to remember of the pool's pace.
    pub(super) fn notify_gap(&self) -> Option<Duration> {
        self.notify_gap
    }

    fn silence(&self) -> Duration {
        self.notify_gap.map_or(SILENCE, |gap| gap.saturating_mul(3).clamp(SILENCES.0, SILENCES.1))
    }

    /// Fails when the pool is silent or dawdles.
    pub(super) fn check(&self, now: Instant) -> Result<(), ProtocolError> {
        if self.half_line_since.is_some_and(|since| since + HALF_LINE <= now) {
            return Err(ProtocolError::Timeout { what: "end of a line", after: HALF_LINE });
        }
        let silence = self.silence();
        if self.last_line + silence <= now {
            return Err(ProtocolError::Timeout { what: "message from the pool", after: silence });
        }
        Ok(())
    }

    /// When [`check`](Self::check) will fail if nothing comes.
    pub(super) fn next_deadline(&self) -> Instant {
        let silent = self.last_line + self.silence();
        self.half_line_since.map_or(silent, |since| silent.min(since + HALF_LINE))
    }
}
